//! Law 7, nobody is trusted with memory: garbage on every wire, in every marker, from every child.

mod child;
mod handoffs;
mod markers;
mod memory;
mod mutations;
mod pipes;
mod pool;
mod segments;
mod server;
mod support;
