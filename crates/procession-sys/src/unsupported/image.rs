//! The running executable.

use std::ffi::{c_char, c_int};

/// A constructor.
pub type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Names one build of an executable.
pub type Identity = [u8; 32];

/// The main executable of this process.
#[derive(Debug)]
pub struct Image(());

impl Image {
    /// Returns the main executable's image.
    #[must_use]
    pub fn main() -> &'static Self {
        &Self(())
    }

    /// Returns no constructor: they do not matter without children.
    pub fn constructors_after(&self, _: &'static Constructor) -> impl Iterator<Item = Constructor> {
        std::iter::empty()
    }

    /// Returns true: not known.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        true
    }

    /// Returns the name of this build.
    #[must_use]
    pub fn identity(&self) -> Identity {
        [0; 32]
    }

    /// Nothing is known to lie in the image.
    #[must_use]
    pub fn offset_of(&self, _: usize) -> Option<u64> {
        None
    }

    /// Nothing is known to lie in the image.
    #[must_use]
    pub fn address_of(&self, _: u64, _: usize, _: usize) -> Option<usize> {
        None
    }
}
