//! Notices the death of those who share a segment with this process, and has it swept up.
//!
//! One thread sleeps on the death handles of all other participants of all segments on which this
//! process has waited, and on the lines of the pipes. It exists only while there are any, and wakes
//! only when one of them ends.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use procession_sys::process::{self, Process};
use procession_sys::ready::{NUDGED, Set};
use procession_sys::{BorrowedHandle, runtime};
use std::time::Instant;

use crate::roster::{Number, Participant, Roster};

/// Something in which processes take part.
pub(crate) trait Watched: Send + Sync {
    /// Who takes part.
    fn roster(&self) -> &Roster;

    /// Takes a dead participant out of everything, and wakes everybody.
    fn sweep(&self, dead: Participant);

    /// Wakes everybody, to look again.
    fn wake(&self);
}

/// Something whose other end hangs up when nobody has it any more.
pub(crate) trait Line: Send + Sync {
    /// It has hung up. Called once, by the watching thread.
    fn hung_up(&self);
}

/// The watcher of this process; leaked, as its thread may use it at any time.
pub(crate) struct Watcher {
    set: Set,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watches: HashMap<u64, Watch>,
    lines: HashMap<u64, Weak<dyn Line>>,
    next_token: u64,
    thread_runs: bool,
}

/// A process, with its number in each segment that it shares with this one.
struct Watch {
    participant: Participant,
    process: Process,
    segments: Vec<(Weak<dyn Watched>, Number)>,
}

