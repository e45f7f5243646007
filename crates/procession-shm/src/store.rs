//! A store: blocks of bytes that one process writes and others copy out.
//!
//! # Layout
//!
//! Memory of a fixed length, most of it without pages. The owner hands out blocks, each a power of
//! two long; where they are free is known to the owner alone, so nobody can confuse it:
//!
//! ```text
//! │ block │ block, free │ block        │ … never used
//!                                      ▲ end
//! ```
//!
//! Who reads is told a block's place in some other way, and judges it: reading outside of the
//! memory is an error. Both sides map the front of the memory, as far as blocks were seen, and copy
//! once each: a third of what the same copy costs by a system call. The owner has the system give
//! a block its memory before it is touched. The memory is sealed, so a peer cannot cut it off; one
//! that takes pages away has whoever touches them get new ones, full of zeros.
//!
//! A block that was used is warm: it is used again before memory that never was. Large ones that
//! stay free give their memory back to the system.
//!
//! # What a crash leaves behind
//!
//! A dead owner's blocks stay readable until the last handle on the store is closed.

use std::collections::HashMap;
use std::io;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use procession_sys::shared::{self, Mapping};
use procession_sys::{BorrowedHandle, Handle, borrow};

/// The smallest block.
const SMALLEST: u64 = 4096;
/// How long a store is, if the system lets it.
const LENGTH: usize = 1 << 36;
/// How many bytes of free blocks stay warm.
const WARM: u64 = 64 << 20;
/// One block of such a size stays warm beside them: who uses one is likely to use another.
const LONG: std::ops::RangeInclusive<u64> = 16 << 20..=256 << 20;
/// How many sizes of blocks there are.
const CLASSES: usize = (LENGTH as u64 / SMALLEST).trailing_zeros() as usize + 1;
/// How much is mapped at least.
const SHORTEST_WINDOW: usize = 16 << 20;

/// The size of the block for so many bytes, and its class.
fn size_of(length: u64) -> Option<(u64, usize)> {
    let size = length.max(SMALLEST).checked_next_power_of_two()?;
    let class = (size / SMALLEST).trailing_zeros() as usize;
    (class < CLASSES).then_some((size, class))
}

/// A store as its owner sees it.
#[derive(Debug)]
pub struct Store {
    memory: Memory,
    blocks: Mutex<Blocks>,
}

/// A store as one sees it who copies out of it.
#[derive(Debug)]
pub struct Reader(Memory);

/// The memory, of which the front is mapped.
#[derive(Debug)]
struct Memory {
    handle: Handle,
    length: u64,
    window: RwLock<Option<Mapping>>,
}

/// A block of a store: freed by hand, since who uses it may live elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes are in it; the block itself may be longer.
    pub length: u64,
}

