//! Law 7, nobody is trusted with memory: garbage on every wire, in every marker, from every child.

mod child;
mod frames;
mod handoffs;
mod markers;
mod memory;
mod mutations;
mod pool;
mod segments;
mod server;
mod support;
