//! The system's own calls: the baselines, shared memory, and pinning to a core.

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU32;

/// Runs `work` in a fork of this process, and gives the child's pid.
pub(crate) fn fork(work: impl FnOnce()) -> io::Result<libc::pid_t> {
    // SAFETY: the rows that call this have one thread, so no lock is held in the copy for ever.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            work();
            // SAFETY: ends this copy at once, without the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(pid),
    }
}

/// Waits until a child has ended and takes its status.
pub(crate) fn waitpid(pid: libc::pid_t) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: `status` lives across the call.
    match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ if status == 0 => Ok(()),
        _ => Err(io::Error::other(format!("the child ended with status {status}"))),
    }
}

/// `posix_spawn` of `/bin/true`, without arguments and environment.
pub(crate) fn posix_spawn_true() -> io::Result<libc::pid_t> {
    let path = CString::from(c"/bin/true");
    let arguments = [path.as_ptr().cast_mut(), ptr::null_mut()];
    let environment = [ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: both lists end with a null pointer, and everything lives across the call.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            ptr::null(),
            ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error == 0 { Ok(pid) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Makes `bytes` of memory resident, in small pages, for the rest of this process's life.
pub(crate) fn make_resident(bytes: usize) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let memory = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Large pages would make a fork cheap, on machines that hand them out.
    // SAFETY: the range is the mapping just made. Where the advice is unknown nothing happens.
    unsafe { libc::madvise(memory, bytes, libc::MADV_NOHUGEPAGE) };
    for offset in (0..bytes).step_by(4096) {
        // SAFETY: `offset` lies within the mapping.
        let page = unsafe { memory.cast::<u8>().add(offset) };
        // SAFETY: the mapping is writable, and nobody else knows it.
        unsafe { page.write_volatile(1) };
    }
    Ok(())
}

/// A pair of connected stream sockets.
pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    sockets(libc::SOCK_STREAM)
}

/// A pair of connected sockets that keep messages apart, so that several may write and read.
pub(crate) fn packet_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    sockets(libc::SOCK_SEQPACKET)
}

fn sockets(kind: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for both descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    let near = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let far = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((near, far))
}

/// A pipe: the end to read from, and the one to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for both descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    let reading = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writing = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reading, writing))
}

/// Has the kernel end this process when the thread that has forked it ends.
pub(crate) fn die_with_parent() {
    // SAFETY: it changes nothing but a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Ends a child that nobody waits for in any other way.
pub(crate) fn kill(pid: libc::pid_t) {
    // SAFETY: the pid is a child's that was not waited for yet, so it is nobody else's.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let _ = waitpid(pid);
}

/// Puts a value where this process and its forks share it, until the last of them ends.
pub(crate) fn shared<T: Sync>(value: T) -> io::Result<&'static T> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), size_of::<T>().max(1), protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let place = memory.cast::<T>();
    // SAFETY: the mapping is writable, large enough, aligned to a page, and nobody else's.
    unsafe { place.write(value) };
    // SAFETY: it was just written, and is never unmapped.
    Ok(unsafe { &*place })
}

/// Sleeps while `word` is `value`, until [`wake`].
pub(crate) fn sleep_while(word: &AtomicU32, value: u32) {
    let (word, no_limit) = (word.as_ptr(), ptr::null::<libc::timespec>());
    // SAFETY: the word is alive across the call. Why it returns does not matter: callers look.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, value, no_limit) };
}

/// Wakes one who sleeps on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the word is alive across the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Ties the calling thread to one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = empty_set();
    // SAFETY: cores come from `cores`, which yields only numbers that fit a set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is initialised and of the size given; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The cores that this process may run on.
pub(crate) fn cores() -> Vec<usize> {
    let mut set = empty_set();
    // SAFETY: `set` is writable and of the size given.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    let is_in = |core: &usize| {
        // SAFETY: the numbers below are smaller than the set is large.
        unsafe { libc::CPU_ISSET(*core, &set) }
    };
    (0..size_of::<libc::cpu_set_t>() * 8).filter(is_in).collect()
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a set is plain bits, and all zero is the empty set.
    unsafe { std::mem::zeroed() }
}
