//! Anonymous memory that several processes write: created once, passed on as a handle, mapped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::linux::memory::{TMPFS_MAGIC, check_available, check_file_size};
use crate::linux::off_streams;

/// What shared memory must carry: what is mapped cannot be cut off, which would be a fatal signal
/// for who touches it.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Makes `length` bytes of zeros that processes can share. They exist for as long as somebody has
/// a handle on them or has them mapped.
///
/// # Errors
///
/// When the system has no descriptor left, or not that much memory.
pub fn create(length: usize) -> io::Result<OwnedFd> {
    create_sparse(length, length)
}

/// As [`create`], but only the first `backed` bytes have memory; the others get it from [`back`].
///
/// # Errors
///
/// When the system has no descriptor left, or not that much memory.
pub fn create_sparse(length: usize, backed: usize) -> io::Result<OwnedFd> {
    check_file_size(length)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = off_streams(rustix::fs::memfd_create(c"procession", flags)?)?;
    rustix::fs::ftruncate(&memory, length as u64)?;
    // A page that cannot be had when it is touched would be a fatal signal, too.
    back(&memory, 0, backed)?;
    rustix::fs::fcntl_add_seals(&memory, SEALS | SealFlags::SEAL)?;
    Ok(memory)
}

/// Gives memory to the `length` bytes from `offset` on, where they have none.
///
/// # Errors
///
/// When the system has not that much.
pub fn back(memory: impl AsFd, offset: usize, length: usize) -> io::Result<()> {
    /// A large part is taken piece by piece: others take memory, too, and a signal that comes in
    /// the middle has some kernels begin anew.
    const PIECE: usize = 64 << 20;
    check_available(length)?;
    for done in (0..length).step_by(PIECE) {
        let piece = PIECE.min(length - done);
        check_available(piece)?;
        change(memory.as_fd(), FallocateFlags::KEEP_SIZE, offset + done, piece)?;
    }
    Ok(())
}

/// Gives the memory of the `length` bytes from `offset` on back to the system; they are zeros then.
///
/// # Errors
///
/// When the system refuses; nothing is lost then but the memory.
pub fn give_back(memory: impl AsFd, offset: usize, length: usize) -> io::Result<()> {
    change(memory, FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, offset, length)
}

fn change(memory: impl AsFd, mode: FallocateFlags, offset: usize, length: usize) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(&memory, mode, offset as u64, length as u64) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns how long `memory` is.
///
/// # Errors
///
/// When the system refuses.
pub fn length(memory: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(memory)?.st_size.cast_unsigned())
}

/// Returns how many bytes of `memory` have memory behind them.
///
/// # Errors
///
/// When the system refuses.
pub fn backed(memory: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(memory)?.st_blocks.cast_unsigned().saturating_mul(512))
}

/// Tells whether nobody can cut `memory` short.
#[must_use]
pub fn is_sealed(memory: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(memory).is_ok_and(|seals| seals.contains(SEALS))
}

/// Tells one memory from another, whichever handle on it is asked.
///
/// # Errors
///
/// When the system refuses.
pub fn identity(memory: impl AsFd) -> io::Result<(u64, u64)> {
    let status = rustix::fs::fstat(memory)?;
    Ok((status.st_dev, status.st_ino))
}

