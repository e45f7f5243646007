//! Shared memory over which somebody scribbles while it is used.
//!
//! The first byte chooses the object, and how it is damaged: between two steps of one user; by
//! another thread meanwhile; or before a process that did not have it opens it. Then come
//! scribbles (where, and what) and steps.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession_shm::barrier::Barrier;
use procession_shm::bytes::{Bytes, LockedBytes};
use procession_shm::condition::Condition;
use procession_shm::event::Event;
use procession_shm::lock::Lock;
use procession_shm::named::Named;
use procession_shm::queue::Queue;
use procession_shm::rlock::RLock;
use procession_shm::segment::SegmentError;
use procession_shm::semaphore::Semaphore;
use procession_shm::slots::{Giver, Input as Work, LARGE, Offer, Taker};
use procession_sys::{BorrowedHandle, named, shared};

use crate::input::Input;

/// Something on a segment of its own.
trait Object: Sync + Sized {
    fn make() -> Self;
    fn memory(&self) -> BorrowedHandle<'_>;
    /// Opens it as another process would, on memory that may be anything.
    fn open(&self, memory: OwnedFd) -> Result<Self, SegmentError>;
    /// Does one thing, or does not within [`soon`].
    fn step(&self, which: u8);
}

/// No step waits for longer.
fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_micros(100))
}

/// The roster ends, and the body begins, about here.
const BODY: u64 = 4176;
/// What is copied when an object is damaged before it is opened.
const COPIED: usize = 16 << 10;

/// Writes over the memory as the input says.
fn scribble(memory: &File, input: &mut Input<'_>) {
    let (kind, near) = (input.byte(), input.short());
    let offset = match kind & 7 {
        0 => u64::from(near % 64),
        1 => 64 + u64::from(near % 128),
        2 => u64::from(near),
        // Header, roster, and the beginning of a body are where it is interesting.
        _ => BODY - 16 + u64::from(near % 512),
    };
    let count = usize::from(kind >> 3 & 3);
    let count = [1, 4, 8, 16][count];
    let bytes = match kind >> 5 {
        0 => vec![0; count],
        1 => vec![0xff; count],
        // A number of a participant: likely our own.
        2 => (u32::from(input.byte()) + 512).to_ne_bytes().to_vec(),
        _ => input.take(count).to_vec(),
    };
    // Beyond its end it would grow, which a seal forbids.
    let _ = memory.write_at(&bytes, offset);
}

fn file(handle: BorrowedHandle<'_>) -> File {
    File::from(handle.try_clone_to_owned().expect("a descriptor"))
}

fn run<T: Object>(mode: u8, input: &mut Input<'_>) {
    let object = T::make();
    let memory = file(object.memory());
    match mode {
        0 => between_steps(&object, &memory, input),
        1 => {
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for which in (0..=u8::MAX).cycle() {
                        object.step(which);
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
                between_steps(&object, &memory, input);
                over.store(true, Ordering::Relaxed);
            });
        }
        _ => {
            let length = named::length(object.memory()).expect("a length");
            let backed = shared::backed(object.memory()).expect("a length");
            let backed = usize::try_from(backed).expect("64 bits").min(length);
            let other = File::from(shared::create_sparse(length, backed).expect("memory"));
            let mut bytes = vec![0; COPIED.min(length)];
            memory.read_exact_at(&mut bytes, 0).expect("its own bytes");
            other.write_all_at(&bytes, 0).expect("as long");
            for _ in 0..1 + input.byte() % 8 {
                scribble(&other, input);
            }
            let kept = other.try_clone().expect("a descriptor");
            if let Ok(opened) = object.open(other.into()) {
                between_steps(&opened, &kept, input);
            }
        }
    }
    // Another of its kind is not hurt.
    T::make().step(0);
}

fn between_steps<T: Object>(object: &T, memory: &File, input: &mut Input<'_>) {
    let mut steps = 0;
    while !input.is_empty() && steps < 64 {
        let what = input.byte();
        if what & 1 == 0 {
            scribble(memory, input)
        } else {
            object.step(what >> 1)
        }
        steps += 1;
    }
    (0..8).for_each(|which| object.step(which));
}

