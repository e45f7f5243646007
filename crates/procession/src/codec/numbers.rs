//! The short way for vectors of plain numbers: one copy instead of one call for each element.

use std::mem::ManuallyDrop;

use bytemuck::Pod;
use procession_shm::pipe::Bytes;

/// Calls `$then!(E)` for the `E` with `$T` being `Vec<E>`, if there is one.
macro_rules! for_number_vectors {
    ($id:expr, $then:ident) => {
        for_number_vectors!(@ $id, $then, u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64)
    };
    (@ $id:expr, $then:ident, $($E:ty)*) => {
        $(if $id == typeid::of::<Vec<$E>>() { $then!($E) })*
    };
}

/// Shows `value` as it crosses, if it is a vector of numbers: how many there are, and their bytes.
pub(super) fn as_parts<T: ?Sized>(value: &T) -> Option<([u8; 8], &[u8])> {
    let id = typeid::of::<T>();
    macro_rules! show {
        ($E:ty) => {{
            let vector: *const Vec<$E> = (&raw const *value).cast();
            // SAFETY: the type ids are equal, so `value` is a `Vec<$E>`, borrowed as long as `value`.
            let vector = unsafe { &*vector };
            return Some(((vector.len() as u64).to_ne_bytes(), bytemuck::cast_slice(vector)));
        }};
    }
    for_number_vectors!(id, show);
    None
}

/// Takes a whole message for a `T`, if `T` is a vector of numbers and there is memory for it: one copy
/// from where it lies.
pub(super) fn copy<T>(bytes: &Bytes<'_>) -> Option<Result<T, String>> {
    let id = typeid::of::<T>();
    macro_rules! take {
        ($E:ty) => {{
            return copy_numbers::<$E>(bytes).transpose().map(|copied| copied.map(into_value));
        }};
    }
    for_number_vectors!(id, take);
    None
}

fn copy_numbers<E: Pod>(bytes: &Bytes<'_>) -> Result<Option<Vec<E>>, String> {
    let mut length = [0; 8];
    let follow =
        bytes.len().checked_sub(length.len()).ok_or("the bytes end before its length does")?;
    bytes.copy_to(0, &mut length);
    let length = u64::from_ne_bytes(length);
    // The length is checked against what is there before anything is allocated for it.
    let size = usize::try_from(length).ok().and_then(|n| n.checked_mul(size_of::<E>()));
    if size != Some(follow) {
        return Err(format!("it claims {length} elements, but {follow} bytes follow"));
    }
    let mut numbers = Vec::new();
    if numbers.try_reserve_exact(follow / size_of::<E>()).is_err() {
        return Ok(None);
    }
    // SAFETY: any bytes are a value of a `Pod`.
    unsafe { bytes.append_to(8, &mut numbers) };
    Ok(Some(numbers))
}

/// A `Vec<E>` under another name: `T` is that type.
fn into_value<E, T>(vector: Vec<E>) -> T {
    let vector = ManuallyDrop::new(vector);
    let pointer: *const T = (&raw const vector).cast();
    // SAFETY: the callers have compared the type ids, so `T` is `Vec<E>`; `ManuallyDrop` has the same
    // layout and does not drop what is moved out here.
    unsafe { pointer.read() }
}

/// Appends `value` to `out`, if it is a vector of numbers; what is wrong if there is no memory.
pub(super) fn encode<T: ?Sized>(value: &T, out: &mut Vec<u8>) -> Option<Result<(), String>> {
    let (length, bytes) = as_parts(value)?;
    if out.try_reserve(length.len() + bytes.len()).is_err() {
        return Some(Err(no_memory(bytes.len())));
    }
    out.extend_from_slice(&length);
    out.extend_from_slice(bytes);
    Some(Ok(()))
}

fn no_memory(bytes: usize) -> String {
    format!("there is no memory for a copy of its {bytes} bytes")
}

/// Takes a `T` from the front of `bytes`, if `T` is a vector of numbers.
pub(super) fn decode<T>(bytes: &mut &[u8]) -> Option<Result<T, String>> {
    let id = typeid::of::<T>();
    macro_rules! take {
        ($E:ty) => {{
            return Some(take::<$E>(bytes).map(into_value));
        }};
    }
    for_number_vectors!(id, take);
    None
}

fn take<E: Pod>(bytes: &mut &[u8]) -> Result<Vec<E>, String> {
    let (length, rest) = bytes.split_first_chunk().ok_or("the bytes end before its length does")?;
    let length = u64::from_ne_bytes(*length);
    // The length is checked against what is there before anything is allocated for it.
    let size = usize::try_from(length).ok().and_then(|n| n.checked_mul(size_of::<E>()));
    let Some((numbers, rest)) = size.and_then(|size| rest.split_at_checked(size)) else {
        return Err(format!("it claims {length} elements, but only {} bytes follow", rest.len()));
    };
    let count = numbers.len() / size_of::<E>();
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| no_memory(numbers.len()))?;
    match bytemuck::try_cast_slice::<u8, E>(numbers) {
        Ok(aligned) => vector.extend_from_slice(aligned),
        Err(_) => vector.extend(numbers.chunks_exact(size_of::<E>()).map(read_unaligned::<E>)),
    }
    *bytes = rest;
    Ok(vector)
}

fn read_unaligned<E: Pod>(bytes: &[u8]) -> E {
    bytemuck::pod_read_unaligned(bytes)
}
