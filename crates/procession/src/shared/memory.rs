//! Bare bytes that processes share.

use std::ptr::{self, NonNull};

use crate::object::{CreateError, OutOfBounds, shared_handle};
use procession_shm::bytes::Bytes;
use procession_shm::named::{self, Leftover, NameError, Named};
use procession_shm::segment::SegmentError;
use procession_sys::{BorrowedHandle, Handle, borrow};

/// Bytes in memory that processes share, without a lock.
///
/// # Across processes
///
/// Shared memory can be an argument, a result, and a message; it is not copied, however large it is.
/// It is gone with the last handle on it, in whichever process, whatever ended that. Two processes
/// that write the same bytes at once both succeed, and leave a mixture: use a [`Lock`](crate::Lock)
/// beside it, or an [`Array`](crate::Array), where that matters.
///
/// Memory under a name ([`create`](Self::create), [`open`](Self::open)) is for programs that have not
/// started each other. It stays until somebody calls [`unlink`](Self::unlink), also when all who used
/// it were killed: [`leftovers`](Self::leftovers) finds what nobody uses any more.
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
    shared: Shared,
}

shared_handle!(SharedMemory, Shared);

#[derive(Clone, Debug)]
enum Shared {
    Anonymous(Bytes),
    Named(Named),
}

impl Shared {
    fn open(handle: Handle) -> Result<Self, SegmentError> {
        // What is sealed nobody can cut short: only that is read without asking the system.
        if procession_sys::shared::is_sealed(borrow(&handle)) {
            Bytes::open(handle).map(Self::Anonymous)
        } else {
            Named::from_handle(handle).map(Self::Named)
        }
    }

    fn handle(&self) -> BorrowedHandle<'_> {
        match self {
            Self::Anonymous(bytes) => bytes.handle(),
            Self::Named(named) => named.handle(),
        }
    }

    fn bytes(&self) -> (NonNull<u8>, usize) {
        match self {
            Self::Anonymous(bytes) => bytes.bytes(),
            Self::Named(named) => named.bytes(),
        }
    }
}

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
        Ok(Self::from_shared(Shared::Anonymous(Bytes::new(bytes)?)))
    }

    /// Makes shared memory of `bytes` zeros under a name that nothing has.
    ///
    /// # Across processes
    ///
    /// Every process of the same user on the machine (in a container: in that container) can
    /// [`open`](Self::open) it, and no other. It appears under its name whole, and stays until
    /// [`unlink`](Self::unlink). On Linux it is the file `/dev/shm/procession-NAME`, of mode 0600.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](NameError::Invalid): the name is empty, too long, or has a `/` or NUL in it; or
    ///   `bytes` is 0.
    /// - [`Exists`](NameError::Exists): something has the name.
    /// - [`Io`](NameError::Io): there is no memory, no descriptor, or no place for names.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::SharedMemory;
    ///
    /// let name = format!("example-{}", std::process::id());
    /// let memory = SharedMemory::create(&name, 1000)?;
    /// memory.write(0, b"hello")?;
    ///
    /// let elsewhere = SharedMemory::open(&name)?; // in whichever process of this user
    /// let mut bytes = [0; 5];
    /// elsewhere.read(0, &mut bytes)?;
    /// assert_eq!(&bytes, b"hello");
    ///
    /// SharedMemory::unlink(&name)?; // the name is gone, the memory with its last handle
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn create(name: &str, bytes: usize) -> Result<Self, NameError> {
        Ok(Self::from_shared(Shared::Named(Named::create(name, bytes)?)))
    }

    /// Opens the shared memory that has this name.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](NameError::NotFound): nothing has the name.
    /// - [`Denied`](NameError::Denied): it belongs to another user, or others may open it.
    /// - [`Foreign`](NameError::Foreign): it was not made by this library.
    /// - [`Version`](NameError::Version): it was made by another version of this library.
    /// - [`Invalid`](NameError::Invalid), [`Io`](NameError::Io): as [`create`](Self::create).
    pub fn open(name: &str) -> Result<Self, NameError> {
        Ok(Self::from_shared(Shared::Named(Named::open(name)?)))
    }

    /// Takes a name away, whoever has made it. Who has the memory keeps it.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](NameError::NotFound): nothing has the name.
    /// - [`Denied`](NameError::Denied): it belongs to another user.
    /// - [`Invalid`](NameError::Invalid), [`Io`](NameError::Io): as [`create`](Self::create).
    pub fn unlink(name: &str) -> Result<(), NameError> {
        named::unlink(name)
    }

    /// Finds this user's names whose memory no process has: left by programs that were killed, or
    /// kept on purpose until the next one comes.
    ///
    /// # Errors
    ///
    /// [`Io`](NameError::Io) when the names cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::SharedMemory;
    ///
    /// let name = format!("killed-{}", std::process::id());
    /// drop(SharedMemory::create(&name, 100)?);
    /// for leftover in SharedMemory::leftovers()? {
    ///     if leftover.name().starts_with("killed-") {
    ///         leftover.remove()?;
    ///     }
    /// }
    /// assert!(SharedMemory::open(&name).is_err());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn leftovers() -> Result<Vec<Leftover>, NameError> {
        named::leftovers()
    }

    /// Returns the name under which it was created; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.shared {
            Shared::Anonymous(_) => None,
            Shared::Named(named) => Some(named.name()),
        }
    }

    fn from_shared(shared: Shared) -> Self {
        Self { shared }
    }

    /// Returns how many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.bytes().1
    }

    /// Copies bytes out, from `offset` on. From memory under a name, that is a system call.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] when they are not all inside; nothing is copied then. Also when somebody has
    /// cut the file of memory under a name short: some may be copied then.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        if let Shared::Named(named) = &self.shared {
            let count = buffer.len();
            let read = named.read(offset, buffer);
            return read.map_err(|length| OutOfBounds { offset, count, length });
        }
        let start = self.check(offset, buffer.len())?;
        // SAFETY: the range is inside the mapping, and the buffer is this caller's alone. Another
        // process may write meanwhile: bytes are bytes.
        unsafe { ptr::copy_nonoverlapping(start, buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Copies bytes in, from `offset` on. Into memory under a name, that is a system call.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        if let Shared::Named(named) = &self.shared {
            let written = named.write(offset, bytes);
            return written.map_err(|length| OutOfBounds { offset, count: bytes.len(), length });
        }
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
    /// As long as the slice is used, nobody writes them, in this or another process; and nobody cuts
    /// the file of memory under a name short, which no system can forbid its user.
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
    /// another handle, or in another process; and nobody cuts the file of memory under a name short.
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let (start, length) = self.shared.bytes();
        // SAFETY: they are mapped as long as `self`; the caller answers for the others.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), length) }
    }
}
