//! A segment: one piece of shared memory with one structure in it.
//!
//! # Layout
//!
//! ```text
//! 0          64         ~4.2 KiB     body's end, to a multiple of 64
//! │ header   │ roster   │ body       │ tail … length │
//!
//! header: magic (8) │ version (4) │ kind (4) │ length (8) │ zeros
//! ```
//!
//! The header is written once, before the handle leaves this process, and checked once, when the
//! segment is opened; nothing is ever computed from it again. What a body is made of is atomics, of
//! which every value is one that its code can meet. The tail's length is that of the mapping.
//!
//! # Invariants
//!
//! 1. Header, roster, body and tail lie inside the mapping, which is as long as the memory (checked
//!    in `Segment::map`), and nobody can cut that short (a seal).
//! 2. All access to them is by atomics, or to the tail by raw copies under a lock whose breach can
//!    give garbage and nothing worse.
//! 3. In each process there is one `Core` for one memory, however many handles came.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

#[cfg(not(loom))]
use crate::atomic::unmodelled;
use crate::atomic::{AtomicU32, AtomicU64, Ordering, Zeros};
use crate::os::process::{self, current_pid};
use crate::os::ready::Bell;
use crate::os::shared::{self, Mapping};
use crate::os::{BorrowedHandle, Handle, borrow, crash_point, runtime};
use crate::roster::{JoinFailed, Number, PLACES, Participant, Roster};
#[cfg(not(loom))]
use crate::watch::Line;
use crate::watch::{Watched, Watcher};

const MAGIC: u64 = u64::from_ne_bytes(*b"PRC shm\n");
/// Grows with every change of a layout.
const VERSION: u32 = 1;

/// The first bytes of a segment.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    kind: AtomicU32,
    length: AtomicU64,
}

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Layout<B> {
    header: Header,
    roster: Roster,
    body: B,
}

fn tail_offset<B>() -> usize {
    size_of::<Layout<B>>().next_multiple_of(64)
}

/// How much of a segment has memory from the beginning.
fn backed<B: Body>() -> usize {
    tail_offset::<B>().saturating_add(B::BACKED)
}

/// What comes after it begins a cache line of its own: what one side of a structure changes all the
/// time does not take away what the other side needs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct NewLine;

/// What lies in a segment between roster and tail.
///
/// # Safety
///
/// The type has the layout of C, needs no alignment above 64, and any bytes are a value of it that
/// other processes may change at any time: it is made of atomics. All zeros are its beginning.
pub(crate) unsafe trait Body: Zeros + Sync + 'static {
    /// Tells it from other bodies.
    const KIND: u32;

    /// How much of the tail has memory from the beginning; the rest gets it when it is needed.
    const BACKED: usize = usize::MAX;

    /// Takes the dead one's number out of every word. May run several times, at once, and late: when
    /// another has swept already and a newcomer has the place. So what is found by a place is the
    /// dead one's only if its number stands there, or its claim is seen after what is changed.
    fn sweep(core: &Core, dead: Participant)
    where
        Self: Sized;

    /// Wakes everybody who sleeps on it.
    fn wake(&self);
}

/// Why a segment could not be made or opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum SegmentError {
    /// The system refused: no descriptor, no memory, no `/proc`.
    Io(io::Error),
    /// The handle is not one of a segment with such a structure.
    Foreign {
        /// What is wrong with it.
        what: String,
    },
    /// The segment was made by another version of this library.
    Version {
        /// This library's version of the layout.
        ours: u32,
        /// The segment's.
        theirs: u32,
    },
    /// As many processes as can take part do already.
    Full,
    /// The segment's other users are in another process namespace.
    OtherNamespace,
    /// The wait was given up, because the hook of [`on_interrupt`](crate::on_interrupt) said so.
    Interrupted,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "shared memory cannot be had: {error}"),
            Self::Foreign { what } => write!(f, "the handle is not what it should be: {what}"),
            Self::Version { ours, theirs } => write!(
                f,
                "the shared memory has layout {theirs}, this program has layout {ours}: both sides \
                 need the same version of procession"
            ),
            Self::Full => write!(
                f,
                "{PLACES} processes share this object already, which is the most; drop handles that \
                 are not needed"
            ),
            Self::OtherNamespace => f.write_str(
                "the object is shared by processes of another container (process namespace), whose \
                 deaths cannot be seen from here",
            ),
            Self::Interrupted => f.write_str("the wait was interrupted by a signal"),
        }
    }
}

