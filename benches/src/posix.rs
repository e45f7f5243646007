//! The system's own locks, semaphores and conditions between processes.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;

use crate::system;

/// What lies in memory that forks share. Every use goes through the system's own calls.
struct InPlace<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: the system's calls on it may be made from any thread and process at once.
unsafe impl<T> Sync for InPlace<T> {}

impl<T> InPlace<T> {
    fn new() -> io::Result<&'static Self> {
        system::shared(Self(UnsafeCell::new(MaybeUninit::uninit())))
    }

    fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}

/// The system's own lock that survives its holder, shared with forks.
#[derive(Clone, Copy)]
pub(crate) struct RobustMutex(&'static InPlace<libc::pthread_mutex_t>);

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
        let mutex = InPlace::new()?;
        // SAFETY: the mutex is ours to initialise, and never moves or goes.
        check(unsafe { libc::pthread_mutex_init(mutex.get(), attributes) })?;
        Ok(Self(mutex))
    }

    pub(crate) fn lock(self) {
        // SAFETY: it was initialised in `new`.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    pub(crate) fn unlock(self) {
        // SAFETY: as above, and this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

/// The system's own condition, shared with forks.
#[derive(Clone, Copy)]
pub(crate) struct SharedCondition(&'static InPlace<libc::pthread_cond_t>);

impl SharedCondition {
    pub(crate) fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are ours to initialise.
        check(unsafe { libc::pthread_condattr_init(attributes) })?;
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_condattr_setpshared(attributes, shared) })?;
        let condition = InPlace::new()?;
        // SAFETY: the condition is ours to initialise, and never moves or goes.
        check(unsafe { libc::pthread_cond_init(condition.get(), attributes) })?;
        Ok(Self(condition))
    }

    /// Waits, with `mutex` held.
    pub(crate) fn wait(self, mutex: RobustMutex) {
        // SAFETY: both were initialised, and this thread holds the mutex.
        unsafe { libc::pthread_cond_wait(self.0.get(), mutex.0.get()) };
    }

    pub(crate) fn notify(self) {
        // SAFETY: it was initialised in `new`.
        unsafe { libc::pthread_cond_signal(self.0.get()) };
    }
}

/// The system's own semaphore, shared with forks.
#[derive(Clone, Copy)]
pub(crate) struct SharedSemaphore(&'static InPlace<libc::sem_t>);

impl SharedSemaphore {
    pub(crate) fn new(value: u32) -> io::Result<Self> {
        let semaphore = InPlace::new()?;
        // SAFETY: the semaphore is ours to initialise, and never moves or goes.
        let failed = unsafe { libc::sem_init(semaphore.get(), 1, value) } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(Self(semaphore)) }
    }

    pub(crate) fn wait(self) {
        // SAFETY: it was initialised in `new`.
        unsafe { libc::sem_wait(self.0.get()) };
    }

    pub(crate) fn post(self) {
        // SAFETY: as above.
        unsafe { libc::sem_post(self.0.get()) };
    }
}

/// The threads' functions return the error number.
fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
