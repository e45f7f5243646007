//! Pieces of work: which wait, which lie in a slot, and what comes of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_shm::slots::{Giver, Input, LARGE, Look, Offer, SLOTS};
use procession_shm::store::Block;
use procession_sys::{Handle, clock};

use super::Board;
use super::crew::{At, Crew, Dead, Why};
use crate::codec::{DecodeError, EncodeError};
use crate::pool::TaskError;
use crate::pool::backend::{Outcome, Settled, Work};
use crate::pool::buffers;
use crate::pool::record;
use crate::pool::trace::{Tasks, Telling, Track};

/// What is left of a piece of work.
#[derive(Debug)]
struct Piece {
    work: Work,
    /// Where in the work's bytes the first item that is left begins.
    start: usize,
    left: u32,
    /// How often the first item that is left may still run again.
    retries: u32,
    /// Where the input is, if it is a long one of a single item: in the store alone.
    stored: Option<Stored>,
    /// What is left is not to run any more.
    is_cancelled: bool,
    /// When it was submitted, if a timeline wants to know.
    submitted: u64,
}

/// A block of the parent's store, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Stored {
    board: Arc<Board>,
    block: Block,
}

impl Stored {
    /// Stores the bytes of a piece; `None` if there is no room.
    pub(super) fn put(board: &Arc<Board>, parts: &[&[u8]]) -> Option<Self> {
        let block = board.inputs.put(parts).ok()?;
        Some(Self { board: Arc::clone(board), block })
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.board.inputs.free(self.block);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.work.items));
    }
}

/// A piece in a slot.
#[derive(Debug)]
struct Placed {
    piece: Piece,
    turn: u64,
    /// Whether it uses the slot's large area, and how many bytes of that are input.
    large: bool,
    input: usize,
    /// Where the input is, if not there: freed with the slot.
    stored: Option<Stored>,
    /// Whether it has handles that its worker has not got yet.
    owes_handles: bool,
    /// When it came there, if it has a time limit.
    at: Option<Instant>,
}

/// All pieces of work of a pool.
#[derive(Debug)]
pub(super) struct Desk {
    board: Arc<Board>,
    pending: VecDeque<Piece>,
    placed: Vec<Option<Placed>>,
    free: Vec<usize>,
    /// Which slot a piece lies in, for pieces that can be cancelled or limited.
    turns: u64,
    count: usize,
    /// How many of those in slots have a time limit.
    timed: usize,
    /// How many of them have handles that a worker is to get when it asks.
    owing: usize,
    changed: Vec<usize>,
    records: Vec<u8>,
    telling: Option<Telling>,
}

impl Piece {
    /// The bytes that go to a worker: the function's name, and the items that are left.
    fn parts(&self) -> [&[u8]; 2] {
        [&self.work.function, &self.work.items[self.start..]]
    }

    /// As a timeline knows it.
    fn tasks(&self) -> Tasks {
        Tasks { function: Arc::clone(&self.work.function), submitted: self.submitted }
    }

    /// Goes on to the item after the next `count`.
    fn skip(&mut self, count: u32) {
        for _ in 0..count {
            let Some((length, _)) = self.work.items[self.start..].split_first_chunk::<4>() else {
                break;
            };
            self.start += 4 + u32::from_ne_bytes(*length) as usize;
        }
        self.left -= count;
        if count > 0 {
            self.retries = self.work.retries;
        }
    }
}

