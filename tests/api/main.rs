//! The public API, under every start method.

mod process;
mod settings;
mod streams;