#[derive(Debug, Default)]
struct Blocks {
    /// No block from here on was ever used.
    end: u64,
    /// How many bytes of a block have memory, by where it begins.
    backed: HashMap<u64, u64>,
    /// Free blocks with memory, by how often the smallest was doubled.
    warm: [Vec<u64>; CLASSES],
    /// Free blocks without.
    cold: [Vec<u64>; CLASSES],
    warm_bytes: u64,
    /// A long free block with memory, and its class.
    long: Option<(u64, usize)>,
}

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let memory = match shared::create_sparse(LENGTH, 0) {
            // The user's limit for files counts here, too.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                shared::create_sparse(LENGTH >> 10, 0)?
            }
            memory => memory?,
        };
        Self::open(memory)
    }

    /// Becomes the owner of a store that somebody has made and not used.
    ///
    /// # Errors
    ///
    /// When the handle is not one of memory.
    pub fn open(memory: Handle) -> io::Result<Self> {
        Ok(Self { memory: Memory::new(memory)?, blocks: Mutex::default() })
    }

    /// Lends the handle to read it with.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.memory.handle)
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the concatenation of `parts` into a free block.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::OutOfMemory`] when the system or the store has not that much.
    pub fn put(&self, parts: &[&[u8]]) -> io::Result<Block> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let block = Block { offset: self.allocate(length)?, length };
        let written = self.memory.with(block, |mut to| {
            for part in parts {
                // SAFETY: the block is mapped, and as long as all parts together; it is the owner's
                // until it is told to somebody, so nobody who keeps to the rules touches it, and
                // it cannot be a part of what the caller has borrowed.
                unsafe { part.as_ptr().copy_to_nonoverlapping(to.as_ptr(), part.len()) };
                // SAFETY: as above: inside of the block, or its end.
                to = unsafe { to.add(part.len()) };
            }
        });
        if let Err(error) = written {
            self.free(block);
            return Err(error);
        }
        Ok(block)
    }

    fn allocate(&self, length: u64) -> io::Result<u64> {
        let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
        let (size, class) = size_of(length).ok_or_else(too_long)?;
        let mut blocks = self.blocks();
        let offset = if let Some(offset) = blocks.warm[class].pop() {
            blocks.warm_bytes -= size;
            offset
        } else if let Some((offset, _)) = blocks.long.take_if(|(_, known)| *known == class) {
            offset
        } else if let Some(offset) = blocks.cold[class].pop() {
            offset
        } else {
            let end = blocks.end.checked_add(size).filter(|end| *end <= self.memory.length);
            std::mem::replace(&mut blocks.end, end.ok_or_else(too_long)?)
        };
        // Only as much as is needed: the rest of a long block may never be.
        let backed = blocks.backed.get(&offset).copied().unwrap_or(0);
        drop(blocks);
        if length > backed {
            let start = usize::try_from(offset + backed).map_err(|_| too_long())?;
            let more = usize::try_from(length - backed).map_err(|_| too_long())?;
            if let Err(error) = shared::back(self.handle(), start, more) {
                self.cool(offset, size, class);
                return Err(error);
            }
            self.blocks().backed.insert(offset, length);
        }
        Ok(offset)
    }

    /// Frees a block that nobody reads any more.
    pub fn free(&self, block: Block) {
        let Some((size, class)) = size_of(block.length) else { return };
        let mut blocks = self.blocks();
        if blocks.long.is_none() && LONG.contains(&size) {
            blocks.long = Some((block.offset, class));
            return;
        }
        if blocks.warm_bytes + size <= WARM {
            blocks.warm_bytes += size;
            blocks.warm[class].push(block.offset);
            return;
        }
        drop(blocks);
        self.cool(block.offset, size, class);
    }

    /// Frees a block without its memory.
    fn cool(&self, offset: u64, size: u64, class: usize) {
        if let (Ok(offset), Ok(size)) = (usize::try_from(offset), usize::try_from(size)) {
            // If the system refuses, the memory stays with us: nothing is lost but that.
            let _ = shared::give_back(self.handle(), offset, size);
        }
        let mut blocks = self.blocks();
        blocks.backed.remove(&offset);
        blocks.cold[class].push(offset);
    }
}

impl Reader {
    /// Reads the store that `memory` is the handle of.
    ///
    /// # Errors
    ///
    /// When the handle is not one of memory.
    pub fn new(memory: Handle) -> io::Result<Self> {
        Memory::new(memory).map(Self)
    }

    /// Copies a block out of the store, to the end of `buffer`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] for a block that is not inside of the store, or says to be
    /// longer than everything that was ever written there. Others when the system refuses.
    pub fn read(&self, block: Block, buffer: &mut Vec<u8>) -> io::Result<()> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let end = block.offset.checked_add(block.length);
        if end.is_none_or(|end| end > self.0.length) {
            return Err(invalid("a block outside of its store"));
        }
        // A length that is a lie must not become an allocation.
        if block.length > SMALLEST && shared::backed(borrow(&self.0.handle))? < block.length {
            return Err(invalid("a block longer than its store"));
        }
        let length = usize::try_from(block.length).map_err(|_| invalid("a block too long"))?;
        let no_memory = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        buffer.try_reserve_exact(length).map_err(no_memory)?;
        self.0.with(block, |from| {
            let to = buffer.spare_capacity_mut().as_mut_ptr().cast();
            // SAFETY: the block is mapped, and the buffer has room for it (reserved above), which is
            // memory of this process alone. If the store's owner writes meanwhile, which it does
            // not if it keeps to the rules, the bytes are any bytes.
            unsafe { from.as_ptr().copy_to_nonoverlapping(to, length) };
            // SAFETY: they have just been written.
            unsafe { buffer.set_len(buffer.len() + length) };
        })
    }
}

impl Memory {
    fn new(handle: Handle) -> io::Result<Self> {
        let length = shared::length(borrow(&handle))?;
        Ok(Self { handle, length, window: RwLock::default() })
    }

    /// Calls `f` with the place where a block begins, all of which is mapped as long as `f` runs.
    fn with<R>(&self, block: Block, f: impl FnOnce(NonNull<u8>) -> R) -> io::Result<R> {
        let outside = || io::Error::new(io::ErrorKind::InvalidData, "a block outside of its store");
        let start = usize::try_from(block.offset).map_err(|_| outside())?;
        let end = block.offset.checked_add(block.length).filter(|end| *end <= self.length);
        let end = end.and_then(|end| usize::try_from(end).ok()).ok_or_else(outside)?;
        loop {
            let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(mapping) = &*window
                && end <= mapping.length()
            {
                // SAFETY: `start` is inside of the mapping (checked), or its end.
                return Ok(f(unsafe { mapping.start().add(start) }));
            }
            drop(window);
            self.widen(end)?;
        }
    }

    /// Maps the first `end` bytes, and more, if they are not.
    fn widen(&self, end: usize) -> io::Result<()> {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        if window.as_ref().is_none_or(|mapping| mapping.length() < end) {
            // Not both at a time: addresses may be short.
            *window = None;
            let length = end.checked_next_power_of_two().unwrap_or(end).max(SHORTEST_WINDOW);
            *window = Some(Mapping::front(borrow(&self.handle), length)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(store: &Store) -> Reader {
        Reader::new(store.handle().try_clone_to_owned().expect("a handle")).expect("a store")
    }

    #[test]
    fn what_was_put_is_read() {
        let store = Store::new().expect("a store");
        let long = vec![7; 100_000];
        let blocks = [store.put(&[b"ab", b"c"]).expect("put"), store.put(&[&long]).expect("put")];
        let mut buffer = b"x".to_vec();
        let reader = reader(&store);
        reader.read(blocks[0], &mut buffer).expect("read");
        assert_eq!(buffer, b"xabc");
        buffer.clear();
        reader.read(blocks[1], &mut buffer).expect("read");
        assert_eq!(buffer, long);
        let empty = store.put(&[]).expect("put");
        reader.read(empty, &mut buffer).expect("read");
        assert_eq!(buffer, long);
    }

    #[test]
    fn free_blocks_are_used_again_and_much_of_them_is_given_back() {
        let store = Store::new().expect("a store");
        let first = store.put(&[b"1"]).expect("put");
        store.free(first);
        assert_eq!(store.put(&[b"22"]).expect("put").offset, first.offset);
        let large = vec![1; 8 << 20];
        let many: Vec<Block> = (0..16).map(|_| store.put(&[&large]).expect("put")).collect();
        let most = shared::backed(store.handle()).expect("stat");
        assert!(most >= 128 << 20);
        many.iter().for_each(|block| store.free(*block));
        let kept = shared::backed(store.handle()).expect("stat");
        assert!(kept <= WARM + (1 << 20), "{kept}");
        for _ in 0..16 {
            let block = store.put(&[&large]).expect("put");
            assert!(many.iter().any(|known| known.offset == block.offset));
        }
    }

    #[test]
    fn one_long_block_stays_warm_beside_the_others() {
        let store = Store::new().expect("a store");
        let long = vec![1; 20 << 20];
        let blocks = [(); 4].map(|()| store.put(&[&long]).expect("put"));
        blocks.iter().for_each(|block| store.free(*block));
        let kept = shared::backed(store.handle()).expect("stat");
        assert!((20 << 20..=WARM + (32 << 20)).contains(&kept), "{kept}");
        // The first was kept as the long one, the others as free blocks are.
        for expected in [blocks[2], blocks[1], blocks[0]] {
            assert_eq!(store.put(&[&long]).expect("put").offset, expected.offset);
        }
        let short = store.put(&[&long[..1 << 20]]).expect("put");
        store.free(short);
        assert_eq!(store.put(&[&long[..1 << 20]]).expect("put").offset, short.offset);
    }

    #[test]
    fn the_window_grows_with_the_blocks() {
        let (store, mut buffer) = (Store::new().expect("a store"), Vec::new());
        let reader = reader(&store);
        for length in [1, 10_000, SHORTEST_WINDOW, 3 * SHORTEST_WINDOW, 5] {
            let bytes = vec![length as u8 | 1; length];
            let block = store.put(&[&bytes]).expect("put");
            buffer.clear();
            reader.read(block, &mut buffer).expect("read");
            assert!(buffer == bytes, "{length}");
        }
    }

    #[test]
    fn a_block_that_is_used_again_has_all_of_its_memory() {
        let store = Store::new().expect("a store");
        for (short, long) in [((1 << 20) + 1, 2 << 20), ((16 << 20) + 1, 32 << 20)] {
            let before = shared::backed(store.handle()).expect("stat");
            let first = store.put(&[&vec![1; short]]).expect("put");
            store.free(first);
            assert_eq!(store.allocate(long).expect("room"), first.offset);
            // Nobody has touched it yet.
            let backed = shared::backed(store.handle()).expect("stat") - before;
            assert!(backed >= long, "{backed} of {long}");
            store.free(Block { offset: first.offset, length: long });
            assert_eq!(store.allocate(short as u64).expect("room"), first.offset);
        }
    }

    #[test]
    fn lies_and_lack_are_errors() {
        let store = Store::new().expect("a store");
        let put = store.put(&[b"abc"]).expect("put");
        let lies = [
            Block { offset: u64::MAX, length: 8 },
            Block { offset: LENGTH as u64, length: 1 },
            Block { offset: put.offset, length: 1 << 35 },
        ];
        for lie in lies {
            let error = reader(&store).read(lie, &mut Vec::new()).expect_err("a lie");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{lie:?}");
        }
        let error = store.allocate(1 << 50).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let error = store.allocate(u64::MAX).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
