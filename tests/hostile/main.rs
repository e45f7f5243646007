//! Law 7, nobody is trusted with memory: garbage on every wire, in every marker, from every child.

mod frames;
mod memory;
mod mutations;
mod support;