macro_rules! object {
    ($T:ident, $make:expr, |$object:ident, $which:ident| $step:expr) => {
        impl Object for $T {
            fn make() -> Self {
                $make.expect("memory")
            }

            fn memory(&self) -> BorrowedHandle<'_> {
                self.handle()
            }

            fn open(&self, memory: OwnedFd) -> Result<Self, SegmentError> {
                $T::open(memory)
            }

            fn step(&self, $which: u8) {
                let $object = self;
                $step
            }
        }
    };
}

object!(Lock, Lock::new(), |lock, which| match which % 5 {
    0 => drop(lock.acquire(soon())),
    1 => drop(lock.try_acquire()),
    2 => drop(lock.release()),
    3 => lock.release_own(),
    _ => {
        let _ = lock.is_held();
    }
});

object!(RLock, RLock::new(), |lock, which| match which % 4 {
    0 => drop(lock.acquire(soon())),
    1 => drop(lock.try_acquire()),
    2 => drop(lock.release()),
    _ => {
        let _ = lock.is_held();
    }
});

object!(Semaphore, Semaphore::new(2, 3), |semaphore, which| match which % 4 {
    0 => drop(semaphore.acquire(soon())),
    1 => drop(semaphore.try_acquire()),
    2 => drop(semaphore.release()),
    _ => {
        let _ = semaphore.value();
    }
});

// Its wait takes the lock again, without a deadline: a word that says that somebody who lives has it
// is believed.
object!(Condition, Condition::new(), |condition, which| match which % 5 {
    0 => drop(condition.acquire(soon())),
    1 => drop(condition.try_acquire()),
    2 => drop(condition.release()),
    3 => condition.notify(usize::from(which)),
    _ => condition.release_own(),
});

object!(Event, Event::new(), |event, which| match which % 4 {
    0 => drop(event.wait(soon())),
    1 => event.set(),
    2 => event.clear(),
    _ => {
        let _ = event.is_set();
    }
});

object!(Barrier, Barrier::new(2), |barrier, which| match which % 5 {
    0 => drop(barrier.wait(soon())),
    1 => barrier.abort(),
    2 => barrier.reset(),
    3 => {
        let _ = barrier.n_waiting();
    }
    _ => {
        let _ = (barrier.is_broken(), barrier.parties());
    }
});

object!(LockedBytes, LockedBytes::new(100), |bytes, which| match which % 4 {
    0 => drop(bytes.acquire(soon())),
    1 => drop(bytes.try_acquire()),
    2 => drop(bytes.release()),
    _ => assert!(bytes.bytes().0.as_ptr().addr().is_multiple_of(64)),
});

object!(Bytes, Bytes::new(100), |bytes, _which| {
    let (start, length) = bytes.bytes();
    assert!(start.as_ptr().addr().is_multiple_of(64) && length > 0);
});

impl Object for Queue {
    fn make() -> Self {
        Self::new(3).expect("memory")
    }

    fn memory(&self) -> BorrowedHandle<'_> {
        let [memory, ..] = self.handles();
        memory
    }

    fn open(&self, memory: OwnedFd) -> Result<Self, SegmentError> {
        let [_, b, c, d] = self.handles().map(|handle| handle.try_clone_to_owned());
        let others = [b, c, d].map(|handle| handle.expect("a descriptor"));
        let [b, c, d] = others;
        Queue::open([memory, b, c, d])
    }

    fn step(&self, which: u8) {
        let size = [0, 8, 100, 3000, 40_000, 70_000][usize::from(which) / 8 % 6];
        let mut bytes = Vec::new();
        match which % 8 {
            0 => drop(self.put(&vec![which; size], &[], true, soon())),
            1 => drop(self.get(&mut bytes, true, soon())),
            2 => drop(self.put(&vec![which; size], &[self.bell()], true, soon())),
            // Not one that does not wait for messages: it waits for its turn, which garbage gives to
            // somebody else, for some seconds.
            3 => drop(self.get(&mut bytes, true, soon())),
            4 => {
                let _ = (self.len(), self.is_empty(), self.is_full(), self.is_closed());
            }
            5 => {
                let _ = self.task_done();
            }
            6 => drop(self.join(soon())),
            _ => {
                let _ = self.prepare_wait();
            }
        }
        match which {
            100 => self.close(),
            101 => drop(self.put_more(&[which; 90], &[30, 60, 90], usize::from(which) % 3)),
            102 => self.get_more(5, &mut bytes, &mut Vec::new()),
            _ => {}
        }
    }
}

