//! What Rust's runtime sets up before `main`, and hooks at fork and at exit.
//!
//! A child runs before `main`, so the runtime has set up nothing. [`prepare`] does it.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering::SeqCst};

use crate::linux::tether;

/// Tells whether the target runs on the process's own main thread.
///
/// Thread-local destructors of the main thread run at `exit` only with a dynamic glibc, and only
/// there does a forked copy know its own thread number; elsewhere the target gets a new thread.
pub const TARGET_ON_MAIN_THREAD: bool =
    cfg!(all(target_env = "gnu", not(target_feature = "crt-static")));

/// What killed a child, told by itself on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// Its main thread has used up its stack.
    StackOverflow,
    /// An allocation has failed.
    OutOfMemory,
}

/// How often this process was forked from another that counts.
static COPIES: AtomicU32 = AtomicU32::new(0);
/// Whether [`prepare`] has been called in this process or the one that it is a copy of.
static PREPARED: AtomicBool = AtomicBool::new(false);
/// Where the last word goes, by number; -1 for nowhere.
static LAST_WORD_WIRE: AtomicI32 = AtomicI32::new(-1);
/// Whose last word it would be: not that of a process forked from it.
static LAST_WORD_OF: AtomicI32 = AtomicI32::new(0);
/// The messages, prepared before anything can go wrong: `[overflow, memory]`.
static LAST_WORDS: [AtomicPtr<Vec<u8>>; 2] =
    [AtomicPtr::new(std::ptr::null_mut()), AtomicPtr::new(std::ptr::null_mut())];

/// Sets this process up as Rust's runtime would: `SIGPIPE` ignored, a message when the stack
/// overflows. Once; a forked copy inherits it. `first` runs before anything can be told.
pub fn prepare(first: impl FnOnce()) {
    if PREPARED.swap(true, SeqCst) {
        return;
    }
    first();
    set_action(libc::SIGPIPE, libc::SIG_IGN, 0);
    install_altstack();
    let on_fault = on_fault as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    set_action(libc::SIGSEGV, on_fault as usize, flags);
    set_action(libc::SIGBUS, on_fault as usize, flags);
    let on_abort = on_abort as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    set_action(libc::SIGABRT, on_abort as usize, flags);
}

/// Chooses the bytes that a child sends over its wire when it dies like that.
pub fn set_last_word(word: LastWord, message: Vec<u8>) {
    LAST_WORDS[word as usize].store(Box::into_raw(Box::new(message)), SeqCst);
}

/// Makes this prepared process a child: last words go to `wire`, and no signal is blocked.
pub fn enter_child(wire: BorrowedFd<'_>) {
    LAST_WORD_OF.store(std::process::id().cast_signed(), SeqCst);
    LAST_WORD_WIRE.store(wire.as_raw_fd(), SeqCst);
    unblock_all_signals();
}

/// Gives the calling thread a stack for its signal handlers, on which an overflow can be told.
pub fn install_altstack() {
    const SIZE: usize = 64 * 1024;
    let stack = Box::leak(vec![0u8; SIZE].into_boxed_slice());
    let description =
        libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
    // SAFETY: the memory is leaked, so it outlives every handler that runs on it.
    unsafe { libc::sigaltstack(&raw const description, std::ptr::null_mut()) };
}

fn set_action(signal: c_int, handler: libc::sighandler_t, flags: c_int) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero bytes are a valid sigaction: default handler, empty mask, no flags.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler is SIG_IGN, SIG_DFL or one of the functions below, whose signature the
    // flags announce, and which do only what is allowed in a handler.
    unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
}

/// A fault near the stack pointer is a full stack; anything else dies of its signal.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        // Somebody's `kill`, no fault: no instruction would run again and fault again.
        set_action(signal, libc::SIG_DFL, 0);
        // SAFETY: raise is allowed in a handler; the signal comes again when this handler returns.
        unsafe { libc::raise(signal) };
        return;
    }
    // SAFETY: the handler is installed for SIGSEGV and SIGBUS alone, whose siginfo has an address.
    let address = unsafe { info.si_addr() } as usize;
    let near = stack_pointer(context).is_some_and(|sp| address.abs_diff(sp) < 64 * 1024);
    if near {
        say(LastWord::StackOverflow);
        let message = b"\nthe target of this process has overflowed its stack\nfatal runtime error: stack overflow\n";
        // SAFETY: write is allowed in a handler; the bytes are static.
        unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
        set_action(libc::SIGABRT, libc::SIG_DFL, 0);
        // SAFETY: abort is allowed in a handler, and does not return.
        unsafe { libc::abort() };
    }
    // The instruction runs again, now with the default action: the status tells the truth.
    set_action(signal, libc::SIG_DFL, 0);
}

/// An abort from within the allocator's error handler is a failed allocation.
extern "C" fn on_abort(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if stack_pointer(context).is_some_and(allocation_failed) {
        say(LastWord::OutOfMemory);
    }
    set_action(libc::SIGABRT, libc::SIG_DFL, 0);
    // SAFETY: raise is allowed in a handler; the signal comes again when this handler returns.
    unsafe { libc::raise(libc::SIGABRT) };
}

