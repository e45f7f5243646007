//! System calls that the tests need and no safe crate offers.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Makes this process end, with `SIGALRM`, after some seconds.
pub fn end_after(seconds: u32) {
    // SAFETY: plain numbers.
    unsafe { libc::alarm(seconds) };
}

/// Sends a signal.
///
/// # Errors
///
/// When there is no such process.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid.cast_signed(), signal) })
}

/// Ends this process by a signal to itself.
pub fn signal_self(number: i32) {
    // SAFETY: a plain number.
    unsafe { libc::raise(number) };
}

/// Ignores a signal in this process from here on.
pub fn ignore(number: i32) {
    // SAFETY: nothing is a handler that any process may have.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// Has `handler`, which may do only what a signal handler may, run for a signal from here on.
pub fn handle(number: i32, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler has the right type, and its caller knows what it may do.
    unsafe { libc::signal(number, handler as *const () as libc::sighandler_t) };
}

/// Blocks every signal in the calling thread.
pub fn block_all_signals() {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours to write.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: the set is filled in.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) };
}

/// The descriptors of this process that programs to come inherit.
#[must_use]
pub fn inheritable_descriptors() -> Vec<i32> {
    let open = crate::proc::descriptors_of(std::process::id()).into_iter();
    open.map(|(number, _)| number)
        // SAFETY: the command reads a flag, of any number.
        .filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } & libc::FD_CLOEXEC == 0)
        .collect()
}

/// Sets what a signal does, with flags.
fn act(number: i32, handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: all zeros are an action: the default, nothing blocked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler is the default or a function of the right type.
    unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
}

/// The same as [`handle`]; what the signal comes into is interrupted.
pub fn handle_interrupting(number: i32, handler: extern "C" fn(libc::c_int)) {
    act(number, handler as *const () as libc::sighandler_t, 0);
}

/// Has the system throw away the statuses of this process's children from here on.
pub fn reap_by_itself() {
    act(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDWAIT);
}

/// Takes the status of any child that is dead, or if `wait` of the next to die; false when there
/// is none.
#[must_use]
pub fn reap_any(wait: bool) -> bool {
    let options = if wait { 0 } else { libc::WNOHANG };
    // SAFETY: no status is wanted.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), options) > 0 }
}

/// Sets the bits that the files of this process are made without.
pub fn set_mode_mask(mask: u32) {
    // SAFETY: a plain number.
    unsafe { libc::umask(mask) };
}

/// Sets a limit of this process, the soft one.
///
/// # Errors
///
/// When the system refuses.
pub fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is ours to write.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    limit.rlim_cur = value.min(limit.rlim_max);
    // SAFETY: the limit is ours to read.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// The number of the process group.
#[must_use]
pub fn group() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::getpgrp() }.cast_unsigned()
}

/// The user on whose behalf this process runs.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() }
}

/// Gives up the rights of root for those of another user, for good.
///
/// # Errors
///
/// When the system refuses.
pub fn become_user(number: u32) -> io::Result<()> {
    // SAFETY: a plain number.
    check(unsafe { libc::setgid(number) })?;
    // SAFETY: a plain number.
    check(unsafe { libc::setuid(number) })
}

/// What a signal does here: the handler's address, 0 for the default, 1 for nothing.
#[must_use]
pub fn disposition(signal: i32) -> usize {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the action is ours to write.
    unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are an action, and the system may have filled it in.
    unsafe { action.assume_init() }.sa_sigaction
}

