//! Memory with a name, for processes that are not related: a file in `/dev/shm`.
//!
//! Such a file cannot be sealed, and has to be open for writing to be shared. So whoever may open
//! it, which is its user alone, can cut it short, and touching a mapping of what was cut off is a
//! fatal signal. [`read()`] and [`write()`] therefore go through the file: there it is a short count.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::linux::memory::{TMPFS_MAGIC, check_available, check_file_size};
use crate::linux::off_streams;
use crate::linux::shared::{self, Mapping};

/// Where the names are.
pub const FOLDER: &str = "/dev/shm";
/// The longest name, in bytes.
pub const LONGEST: usize = 255;

/// Makes `length` bytes of zeros without a name, all of which have memory. They are this user's
/// alone, and gone with the last handle as long as [`publish`] has not named them.
///
/// # Errors
///
/// When there is no such folder, no descriptor, or not that much memory.
pub fn create(length: usize) -> io::Result<OwnedFd> {
    check_file_size(length)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let memory = off_streams(rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR)?)?;
    check_kind(&memory)?;
    // Whatever the umask says.
    rustix::fs::fchmod(&memory, Mode::RUSR | Mode::WUSR)?;
    check_available(length)?;
    rustix::fs::ftruncate(&memory, length as u64)?;
    shared::back(&memory, 0, length)?;
    mark_open(&memory)?;
    Ok(memory)
}

/// Gives memory its name, unless something has that name.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`], or when the system refuses.
pub fn publish(memory: impl AsFd, name: &str) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd());
    let to = Path::new(FOLDER).join(name);
    Ok(rustix::fs::linkat(CWD, path, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

/// Opens what has this name.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`]; [`io::ErrorKind::PermissionDenied`] if it is another user's, or
/// others may open it; [`io::ErrorKind::InvalidData`] if it is no memory.
pub fn open(name: &str) -> io::Result<OwnedFd> {
    let path = Path::new(FOLDER).join(name);
    // Whatever somebody else has put there: no link is followed, and no reader waited for.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let memory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(memory) => off_streams(memory)?,
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::NODEV) => {
            return Err(invalid("it is no file"));
        }
        Err(error) => return Err(error.into()),
    };
    check(&memory)?;
    check_owner(&memory)?;
    mark_open(&memory)?;
    Ok(memory)
}

/// Checks a handle that came from somewhere else: memory in a file, whosoever.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if it is not.
pub fn check(memory: impl AsFd) -> io::Result<()> {
    check_kind(&memory)?;
    let status = rustix::fs::fstat(&memory)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(invalid("it is no file"));
    }
    // Writing beyond it is a fatal signal.
    check_file_size(usize::try_from(status.st_size).map_err(|_| invalid("a negative length"))?)
}

fn check_owner(memory: impl AsFd) -> io::Result<()> {
    let status = rustix::fs::fstat(memory)?;
    let denied = |what: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    if status.st_uid != rustix::process::geteuid().as_raw() {
        return denied(format!("it belongs to user {}", status.st_uid));
    }
    if status.st_mode & 0o077 != 0 {
        return denied(format!("other users may open it (mode {:o})", status.st_mode & 0o777));
    }
    Ok(())
}

