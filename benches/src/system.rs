//! The system's own calls: the baselines, and pinning to a core.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

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
    let mut ends = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
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

/// The system's own lock that survives its holder. Leaked: it is used until the end.
pub(crate) struct RobustMutex(*mut libc::pthread_mutex_t);

impl RobustMutex {
    pub(crate) fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are ours to initialise.
        check(unsafe { libc::pthread_mutexattr_init(attributes) })?;
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, shared) })?;
        let robust = libc::PTHREAD_MUTEX_ROBUST;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, robust) })?;
        let mutex: *mut libc::pthread_mutex_t =
            Box::into_raw(Box::new(MaybeUninit::<libc::pthread_mutex_t>::uninit())).cast();
        // SAFETY: the mutex is ours to initialise, and never moves or goes.
        check(unsafe { libc::pthread_mutex_init(mutex, attributes) })?;
        Ok(Self(mutex))
    }

    pub(crate) fn lock_and_unlock(&self) {
        // SAFETY: it was initialised in `new`.
        unsafe { libc::pthread_mutex_lock(self.0) };
        // SAFETY: as above, and this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0) };
    }
}

/// The system's own semaphore. Leaked as well.
pub(crate) struct SharedSemaphore(*mut libc::sem_t);

impl SharedSemaphore {
    pub(crate) fn new() -> io::Result<Self> {
        let semaphore: *mut libc::sem_t =
            Box::into_raw(Box::new(MaybeUninit::<libc::sem_t>::uninit())).cast();
        // SAFETY: the semaphore is ours to initialise, and never moves or goes.
        let failed = unsafe { libc::sem_init(semaphore, 1, 1) } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(Self(semaphore)) }
    }

    pub(crate) fn wait_and_post(&self) {
        // SAFETY: it was initialised in `new`.
        unsafe { libc::sem_wait(self.0) };
        // SAFETY: as above.
        unsafe { libc::sem_post(self.0) };
    }
}

/// The threads' functions return the error number.
fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
