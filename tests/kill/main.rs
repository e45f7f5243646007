//! Real kills: whatever dies, at whichever moment, nobody hangs and nothing is left.

mod child;
mod crash_points;
mod fork_server;
mod in_use;
mod mark;
mod parent;
mod pool;
mod queue;
mod shared;
mod soak;
mod support;
mod timeline;
