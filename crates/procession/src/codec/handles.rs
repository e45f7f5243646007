//! Handles in values: written as a place in a table that travels beside the bytes.

use std::cell::{Cell, RefCell};

use procession_sys::{BorrowedHandle, Handle, borrow};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

thread_local! {
    /// The table of the message that this thread is encoding now.
    static SENDING: RefCell<Option<Vec<Handle>>> = const { RefCell::new(None) };
    /// What lies in that table for several values to share: what it is, and the place.
    static SHARED: RefCell<Vec<((u64, u64), usize)>> = const { RefCell::new(Vec::new()) };
    /// The handles of the message that this thread is decoding now.
    static RECEIVED: RefCell<Option<Vec<Option<Handle>>>> = const { RefCell::new(None) };
    /// What went wrong with a handle: postcard keeps no text of a custom error.
    static REASON: Cell<Option<String>> = const { Cell::new(None) };
}

/// The table of what this thread is encoding or decoding, if it is.
type Current<T> = std::thread::LocalKey<RefCell<Option<Vec<T>>>>;

const OUTSIDE: &str = "a procession handle crosses to another process only inside an argument, a result or a \
     message of procession; it means nothing in any other format";

/// Runs `f` while handles are written into `table`.
pub(super) fn with_table<R>(table: &mut Vec<Handle>, f: impl FnOnce() -> R) -> R {
    /// Puts the outer message's list back, however `f` ends.
    struct Restore(Vec<((u64, u64), usize)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            // At the end of a thread there is none.
            let _ = SHARED.try_with(|shared| shared.replace(std::mem::take(&mut self.0)));
        }
    }
    let _restore = Restore(SHARED.try_with(RefCell::take).unwrap_or_default());
    with(&SENDING, table, f)
}

/// Runs `f` while handles are taken out of `table`.
pub(super) fn with_received<R>(table: &mut Vec<Option<Handle>>, f: impl FnOnce() -> R) -> R {
    with(&RECEIVED, table, f)
}

/// Runs `f`, a user's `Serialize` or `Deserialize`, while `table` is this thread's.
///
/// It may encode another message meanwhile, and it may panic.
fn with<T, R>(current: &'static Current<T>, table: &mut Vec<T>, f: impl FnOnce() -> R) -> R {
    /// Puts the outer message's table back, however `f` ends.
    struct Restore<'a, T: 'static> {
        current: &'static Current<T>,
        outer: Option<Vec<T>>,
        table: &'a mut Vec<T>,
    }
    impl<T: 'static> Drop for Restore<'_, T> {
        fn drop(&mut self) {
            *self.table = self.current.replace(self.outer.take()).unwrap_or_default();
        }
    }
    REASON.take();
    let outer = current.replace(Some(std::mem::take(table)));
    let _restore = Restore { current, outer, table };
    f()
}

/// Takes the reason of the last failure in this thread that had to do with a handle.
pub(super) fn take_reason() -> Option<String> {
    REASON.take()
}

/// Keeps `reason` for [`take_reason`] and gives it back.
fn keep(reason: String) -> String {
    REASON.set(Some(reason.clone()));
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
    let place = SENDING.with_borrow_mut(|table| {
        let table = table.as_mut().ok_or_else(|| OUTSIDE.to_owned())?;
        table.push(handle()?);
        Ok::<_, String>(table.len() - 1)
    });
    let place = place.map_err(ser::Error::custom)?;
    serializer.serialize_u32(u32::try_from(place).unwrap_or(u32::MAX))
}

/// Refuses a handle in any other format than the library's own messages.
pub(crate) fn only_received<E: de::Error>() -> Result<(), E> {
    if RECEIVED.with_borrow(Option::is_none) { Err(E::custom(OUTSIDE)) } else { Ok(()) }
}

/// Takes the handle whose place comes next out of the current message's table.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
    only_received()?;
    let place = u32::deserialize(deserializer)?;
    let handle = RECEIVED.with_borrow_mut(|table| {
        let slot = table.as_mut()?.get_mut(usize::try_from(place).ok()?)?;
        slot.take()
    });
    handle.ok_or_else(|| {
        de::Error::custom(keep(format!("it refers to handle {place}, which did not come with it")))
    })
}

/// Writes handles that several values of the message may share, side by side, once for each `what`;
/// returns the place of the first.
pub(crate) fn place_shared<E: ser::Error>(
    what: (u64, u64),
    handles: &[BorrowedHandle<'_>],
) -> Result<u32, E> {
    let find = |shared: &RefCell<Vec<((u64, u64), usize)>>| {
        shared.borrow().iter().find(|(it, _)| *it == what).copied()
    };
    let known = SHARED.try_with(find).unwrap_or_default();
    let place = known.map_or_else(
        || {
            let place = SENDING.with_borrow_mut(|table| {
                let table = table.as_mut().ok_or_else(|| OUTSIDE.to_owned())?;
                let place = table.len();
                for handle in handles {
                    let duplicate = handle.try_clone_to_owned();
                    table.push(duplicate.map_err(|error| {
                        keep(format!("its handle cannot be duplicated: {error}"))
                    })?);
                }
                Ok::<_, String>(place)
            })?;
            let _ = SHARED.try_with(|shared| shared.borrow_mut().push((what, place)));
            Ok(place)
        },
        |(_, place)| Ok::<_, String>(place),
    );
    place.map(|place| u32::try_from(place).unwrap_or(u32::MAX)).map_err(E::custom)
}

/// Lends two handles that were written by [`place_shared`], and may be asked for again.
pub(crate) fn with_shared<R, E: de::Error>(
    place: u32,
    f: impl FnOnce([BorrowedHandle<'_>; 2]) -> R,
) -> Result<R, E> {
    let found = RECEIVED.with_borrow(|table| {
        let table = table.as_ref()?;
        let first = usize::try_from(place).ok()?;
        let [Some(first), Some(second)] = table.get(first..)?.get(..2)? else { return None };
        Some(f([borrow(first), borrow(second)]))
    });
    found.ok_or_else(|| refuse(format!("it refers to handle {place}, which did not come with it")))
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
