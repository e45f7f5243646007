//! The bytes of a message that are still where they lie.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::atomic::will_read;

/// The bytes of a message where they lie, in two pieces at the most: other processes can change them
/// at any time, so they are only copied.
///
/// # Invariant
///
/// Both pieces are mapped for `'a`.
#[derive(Debug)]
pub struct Bytes<'a> {
    pieces: [(NonNull<u8>, usize); 2],
    borrowed: PhantomData<&'a u8>,
}

impl Bytes<'_> {
    /// Lends two pieces, of which the second follows the first.
    ///
    /// # Safety
    ///
    /// Both stay mapped as long as the lifetime, which the caller chooses. Together they are no longer
    /// than `isize::MAX`.
    pub(crate) unsafe fn new(pieces: [(NonNull<u8>, usize); 2]) -> Self {
        Self { pieces, borrowed: PhantomData }
    }

    /// No bytes.
    #[cfg_attr(loom, expect(dead_code, reason = "pipes are not modelled"))]
    pub(crate) fn empty() -> Self {
        Self { pieces: [(NonNull::dangling(), 0); 2], borrowed: PhantomData }
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces[0].1 + self.pieces[1].1
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies those from `offset` on over `to`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) {
        // SAFETY: all of `to` may be written.
        unsafe { self.copy(offset, to.as_mut_ptr(), to.len()) };
    }

    /// Appends those from `offset` on to a vector of plain numbers, for as many as there are.
    ///
    /// # Panics
    ///
    /// If there are fewer bytes than `offset`.
    ///
    /// # Safety
    ///
    /// Any bytes are a value of `E`.
    pub unsafe fn append_to<E: Copy>(&self, offset: usize, to: &mut Vec<E>) {
        let left = self.len().checked_sub(offset).expect("more bytes than the message has");
        let count = left.checked_div(size_of::<E>()).unwrap_or(0);
        to.reserve(count);
        let end = to.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: so much room was reserved.
        unsafe { self.copy(offset, end, count * size_of::<E>()) };
        // SAFETY: the bytes were written just now, and any are values, by the caller's word.
        unsafe { to.set_len(to.len() + count) };
    }

    /// Copies `length` bytes from `offset` on.
    ///
    /// # Safety
    ///
    /// So many bytes from `to` on may be written.
    unsafe fn copy(&self, offset: usize, to: *mut u8, length: usize) {
        let end = offset.checked_add(length);
        assert!(end.is_some_and(|end| end <= self.len()), "more bytes than the message has");
        let (mut skip, mut done) = (offset, 0);
        for (start, size) in self.pieces {
            let skipped = skip.min(size);
            let part = (size - skipped).min(length - done);
            // SAFETY: inside the piece, or its end.
            let from = unsafe { start.add(skipped) };
            will_read(from, part);
            // SAFETY: `done + part` is at most `length`.
            let behind = unsafe { to.add(done) };
            // SAFETY: the invariant, and the caller's word; they are different memory. Who writes
            // there meanwhile breaks the rules, which leaves other bytes, nothing worse.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), behind, part) };
            (skip, done) = (skip - skipped, done + part);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn any_part_can_be_copied_out_of_two_pieces() {
        let (first, second) = ([1_u8, 2, 3], [4_u8, 5]);
        let piece = |bytes: &[u8]| (NonNull::from(bytes).cast(), bytes.len());
        // SAFETY: both live to the end of the test.
        let bytes = unsafe { Bytes::new([piece(&first), piece(&second)]) };
        let all = [1, 2, 3, 4, 5];
        for from in 0..=all.len() {
            for to in from..=all.len() {
                let mut copied = vec![0; to - from];
                bytes.copy_to(from, &mut copied);
                assert_eq!(copied, all[from..to]);
            }
            let mut copied = vec![9];
            // SAFETY: any bytes are values of `u8`.
            unsafe { bytes.append_to(from, &mut copied) };
            assert_eq!(copied[1..], all[from..]);
        }
        let mut pairs = Vec::<[u8; 2]>::new();
        // SAFETY: any bytes are values of a pair of them.
        unsafe { bytes.append_to(0, &mut pairs) };
        assert_eq!(pairs, [[1, 2], [3, 4]], "half a pair is none");
        assert!(std::panic::catch_unwind(|| bytes.copy_to(3, &mut [0; 3])).is_err());
        assert!(std::panic::catch_unwind(|| bytes.copy_to(usize::MAX, &mut [0; 3])).is_err());
    }
}