/// Tells whether a return address into `handle_alloc_error` is on the stack from `pointer` up.
///
/// Rust aborts after a failed allocation as after anything else, and what it prints may have
/// changed the C library's last error. But the function that every failed allocation goes through
/// never returns, so its return addresses are on the stack of no thread but one that is in it.
fn allocation_failed(pointer: usize) -> bool {
    /// More than the frames between that function and the abort need.
    const SCANNED: usize = 16 * 1024;
    /// The function does nothing but call another: its code is short.
    const CODE: usize = 64;
    const WORD: usize = size_of::<usize>();
    let handler = std::alloc::handle_alloc_error as *const () as usize;
    let mut address = pointer.next_multiple_of(WORD);
    let end = address + SCANNED;
    // Small: the handler's own stack is.
    let mut words = [0usize; 64];
    while address < end {
        // Nobody knows where this thread's stack ends. The kernel reads what is there, and says
        // how much that was.
        let read = read_memory(address, &mut words);
        if words[..read].iter().any(|word| (handler..=handler + CODE).contains(word)) {
            return true;
        }
        if read < words.len() {
            return false;
        }
        address += size_of_val(&words);
    }
    false
}

/// Reads words of this process's own memory, mapped or not; returns how many are there.
fn read_memory(address: usize, words: &mut [usize]) -> usize {
    let size = size_of_val(words);
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: size };
    // SAFETY: no arguments; allowed in a handler.
    let me = unsafe { libc::getpid() };
    // SAFETY: the kernel writes at most `size` bytes into `words`, and checks the other address
    // itself. A system call, and as such allowed in a handler.
    let read = unsafe { libc::process_vm_readv(me, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).unwrap_or(0) / size_of::<usize>()
}

fn say(word: LastWord) {
    let wire = LAST_WORD_WIRE.load(SeqCst);
    let message = LAST_WORDS[word as usize].load(SeqCst);
    // SAFETY: no arguments; allowed in a handler.
    let is_own = unsafe { libc::getpid() } == LAST_WORD_OF.load(SeqCst);
    if is_own && wire >= 0 && !message.is_null() {
        // SAFETY: the message was leaked by `set_last_word` and is never changed.
        let message = unsafe { &*message };
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: send is allowed in a handler and reads the message only.
        unsafe { libc::send(wire, message.as_ptr().cast(), message.len(), flags) };
    }
}

#[cfg(target_arch = "x86_64")]
fn stack_pointer(context: *mut c_void) -> Option<usize> {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    Some(context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize)
}

#[cfg(target_arch = "aarch64")]
fn stack_pointer(context: *mut c_void) -> Option<usize> {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    Some(context.uc_mcontext.sp as usize)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn stack_pointer(_: *mut c_void) -> Option<usize> {
    None
}

fn mask_signals(
    how: c_int,
    fill: unsafe extern "C" fn(*mut libc::sigset_t) -> c_int,
) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `sigemptyset` or `sigfillset` on a set of ours.
    unsafe { fill(set.as_mut_ptr()) };
    // SAFETY: both sets are ours, and the first is initialised.
    unsafe { libc::pthread_sigmask(how, set.as_ptr(), old.as_mut_ptr()) };
    // SAFETY: zeroed, and filled in by the call.
    unsafe { old.assume_init() }
}

fn unblock_all_signals() {
    mask_signals(libc::SIG_SETMASK, libc::sigemptyset);
}

/// Blocks every signal in the calling thread for good: a fork server is nobody's to interrupt.
pub fn block_all_signals() {
    mask_signals(libc::SIG_SETMASK, libc::sigfillset);
}

/// Runs `f` with every signal blocked, so that a thread it starts never runs a handler of the
/// program that we live in.
pub fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    let old = mask_signals(libc::SIG_SETMASK, libc::sigfillset);
    let result = f();
    // SAFETY: `old` is what the call above returned.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut()) };
    result
}

/// Has `hook` run when this program exits: `main` returns, or somebody calls `exit`.
///
/// # Errors
///
/// When the C library has no room for another hook.
pub fn at_exit(hook: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is static and takes no arguments.
    match unsafe { libc::atexit(hook) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Has `hook` run in every forked copy of this process, before anything else does; the copy no
/// longer holds this program's tether then. The hook may only do what a signal handler may.
///
/// # Errors
///
/// When the C library has no room for another hook.
pub fn in_fork_copy(hook: extern "C" fn()) -> io::Result<()> {
    static HOOK: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    extern "C" fn in_copy() {
        tether::cut_in_fork_copy();
        let hook = HOOK.load(SeqCst);
        if !hook.is_null() {
            // SAFETY: only a function of this very type is ever stored.
            let hook = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn()>(hook) };
            hook();
        }
    }
    HOOK.store(hook as *mut c_void, SeqCst);
    // SAFETY: the function is static and does only what is allowed between fork and exec.
    match unsafe { libc::pthread_atfork(None, None, Some(in_copy)) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Returns how often this process has been forked from another since the first call: a number that
/// is the same for as long as this is the same process.
///
/// # Errors
///
/// When the C library has no room for another hook.
pub fn copies() -> io::Result<u32> {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    extern "C" fn in_copy() {
        COPIES.fetch_add(1, SeqCst);
    }
    if !HOOKED.load(SeqCst) {
        // Two threads at once install two hooks, each of which only adds one more.
        // SAFETY: the function is static and does only what is allowed between fork and exec.
        match unsafe { libc::pthread_atfork(None, None, Some(in_copy)) } {
            0 => HOOKED.store(true, SeqCst),
            _ => return Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
    Ok(COPIES.load(SeqCst))
}

/// Counts this process as another one: for a copy that was made without the C library's knowledge.
pub(crate) fn became_copy() {
    COPIES.fetch_add(1, SeqCst);
}

/// As [`copies`], which has been called before.
#[must_use]
#[inline]
pub fn known_copies() -> u32 {
    COPIES.load(std::sync::atomic::Ordering::Relaxed)
}

/// Ends this process at once with `code`: no hook at exit runs, nothing is flushed.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Kills this process as SIGKILL from outside would, between two instructions.
pub fn kill_self() -> ! {
    let pid = std::process::id().cast_signed();
    // SAFETY: kill takes plain numbers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