/// Shared memory, mapped to be read and written.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is an address and a length; what is done with the memory is up to who reads
// and writes it, through `start`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of `memory`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if it is no memory of this module's, or may be cut short by
    /// somebody. Others when it cannot be mapped.
    pub fn new(memory: impl AsFd) -> io::Result<Self> {
        Self::sparse(memory, usize::MAX)
    }

    /// As [`new`](Self::new), for memory of which only the first `backed` bytes have to be there.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn sparse(memory: impl AsFd, backed: usize) -> io::Result<Self> {
        Self::check(&memory)?;
        Self::map(memory, backed, usize::MAX)
    }

    /// Maps the first `length` bytes of `memory`, or all of a shorter one. What has no memory gets
    /// it when it is touched, if the system has any; if not, that is a fatal signal.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), except that no byte has to be there.
    pub fn front(memory: impl AsFd, length: usize) -> io::Result<Self> {
        Self::check(&memory)?;
        Self::map(memory, 0, length)
    }

    /// Refuses what is not as `create` makes it.
    fn check(memory: impl AsFd) -> io::Result<()> {
        let seals = rustix::fs::fcntl_get_seals(&memory)
            .map_err(|_| invalid("the descriptor is not shared memory"))?;
        if !seals.contains(SEALS) || seals.contains(SealFlags::WRITE) {
            return Err(invalid("the shared memory is not sealed as procession seals it"));
        }
        // Huge pages that somebody gives back cannot be had again, when the machine has no more.
        if rustix::fs::fstatfs(&memory)?.f_type != TMPFS_MAGIC {
            return Err(invalid("the shared memory is not ordinary memory"));
        }
        Ok(())
    }

    /// Maps memory that may be cut short at any time, for who answers for that.
    pub(crate) fn unsealed(memory: impl AsFd) -> io::Result<Self> {
        Self::map(memory, usize::MAX, usize::MAX)
    }

    fn map(memory: impl AsFd, backed: usize, most: usize) -> io::Result<Self> {
        let status = rustix::fs::fstat(&memory)?;
        // A hole would be filled when it is touched, and if it cannot be, by a fatal signal.
        let needed = status.st_size.cast_unsigned().min(backed as u64);
        if status.st_blocks.cast_unsigned().saturating_mul(512) < needed {
            return Err(invalid("the shared memory has holes"));
        }
        let length = usize::try_from(status.st_size).map_err(|_| invalid("a negative length"))?;
        let length = length.min(most);
        if length == 0 {
            return Err(invalid("the shared memory is empty"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), length, protection, flags, memory, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| invalid("mapped at address zero"))?;
        Ok(Self { start, length })
    }

    /// Returns where it starts: readable and writable for [`length`](Self::length) bytes until
    /// `self` is dropped, aligned to a page, and changed by other processes at any time.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one `new` got, and what borrowed from `self` is gone.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "unmapping our own memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_are_the_same_memory() {
        let memory = create(5000).expect("memory");
        let (a, b) = (Mapping::new(&memory).expect("map"), Mapping::new(&memory).expect("map"));
        assert_eq!((a.length(), b.length()), (5000, 5000));
        // SAFETY: the offset is inside the mapping.
        let last_a = unsafe { a.start().add(4999) };
        // SAFETY: as above.
        let last_b = unsafe { b.start().add(4999) };
        // SAFETY: the mapping lives, and nobody else writes there.
        unsafe { last_a.write_volatile(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { last_b.read_volatile() }, 7);
    }

    #[test]
    fn more_than_the_machine_has_is_refused() {
        let error = create(1 << 50).expect_err("a petabyte");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
    }

    #[test]
    fn sparse_memory_comes_and_goes() {
        let memory = create_sparse(1 << 30, 4096).expect("memory");
        assert_eq!(backed(&memory).expect("stat"), 4096);
        assert!(Mapping::new(&memory).is_err() && Mapping::sparse(&memory, 4096).is_ok());
        assert_eq!(Mapping::front(&memory, 1 << 20).expect("holes may be").length(), 1 << 20);
        assert_eq!(Mapping::front(&memory, 1 << 40).expect("all of it").length(), 1 << 30);
        back(&memory, 1 << 20, 1 << 16).expect("memory");
        assert_eq!(backed(&memory).expect("stat"), 4096 + (1 << 16));
        give_back(&memory, 1 << 20, 1 << 16).expect("it is ours");
        assert_eq!(backed(&memory).expect("stat"), 4096);
    }

    #[test]
    fn memory_that_may_be_cut_or_has_holes_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create(c"open", flags).expect("memfd");
        rustix::fs::ftruncate(&memory, 1 << 40).expect("size");
        assert_eq!(Mapping::new(&memory).expect_err("open").kind(), io::ErrorKind::InvalidData);
        rustix::fs::fcntl_add_seals(&memory, SEALS).expect("seal");
        assert_eq!(Mapping::new(&memory).expect_err("hole").kind(), io::ErrorKind::InvalidData);
        // Where the kernel has huge pages: taken back by their sender, they would be a signal.
        if let Ok(memory) = rustix::fs::memfd_create(c"huge", flags | MemfdFlags::HUGETLB) {
            rustix::fs::ftruncate(&memory, 1 << 30).expect("size");
            rustix::fs::fcntl_add_seals(&memory, SEALS).expect("seal");
            let error = Mapping::sparse(&memory, 0).expect_err("huge pages");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        let file = std::fs::File::open("/dev/null").expect("null");
        assert!(Mapping::front(&file, 1).is_err());
        assert_eq!(Mapping::new(&file).expect_err("file").kind(), io::ErrorKind::InvalidData);
    }
}
