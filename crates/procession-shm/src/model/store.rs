//! In the place of `store`, which has no protocol of its own.

/// A block of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes are in it.
    pub length: u64,
}
