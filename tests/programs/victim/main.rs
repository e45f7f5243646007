//! A helper program with scenarios.

fn main() {}