impl Watcher {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { set: Set::new()?, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of a user's runs under it, and what it guards is never left half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches every participant of a segment but this process; sweeps up after the dead at once.
    pub(crate) fn watch<S: Watched + 'static>(
        &'static self,
        segment: &Arc<S>,
        me: Number,
    ) -> io::Result<()> {
        let dynamic: Arc<dyn Watched> = Arc::clone(segment) as _;
        let segment = &dynamic;
        // Not by the pid alone: a dead participant may have had the one that this process has now.
        let myself = segment.roster().find(me);
        let is_me = |other: Participant| myself.is_some_and(|myself| myself.is_same_process(other));
        let mut dead = Vec::new();
        let mut watched = Ok(());
        {
            let mut state = self.lock();
            for participant in segment.roster().participants() {
                if is_me(participant) || state.add_segment(participant, segment) {
                    continue;
                }
                let is_start = |start| participant.was_started(start);
                // Without a descriptor for one, another can be seen to be dead all the same.
                let added = match process::find(participant.pid, is_start) {
                    Ok(Some(process)) => self.add(&mut state, participant, process, segment),
                    Ok(None) => {
                        dead.push(participant);
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                watched = watched.and(added);
            }
        }
        dead.into_iter().for_each(|dead| segment.sweep(dead));
        watched
    }

    fn add(
        &'static self,
        state: &mut State,
        participant: Participant,
        process: Process,
        segment: &Arc<dyn Watched>,
    ) -> io::Result<()> {
        let token = self.next_token(state)?;
        if let Err(error) = self.set.add(process.handle(), token) {
            self.end_if_idle(state);
            return Err(error);
        }
        let segments = vec![(Arc::downgrade(segment), participant.number)];
        state.watches.insert(token, Watch { participant, process, segments });
        Ok(())
    }

    /// Makes sure that the thread runs, for which there is about to be something to watch.
    fn next_token(&'static self, state: &mut State) -> io::Result<u64> {
        if !state.thread_runs {
            let builder = std::thread::Builder::new();
            let builder = builder.name("procession-shm".to_owned()).stack_size(128 * 1024);
            runtime::with_signals_blocked(|| builder.spawn(|| self.run()))?;
            state.thread_runs = true;
        }
        state.next_token += 1;
        Ok(state.next_token)
    }

    /// Watches a line; returns by which number it is known to [`forget_line`](Self::forget_line).
    pub(crate) fn watch_line(
        &'static self,
        handle: BorrowedHandle<'_>,
        line: Weak<dyn Line>,
    ) -> io::Result<u64> {
        let mut state = self.lock();
        let token = self.next_token(&mut state)?;
        let added = self.set.add_hang_up(handle, token);
        if added.is_ok() {
            state.lines.insert(token, line);
        } else {
            self.end_if_idle(&state);
        }
        added.map(|()| token)
    }

    /// Stops watching a line, before its handle is closed.
    pub(crate) fn forget_line(&self, handle: BorrowedHandle<'_>, token: u64) {
        let mut state = self.lock();
        state.lines.remove(&token);
        self.set.remove(handle);
        self.end_if_idle(&state);
    }

    /// Has the thread end if there is nothing to watch.
    fn end_if_idle(&self, state: &State) {
        if state.thread_runs && state.is_empty() {
            self.set.nudge();
        }
    }

    /// The thread.
    fn run(&self) {
        let mut tokens = Vec::new();
        loop {
            tokens.clear();
            if self.set.wait(&mut tokens).is_err() {
                // Only a descriptor closed under us can do this. Who waits finds the dead when it
                // comes to wait, and no longer while it does.
                self.lock().thread_runs = false;
                return;
            }
            for token in tokens.iter().filter(|token| **token != NUDGED) {
                let (dead, line) = {
                    let mut state = self.lock();
                    (state.watches.remove(token), state.lines.remove(token))
                };
                // Without the lock: the last handle on a segment may be dropped here.
                if let Some(line) = line.and_then(|line| line.upgrade()) {
                    line.hung_up();
                }
                if let Some(dead) = dead {
                    self.set.remove(dead.process.handle());
                    for (segment, number) in dead.segments {
                        let Some(segment) = segment.upgrade() else { continue };
                        match segment.roster().find(number) {
                            Some(participant) => segment.sweep(participant),
                            // It has left. Perhaps that was the last that it did, and it has told
                            // nobody.
                            None => segment.wake(),
                        }
                    }
                }
            }
            let mut state = self.lock();
            if state.is_empty() {
                state.thread_runs = false;
                return;
            }
        }
    }

    /// Tells whether a participant is dead.
    pub(crate) fn is_dead(&self, participant: Participant) -> io::Result<bool> {
        let state = self.lock();
        match state.watches.values().find(|watch| watch.is_of(participant)) {
            Some(watch) => watch.process.wait(Some(Instant::now())),
            None => {
                Ok(process::find(participant.pid, |start| participant.was_started(start))?
                    .is_none())
            }
        }
    }

    /// Stops watching for a segment that this process has no handle on any more.
    pub(crate) fn forget<S: Watched>(&self, segment: &S) {
        let mut state = self.lock();
        let segment: *const () = (&raw const *segment).cast();
        state.watches.retain(|_, watch| {
            watch.segments.retain(|(weak, _)| weak.as_ptr().cast() != segment);
            if watch.segments.is_empty() {
                self.set.remove(watch.process.handle());
            }
            !watch.segments.is_empty()
        });
        self.end_if_idle(&state);
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.watches.is_empty() && self.lines.is_empty()
    }

    /// Adds a segment to a process that is watched; false if it is not.
    fn add_segment(&mut self, participant: Participant, segment: &Arc<dyn Watched>) -> bool {
        let watch = self.watches.values_mut().find(|watch| watch.is_of(participant));
        let Some(watch) = watch else { return false };
        let entry: (*const (), Number) = (Arc::as_ptr(segment).cast(), participant.number);
        let known =
            |(weak, number): &(Weak<dyn Watched>, Number)| (weak.as_ptr().cast(), *number) == entry;
        if !watch.segments.iter().any(known) {
            // One that leaves and joins again and again would have ever more numbers here.
            let is_of_segment = |weak: &Weak<dyn Watched>| weak.as_ptr().cast() == entry.0;
            watch.segments.retain(|(weak, number)| {
                !is_of_segment(weak) || segment.roster().find(*number).is_some()
            });
            watch.segments.push((Arc::downgrade(segment), participant.number));
        }
        true
    }
}

impl Watch {
    fn is_of(&self, participant: Participant) -> bool {
        self.participant.is_same_process(participant)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::atomic::{AtomicU32, Ordering};
    use procession_sys::process::{current_pid, start_time};

    struct Shared {
        roster: Box<Roster>,
        swept: AtomicU32,
    }

    impl Watched for Shared {
        fn roster(&self) -> &Roster {
            &self.roster
        }

        fn sweep(&self, dead: Participant) {
            self.roster.free(dead.number);
            self.swept.fetch_add(1, Ordering::Relaxed);
        }

        fn wake(&self) {}
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared { roster: Roster::empty(), swept: AtomicU32::new(0) })
    }

    #[test]
    fn a_dead_one_that_had_this_processs_pid_is_dead() {
        let (shared, pid) = (shared(), current_pid());
        let start = start_time(pid).expect("proc");
        let dead = shared.roster.join(pid, start + 1, 7).expect("a place");
        let me = shared.roster.join(pid, start, 7).expect("a place");
        let watcher: &'static Watcher = Box::leak(Box::new(Watcher::new().expect("watcher")));
        watcher.watch(&shared, me).expect("watched");
        assert_eq!(shared.roster.find(dead), None);
        assert!(shared.roster.find(me).is_some());
        assert_eq!(shared.swept.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_that_leaves_and_joins_again_is_watched_once() {
        let (shared, pid) = (shared(), current_pid());
        let start = start_time(pid).expect("proc");
        let me = shared.roster.join(pid, start, 7).expect("a place");
        let watcher: &'static Watcher = Box::leak(Box::new(Watcher::new().expect("watcher")));
        let mut other = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat");
        let start = start_time(other.id()).expect("proc");
        for _ in 0..100 {
            let number = shared.roster.join(other.id(), start, 7).expect("a place");
            watcher.watch(&shared, me).expect("watched");
            shared.roster.free(number);
        }
        let watched: Vec<usize> =
            watcher.lock().watches.values().map(|watch| watch.segments.len()).collect();
        assert_eq!(watched, [1]);
        watcher.forget(&*shared);
        other.kill().expect("it is ours");
        other.wait().expect("it ends");
    }
}
