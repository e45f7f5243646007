//! What a child has from its maker.

use super::unsupported;
use std::io;

/// Looks at this process.
#[derive(Debug)]
pub struct Observer(());

/// What a child would inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited(());

impl Observer {
    /// Opens what there is to look at.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new() -> io::Result<Self> {
        unsupported()
    }

    /// Looks.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn look(&self) -> io::Result<Inherited> {
        unsupported()
    }
}
