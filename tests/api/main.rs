//! The public API, under every start method.

mod child;
mod context;
mod copy;
mod crashes;
mod ends;
mod ends_of_pipes;
mod errors;
mod executable;
mod exit;
mod fork;
mod handles;
mod host;
mod idle;
mod limits;
mod many;
mod named;
mod pipe;
mod process;
mod queue;
mod runtime;
mod settings;
mod shared;
mod streams;
mod sync;
mod values;
mod wait;