impl Desk {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            pending: VecDeque::new(),
            placed: (0..SLOTS).map(|_| None).collect(),
            // The one that was freed last is warm.
            free: (0..SLOTS).rev().collect(),
            turns: 0,
            count: 0,
            timed: 0,
            owing: 0,
            changed: Vec::new(),
            records: Vec::new(),
            telling: None,
        }
    }

    fn giver(&self) -> &Giver {
        &self.board.giver
    }

    /// From now on tells a timeline what becomes of tasks.
    pub(super) fn trace(&mut self, telling: Option<Telling>) {
        self.telling = telling;
    }

    pub(super) fn submit(&mut self, work: Vec<Work>) {
        let submitted = if self.telling.is_some() { clock::now() } else { 0 };
        self.pending.extend(work.into_iter().map(|mut work| Piece {
            start: 0,
            left: work.count,
            retries: work.retries,
            stored: work.stash.take().and_then(|stash| stash.downcast().ok()).map(|stored| *stored),
            is_cancelled: false,
            submitted,
            work,
        }));
    }

    /// Settles work that is not taken on.
    pub(super) fn refuse(&mut self, work: Work, error: &TaskError, outcomes: &mut Vec<Outcome>) {
        let settled = Settled::AllFailed(error.clone());
        outcomes.push(Outcome { number: work.number, settled });
    }

    /// How many pieces lie in slots.
    pub(super) fn placed(&self) -> u32 {
        self.count as u32
    }

    /// Tells whether somebody has to look now and then: work that found no slot goes on only then,
    /// and so does what a time limit is for, or what has handles.
    pub(super) fn needs_polling(&self) -> bool {
        !self.pending.is_empty() || self.timed > 0 || self.owing > 0
    }

    /// How many pieces wait, and how many are at work.
    pub(super) fn counts(&self) -> (usize, usize) {
        let running = self.busy_lanes().len();
        (self.pending.len() + self.count - running.min(self.count), running)
    }

    /// The lanes that are at a piece.
    pub(super) fn busy_lanes(&self) -> Vec<usize> {
        let look = |(slot, placed): (usize, &Option<Placed>)| match self
            .giver()
            .look(slot, placed.as_ref()?.turn)
        {
            Look::Taken { lane } => Some(lane),
            _ => None,
        };
        self.placed.iter().enumerate().filter_map(look).collect()
    }

    /// Places pieces that wait, as long as slots are free. So many lie in slots that no lane waits
    /// for the next one, and so few that a slot is warm when it is used again.
    pub(super) fn place(&mut self, lanes: usize, outcomes: &mut Vec<Outcome>) {
        let most = (lanes * 32).clamp(128, SLOTS);
        let mut new = 0;
        while self.count < most
            && let Some(slot) = self.free.pop()
        {
            let Some(piece) = self.pending.pop_front() else {
                self.free.push(slot);
                break;
            };
            match self.put(slot, piece) {
                None => new += 1,
                // No memory: what is in slots brings some back when it is done.
                Some(piece) if self.count > 0 => {
                    self.free.push(slot);
                    self.pending.push_front(piece);
                    break;
                }
                Some(mut piece) => {
                    self.free.push(slot);
                    self.tell_dropped(&piece, 1, &no_memory());
                    outcomes.push(fail(&mut piece, no_memory()));
                    if piece.left > 0 {
                        self.pending.push_front(piece);
                    }
                }
            }
        }
        if new > 0 {
            self.giver().wake_takers(new);
        }
    }

    /// Puts a piece into a slot; gives it back if there is no memory for it.
    fn put(&mut self, slot: usize, mut piece: Piece) -> Option<Piece> {
        self.turns += 1;
        let board = Arc::clone(&self.board);
        let parts = piece.parts();
        let length = parts.iter().map(|part| part.len()).sum();
        let is_stored = piece.stored.is_some();
        let mut large = piece.left > 1 || is_stored || !Giver::fits(length, false);
        // Without memory for a large area a small one will do: outputs then come one by one.
        large &= board.giver.back(slot).is_ok();
        let fits = !is_stored && Giver::fits(length, large);
        let mut stored = None;
        if !fits && !is_stored {
            let Some(put) = Stored::put(&board, &parts) else { return Some(piece) };
            stored = Some(put);
        }
        if piece.work.count == 1 && stored.is_some() {
            // The store has it, also for another run: our own copy is not needed.
            piece.stored = stored.take();
            buffers::give(std::mem::take(&mut piece.work.items));
        }
        let parts = piece.parts();
        let input = match piece.stored.as_ref().or(stored.as_ref()) {
            Some(stored) => Input::Stored(stored.block),
            None => Input::Bytes(&parts),
        };
        let timed = piece.work.timeout.is_some();
        let owes_handles = !piece.work.handles.is_empty();
        let traced = self.telling.is_some();
        let (items, handles) = (piece.left, owes_handles);
        let offer = Offer { input, items, large, timed: timed || traced, traced, handles };
        board.giver.offer(slot, self.turns, offer);
        self.count += 1;
        self.timed += usize::from(timed);
        self.owing += usize::from(owes_handles);
        self.placed[slot] = Some(Placed {
            large,
            input: if fits { length } else { 0 },
            piece,
            turn: self.turns,
            stored,
            owes_handles,
            at: timed.then(Instant::now),
        });
        None
    }

    /// Takes a piece out of its slot, which is free afterwards.
    fn take_out(&mut self, slot: usize) -> Option<Piece> {
        let placed = self.placed[slot].take()?;
        self.giver().release(slot);
        drop(placed.stored);
        self.free.push(slot);
        self.count -= 1;
        self.timed -= usize::from(placed.piece.work.timeout.is_some());
        self.owing -= usize::from(placed.owes_handles);
        Some(placed.piece)
    }

    /// Looks at the slots that workers have said something of.
    pub(super) fn collect(&mut self, crew: &mut Crew, outcomes: &mut Vec<Outcome>) {
        let mut changed = std::mem::take(&mut self.changed);
        self.giver().changed(|slot| changed.push(slot));
        for slot in changed.drain(..) {
            let Some(placed) = &self.placed[slot] else { continue };
            match self.giver().look(slot, placed.turn) {
                Look::Answered { lane } => self.finish(slot, lane, crew, outcomes),
                Look::Taken { lane } => self.give_handles(slot, lane, crew),
                Look::Offered => {}
                Look::Garbage => self.discard(slot, outcomes),
            }
        }
        self.changed = changed;
    }

    /// Collects what a lane has answered; what it has left of the piece waits again.
    fn finish(&mut self, slot: usize, lane: usize, crew: &mut Crew, outcomes: &mut Vec<Outcome>) {
        let done = self.collect_outputs(slot, lane, crew, outcomes);
        let Some(mut piece) = self.take_out(slot) else { return };
        piece.skip(done);
        if done == 0 {
            // An honest worker does one item at least.
            outcomes.push(fail(&mut piece, garbage("it has answered without an outcome")));
            crew.kill_lane(lane, Why::Garbage);
        }
        self.go_on(piece, outcomes);
    }

    /// What is left of a piece waits again.
    fn go_on(&mut self, mut piece: Piece, outcomes: &mut Vec<Outcome>) {
        if piece.left > 0 && piece.is_cancelled {
            self.tell_dropped(&piece, piece.left, &TaskError::Cancelled);
            let settled = Settled::AllFailed(TaskError::Cancelled);
            outcomes.push(Outcome { number: piece.work.number, settled });
            piece.left = 0;
        }
        if piece.left > 0 {
            self.pending.push_front(piece);
        }
    }

    /// Collects the outcomes of items that are done, and returns how many.
    fn collect_outputs(
        &mut self,
        slot: usize,
        lane: usize,
        crew: &mut Crew,
        outcomes: &mut Vec<Outcome>,
    ) -> u32 {
        let Some(placed) = &self.placed[slot] else { return 0 };
        let said = self.giver().done(slot).min(placed.piece.left);
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let stored = self.giver().outputs(slot, placed.large, placed.input, &mut records);
        let (number, turn) = (placed.piece.work.number, placed.turn);
        let Some(member) = crew.member_of(lane) else { return 0 };
        if let Some(block) = stored {
            if usize::try_from(block.length)
                .is_ok_and(|more| records.capacity() < LARGE.saturating_add(more))
            {
                let mut large = buffers::take();
                large.extend_from_slice(&records);
                records = large;
            }
            // If it cannot be read, its record is missing, and is found to be.
            let _ = member.outputs().read(block, &mut records);
        }
        let (mut rest, mut done, mut carries, mut has_times) = (&*records, 0, false, false);
        while done < said
            && let Some(record) = record::take(&mut rest)
        {
            done += 1;
            carries |= record.has_handles();
            has_times |= record.has_times();
        }
        if done > 0 {
            member.tasks_done += u64::from(done);
            let handles = if carries { member.received_handles(turn) } else { Vec::new() };
            let mut used = records.len() - rest.len();
            let worker = member.pid();
            if has_times {
                records.truncate(used);
                let times = record::take_times(&mut records);
                used = records.len();
                if let Some(telling) = &self.telling {
                    telling.ran(member.track(lane), placed.piece.tasks(), times);
                }
            }
            // A long one goes on as it is; of short ones the buffer stays here.
            let records = if used > LARGE {
                records.truncate(used);
                std::mem::replace(&mut records, buffers::take())
            } else {
                records[..used].to_vec()
            };
            let settled = Settled::Ran { records, count: done, handles, worker };
            outcomes.push(Outcome { number, settled });
        }
        if done > 0 {
            crew.has_worked();
        }
        if done < said {
            crew.kill_lane(lane, Why::Garbage);
        }
        if records.capacity() > 4 * LARGE {
            buffers::give(std::mem::take(&mut records));
        }
        self.records = records;
        done
    }

    /// A slot says what no worker says: somebody has scribbled over it.
    fn discard(&mut self, slot: usize, outcomes: &mut Vec<Outcome>) {
        if let Some(mut piece) = self.take_out(slot) {
            outcomes.push(fail(&mut piece, garbage("a worker has written over its slot")));
            self.go_on(piece, outcomes);
        }
    }

    /// A lane has taken a piece with handles, and asks for them.
    fn give_handles(&mut self, slot: usize, lane: usize, crew: &mut Crew) {
        let Some(placed) = &mut self.placed[slot] else { return };
        if !std::mem::take(&mut placed.owes_handles) {
            return;
        }
        self.owing -= 1;
        let given = crew
            .member_of(lane)
            .is_some_and(|member| member.give_handles(placed.turn, &placed.piece.work.handles));
        if !given {
            crew.kill_lane(lane, Why::Garbage); // it does not read what it has asked for
        }
    }

    /// Sees to what a dead worker was at: what it has done counts, one item is hurt, the rest waits
    /// again.
    pub(super) fn bury(&mut self, dead: &Dead, crew: &mut Crew, outcomes: &mut Vec<Outcome>) {
        for slot in 0..SLOTS {
            let Some(placed) = &self.placed[slot] else { continue };
            let turn = placed.turn;
            match self.giver().look(slot, turn) {
                Look::Answered { lane } if dead.has_lane(lane) => {
                    self.finish(slot, lane, crew, outcomes);
                }
                Look::Taken { lane } if dead.has_lane(lane) => {
                    let done = self.collect_outputs(slot, lane, crew, outcomes);
                    let began = self.giver().began(slot);
                    let Some(mut piece) = self.take_out(slot) else { continue };
                    piece.skip(done);
                    if piece.left > 0
                        && let Some(error) = hurt(&mut piece, dead, (turn, done), outcomes)
                        && let Some(telling) = &self.telling
                    {
                        telling.failed(dead.track(lane), piece.tasks(), began, &error);
                    }
                    self.go_on(piece, outcomes);
                }
                Look::Garbage => self.discard(slot, outcomes),
                // The entry may be lost, if the dead one has scribbled: once more does no harm.
                Look::Offered => self.giver().enter(slot, turn),
                Look::Answered { .. } | Look::Taken { .. } => {}
            }
        }
        self.giver().wake_takers(SLOTS);
        crew.bury(dead);
    }

    /// Gives up pieces: those that wait at once, those that run with their workers.
    pub(super) fn cancel(&mut self, numbers: &[u64], crew: &mut Crew, outcomes: &mut Vec<Outcome>) {
        let mut wanted: HashMap<u64, ()> = numbers.iter().map(|number| (*number, ())).collect();
        self.pending.retain(|piece| {
            let gone = wanted.remove(&piece.work.number).is_some();
            if gone {
                if let Some(telling) = &self.telling {
                    telling.dropped(piece.tasks(), piece.left, &TaskError::Cancelled);
                }
                let settled = Settled::AllFailed(TaskError::Cancelled);
                outcomes.push(Outcome { number: piece.work.number, settled });
            }
            !gone
        });
        for slot in 0..SLOTS {
            let Some(placed) = &mut self.placed[slot] else { continue };
            if wanted.remove(&placed.piece.work.number).is_none() {
                continue;
            }
            placed.piece.is_cancelled = true;
            let turn = placed.turn;
            if self.giver().withdraw(slot, turn) {
                if let Some(piece) = self.take_out(slot) {
                    self.tell_dropped(&piece, piece.left, &TaskError::Cancelled);
                    let settled = Settled::AllFailed(TaskError::Cancelled);
                    outcomes.push(Outcome { number: piece.work.number, settled });
                }
            } else if let Look::Taken { lane } = self.giver().look(slot, turn) {
                crew.kill_lane_at(lane, Why::Cancelled, At { slot, turn, done: 0 });
            }
        }
    }

    /// Ends workers that are at an item for longer than it may take.
    pub(super) fn enforce_limits(&mut self, crew: &mut Crew) {
        if self.timed == 0 {
            return;
        }
        let now = clock::now();
        for slot in 0..SLOTS {
            let Some((placed, after)) = self.limited(slot) else { continue };
            // Before the look at when it began: a later item began later.
            let at = At { slot, turn: placed.turn, done: self.giver().done(slot) };
            if let Look::Taken { lane } = self.giver().look(slot, placed.turn)
                && self.left(slot, placed, after, now).is_zero()
            {
                crew.kill_lane_at(lane, Why::TimedOut(after), at);
            }
        }
    }

    /// Who is at an item of the piece in a slot, and since when, if a timeline wants to know.
    fn running(&self, slot: usize, crew: &mut Crew) -> Option<(Track, u64)> {
        self.telling.as_ref()?;
        let Look::Taken { lane } = self.giver().look(slot, self.placed[slot].as_ref()?.turn) else {
            return None;
        };
        let began = self.giver().began(slot);
        (began > 0).then_some((crew.member_of(lane)?.track(lane), began))
    }

    /// Tells a timeline of tasks that never ran.
    fn tell_dropped(&self, piece: &Piece, count: u32, error: &TaskError) {
        if let Some(telling) = &self.telling {
            telling.dropped(piece.tasks(), count, error);
        }
    }

    fn limited(&self, slot: usize) -> Option<(&Placed, Duration)> {
        let placed = self.placed[slot].as_ref()?;
        Some((placed, placed.piece.work.timeout?))
    }

    /// How long the item that a slot's lane is at may still take.
    fn left(&self, slot: usize, placed: &Placed, after: Duration, now: u64) -> Duration {
        // What a worker says of its beginning is believed only as far as it can be true.
        let began = match self.giver().began(slot) {
            0 => return after,
            began => {
                let since = placed.at.map_or(Duration::ZERO, |at| at.elapsed());
                Duration::from_nanos(now.saturating_sub(began)).min(since)
            }
        };
        after.saturating_sub(began)
    }

    /// When a time limit may have passed, at the earliest.
    pub(super) fn next_limit(&self) -> Option<Instant> {
        if self.timed == 0 {
            return None;
        }
        let (now, instant) = (clock::now(), Instant::now());
        (0..SLOTS)
            .filter_map(|slot| {
                let (placed, after) = self.limited(slot)?;
                let left = self.left(slot, placed, after, now);
                // A worker that was killed for it is about to be buried.
                instant.checked_add(left.max(Duration::from_millis(1)))
            })
            .min()
    }

    /// Settles everything with the same error.
    pub(super) fn fail_all(
        &mut self,
        error: &TaskError,
        crew: &mut Crew,
        outcomes: &mut Vec<Outcome>,
    ) {
        let placed: Vec<usize> = (0..SLOTS).filter(|slot| self.placed[*slot].is_some()).collect();
        let mut pieces = std::mem::take(&mut self.pending);
        for slot in placed {
            let running = self.running(slot, crew);
            let Some(mut piece) = self.take_out(slot) else { continue };
            if let Some((track, began)) = running
                && let Some(telling) = &self.telling
            {
                telling.failed(track, piece.tasks(), began, error);
                outcomes.push(fail(&mut piece, error.clone()));
            }
            if piece.left > 0 {
                pieces.push_back(piece);
            }
        }
        for piece in pieces {
            self.tell_dropped(&piece, piece.left, error);
            let settled = Settled::AllFailed(error.clone());
            outcomes.push(Outcome { number: piece.work.number, settled });
        }
    }
}

