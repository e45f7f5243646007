//! Bare bytes that processes share.

use std::ptr;

use crate::object::{CreateError, OutOfBounds, shared_handle};
use procession_shm::bytes::Bytes;

/// Bytes in memory that processes share, without a lock.
///
/// # Across processes
///
/// Shared memory can be an argument, a result, and a message; it is not copied, however large it is.
/// It is gone with the last handle on it, in whichever process, whatever ended that. Two processes
/// that write the same bytes at once both succeed, and leave a mixture: use a [`Lock`](crate::Lock)
/// beside it, or an [`Array`](crate::Array), where that matters.
///
/// # Examples
///
/// ```
/// use procession::SharedMemory;
///
/// fn answer(memory: SharedMemory) {
///     memory.write(3, b"yes").expect("inside");
/// }
///
/// let memory = SharedMemory::new(6)?;
/// procession::spawn(answer, (memory.clone(),))?.join()?;
/// let mut bytes = [0; 6];
/// memory.read(0, &mut bytes)?;
/// assert_eq!(&bytes, b"\0\0\0yes");
/// # Ok::<(), procession::Error>(())
/// ```
pub struct SharedMemory {
    shared: Bytes,
}

shared_handle!(SharedMemory, Bytes);

impl SharedMemory {
    /// Makes shared memory of `bytes` zeros.
    ///
    /// # Errors
    ///
    /// [`CreateError::Invalid`] for none; [`CreateError::System`] when there is not so much memory,
    /// or no descriptor.
    pub fn new(bytes: usize) -> Result<Self, CreateError> {
        if bytes == 0 {
            let message = "shared memory of 0 bytes cannot be made; ask for at least 1";
            return Err(CreateError::invalid(message));
        }
        Ok(Self::from_shared(Bytes::new(bytes)?))
    }

    fn from_shared(shared: Bytes) -> Self {
        Self { shared }
    }

    /// Returns how many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.bytes().1
    }

    /// Copies bytes out, from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] when they are not all inside; nothing is copied then.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        let start = self.check(offset, buffer.len())?;
        // SAFETY: the range is inside the mapping, and the buffer is this caller's alone. Another
        // process may write meanwhile: bytes are bytes.
        unsafe { ptr::copy_nonoverlapping(start, buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Copies bytes in, from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] when they do not all fit; nothing is copied then.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let start = self.check(offset, bytes.len())?;
        // SAFETY: as in `read`; a caller that has a slice of this very memory was told in
        // `as_slice` that nobody may write.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        Ok(())
    }

    fn check(&self, offset: usize, count: usize) -> Result<*mut u8, OutOfBounds> {
        let (start, length) = self.shared.bytes();
        let inside = offset.checked_add(count).is_some_and(|end| end <= length);
        if !inside {
            return Err(OutOfBounds { offset, count, length });
        }
        // SAFETY: the offset is inside the mapping, or just behind it with nothing to copy.
        Ok(unsafe { start.as_ptr().add(offset) })
    }

    /// Borrows the bytes.
    ///
    /// # Safety
    ///
    /// As long as the slice is used, nobody writes them, in this or another process.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        let (start, length) = self.shared.bytes();
        // SAFETY: they are mapped as long as `self`; the caller answers for the others.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// Borrows the bytes to be changed.
    ///
    /// # Safety
    ///
    /// As long as the slice is used, nobody else reads or writes them, in this process, through
    /// another handle, or in another process.
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let (start, length) = self.shared.bytes();
        // SAFETY: they are mapped as long as `self`; the caller answers for the others.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), length) }
    }
}