/// What a pool's workers write, as the pool reads it. A worker believes its pool.
impl Object for Giver {
    fn make() -> Self {
        Self::new().expect("memory")
    }

    fn memory(&self) -> BorrowedHandle<'_> {
        self.handle()
    }

    fn open(&self, memory: OwnedFd) -> Result<Self, SegmentError> {
        Taker::open(memory, 0).map(drop)?;
        Ok(Self::make())
    }

    fn step(&self, which: u8) {
        let (slot, turn) = (usize::from(which / 8 % 4), 1 + u64::from(which >> 6));
        let look = |slot: usize| {
            let mut buffer = Vec::new();
            let _ = (self.look(slot, turn), self.done(slot), self.began(slot));
            let _ = self.outputs(slot, false, usize::from(which), &mut buffer);
            assert!(buffer.len() <= LARGE);
        };
        match which % 8 {
            0 | 1 => {
                let (large, input) = (which % 8 == 1, vec![which; 400]);
                if !large || self.back(slot).is_ok() {
                    let input = Work::Bytes(&[&input]);
                    let offer = Offer { input, items: 3, large, timed: true, traced: false, handles: false };
                    self.offer(slot, turn, offer);
                    self.enter(slot, turn);
                }
            }
            2 => {
                let _ = self.withdraw(slot, turn);
            }
            3 => look(slot),
            4 => self.release(slot),
            5 => self.changed(look),
            6 => drop(self.wait(self.count(), u32::from(which), soon(), || false)),
            _ => {
                self.wake_takers(2);
                self.nudge();
                self.dismiss(slot);
                self.welcome(slot);
            }
        }
    }
}

/// A file of tmpfs that is, or is not, memory under a name.
fn named_memory(input: &mut Input<'_>) {
    let length = usize::from(input.short()) % 9000;
    let memory = File::from(named::create(length.max(1)).expect("memory"));
    let mut header = b"PRCname\n".to_vec();
    header.extend(1u32.to_ne_bytes());
    header.extend(u32::from(input.byte()).to_ne_bytes());
    header.extend((length.max(4097) as u64 - 4096).to_ne_bytes());
    let _ = memory.write_at(&header[..header.len().min(length)], 0);
    let kept = memory.try_clone().expect("a descriptor");
    for _ in 0..input.byte() % 4 {
        let (at, bytes) = (u64::from(input.short()), input.take(16));
        if at < length as u64 {
            let _ = memory.write_at(bytes, at);
        }
    }
    if let Ok(named) = Named::from_handle(memory.into()) {
        let mut bytes = [0; 50];
        let (_, there) = named.bytes();
        assert!(named.read(0, &mut bytes[..1]).is_ok() && there > 0);
        // Somebody cuts it.
        kept.set_len(u64::from(input.short())).expect("it is ours");
        let (offset, count) = (usize::from(input.short()), usize::from(input.byte()) % 50);
        let _ = named.read(offset, &mut bytes[..count]);
        let _ = named.write(offset, &bytes[..count]);
        let _ = named.name();
    }
}

/// An object whose memory is damaged.
pub fn segment(bytes: &[u8]) {
    let mut input = Input(bytes);
    let first = input.byte();
    let mode = first / 11 % 3;
    let run = match first % 11 {
        0 => run::<Lock>,
        1 => run::<RLock>,
        2 => run::<Semaphore>,
        3 => run::<Condition>,
        4 => run::<Event>,
        5 => run::<Barrier>,
        6 => run::<LockedBytes>,
        7 => run::<Bytes>,
        8 => run::<Queue>,
        9 => run::<Giver>,
        _ => return named_memory(&mut input),
    };
    run(mode, &mut input);
}
