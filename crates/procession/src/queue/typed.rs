//! The queue as users know it: values in, values out.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_shm::queue as shm;
use procession_sys::{BorrowedHandle, borrow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, QueueJoinError, TaskDoneError,
    TryGetError, TryPutError,
};
use crate::codec::{self, DecodeError, EncodeError, Lent, Received, buffer};
use crate::object::{CreateError, deadline, taking_part};

/// Messages from any number of processes to any number of processes.
///
/// # Across processes
///
/// A queue can be an argument, a result, and a message, also in another queue; so can handles be in
/// its messages. All who get agree on one order, in which the messages of one process stand as it
/// has put them. Each message goes to one process.
///
/// A message is there whole or not at all, whenever the process that puts it is killed. One that is
/// killed while it gets has taken nothing, until it has all of it; then the message has died with it.
/// Messages live in shared memory: they are there as long as any handle on the queue is, also when
/// the process that has put them is not.
///
/// # Examples
///
/// ```
/// use procession::Queue;
///
/// fn square(numbers: Queue<u64>, squares: Queue<u64>) {
///     for number in &numbers {
///         squares.put(&(number * number)).expect("it is open");
///     }
/// }
///
/// let (numbers, squares) = (Queue::unbounded()?, Queue::unbounded()?);
/// let child = procession::spawn(square, (numbers.clone(), squares.clone()))?;
/// for number in 1..=3 {
///     numbers.put(&number)?;
/// }
/// numbers.close();
/// assert_eq!((squares.get()?, squares.get()?, squares.get()?), (1, 4, 9));
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Queue<M> {
    pub(super) shared: Arc<shm::Queue>,
    messages: PhantomData<fn(M) -> M>,
}

impl<M> Queue<M> {
    /// Makes a queue that takes any number of messages, as long as there is memory.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn unbounded() -> Result<Self, CreateError> {
        Ok(Self::new(shm::Queue::new(0)?))
    }

    /// Makes a queue that takes at most `limit` messages at a time: who puts more waits.
    ///
    /// # Errors
    ///
    /// [`CreateError::Invalid`] for a limit of 0, or of more than [`u32::MAX`];
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn bounded(limit: usize) -> Result<Self, CreateError> {
        let checked = u32::try_from(limit).ok().filter(|limit| *limit > 0);
        let checked = checked.ok_or_else(|| {
            CreateError::invalid(format!(
                "a queue for at most {limit} messages cannot be made: the limit is at least 1 and at \
                 most {}; `unbounded` has none",
                u32::MAX
            ))
        })?;
        Ok(Self::new(shm::Queue::new(checked)?))
    }

    fn new(shared: shm::Queue) -> Self {
        Self { shared: Arc::new(shared), messages: PhantomData }
    }

    /// Returns how many messages are there now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Tells whether no message is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Tells whether as many messages are there now as may be; never, if it is unbounded.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Closes the queue, for all processes and for good: nothing more can be put; what is there can
    /// be got, and after that getting says [`Closed`](GetError::Closed).
    pub fn close(&self) {
        self.shared.close();
    }

    /// Tells whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Says that one message that was got has been dealt with. See [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// [`TaskDoneError`] when that has been said of every message already.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        if self.shared.task_done() { Ok(()) } else { Err(TaskDoneError) }
    }

    /// Waits until [`task_done`](Self::task_done) was called for every message that was put.
    ///
    /// # Blocking
    ///
    /// Until then, whoever dies meanwhile.
    ///
    /// # Errors
    ///
    /// [`QueueJoinError::Lost`] when a process died that had taken messages and not marked them.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has the queue, if no more can share it.
    pub fn join(&self) -> Result<(), QueueJoinError> {
        self.join_until(None)
    }

    /// Joins, but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join), and [`QueueJoinError::Timeout`].
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), QueueJoinError> {
        self.join_until(deadline(timeout))
    }

    fn join_until(&self, deadline: Option<Instant>) -> Result<(), QueueJoinError> {
        taking_part(self.shared.join(deadline)).map_err(|unfinished| match unfinished {
            shm::Unfinished::TimedOut => QueueJoinError::Timeout,
            shm::Unfinished::Lost(messages) => {
                QueueJoinError::Lost { messages: usize::try_from(messages).unwrap_or(usize::MAX) }
            }
        })
    }

    /// The handle to wait on, after [`prepare_wait`](Self::prepare_wait).
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.shared.bell()
    }

    /// Tells whether a get would not wait; if it would, the handle tells of a change.
    pub(crate) fn prepare_wait(&self) -> bool {
        self.shared.prepare_wait()
    }
}

impl<M: Serialize> Queue<M> {
    /// Puts a message in.
    ///
    /// # Blocking
    ///
    /// Not at all if the queue is unbounded; else while as many messages are there as may be.
    ///
    /// # Errors
    ///
    /// - [`Closed`](PutError::Closed): the queue is closed.
    /// - [`Encode`](PutError::Encode): the message is not for serde's data model, too long for a
    ///   queue or for this process's memory, or carries more handles than fit.
    /// - [`Io`](PutError::Io): there is no memory for it. Nothing was put.
    pub fn put(&self, message: &M) -> Result<(), PutError> {
        Ok(self.put_until(message, true, None)?)
    }

    /// Puts a message in if there is room now.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and [`Full`](TryPutError::Full).
    pub fn try_put(&self, message: &M) -> Result<(), TryPutError> {
        self.put_until(message, false, None)
    }

    /// Puts a message in, waiting at most for `timeout` if there is no room.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and [`Timeout`](PutTimeoutError::Timeout).
    pub fn put_timeout(&self, message: &M, timeout: Duration) -> Result<(), PutTimeoutError> {
        Ok(self.put_until(message, true, deadline(timeout))?)
    }

