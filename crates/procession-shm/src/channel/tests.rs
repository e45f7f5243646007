use procession_sys::{Handle, borrow, shared};

use super::*;

struct Mapped(shared::Mapping, Handle);

impl Memory for &Mapped {
    fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    fn back(&self, offset: usize, length: usize) -> io::Result<()> {
        shared::back(borrow(&self.1), offset, length)
    }
}

/// Zeros: an empty channel.
fn new() -> (Box<Words>, Mapped) {
    // SAFETY: words are atomics, of which zeros are values.
    let words = unsafe { Box::<Words>::new_zeroed().assume_init() };
    let memory = shared::create_sparse(LENGTH, 4096).expect("memory");
    let mapping = shared::Mapping::sparse(borrow(&memory), 0).expect("mapping");
    (words, Mapped(mapping, memory))
}

fn put<M: Memory>(channel: &Channel<'_, M>, bytes: &[u8]) -> Result<(), WriteError> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    channel.write(channel.room(bytes.len())?, [first, second], None)
}

fn take<M: Memory>(channel: &Channel<'_, M>) -> Option<Vec<u8>> {
    let message = channel.first().expect("no garbage")?;
    let mut bytes = vec![0; message.length];
    channel.bytes(message).copy_to(0, &mut bytes);
    channel.remove(message);
    Some(bytes)
}

fn bytes(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31) + seed) as u8).collect()
}

#[test]
fn messages_of_every_size_come_back_in_order() {
    let (words, memory) = new();
    let channel = Channel { words: &words, memory: &memory };
    assert!(words.is_empty() && take(&channel).is_none());
    let sizes = [0, 1, INLINE, INLINE + 1, 5_000, SHORT, SHORT + 1, 1 << 20, 7];
    for round in 0..30 {
        for size in sizes {
            put(&channel, &bytes(round, size)).expect("room");
        }
        for size in sizes {
            assert!(!words.is_empty());
            assert_eq!(take(&channel), Some(bytes(round, size)), "{round}: {size}");
        }
        assert!(words.is_empty() && take(&channel).is_none());
    }
    for size in [4 << 20, LONGEST, 9 << 20] {
        put(&channel, &bytes(1, size)).expect("one always fits");
        assert!(matches!(put(&channel, &bytes(2, 50_000)), Err(WriteError::Full)));
        assert_eq!(take(&channel), Some(bytes(1, size)));
    }
}

#[test]
fn what_is_unread_has_its_bounds_and_is_not_written_over() {
    for size in [5, 100, 3_000, 16_000, 100_000, 1_500_000] {
        let (words, memory) = new();
        let channel = Channel { words: &words, memory: &memory };
        let (mut put_so_far, mut taken) = (0, 0);
        for round in 0..20 {
            while put(&channel, &bytes(put_so_far, size)).is_ok() {
                put_so_far += 1;
            }
            let unread = put_so_far - taken;
            assert!(unread > 0 && unread as u64 <= SLOTS, "{size}: {unread}");
            assert!(size < SHORT || unread * size <= 3 << 20, "{size}: {unread}");
            assert_eq!(words.is_full(), unread as u64 == SLOTS);
            // Never all of it, but for now and then.
            for _ in 0..if round % 10 == 0 { unread } else { 1 + unread / 3 } {
                assert_eq!(take(&channel), Some(bytes(taken, size)), "{size}");
                taken += 1;
            }
        }
    }
}

#[test]
fn one_that_drains_stays_where_it_is_warm() {
    let (words, memory) = new();
    let channel = Channel { words: &words, memory: &memory };
    for round in 0..60 {
        for size in [9_000, 200_000] {
            put(&channel, &bytes(round, size)).expect("room");
            assert!(take(&channel).is_some());
        }
    }
    let backed = shared::backed(borrow(&memory.1)).expect("stat");
    assert!(backed <= (1 << 20), "{backed} bytes for messages of 200,000");
}

#[test]
fn what_a_dead_writer_has_left_is_gone_on_with() {
    let (words, memory) = new();
    let channel = Channel { words: &words, memory: &memory };
    for round in 0..300 {
        // Dead before the stamp: a piece of an area, nobody's.
        let room = channel.room(60_000).expect("room");
        words.writers.areas[1].written.store(room.at + 60_032, Ordering::Relaxed);
        // Dead after the stamp: `tail` is behind.
        put(&channel, &bytes(round, 70_000)).expect("room");
        words.writers.tail.fetch_sub(1, Ordering::Relaxed);
        put(&channel, &bytes(round, 10)).expect("room");
        // Dead before `freed`.
        let message = channel.first().expect("no garbage").expect("a message");
        let freed = words.readers.freed[1].load(Ordering::Relaxed);
        channel.remove(message);
        words.readers.freed[1].store(freed, Ordering::Relaxed);
        assert_eq!(take(&channel), Some(bytes(round, 10)));
        assert!(take(&channel).is_none());
    }
}

#[test]
fn garbage_is_told_and_nothing_is_touched_that_is_not_there() {
    let (words, memory) = new();
    let channel = Channel { words: &words, memory: &memory };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let below = [300, 1 << 16, 1 << 42, u64::MAX][(seed >> 60) as usize % 4];
        if seed >> 58 & 3 == 0 { u64::MAX - seed % below } else { seed % below }
    };
    for _ in 0..10_000 {
        let (writers, readers) = (&words.writers, &words.readers);
        let area = &writers.areas[random() as usize % 2];
        let slot = words.slot(random());
        let word = [
            &writers.tail,
            &writers.seen,
            &area.written,
            &area.base,
            &readers.head,
            &readers.freed[random() as usize % 2],
            &slot.stamp,
            &slot.what,
            &slot.at,
        ][random() as usize % 9];
        word.store(random(), Ordering::Relaxed);
        if random() % 4 == 0 {
            // What is read next says that it is there.
            let head = readers.head.load(Ordering::Relaxed);
            words.slot(head).stamp.store(head.wrapping_add(1), Ordering::Relaxed);
        }
        match channel.first() {
            Ok(Some(message)) if !message.is_on_its_own() => {
                assert!(message.length <= LONGEST);
                let mut bytes = vec![0; message.length.min(5000)];
                channel.bytes(message).copy_to(0, &mut bytes);
                channel.bytes(message).copy_to(message.length, &mut []);
                channel.remove(message);
            }
            Ok(Some(message)) => channel.remove(message),
            Ok(None) | Err(_) => {}
        }
        let _ = put(&channel, &[3; 200][..random() as usize % 200]);
        if random() % 64 == 0 {
            let _ = put(&channel, &[3; 20_000]);
        }
        let _ = (words.is_empty(), words.is_full(), words.is_half_full());
    }
}