/// The item that a worker was at when it died, in the piece of that turn, of which so many were done:
/// it runs again, or has failed. Returns with what, unless it had not begun.
fn hurt(
    piece: &mut Piece,
    dead: &Dead,
    (turn, done): (u64, u32),
    outcomes: &mut Vec<Outcome>,
) -> Option<TaskError> {
    if piece.is_cancelled {
        outcomes.push(fail(piece, TaskError::Cancelled));
        return Some(TaskError::Cancelled);
    }
    let error = match dead.why(turn) {
        // The item for which it was killed was done just in time, and it began with no other.
        Some((Why::TimedOut(_), Some(at))) if at.done != done => return None,
        Some((Why::TimedOut(after), _)) => TaskError::TimedOut { after },
        Some((Why::Garbage, _)) => garbage("its worker has written no outcomes"),
        Some((Why::Cancelled, _)) | None => dead.error.clone(),
    };
    if piece.retries > 0 {
        piece.retries -= 1;
    } else {
        outcomes.push(fail(piece, error.clone()));
    }
    Some(error)
}

/// Settles the first item that is left of a piece.
fn fail(piece: &mut Piece, error: TaskError) -> Outcome {
    let number = piece.work.number;
    piece.skip(1);
    Outcome { number, settled: Settled::Failed(error) }
}

fn no_memory() -> TaskError {
    TaskError::Encode(EncodeError::from_parts(
        "the arguments".to_owned(),
        "a task".to_owned(),
        "the system, or a limit on the size of files, leaves no memory for them".to_owned(),
    ))
}

fn garbage(what: &str) -> TaskError {
    TaskError::Decode(DecodeError::from_parts(
        "the outcome".to_owned(),
        "a task".to_owned(),
        what.to_owned(),
    ))
}

/// Handles that go with one piece of work, to be sent.
pub(super) type Handles = [Handle];