    pub(super) fn put_until(
        &self,
        message: &M,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), TryPutError> {
        if let Some((length, bytes)) = codec::as_parts(message) {
            let put = self.shared.put_parts(&[&length, bytes], &[], wait, deadline);
            return put.map_err(|error| put_error::<M>(error, bytes.len(), 0));
        }
        let mut encoded = codec::Encoded { bytes: buffer::take(), handles: Vec::new() };
        encoded.bytes.clear();
        let result = codec::encode_into(message, &mut encoded, "the message");
        let put = result.map_err(TryPutError::Encode).and_then(|()| {
            let handles: Vec<_> = encoded.handles.iter().map(borrow).collect();
            let put = self.shared.put(&encoded.bytes, &handles, wait, deadline);
            put.map_err(|error| put_error::<M>(error, encoded.bytes.len(), handles.len()))
        });
        buffer::keep(encoded.bytes);
        put
    }
}

pub(super) fn put_error<M>(error: shm::PutError, length: usize, handles: usize) -> TryPutError {
    match error {
        shm::PutError::Closed => TryPutError::Closed,
        shm::PutError::Full => TryPutError::Full,
        shm::PutError::Io(error) => TryPutError::Io(error),
        _ => {
            let reason = format!(
                "it has {length} bytes and {handles} handles; the most is {} bytes and 253 handles",
                shm::LONGEST
            );
            TryPutError::Encode(EncodeError::new::<M>("the message", reason))
        }
    }
}

impl<M: DeserializeOwned> Queue<M> {
    /// Waits for the next message and takes it.
    ///
    /// # Blocking
    ///
    /// Until a message comes or the queue is closed. A queue does not know who will put something
    /// in: to learn as well that a process on which that depends is dead, [`wait`](crate::wait) for
    /// both.
    ///
    /// # Errors
    ///
    /// - [`Closed`](GetError::Closed): the queue is closed, and every message has been taken.
    /// - [`Decode`](GetError::Decode): something was taken that is not an `M`.
    /// - [`Io`](GetError::Io): there is no memory for a message, or no descriptor for its handles;
    ///   it stays.
    pub fn get(&self) -> Result<M, GetError> {
        Ok(self.get_until(true, None)?)
    }

    /// Takes a message if one is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Empty`](TryGetError::Empty).
    pub fn try_get(&self) -> Result<M, TryGetError> {
        self.get_until(false, None)
    }

    /// Waits for the next message, at most for `timeout`, and takes it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Timeout`](GetTimeoutError::Timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<M, GetTimeoutError> {
        Ok(self.get_until(true, deadline(timeout))?)
    }

    /// Returns an iterator that takes messages, waiting for each, until the queue is closed and all
    /// have been taken.
    pub fn iter(&self) -> Iter<'_, M> {
        Iter(self)
    }

    pub(super) fn get_until(
        &self,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<M, TryGetError> {
        let mut bytes = buffer::take();
        let copy = |bytes: &shm::Bytes<'_>| codec::copy::<M>(bytes, "the message");
        let got = self.shared.get_with(&mut bytes, copy, wait, deadline);
        let message = got.map_err(get_error::<M>).and_then(|got| {
            let decoded = match got {
                shm::Got::Value(decoded) => decoded,
                shm::Got::Bytes(taken) => codec::decode(&bytes, taken.handles, "the message"),
            };
            decoded.map_err(TryGetError::Decode)
        });
        buffer::keep(bytes);
        message
    }
}

fn get_error<M>(error: shm::GetError) -> TryGetError {
    match error {
        shm::GetError::Closed => TryGetError::Closed,
        shm::GetError::Empty => TryGetError::Empty,
        shm::GetError::Io(error) => TryGetError::Io(error),
        _ => {
            let reason = "what was in the queue was not written by procession";
            TryGetError::Decode(DecodeError::new::<M>("the message", reason))
        }
    }
}

/// Takes messages until the queue is closed and all have been taken. See [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, M>(&'a Queue<M>);

impl<M: DeserializeOwned> Iterator for Iter<'_, M> {
    type Item = M;

    /// Waits for the next message.
    ///
    /// # Panics
    ///
    /// When something was taken that is not a message, or could not be: [`Queue::get`] tells that
    /// as an error.
    fn next(&mut self) -> Option<M> {
        match self.0.get() {
            Ok(message) => Some(message),
            Err(GetError::Closed) => None,
            Err(error) => panic!("{error} (`Queue::get` returns this as an error)"),
        }
    }
}

impl<'a, M: DeserializeOwned> IntoIterator for &'a Queue<M> {
    type Item = M;
    type IntoIter = Iter<'a, M>;

    fn into_iter(self) -> Iter<'a, M> {
        self.iter()
    }
}

impl<M> Clone for Queue<M> {
    /// Makes another handle on the same queue.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), messages: PhantomData }
    }
}

impl<M> fmt::Debug for Queue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<M> Serialize for Queue<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d] = self.shared.handles().map(Lent);
        (a, b, c, d).serialize(serializer)
    }
}

impl<'de, M> Deserialize<'de> for Queue<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b, c, d) = <(Received, Received, Received, Received)>::deserialize(deserializer)?;
        let queue = shm::Queue::open([a.0, b.0, c.0, d.0]);
        queue.map(Self::new).map_err(codec::refuse_handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_longer_than_a_queue_is_told_with_the_limit() {
        let error = put_error::<u8>(shm::PutError::TooLarge, 17 << 30, 0).to_string();
        assert!(error.contains("18253611008 bytes and 0 handles; the most is 171798"), "{error}");
    }
}
