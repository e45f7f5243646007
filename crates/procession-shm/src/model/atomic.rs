//! Loom's atomics, at each step of which a victim may die.

use std::sync::atomic::Ordering;
use std::thread::panicking;

use super::check::step;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        // While a thread unwinds it is dead, or the model has failed: it changes nothing more.
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                if panicking() {
                    return 0;
                }
                step();
                self.0.load(ordering)
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                if !panicking() {
                    step();
                    self.0.store(value, ordering);
                }
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                if panicking() {
                    return Ok(current);
                }
                step();
                self.0.compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                if panicking() {
                    return Ok(0);
                }
                step();
                self.0.fetch_update(set, fetch, change)
            }
        }
        atomic!($name, $value: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
    };
    ($name:ident, $value:ty: $($change:ident),*) => {
        impl $name {
            $(
                #[track_caller]
                pub(crate) fn $change(&self, operand: $value, ordering: Ordering) -> $value {
                    if panicking() {
                        return 0;
                    }
                    step();
                    self.0.$change(operand, ordering)
                }
            )*
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

impl AtomicU32 {
    /// Reads what the kernel reads: the last value. No step of a process.
    pub(super) fn last(&self) -> u32 {
        // A change, although of nothing: loom tries every order of it with other changes.
        self.0.fetch_add(0, Ordering::Relaxed)
    }
}

/// Orders, unless it was weakened so far that nothing is left of it.
pub(crate) fn fence(ordering: Ordering) {
    if !panicking() && ordering != Ordering::Relaxed {
        loom::sync::atomic::fence(ordering);
    }
}
