//! Handles in values: written as a place in a table that travels beside the bytes.

use std::cell::{Cell, RefCell};

use procession_sys::{BorrowedHandle, Handle, borrow};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

thread_local! {
    /// What this thread is encoding or decoding now; null if it is not. A plain pointer, since each
    /// message of each queue comes by here.
    static CURRENT: Cell<*mut Message> = const { Cell::new(std::ptr::null_mut()) };
}

/// The message that a thread is encoding or decoding.
struct Message {
    table: Table,
    /// What went wrong with a handle: postcard keeps no text of a custom error.
    reason: Option<String>,
}

enum Table {
    /// Handles go into it. Some are for several values to share: what they are of, and the place.
    Sending(Vec<Handle>, Vec<((u64, u64), usize)>),
    /// Handles are taken out of it.
    Received(Vec<Option<Handle>>),
}

const OUTSIDE: &str = "a procession handle crosses to another process only inside an argument, a result or a \
     message of procession; it means nothing in any other format";

/// Tells whether a `T` is sure to hold no handle. A table costs more than such a value.
#[inline]
fn holds_none<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    macro_rules! is_one_of {
        ($($T:ty)*) => { false $(|| id == typeid::of::<$T>())* };
    }
    is_one_of!(() bool char u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64 String)
}

/// Runs `f`, which writes a `T`, while handles are written into `table`; returns also what went
/// wrong with one.
#[inline]
pub(super) fn with_table<T: ?Sized, R>(
    table: &mut Vec<Handle>,
    f: impl FnOnce() -> R,
) -> (R, Option<String>) {
    if holds_none::<T>() {
        return (f(), None);
    }
    let mut message =
        Message { table: Table::Sending(std::mem::take(table), Vec::new()), reason: None };
    let result = with(&mut message, f);
    if let Table::Sending(sent, _) = message.table {
        *table = sent;
    }
    (result, message.reason)
}

/// Runs `f`, which reads a `T`, while handles are taken out of `table`; returns also what went wrong
/// with one.
#[inline]
pub(super) fn with_received<T, R>(
    table: &mut Vec<Option<Handle>>,
    f: impl FnOnce() -> R,
) -> (R, Option<String>) {
    // No handle came, and a value with nothing to drop has no place for one.
    if holds_none::<T>() || table.is_empty() && !std::mem::needs_drop::<T>() {
        return (f(), None);
    }
    let mut message = Message { table: Table::Received(std::mem::take(table)), reason: None };
    let result = with(&mut message, f);
    if let Table::Received(rest) = message.table {
        *table = rest;
    }
    (result, message.reason)
}

/// Runs `f`, a user's `Serialize` or `Deserialize`, while `message` is this thread's.
///
/// It may encode another message meanwhile, and it may panic.
#[inline]
fn with<R>(message: &mut Message, f: impl FnOnce() -> R) -> R {
    /// Puts the outer message back, however `f` ends.
    struct Restore(*mut Message);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(message));
    f()
}

/// Gives `f` the message that this thread is encoding or decoding, if it is.
fn current<R>(f: impl FnOnce(&mut Message) -> R) -> Option<R> {
    let message = CURRENT.get();
    // SAFETY: null, or what `with` has borrowed for as long as it is there, on this thread's stack;
    // nobody else has a reference meanwhile: `with` uses it again when it is not there any more, and
    // no `f` of ours calls a user's code, or this function.
    unsafe { message.as_mut() }.map(f)
}

/// Keeps `reason` for who encodes or decodes, and gives it back.
fn keep(reason: String) -> String {
    current(|message| message.reason = Some(reason.clone()));
    reason
}

/// Refuses a handle that came, with a reason that survives the format.
pub(crate) fn refuse<E: de::Error>(reason: impl std::fmt::Display) -> E {
    E::custom(keep(reason.to_string()))
}

/// Writes a handle as its place in the current message's table, which gets a duplicate.
pub(crate) fn serialize<S: Serializer>(
    handle: BorrowedHandle<'_>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let duplicate = || {
        handle
            .try_clone_to_owned()
            .map_err(|error| keep(format!("its handle cannot be duplicated: {error}")))
    };
    serialize_owned(duplicate, serializer)
}

