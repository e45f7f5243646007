//! Several messages in one turn at the lock.
//!
//! What may wait, or needs care, is left to [`put`](Queue::put) and [`get`](Queue::get): here are
//! only messages without handles, for which there is room, or which are there already. Each is
//! committed by itself, as if it had been alone: a death in the middle leaves whole ones.

use procession_sys::crash_point;

use super::Queue;
use crate::atomic::{Ordering, fence_after_update};
use crate::roster::place_of;
use crate::turn::{Guard, Turn, patience};

/// Where each of several messages ends in the bytes of all.
pub type Ends = Vec<usize>;

/// No more bytes than this are taken at once.
const MOST_BYTES: usize = 4 << 20;

impl Queue {
    /// Puts as many of some messages as there is room for without waiting, from the one at `from` on,
    /// and returns how many. None: [`put`](Self::put) of that one says why.
    #[must_use]
    pub fn put_more(&self, bytes: &[u8], ends: &[usize], from: usize) -> usize {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let turn = Turn::Until(patience());
        let Ok(Some(guard)) = Guard::acquire(core, &words.put, turn) else { return 0 };
        if guard.from_dead && self.recover_puts().is_err() || self.is_closed() {
            return 0;
        }
        let mut begin = from.checked_sub(1).map_or(0, |before| ends[before]);
        let mut count = 0;
        for end in &ends[from..] {
            let Some(message) = bytes.get(begin..*end) else { break };
            let sequence = words.puts.load(Ordering::Relaxed);
            let fits = message.len() <= super::LONGEST && !self.is_full();
            if !fits || self.ring().write(&[], &[message], sequence, false).is_err() {
                break;
            }
            words.puts.store(sequence.wrapping_add(1), Ordering::Release);
            (count, begin) = (count + 1, *end);
        }
        drop(guard);
        if count > 0 {
            // CRASH (queue.put_more.freed): messages, and readers asleep; the sweep opens the gate.
            crash_point!("queue.put_more.freed");
            // ORDERING: as in `try_put`.
            fence_after_update();
            words.readers.open_fenced(u32::try_from(count).unwrap_or(u32::MAX));
            self.tell_pollers();
        }
        count
    }

    /// Takes at most `most` messages without waiting, and puts them and their ends behind what is
    /// in `bytes` and `ends` already. Stops before anything that is not an ordinary message:
    /// [`get`](Self::get) says what that is.
    pub fn get_more(&self, most: usize, bytes: &mut Vec<u8>, ends: &mut Ends) {
        let (words, core, ring) = (self.segment.body(), &self.segment.core, self.ring());
        let Ok(me) = core.me() else { return };
        if most == 0 || ring.is_empty() {
            return;
        }
        let turn = Turn::Until(patience());
        let Ok(Some(guard)) = Guard::acquire(core, &words.get, turn) else { return };
        let (mut count, before) = (0, bytes.len());
        while count < most && bytes.len() - before < MOST_BYTES {
            let first = ring.first();
            if guard.from_dead && count == 0 {
                let gets = match first {
                    Ok(Some(message)) => message.sequence,
                    _ => words.puts.load(Ordering::Acquire),
                };
                words.gets.store(gets, Ordering::Release);
            }
            let Ok(Some(message)) = first else { break };
            let is_ordinary = !message.has_handles() && message.length() <= MOST_BYTES;
            if !is_ordinary || ring.read_behind(message, bytes).is_err() {
                break;
            }
            ends.push(bytes.len());
            // In the order of `take`.
            words.taken[place_of(me)].more(me);
            words.gets.store(message.sequence.wrapping_add(1), Ordering::Release);
            ring.remove(message);
            count += 1;
        }
        let is_large = ring.is_large() && ring.is_empty();
        drop(guard);
        if count > 0 {
            self.has_room(u32::try_from(count).unwrap_or(u32::MAX));
        }
        if is_large {
            self.shrink();
        }
    }
}
