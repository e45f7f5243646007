//! Shared memory: one block that every process of the model has mapped.
//!
//! Loom's atomics have another size than real ones, and have to be made: zeros are none. So the
//! block is made by the type that lies in it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::atomic::AtomicU64;

/// A handle on shared memory.
pub(crate) type Handle = Arc<Memory>;
/// A handle that is lent.
pub(crate) type BorrowedHandle<'a> = &'a Arc<Memory>;

/// Lends a handle.
pub(crate) fn borrow(handle: &Handle) -> BorrowedHandle<'_> {
    handle
}

/// A block of memory with a value at its beginning, and words behind.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: what lies in the block is atomics, which any thread may use.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Makes memory with the zeros of a `T` at its beginning, and words from `words_at` to `length`.
pub(crate) fn create<T: Default>(words_at: usize, length: usize) -> Handle {
    assert!(size_of::<T>() <= words_at && words_at <= length);
    let layout = Layout::from_size_align(length, 64).expect("a size");
    // SAFETY: a `T` has a size, and so has the layout.
    let start = unsafe { alloc(layout) };
    let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
    // SAFETY: the block is fresh, long enough, and aligned as anything in this crate.
    unsafe { start.cast::<T>().write(T::default()) };
    for offset in (words_at..length).step_by(size_of::<AtomicU64>()) {
        if offset + size_of::<AtomicU64>() <= length {
            // SAFETY: inside the block.
            let word = unsafe { start.add(offset) };
            // SAFETY: as above, and fresh.
            unsafe { word.cast::<AtomicU64>().write(AtomicU64::default()) };
        }
    }
    Arc::new(Memory { start, layout })
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Loom's atomics own nothing: the values need not be dropped.
        // SAFETY: it was allocated with this layout, and nobody has it mapped any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Tells one memory from another.
pub(crate) fn identity(memory: BorrowedHandle<'_>) -> io::Result<(u64, u64)> {
    Ok((0, memory.start.as_ptr().addr() as u64))
}

/// All of it is there.
pub(crate) fn back(_: BorrowedHandle<'_>, _: usize, _: usize) -> io::Result<()> {
    Ok(())
}

/// Shared memory as a process has it mapped.
#[derive(Debug)]
pub(crate) struct Mapping(Handle);

impl Mapping {
    pub(crate) fn sparse(memory: BorrowedHandle<'_>, _: usize) -> io::Result<Self> {
        Ok(Self(Arc::clone(memory)))
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.0.start
    }

    pub(crate) fn length(&self) -> usize {
        self.0.layout.size()
    }
}