fn serialize_owned<S: Serializer>(
    handle: impl FnOnce() -> Result<Handle, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let handle = handle();
    let place = current(|message| match &mut message.table {
        Table::Sending(table, _) => {
            table.push(handle?);
            Ok(table.len() - 1)
        }
        Table::Received(_) => Err(OUTSIDE.to_owned()),
    });
    let place = place.unwrap_or_else(|| Err(OUTSIDE.to_owned()));
    let place = place.map_err(ser::Error::custom)?;
    serializer.serialize_u32(u32::try_from(place).unwrap_or(u32::MAX))
}

/// Refuses a handle in any other format than the library's own messages.
pub(crate) fn only_received<E: de::Error>() -> Result<(), E> {
    let is_ours = current(|message| matches!(message.table, Table::Received(_)));
    if is_ours == Some(true) { Ok(()) } else { Err(E::custom(OUTSIDE)) }
}

/// Takes the handle whose place comes next out of the current message's table.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
    only_received()?;
    let place = u32::deserialize(deserializer)?;
    let handle = current(|message| match &mut message.table {
        Table::Received(table) => table.get_mut(usize::try_from(place).ok()?)?.take(),
        Table::Sending(..) => None,
    });
    let handle = handle.flatten();
    handle.ok_or_else(|| {
        de::Error::custom(keep(format!("it refers to handle {place}, which did not come with it")))
    })
}

/// Writes handles that several values of the message may share, side by side, once for each `what`;
/// returns the place of the first.
pub(crate) fn place_shared<E: ser::Error>(
    what: (u64, u64),
    handles: [BorrowedHandle<'_>; 2],
) -> Result<u32, E> {
    let place = current(|message| {
        let Table::Sending(table, shared) = &mut message.table else { return None };
        if let Some((_, place)) = shared.iter().find(|(known, _)| *known == what) {
            return Some(Ok(*place));
        }
        let place = table.len();
        for handle in handles {
            match handle.try_clone_to_owned() {
                Ok(duplicate) => table.push(duplicate),
                Err(error) => return Some(Err(error)),
            }
        }
        shared.push((what, place));
        Some(Ok(place))
    });
    let place = place.flatten().ok_or_else(|| E::custom(OUTSIDE))?;
    let place = place
        .map_err(|error| E::custom(keep(format!("its handle cannot be duplicated: {error}"))))?;
    Ok(u32::try_from(place).unwrap_or(u32::MAX))
}

/// Lends two handles that were written by [`place_shared`], and may be asked for again.
pub(crate) fn with_shared<R, E: de::Error>(
    place: u32,
    f: impl FnOnce([BorrowedHandle<'_>; 2]) -> R,
) -> Result<R, E> {
    let found = current(|message| {
        let Table::Received(table) = &message.table else { return None };
        let first = usize::try_from(place).ok()?;
        let [Some(first), Some(second)] = table.get(first..)?.get(..2)? else { return None };
        Some(f([borrow(first), borrow(second)]))
    });
    let missing = || refuse(format!("it refers to handle {place}, which did not come with it"));
    found.flatten().ok_or_else(missing)
}

/// A handle on its way out.
pub(crate) struct Lent<'a>(pub(crate) BorrowedHandle<'a>);

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self::serialize(self.0, serializer)
    }
}

/// A handle that came.
pub(crate) struct Received(pub(crate) Handle);

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        self::deserialize(deserializer).map(Self)
    }
}

/// A bare handle as a part of one of the library's own messages, given away when it is written.
#[derive(Debug)]
pub(crate) struct Carried(RefCell<Option<Handle>>);

impl Carried {
    pub(crate) fn new(handle: Handle) -> Self {
        Self(RefCell::new(Some(handle)))
    }

    /// Takes the handle out.
    pub(crate) fn into_handle(self) -> Option<Handle> {
        self.0.take()
    }
}

impl Serialize for Carried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let given =
            || self.0.take().ok_or_else(|| keep("its handle was given away before".to_owned()));
        serialize_owned(given, serializer)
    }
}

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self::new)
    }
}
