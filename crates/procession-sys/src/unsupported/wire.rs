//! Wires.

use super::{BorrowedHandle, Handle, unsupported};
use std::io;

/// How many handles one message can carry.
pub const MAX_HANDLES: usize = 253;
/// How many bytes one message can carry.
pub const MAX_BYTES: usize = 64 * 1024;

/// One end of a wire.
#[derive(Debug)]
pub struct Wire(std::convert::Infallible);

/// Why nothing could be received.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// No message is there.
    Empty,
    /// Every other end is gone.
    Closed,
    /// The handles in a message could not be taken.
    HandlesLost {
        /// How many bytes came.
        length: usize,
    },
    /// The system refused.
    Io(io::Error),
}

impl Wire {
    /// Makes a wire.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn pair() -> io::Result<(Self, Self)> {
        unsupported()
    }

    /// Takes a handle for a wire.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn from_handle(_: Handle) -> io::Result<Self> {
        unsupported()
    }

    /// Gives the handle.
    #[must_use]
    pub fn into_handle(self) -> Handle {
        match self.0 {}
    }

    /// Lends the handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        match self.0 {}
    }

    /// Tells whether every other end is gone.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        match self.0 {}
    }

    /// Sends a message without waiting.
    ///
    /// # Errors
    ///
    /// Never: there is no such wire.
    pub fn try_send(&self, _: &[&[u8]], _: &[BorrowedHandle<'_>]) -> io::Result<()> {
        match self.0 {}
    }

    /// Looks at a message.
    ///
    /// # Errors
    ///
    /// Never: there is no such wire.
    pub fn peek(&self, _: &mut [u8], _: &mut Vec<Handle>) -> Result<usize, ReceiveError> {
        match self.0 {}
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// Never: there is no such wire.
    pub fn send(&self, _: &[&[u8]], _: &[BorrowedHandle<'_>]) -> io::Result<()> {
        match self.0 {}
    }

    /// Receives a message.
    ///
    /// # Errors
    ///
    /// Never: there is no such wire.
    pub fn receive(
        &self,
        _: &mut [u8],
        _: &mut Vec<Handle>,
        _: bool,
    ) -> Result<usize, ReceiveError> {
        match self.0 {}
    }
}
