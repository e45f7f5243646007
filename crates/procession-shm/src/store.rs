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
//! memory is an error. Nobody maps a store. Both sides copy by system calls, one each way, which
//! cost little against what they copy, touch no page for the first time, and cannot be made fatal by
//! a peer or by a machine that is short of memory.
//!
//! A block that was used is warm: it is used again before memory that never was. Large ones that
//! stay free give their memory back to the system.
//!
//! # What a crash leaves behind
//!
//! A dead owner's blocks stay readable until the last handle on the store is closed.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_sys::{BorrowedHandle, Handle, borrow, shared};

/// The smallest block.
const SMALLEST: u64 = 4096;
/// How long a store is, if the system lets it.
const LENGTH: usize = 1 << 36;
/// How many bytes of free blocks stay warm; and one block more, if it is not longer than this.
const WARM: u64 = 64 << 20;
const LONGEST_WARM: u64 = 256 << 20;
/// How many sizes of blocks there are.
const CLASSES: usize = (LENGTH as u64 / SMALLEST).trailing_zeros() as usize + 1;

/// The size of the block for so many bytes, and its class.
fn size_of(length: u64) -> Option<(u64, usize)> {
    let size = length.max(SMALLEST).checked_next_power_of_two()?;
    let class = (size / SMALLEST).trailing_zeros() as usize;
    (class < CLASSES).then_some((size, class))
}

/// A store as its owner sees it.
#[derive(Debug)]
pub struct Store {
    memory: Handle,
    length: u64,
    blocks: Mutex<Blocks>,
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
    /// Free blocks with memory, by how often the smallest was doubled.
    warm: [Vec<u64>; CLASSES],
    /// Free blocks without.
    cold: [Vec<u64>; CLASSES],
    warm_bytes: u64,
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
        let length = shared::length(borrow(&memory))?;
        Ok(Self { memory, length, blocks: Mutex::default() })
    }

    /// Lends the handle to read it with.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.memory)
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
        let mut at = block.offset;
        for part in parts {
            if let Err(error) = shared::write_at(self.handle(), at, part) {
                self.free(block);
                return Err(error);
            }
            at += part.len() as u64;
        }
        Ok(block)
    }

    fn allocate(&self, length: u64) -> io::Result<u64> {
        let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
        let (size, class) = size_of(length).ok_or_else(too_long)?;
        let mut blocks = self.blocks();
        if let Some(offset) = blocks.warm[class].pop() {
            blocks.warm_bytes -= size;
            return Ok(offset);
        }
        let (offset, is_new) = match blocks.cold[class].pop() {
            Some(offset) => (offset, false),
            None => (blocks.end, true),
        };
        if is_new {
            let end = offset.checked_add(size).filter(|end| *end <= self.length);
            blocks.end = end.ok_or_else(too_long)?;
        }
        drop(blocks);
        // Only as much as is needed: the rest of a long block may never be.
        let needed = usize::try_from(length).map_err(|_| too_long())?;
        let start = usize::try_from(offset).map_err(|_| too_long())?;
        if needed > 0
            && let Err(error) = shared::back(self.handle(), start, needed)
        {
            self.blocks().cold[class].push(offset);
            return Err(error);
        }
        Ok(offset)
    }

    /// Frees a block that nobody reads any more.
    pub fn free(&self, block: Block) {
        let Some((size, class)) = size_of(block.length) else { return };
        let mut blocks = self.blocks();
        // Who uses one long block is likely to use another one.
        let is_only = blocks.warm_bytes <= WARM && size <= LONGEST_WARM;
        if is_only || blocks.warm_bytes + size <= WARM {
            blocks.warm_bytes += size;
            blocks.warm[class].push(block.offset);
            return;
        }
        drop(blocks);
        let range = (usize::try_from(block.offset), usize::try_from(size));
        if let (Ok(offset), Ok(size)) = range {
            // If the system refuses, the memory stays with us: nothing is lost but that.
            let _ = shared::give_back(self.handle(), offset, size);
        }
        self.blocks().cold[class].push(block.offset);
    }
}

/// Copies a block out of a store, to the end of `buffer`.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for a block that is not inside of the store, or says to be longer
/// than everything that was ever written there. Others when the system refuses.
pub fn read(memory: BorrowedHandle<'_>, block: Block, buffer: &mut Vec<u8>) -> io::Result<()> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let end = block.offset.checked_add(block.length);
    if end.is_none_or(|end| shared::length(memory).is_ok_and(|length| end > length)) {
        return Err(invalid("a block outside of its store"));
    }
    // A length that is a lie must not become an allocation.
    if block.length > SMALLEST && shared::backed(memory)? < block.length {
        return Err(invalid("a block longer than its store"));
    }
    let length = usize::try_from(block.length).map_err(|_| invalid("a block too long"))?;
    let before = buffer.len();
    let result = shared::append_at(memory, block.offset, length, buffer);
    if result.is_err() {
        buffer.truncate(before);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read() {
        let store = Store::new().expect("a store");
        let long = vec![7; 100_000];
        let blocks = [store.put(&[b"ab", b"c"]).expect("put"), store.put(&[&long]).expect("put")];
        let mut buffer = b"x".to_vec();
        read(store.handle(), blocks[0], &mut buffer).expect("read");
        assert_eq!(buffer, b"xabc");
        buffer.clear();
        read(store.handle(), blocks[1], &mut buffer).expect("read");
        assert_eq!(buffer, long);
        let empty = store.put(&[]).expect("put");
        read(store.handle(), empty, &mut buffer).expect("read");
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
        assert!(kept <= WARM + (8 << 20) + (1 << 20), "{kept}");
        for _ in 0..16 {
            let block = store.put(&[&large]).expect("put");
            assert!(many.iter().any(|known| known.offset == block.offset));
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
            let error = read(store.handle(), lie, &mut Vec::new()).expect_err("a lie");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{lie:?}");
        }
        let error = store.allocate(1 << 50).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let error = store.allocate(u64::MAX).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
