//! What [`Mutex`](super::Mutex) and [`Value`](super::Value) have in common: one value, one lock.

/// Defines a type that holds one plain value behind a lock, and its guard.
macro_rules! one_value {
    ($(#[$doc:meta])* $Name:ident, $Guard:ident) => {
        $(#[$doc])*
        pub struct $Name<T> {
            shared: Plain<T>,
        }

        shared_handle!($Name<T>, Plain<T>);

        #[doc = concat!("The right to read and write what a [`", stringify!($Name), "`] holds; dropping it gives the lock up.")]
        #[must_use = "the lock is given up when its guard is dropped"]
        pub struct $Guard<'a, T>(Guard<'a, T>);

        impl<T> $Name<T> {
            fn from_shared(shared: Plain<T>) -> Self {
                Self { shared }
            }
        }

        impl<T: Pod> $Name<T> {
            /// Puts `value` into shared memory.
            ///
            /// # Errors
            ///
            /// [`CreateError::System`] when there is no memory or descriptor.
            pub fn new(value: T) -> Result<Self, CreateError> {
                let shared = Plain::new(1)?;
                if let Some(Ok(mut guard)) = shared.lock(None) {
                    guard[0] = value;
                }
                Ok(Self::from_shared(shared))
            }

            /// Waits for the lock.
            ///
            /// # Blocking
            ///
            /// Until whoever holds it gives it up or dies.
            ///
            /// # Errors
            ///
            /// [`OwnerDied`], with the guard: the last holder has died, and the value may be half-changed.
            ///
            /// # Panics
            ///
            /// In a forked copy of a process that has it, if no more can share it.
            pub fn lock(&self) -> Result<$Guard<'_, T>, OwnerDied<$Guard<'_, T>>> {
                match self.shared.lock(None) {
                    Some(Err(died)) => Err(died.map($Guard)),
                    Some(Ok(guard)) => Ok($Guard(guard)),
                    None => unreachable!("a wait without a deadline ends with the lock"),
                }
            }

            /// Takes the lock if nobody has it; `None` if somebody has.
            ///
            /// # Errors
            ///
            /// As [`lock`](Self::lock).
            pub fn try_lock(&self) -> Result<Option<$Guard<'_, T>>, OwnerDied<$Guard<'_, T>>> {
                let guard = self.shared.try_lock().transpose();
                guard.map(|guard| guard.map($Guard)).map_err(|died| died.map($Guard))
            }

            /// Waits for the lock, at most for `timeout`; `None` if that was not enough.
            ///
            /// # Errors
            ///
            /// As [`lock`](Self::lock).
            pub fn lock_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<$Guard<'_, T>>, OwnerDied<$Guard<'_, T>>> {
                let guard = self.shared.lock(deadline(timeout)).transpose();
                guard.map(|guard| guard.map($Guard)).map_err(|died| died.map($Guard))
            }
        }

        impl<T: Pod> Deref for $Guard<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0[0]
            }
        }

        impl<T: Pod> DerefMut for $Guard<'_, T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0[0]
            }
        }

        impl<T: Pod + fmt::Debug> fmt::Debug for $Guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.deref().fmt(f)
            }
        }
    };
}
pub(super) use one_value;