impl std::error::Error for SegmentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A segment as this process has it mapped, whatever lies in it.
pub(crate) struct Core {
    mapping: Mapping,
    handle: Handle,
    kind: u32,
    /// Which of this process's numbers is the current one: `copies << 32 | number`; 0 for none.
    membership: AtomicU64,
    /// As of which version of the roster everybody is watched: `copies << 32 | version`, plus one.
    pub(crate) watched: AtomicU64,
    sweep: fn(&Core, Participant),
    wake: fn(&Core),
    /// Rung whenever all are woken, for those who do not sleep at a gate.
    bell: OnceLock<Arc<Bell>>,
}

/// A segment with a `B` in it.
pub(crate) struct Segment<B> {
    pub(crate) core: Arc<Core>,
    body: PhantomData<fn() -> B>,
}

impl<B> Clone for Segment<B> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), body: PhantomData }
    }
}

/// What this process knows of its segments; another one in a forked copy, where the locks of the
/// original may be held for ever.
struct Local {
    copies: u32,
    open: Mutex<HashMap<(u64, u64), Weak<Core>>>,
    watcher: Watcher,
    /// When this process was started, and where the numbers of processes mean what they do here.
    myself: OnceLock<(u64, u64)>,
}

impl Local {
    /// Asks the system once: each object is joined with the answer.
    fn myself(&self) -> io::Result<(u64, u64)> {
        if let Some(known) = self.myself.get() {
            return Ok(*known);
        }
        let start = process::start_time(current_pid()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "/proc/self/stat does not tell a start time")
        })?;
        let namespace = process::namespace()?;
        Ok(*self.myself.get_or_init(|| (start, namespace)))
    }
}