/// Sends bytes, with descriptors, over a socket that belongs to somebody else.
///
/// # Errors
///
/// When the system refuses.
///
/// # Panics
///
/// With more than 64 descriptors.
pub fn send(socket: i32, bytes: &[u8], descriptors: &[i32]) -> io::Result<()> {
    assert!(descriptors.len() <= 64, "the space is for 64");
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut space = [0u64; 64];
    // SAFETY: all zeros are a message without parts.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let size = u32::try_from(size_of_val(descriptors)).unwrap_or(0);
        message.msg_control = space.as_mut_ptr().cast();
        // SAFETY: plain numbers.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as usize;
        // SAFETY: the message has control space, aligned by its type, for one header.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: the space holds the header, and nothing else refers to it.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: plain numbers.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size) } as usize;
        // SAFETY: the header is one of the message's, just filled in.
        let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
        // SAFETY: the space holds 64 numbers and two headers, and the data lies in it.
        unsafe { data.copy_from_nonoverlapping(descriptors.as_ptr(), descriptors.len()) };
    }
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: everything that the message points to lives until the call returns.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells whether a message waits at a socket that belongs to somebody else.
#[must_use]
pub fn has_message(socket: i32) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: one byte of ours is written.
    unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, flags) >= 0 }
}

/// A terminal of 80 columns: what shows it, and what a program has.
///
/// # Errors
///
/// When the system refuses.
pub fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs, no_name) = (0, 0, std::ptr::null_mut());
    // SAFETY: both numbers are ours to write, the size is ours to read, and null is nothing.
    let made = unsafe {
        let settings = std::ptr::null();
        libc::openpty(&raw mut ours, &raw mut theirs, no_name, settings, &raw const size)
    };
    check(made)?;
    // SAFETY: it was just made, and nothing else owns it.
    let ours = unsafe { OwnedFd::from_raw_fd(ours) };
    // SAFETY: as the other.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
    Ok((ours, theirs))
}

/// A forked copy of this process runs `f` and ends with its result; returns its exit code.
///
/// For programs with one thread that needs no lock of another's.
///
/// # Errors
///
/// When the system refuses.
pub fn in_forked_copy(f: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the caller's program has no other thread that holds a lock that `f` needs.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = f();
        // SAFETY: ends the copy at once, without the hooks of the original.
        unsafe { libc::_exit(code) };
    }
    check(pid.min(0))?;
    let mut status = 0;
    // SAFETY: the status is ours to write.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.min(0))?;
    Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) })
}

/// A pair of connected sockets whose messages keep their bounds, open in programs to come as well.
///
/// # Errors
///
/// When the system refuses.
pub fn inheritable_pair(kind: i32) -> io::Result<[i32; 2]> {
    let mut pair = [0; 2];
    // SAFETY: the pair is ours to write.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    Ok(pair)
}

/// Closes a descriptor that this caller made by number.
pub fn close(number: i32) {
    // SAFETY: the caller made it, and nothing owns it.
    unsafe { libc::close(number) };
}

/// Loads a library and calls the function `name` in it, which takes and returns nothing but a
/// number. The library stays loaded.
///
/// # Errors
///
/// What the loader says.
pub fn call_in_library(path: &std::path::Path, name: &std::ffi::CStr) -> Result<i32, String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the library is one of this package's own.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        // SAFETY: after a failure the loader has a text for it.
        let reason = unsafe { libc::dlerror() };
        // SAFETY: a text with its end, which stays until the loader's next failure.
        let reason = unsafe { std::ffi::CStr::from_ptr(reason) };
        return Err(reason.to_string_lossy().into_owned());
    }
    // SAFETY: the library is loaded.
    let function = unsafe { libc::dlsym(library, name.as_ptr()) };
    if function.is_null() {
        return Err(format!("the library has no {name:?}"));
    }
    // SAFETY: the function is declared like this in the library.
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(function) };
    Ok(function())
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A thread that can be sent signals while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Thread(libc::pthread_t);

/// The calling thread.
#[must_use]
pub fn this_thread() -> Thread {
    // SAFETY: no arguments.
    Thread(unsafe { libc::pthread_self() })
}

impl Thread {
    /// Sends it a signal; it must not have ended.
    pub fn signal(self, number: i32) {
        // SAFETY: the caller keeps the thread alive.
        unsafe { libc::pthread_kill(self.0, number) };
    }
}
