//! What a worker is given at its start: its place, and handles on what it shares with its parent.

use std::io;

use procession_sys::{BorrowedHandle, Handle, borrow};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;

/// A handle that is passed on each time that it is written.
#[derive(Debug)]
pub(crate) struct Passed(pub(crate) Handle);

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::serialize_handle(borrow(&self.0), serializer)
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        codec::deserialize_handle(deserializer).map(Self)
    }
}

/// Everything that a worker needs to begin. It is passed to its process in whatever way that is
/// started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seat {
    /// Where pieces are offered.
    pub(super) slots: Passed,
    /// The parent's store, with inputs.
    pub(super) inputs: Passed,
    /// The worker's own, for outputs.
    pub(super) outputs: Passed,
    pub(super) wire: Passed,
    pub(super) plan: Plan,
}

/// The part of a seat that is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which of the pool's places it is.
    pub place: usize,
    /// How many of its threads run tasks.
    pub threads: usize,
    /// After how many tasks it leaves.
    pub max_tasks: Option<u64>,
}

impl Seat {
    /// Lends its handles, in the order in which [`from_parts`](Self::from_parts) takes them.
    #[must_use]
    pub fn handles(&self) -> [BorrowedHandle<'_>; 4] {
        [&self.slots, &self.inputs, &self.outputs, &self.wire].map(|handle| borrow(&handle.0))
    }

    /// The part that is no handle.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Puts a seat together that has come to the worker's process in parts.
    #[must_use]
    pub fn from_parts(handles: [Handle; 4], plan: Plan) -> Self {
        let [slots, inputs, outputs, wire] = handles.map(Passed);
        Self { slots, inputs, outputs, wire, plan }
    }
}

/// Duplicates a handle that is to be passed on.
pub(super) fn lend(handle: BorrowedHandle<'_>) -> io::Result<Passed> {
    handle.try_clone_to_owned().map(Passed)
}
