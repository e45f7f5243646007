//! Large buffers that are used again.
//!
//! The first touch of fresh memory costs as much as copying it several times, and an allocator gives
//! large pieces back to the system when they are freed. So what carries long values is kept, up to a
//! limit.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// What is worth keeping, and how much of it all together is.
const LARGE: usize = 64 << 10;
const KEPT: usize = 32 << 20;
/// One of such a size is kept beside them: who uses one is likely to use another.
const LONG: std::ops::RangeInclusive<usize> = 16 << 20..=256 << 20;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// None while another thread has them: that may be one that a forked copy has not.
fn spare() -> Option<MutexGuard<'static, Vec<Vec<u8>>>> {
    match SPARE.try_lock() {
        Ok(spare) => Some(spare),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// An empty buffer: a large one if there is one to spare.
pub(super) fn take() -> Vec<u8> {
    spare().and_then(|mut spare| spare.pop()).unwrap_or_default()
}

/// Keeps a buffer that is not needed any more, if it is worth it.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < LARGE {
        return;
    }
    let Some(mut spare) = spare() else { return };
    let (long, others): (Vec<usize>, Vec<usize>) =
        spare.iter().map(Vec::capacity).partition(|capacity| LONG.contains(capacity));
    let is_kept = if LONG.contains(&buffer.capacity()) {
        long.is_empty()
    } else {
        others.iter().sum::<usize>() + buffer.capacity() <= KEPT
    };
    if is_kept {
        buffer.clear();
        spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_ones_are_kept_up_to_a_limit() {
        give(Vec::with_capacity(10));
        for _ in 0..10 {
            give(Vec::with_capacity(10 << 20));
            give(Vec::with_capacity(20 << 20));
        }
        let kept: usize = spare().expect("alone").iter().map(Vec::capacity).sum();
        assert!((30 << 20..=KEPT + (20 << 20)).contains(&kept), "{kept}");
        assert!(take().capacity() >= LARGE);
    }
}
