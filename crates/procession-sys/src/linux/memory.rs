//! Sealed anonymous memory: a message too large for a wire, whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// What a sealed memory must carry: nobody can change, cut or grow what a reader has mapped.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// What `statfs` says of an ordinary memfd, and not of one of huge pages.
pub(crate) const TMPFS_MAGIC: rustix::fs::FsWord = libc::TMPFS_MAGIC;

/// Copies `parts` into new memory that nobody can change any more.
///
/// # Errors
///
/// When the system has no descriptor or no memory left.
pub fn sealed(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let length = parts.iter().map(|part| part.len()).sum();
    check_file_size(length)?;
    check_available(length)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create(c"procession", flags)?);
    for part in parts {
        file.write_all(part)?;
    }
    loop {
        match rustix::fs::fcntl_add_seals(&file, SEALS | SealFlags::SEAL) {
            Ok(()) => return Ok(file.into()),
            // The kernel itself still holds pages that were just written (they are on their way to
            // a processor's list): it lets go of them by itself.
            Err(Errno::BUSY) => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Refuses what is larger than this process's files may be: writing it would be a fatal signal.
///
/// # Errors
///
/// [`io::ErrorKind::FileTooLarge`].
pub(crate) fn check_file_size(length: usize) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    match limit.filter(|limit| *limit < length as u64) {
        None => Ok(()),
        Some(limit) => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!(
                "{length} bytes of shared memory are more than the limit of file sizes, {limit} \
                 (see ulimit -f), which counts here"
            ),
        )),
    }
}

/// Refuses memory that the machine does not have, where taking it would have the system kill
/// somebody instead: it promises shared memory without looking.
///
/// # Errors
///
/// [`io::ErrorKind::OutOfMemory`].
pub(crate) fn check_available(length: usize) -> io::Result<()> {
    /// Less than this is not worth the look.
    const LITTLE: usize = 16 << 20;
    /// What is left to the others.
    const RESERVE: u64 = 32 << 20;
    if length < LITTLE {
        return Ok(());
    }
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    let available = (bytes("MemAvailable") + bytes("SwapFree")).saturating_sub(RESERVE);
    if length as u64 <= available {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!("{length} bytes of shared memory are more than the {available} that are free"),
    ))
}

/// A read-only view of sealed memory.
#[derive(Debug)]
pub struct View {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the view is read-only and its bytes are sealed against writing by anybody (checked in
// `map`), so threads can share it as they can a `&'static [u8]`.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps `memory` if it is sealed, `length` bytes long, and has every one of them.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the memory is not sealed, or not what was said: its sender
    /// could change it under the reader, or has lied. Others when it cannot be mapped.
    pub fn map(memory: impl AsFd, length: usize) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let seals = rustix::fs::fcntl_get_seals(&memory)
            .map_err(|_| invalid("the descriptor sent with a large message is not a memfd"))?;
        if !seals.contains(SEALS) {
            return Err(invalid("the memory of a large message is not sealed"));
        }
        let status = rustix::fs::fstat(&memory)?;
        let size = status.st_size.cast_unsigned();
        if size != length as u64 {
            return Err(invalid("the memory of a large message is not as long as it says"));
        }
        // Reading a hole would have the kernel fill it, at this process's expense.
        let hole = rustix::fs::seek(&memory, rustix::fs::SeekFrom::Hole(0));
        if size > 0 && hole.map_err(|_| invalid("the memory of a large message is odd"))? < size {
            return Err(invalid("the memory of a large message has holes"));
        }
        if rustix::fs::fstatfs(&memory)?.f_type != TMPFS_MAGIC {
            return Err(invalid("the memory of a large message is not ordinary memory"));
        }
        if length == 0 {
            return Ok(Self { start: NonNull::dangling(), length });
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let start = unsafe {
            let flags = MapFlags::SHARED | MapFlags::POPULATE;
            rustix::mm::mmap(ptr::null_mut(), length, ProtFlags::READ, flags, memory, 0)
        }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| invalid("mapped at address zero"))?;
        Ok(Self { start, length })
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `map` mapped `length` readable bytes that seals keep from changing and from
        // shrinking; they stay mapped until `drop`, which needs this borrow to have ended.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.length != 0 {
            // SAFETY: the range is the one `map` got, and nobody can hold a reference into it.
            let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
            debug_assert!(unmapped.is_ok(), "unmapping our own view");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order() {
        let memory = sealed(&[b"ab", b"", b"cde"]).expect("sealed");
        assert_eq!(&*View::map(&memory, 5).expect("view"), b"abcde");
        let empty = sealed(&[]).expect("sealed");
        assert_eq!(&*View::map(&empty, 0).expect("empty view"), b"");
    }

    #[test]
    fn lies_and_foreign_files_are_refused() {
        let memory = sealed(&[b"abc"]).expect("sealed");
        for length in [0, 2, 4, usize::MAX] {
            let lie = View::map(&memory, length).expect_err("another length");
            assert_eq!(lie.kind(), io::ErrorKind::InvalidData);
        }
        let file = File::open("/proc/self/exe").expect("file");
        assert_eq!(View::map(&file, 1).expect_err("a file").kind(), io::ErrorKind::InvalidData);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let open = rustix::fs::memfd_create(c"open", flags).expect("memfd");
        rustix::fs::ftruncate(&open, 10).expect("size");
        assert_eq!(View::map(&open, 10).expect_err("unsealed").kind(), io::ErrorKind::InvalidData);
        rustix::fs::ftruncate(&open, 1 << 40).expect("a hole");
        rustix::fs::fcntl_add_seals(&open, SEALS).expect("sealed");
        let hole = View::map(&open, 1 << 40).expect_err("a terabyte of nothing");
        assert_eq!(hole.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn sealed_memory_cannot_be_written() {
        let memory = sealed(&[b"abc"]).expect("sealed");
        assert!(File::from(memory).write_all(b"x").is_err());
    }
}