#[cfg(not(loom))]
fn local() -> Result<&'static Local, SegmentError> {
    static LOCAL: unmodelled::AtomicPtr<Local> = unmodelled::AtomicPtr::new(std::ptr::null_mut());
    let copies = runtime::copies()?;
    loop {
        // ORDERING: Acquire pairs with the Release below: its fields are there.
        let current = LOCAL.load(Ordering::Acquire);
        // SAFETY: null, or leaked below and never freed.
        if let Some(local) = unsafe { current.as_ref() }
            && local.copies == copies
        {
            return Ok(local);
        }
        let new = Box::new(Local {
            copies,
            open: Mutex::default(),
            watcher: Watcher::new()?,
            myself: OnceLock::new(),
        });
        let new = Box::into_raw(new);
        let set = LOCAL.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err() {
            // SAFETY: nobody has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

#[cfg(loom)]
fn local() -> Result<Arc<Local>, SegmentError> {
    runtime::local(|| {
        Ok(Local {
            copies: runtime::copies()?,
            open: Mutex::default(),
            watcher: Watcher::new()?,
            myself: OnceLock::new(),
        })
    })
}

/// Makes the memory of a segment with a `B`, all zeros.
#[cfg(not(loom))]
fn new_memory<B: Body>(length: usize) -> io::Result<Handle> {
    shared::create_sparse(length, length.min(backed::<B>()))
}

#[cfg(loom)]
fn new_memory<B: Body>(length: usize) -> io::Result<Handle> {
    Ok(shared::create::<Layout<B>>(tail_offset::<B>(), length))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    fn new<B: Body>(handle: Handle, mapping: Mapping) -> Self {
        Self {
            mapping,
            handle,
            kind: B::KIND,
            membership: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            sweep: |core, dead| {
                B::sweep(core, dead);
                core.roster().free(dead.number);
            },
            wake: |core| core.body::<B>().wake(),
            bell: OnceLock::new(),
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: invariant 1; a page is aligned enough, and a header is made of atomics.
        unsafe { self.mapping.start().cast::<Header>().as_ref() }
    }

    #[inline]
    pub(crate) fn body<B: Body>(&self) -> &B {
        debug_assert_eq!(self.kind, B::KIND, "a segment of another kind");
        let offset = std::mem::offset_of!(Layout<B>, body);
        // SAFETY: invariant 1, for this `B`: its kind was checked when the core was made.
        let body = unsafe { self.mapping.start().add(offset) };
        // SAFETY: as above; the offset is that of a field, so it is aligned; any bytes are a `B`.
        unsafe { body.cast::<B>().as_ref() }
    }

    /// The handle to pass on.
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.handle)
    }

    /// The bell that is rung whenever all are woken, if there is one.
    pub(crate) fn bell(&self) -> Option<&Arc<Bell>> {
        self.bell.get()
    }

    /// Has a line watched by this process, and returns in which copy of it, and under which number.
    #[cfg(not(loom))]
    pub(crate) fn watch_line(
        handle: BorrowedHandle<'_>,
        line: Weak<dyn Line>,
    ) -> Result<(u32, u64), SegmentError> {
        let local = local()?;
        Ok((local.copies, local.watcher.watch_line(handle, line)?))
    }

    /// Ends that, in the same copy.
    #[cfg(not(loom))]
    pub(crate) fn forget_line(handle: BorrowedHandle<'_>, watch: (u32, u64)) {
        if let Ok(local) = local()
            && local.copies == watch.0
        {
            local.watcher.forget_line(handle, watch.1);
        }
    }

    /// Where the tail behind a `B` begins.
    pub(crate) fn tail_offset<B: Body>(&self) -> usize {
        tail_offset::<B>()
    }

    /// What is behind a `B`: its first byte, and how many there are.
    #[inline]
    pub(crate) fn tail<B: Body>(&self) -> (NonNull<u8>, usize) {
        // SAFETY: invariant 1: the tail begins inside the mapping, or is empty at its end.
        let start = unsafe { self.mapping.start().add(tail_offset::<B>()) };
        (start, self.mapping.length() - tail_offset::<B>())
    }

    /// The tail behind a `B` as atomic words.
    pub(crate) fn words<B: Body>(&self) -> &[AtomicU64] {
        let (start, length) = self.tail::<B>();
        let count = length / size_of::<AtomicU64>();
        // SAFETY: invariants 1 and 2; the tail is aligned, and any bytes are such a word.
        unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count) }
    }

    /// Returns this process's number, and joins first if it has none.
    #[inline]
    pub(crate) fn me(self: &Arc<Self>) -> Result<Number, SegmentError> {
        // ORDERING: Acquire pairs with the Release in `join`: whoever reads this number in a word
        // that this thread writes has to see the claim that another thread has made.
        let membership = self.membership.load(Ordering::Acquire);
        if membership as u32 != 0 && (membership >> 32) as u32 == runtime::known_copies() {
            return Ok(membership as u32);
        }
        self.join()
    }

    #[cold]
    fn join(self: &Arc<Self>) -> Result<Number, SegmentError> {
        let local = local()?;
        let mut open = lock(&local.open);
        let membership = self.membership.load(Ordering::Relaxed);
        if membership as u32 != 0 && (membership >> 32) as u32 == local.copies {
            return Ok(membership as u32);
        }
        // Invariant 3: in a forked copy, what the original had open is not known as such yet.
        let known = open.entry(shared::identity(self.handle())?).or_default();
        if known.strong_count() == 0 {
            *known = Arc::downgrade(self);
        }
        let (pid, (start, namespace)) = (current_pid(), local.myself()?);
        // A peer that breaks the rules could fill it again and again.
        let mut sweeps = 0..PLACES;
        let joined = loop {
            match self.roster().join(pid, start, namespace) {
                // Those who died while nobody looked keep their places until somebody does.
                Err(JoinFailed::Full) if sweeps.next().is_some() && self.sweep_all()? > 0 => {}
                joined => break joined,
            }
        };
        let number = joined.map_err(|failed| match failed {
            JoinFailed::Full => SegmentError::Full,
            JoinFailed::OtherNamespace => SegmentError::OtherNamespace,
        })?;
        let membership = (u64::from(local.copies) << 32) | u64::from(number);
        self.membership.store(membership, Ordering::Release);
        // Whoever sleeps has to have this process watched from now on.
        self.wake_all();
        Ok(number)
    }

    /// Wakes everybody who waits on this segment, to look again.
    fn wake_all(&self) {
        (self.wake)(self);
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    /// Has `bell` rung from now on whenever all are woken, unless there is one.
    pub(crate) fn set_bell(&self, bell: &Arc<Bell>) {
        self.bell.get_or_init(|| Arc::clone(bell));
    }

    /// Sweeps everybody who is dead, and returns how many those were.
    fn sweep_all(&self) -> io::Result<usize> {
        let mut swept = 0;
        for participant in self.roster().participants() {
            if process::find(participant.pid, |start| participant.was_started(start))?.is_none() {
                self.sweep(participant);
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Makes sure that the death of everybody who takes part now is noticed.
    pub(crate) fn watch_others(self: &Arc<Self>) -> Result<(), SegmentError> {
        let version = self.roster().version();
        let current = (u64::from(runtime::known_copies()) << 32) | u64::from(version);
        if self.watched.load(Ordering::Acquire) == current.wrapping_add(1) {
            return Ok(());
        }
        let me = self.me()?;
        local()?.watcher.watch(self, me)?;
        // A join since the look at the version makes it another one: that is for the next time.
        self.watched.store(current.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Makes sure that this process takes part, before it changes what others sleep for: should it die
    /// before it has woken them, they are watching it.
    ///
    /// A forked copy does not take part in what it has inherited until it uses that.
    pub(crate) fn attend(self: &Arc<Self>) {
        // If it cannot, a death in the next instants goes unnoticed. The change is worth more.
        let _ = self.me();
    }

    /// Tells whether somebody has this number, as far as is known.
    pub(crate) fn takes_part(&self, number: Number) -> bool {
        self.roster().find(number).is_some()
    }

    /// Sweeps up after everybody who is dead.
    pub(crate) fn sweep_dead(self: &Arc<Self>) {
        for participant in self.roster().participants() {
            self.is_gone(participant.number);
        }
    }

    /// Tells whether a participant is dead or gone, and sweeps up after it if so. As long as no
    /// descriptor is left to ask with, nobody is.
    pub(crate) fn is_gone(self: &Arc<Self>, number: Number) -> bool {
        let Some(participant) = self.roster().find(number) else { return true };
        let is_dead = || -> Result<bool, SegmentError> {
            if number == self.me()? {
                return Ok(false);
            }
            self.watch_others()?;
            Ok(local()?.watcher.is_dead(participant)?)
        };
        let dead = is_dead().unwrap_or(false);
        if dead {
            self.sweep(participant);
        }
        dead
    }
}

impl Watched for Core {
    fn roster(&self) -> &Roster {
        // The body's type does not matter for where the roster is.
        let offset = std::mem::offset_of!(Layout<()>, roster);
        // SAFETY: invariant 1.
        let roster = unsafe { self.mapping.start().add(offset) };
        // SAFETY: as above; the offset is that of a field, so it is aligned, and it is atomics.
        unsafe { roster.cast::<Roster>().as_ref() }
    }

    fn sweep(&self, dead: Participant) {
        (self.sweep)(self, dead);
        // CRASH (segment.sweep.freed): others sleep. They watch this process, and look again when it
        // is dead, also if the place that it has freed was its own.
        crash_point!("segment.sweep.freed");
        self.wake_all();
    }

    fn wake(&self) {
        self.wake_all();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let membership = self.membership.load(Ordering::Relaxed);
        let number = membership as u32;
        if number == 0 || (membership >> 32) as u32 != runtime::known_copies() {
            return; // the number of the process that this one is a copy of
        }
        let Ok(local) = local() else { return };
        local.watcher.forget(self);
        if let Some(me) = self.roster().find(number) {
            // As the dead are: nothing of a process that has no handle any more stays locked.
            self.sweep(me);
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<B: Body> Segment<B> {
    /// Makes a segment with an empty body and `tail` bytes behind it.
    pub(crate) fn create(tail: usize) -> Result<Self, SegmentError> {
        const { assert!(align_of::<Layout<B>>() <= 64) };
        let length = tail_offset::<B>().checked_add(tail).filter(|length| {
            isize::try_from(*length).is_ok() // as much as one allocation may have
        });
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let handle = new_memory::<B>(length)?;
        let mapping = Mapping::sparse(borrow(&handle), backed::<B>())?;
        let core = Core::new::<B>(handle, mapping);
        let header = core.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.kind.store(B::KIND, Ordering::Relaxed);
        header.length.store(length as u64, Ordering::Relaxed);
        // ORDERING: Release: a header with its magic is complete.
        header.magic.store(MAGIC, Ordering::Release);
        Self::register(core)
    }

    /// Opens the segment that a handle from another process, or from this one, is on.
    pub(crate) fn open(handle: Handle) -> Result<Self, SegmentError> {
        match Self::find(borrow(&handle))? {
            Some(known) => Ok(known),
            None => Self::map(handle),
        }
    }

    /// As [`open`](Self::open), but makes a handle of its own only if it needs one.
    #[cfg(not(loom))]
    pub(crate) fn open_borrowed(handle: BorrowedHandle<'_>) -> Result<Self, SegmentError> {
        match Self::find(handle)? {
            Some(known) => Ok(known),
            None => Self::map(handle.try_clone_to_owned()?),
        }
    }

    /// Finds a segment that this process has open already.
    fn find(handle: BorrowedHandle<'_>) -> Result<Option<Self>, SegmentError> {
        let identity = shared::identity(handle)?;
        match lock(&local()?.open).get(&identity).and_then(Weak::upgrade) {
            Some(known) if known.kind == B::KIND => {
                Ok(Some(Self { core: known, body: PhantomData }))
            }
            Some(_) => {
                Err(SegmentError::Foreign { what: "it is another kind of object".to_owned() })
            }
            None => Ok(None),
        }
    }

    fn map(handle: Handle) -> Result<Self, SegmentError> {
        let foreign = |what: &str| SegmentError::Foreign { what: what.to_owned() };
        let mapping = Mapping::sparse(borrow(&handle), backed::<B>());
        let mapping = mapping.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => foreign(&error.to_string()),
            _ => SegmentError::Io(error),
        })?;
        if mapping.length() < tail_offset::<B>() {
            return Err(foreign("its memory is too short"));
        }
        let core = Core::new::<B>(handle, mapping);
        let header = core.header();
        // ORDERING: Acquire pairs with the Release in `create`.
        let magic = header.magic.load(Ordering::Acquire);
        let (version, kind) =
            (header.version.load(Ordering::Relaxed), header.kind.load(Ordering::Relaxed));
        let length = header.length.load(Ordering::Relaxed);
        if magic != MAGIC {
            return Err(foreign("its memory is not procession's"));
        }
        if version != VERSION {
            return Err(SegmentError::Version { ours: VERSION, theirs: version });
        }
        if kind != B::KIND {
            return Err(foreign("it is another kind of object"));
        }
        if length != core.mapping.length() as u64 {
            return Err(foreign("its memory is not as long as it says"));
        }
        Self::register(core)
    }

    fn register(core: Core) -> Result<Self, SegmentError> {
        let local = local()?;
        let identity = shared::identity(borrow(&core.handle))?;
        let core = {
            let mut open = lock(&local.open);
            match open.get(&identity).and_then(Weak::upgrade) {
                // Another thread has opened it meanwhile.
                Some(known) if known.kind == core.kind => known,
                _ => {
                    let core = Arc::new(core);
                    open.retain(|_, weak| weak.strong_count() > 0);
                    open.insert(identity, Arc::downgrade(&core));
                    core
                }
            }
        };
        core.me()?;
        Ok(Self { core, body: PhantomData })
    }

    /// The body.
    #[inline]
    pub(crate) fn body(&self) -> &B {
        self.core.body()
    }

    /// What is behind the body: its first byte, and how many there are. Aligned to 64.
    pub(crate) fn tail(&self) -> (NonNull<u8>, usize) {
        self.core.tail::<B>()
    }

    /// The handle to pass on.
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.core.handle()
    }
}

/// Implements what every object on a segment of its own has: it is opened by a handle, and lends it.
macro_rules! on_segment {
    ($name:ident) => {
        impl $name {
            /// Opens the object that a handle from another process, or from this one, is on.
            ///
            /// # Errors
            ///
            /// A [`SegmentError`] that says what the handle is instead.
            pub fn open(handle: $crate::os::Handle) -> Result<Self, SegmentError> {
                Segment::open(handle).map(Self)
            }

            /// Lends the handle to pass on.
            #[must_use]
            pub fn handle(&self) -> $crate::os::BorrowedHandle<'_> {
                self.0.handle()
            }
        }
    };
}
pub(crate) use on_segment;

impl<B> fmt::Debug for Segment<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}