fn check_kind(memory: impl AsFd) -> io::Result<()> {
    // Another kind of file system may wait for whoever serves it.
    if rustix::fs::fstatfs(memory)?.f_type == TMPFS_MAGIC {
        return Ok(());
    }
    Err(invalid("it is not in memory: /dev/shm is not a tmpfs, or the file lies elsewhere"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Takes a name away, whoever has the memory open.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`]; when the system refuses.
pub fn unlink(name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlink(Path::new(FOLDER).join(name))?)
}

/// Returns the names that begin with `prefix`, of whoever's files.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn names(prefix: &str) -> io::Result<Vec<String>> {
    let text = |name: &OsStr| std::str::from_utf8(name.as_bytes()).ok().map(str::to_owned);
    let names = std::fs::read_dir(FOLDER)?.flatten().filter_map(|entry| text(&entry.file_name()));
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Returns the user whose a name is, if there is one.
#[must_use]
pub fn owner(name: &str) -> Option<u32> {
    rustix::fs::lstat(Path::new(FOLDER).join(name)).ok().map(|status| status.st_uid)
}

/// Returns how many bytes memory has now.
///
/// # Errors
///
/// When the system refuses.
pub fn length(memory: impl AsFd) -> io::Result<usize> {
    Ok(usize::try_from(rustix::fs::fstat(memory)?.st_size).unwrap_or(0))
}

/// Copies bytes out, from `offset` on, and returns how many there were.
///
/// # Errors
///
/// When the system refuses.
pub fn read(memory: impl AsFd, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(&memory, &mut buffer[done..], (offset + done) as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Copies bytes in, from `offset` on, as far as there is memory.
///
/// # Errors
///
/// When the system refuses.
pub fn write(memory: impl AsFd, offset: usize, bytes: &[u8]) -> io::Result<usize> {
    let mut done = 0;
    // What has been cut off stays so.
    let room = length(&memory)?.saturating_sub(offset);
    let bytes = &bytes[..bytes.len().min(room)];
    while done < bytes.len() {
        match rustix::io::pwrite(&memory, &bytes[done..], (offset + done) as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Maps all of it. Touching what is cut off later is a fatal signal.
///
/// # Errors
///
/// When it is empty or has holes, or cannot be mapped.
pub fn map(memory: impl AsFd) -> io::Result<Mapping> {
    Mapping::unsealed(memory)
}

/// As long as the file is open anywhere, it has this mark, which the system takes away: however
/// those end who have it open.
fn mark_open(memory: &OwnedFd) -> io::Result<()> {
    lock(memory, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

/// Tells whether somebody else has memory open, who has it from [`create`] or [`open`], or was
/// passed such a handle.
///
/// # Errors
///
/// When the system refuses.
pub fn is_open_elsewhere(memory: &OwnedFd) -> io::Result<bool> {
    let found = lock(memory, libc::F_OFD_GETLK, libc::F_WRLCK)?;
    Ok(found.l_type != libc::F_UNLCK as libc::c_short)
}

fn lock(memory: &OwnedFd, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::flock> {
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the record lives through the call.
    let result = unsafe { libc::fcntl(memory.as_raw_fd(), command, &raw mut lock) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(lock) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_name_until_it_is_given_one_and_keeps_its_bytes() {
        let name = format!("procession-sys-test-{}", std::process::id());
        let memory = create(100).expect("memory");
        assert_eq!(open(&name).expect_err("no name yet").kind(), io::ErrorKind::NotFound);
        publish(&memory, &name).expect("the name is free");
        let again = create(1).expect("memory");
        let taken = publish(&again, &name).expect_err("taken");
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert!(names("procession-sys-test-").expect("folder").contains(&name));
        let other = open(&name).expect("it has a name");
        assert_eq!(write(&memory, 98, b"abc").expect("write"), 2, "as far as there is memory");
        let mut bytes = [9; 4];
        assert_eq!(read(&other, 97, &mut bytes).expect("read"), 3);
        assert_eq!(bytes, [0, b'a', b'b', 9]);
        assert!(is_open_elsewhere(&memory).expect("lock"));
        drop(other);
        // A process that another test forks in between has it open too, until it executes.
        while is_open_elsewhere(&memory).expect("lock") {
            std::thread::yield_now();
        }
        unlink(&name).expect("it is there");
        assert_eq!(unlink(&name).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let file = std::fs::File::open("/proc/self/stat").expect("proc");
        assert_eq!(check(&file).expect_err("elsewhere").kind(), io::ErrorKind::InvalidData);
        let folder = std::fs::File::open(FOLDER).expect("folder");
        assert_eq!(check(&folder).expect_err("no file").kind(), io::ErrorKind::InvalidData);
        let memory = create(1).expect("memory");
        rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o644)).expect("it is ours");
        assert_eq!(check_owner(&memory).expect_err("open").kind(), io::ErrorKind::PermissionDenied);
    }
}
