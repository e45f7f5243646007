//! Values of plain types in shared memory, behind a lock.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::time::Instant;

use crate::object::{CreateError, OwnerDied, taking_part, told};
use bytemuck::Pod;
use procession_shm::bytes::LockedBytes;
use procession_shm::lock::Acquired;

/// The memory of a number of `T`s: what [`Array`](super::Array) and its likes have in common.
#[derive(Debug)]
pub(crate) struct Plain<T> {
    bytes: LockedBytes,
    elements: PhantomData<T>,
}

/// The right to read and write the elements; dropping it gives the lock up.
#[derive(Debug)]
pub(crate) struct Guard<'a, T> {
    plain: &'a Plain<T>,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.plain.bytes.release_own();
    }
}

impl<T> Clone for Plain<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), elements: PhantomData }
    }
}

impl<T> Plain<T> {
    const CAN_BE_SHARED: () = {
        assert!(size_of::<T>() > 0, "a type without bytes has nothing to share");
        assert!(align_of::<T>() <= 64, "shared memory is aligned to 64 bytes");
    };

    pub(crate) fn open(handle: procession_sys::Handle) -> Result<Self, CreateError> {
        const { Self::CAN_BE_SHARED };
        let bytes = LockedBytes::open(handle)?;
        let (_, length) = bytes.bytes();
        if length < size_of::<T>() {
            return Err(CreateError::invalid(format!(
                "the shared memory has {length} bytes, less than one element, which has {}: both \
                 sides have to name the same type",
                size_of::<T>()
            )));
        }
        Ok(Self { bytes, elements: PhantomData })
    }

    pub(crate) fn handle(&self) -> procession_sys::BorrowedHandle<'_> {
        self.bytes.handle()
    }
}

impl<T: Pod> Plain<T> {
    /// Makes memory for `length` elements, all zeros.
    pub(crate) fn new(length: usize) -> Result<Self, CreateError> {
        const { Self::CAN_BE_SHARED };
        let size = length.checked_mul(size_of::<T>()).filter(|size| isize::try_from(*size).is_ok());
        let size = size.filter(|size| *size > 0).ok_or_else(|| {
            CreateError::invalid(format!(
                "{length} elements of {} bytes cannot be shared: at least 1 element, at most {} \
                 bytes",
                size_of::<T>(),
                isize::MAX
            ))
        })?;
        Ok(Self { bytes: LockedBytes::new(size)?, elements: PhantomData })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.bytes().1 / size_of::<T>()
    }

    /// Waits for the lock, at most until `deadline`.
    pub(crate) fn lock(
        &self,
        deadline: Option<Instant>,
    ) -> Option<Result<Guard<'_, T>, OwnerDied<Guard<'_, T>>>> {
        self.taken(taking_part(self.bytes.acquire(deadline)))
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<Result<Guard<'_, T>, OwnerDied<Guard<'_, T>>>> {
        self.taken(taking_part(self.bytes.try_acquire()))
    }

    fn taken(
        &self,
        acquired: Option<Acquired>,
    ) -> Option<Result<Guard<'_, T>, OwnerDied<Guard<'_, T>>>> {
        acquired.map(|acquired| told(acquired, Guard { plain: self }))
    }
}

impl<T: Pod> Deref for Guard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let (start, _) = self.plain.bytes.bytes();
        // SAFETY: the bytes are mapped, aligned to 64, and enough for `len` elements, of which any
        // bytes are one. Every process that has the lock's handle leaves them alone while this
        // guard exists.
        unsafe { slice::from_raw_parts(start.cast::<T>().as_ptr(), self.plain.len()) }
    }
}

impl<T: Pod> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let (start, _) = self.plain.bytes.bytes();
        // SAFETY: as above, and this guard is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(start.cast::<T>().as_ptr(), self.plain.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_less_than_one_element_is_refused() {
        let seven = Plain::<u8>::new(7).expect("memory");
        let handle = || seven.handle().try_clone_to_owned().expect("descriptor");
        let error = Plain::<u64>::open(handle()).map(drop).expect_err("too short").to_string();
        assert!(error.contains("7 bytes"), "{error}");
        assert_eq!(Plain::<u32>::open(handle()).expect("long enough").len(), 1);
    }
}
