//! Several messages at once: one turn at the queue's lock instead of one for each.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::typed::put_error;
use super::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, Queue, TryGetError, TryPutError,
};
use crate::codec::{self, Encoded, buffer};
use crate::object::deadline;

/// Messages are put in turns of at most so many bytes and messages, so that others have theirs.
const TURN_BYTES: usize = 64 << 10;
const TURN_MESSAGES: usize = 256;

/// Why [`put_many`](Queue::put_many) has not put all; with a [`PutTimeoutError`] inside, why
/// [`put_many_timeout`](Queue::put_many_timeout) has not.
#[derive(Debug)]
pub struct PutManyError<E = PutError> {
    put: usize,
    error: E,
}

impl<E> PutManyError<E> {
    /// Returns how many messages were put: the first ones of the slice.
    #[must_use]
    pub fn put(&self) -> usize {
        self.put
    }

    /// Returns why the next one was not.
    #[must_use]
    pub fn into_error(self) -> E {
        self.error
    }
}

impl<E: fmt::Display> fmt::Display for PutManyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} messages that were put: {}", self.put, self.error)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for PutManyError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Why [`get_many`](Queue::get_many) failed; with a [`GetTimeoutError`] inside, why
/// [`get_many_timeout`](Queue::get_many_timeout) did. What it could get all the same is inside, too.
pub struct GetManyError<M, E = GetError> {
    messages: Vec<M>,
    error: E,
}

impl<M, E> GetManyError<M, E> {
    /// Returns the other messages, which were taken and are well.
    #[must_use]
    pub fn into_messages(self) -> Vec<M> {
        self.messages
    }

    /// Returns what was wrong.
    #[must_use]
    pub fn into_error(self) -> E {
        self.error
    }
}

impl<M, E: fmt::Debug> fmt::Debug for GetManyError<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self.messages.len();
        f.debug_struct("GetManyError")
            .field("messages", &messages)
            .field("error", &self.error)
            .finish()
    }
}

impl<M, E: fmt::Display> fmt::Display for GetManyError<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.messages.len() {
            0 => self.error.fmt(f),
            others => write!(f, "{}; {others} others that were got are inside", self.error),
        }
    }
}

impl<M, E: std::error::Error> std::error::Error for GetManyError<M, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<M: Serialize> Queue<M> {
    /// Puts messages in, in their order. Small ones cost far less than put one by one.
    ///
    /// # Across processes
    ///
    /// Each message is there whole or not at all, as with [`put`](Self::put). All together they are
    /// not: others may put theirs in between, and a process that is killed may have put some.
    ///
    /// # Blocking
    ///
    /// Not at all if the queue is unbounded; else while as many messages are there as may be.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), with how many were put before.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procession::Queue::unbounded()?;
    /// queue.put_many(&[1, 2, 3])?;
    /// assert_eq!(queue.get_many(2)?, [1, 2]);
    /// assert_eq!(queue.get_many(2)?, [3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn put_many(&self, messages: &[M]) -> Result<(), PutManyError> {
        self.put_many_until(messages, None)
    }

    /// As [`put_many`](Self::put_many), waiting at most for `timeout` in all if there is no room.
    ///
    /// # Errors
    ///
    /// As [`put_many`](Self::put_many), and [`Timeout`](PutTimeoutError::Timeout); with how many were
    /// put before.
    pub fn put_many_timeout(
        &self,
        messages: &[M],
        timeout: Duration,
    ) -> Result<(), PutManyError<PutTimeoutError>> {
        self.put_many_until(messages, deadline(timeout))
    }

    fn put_many_until<E: From<TryPutError>>(
        &self,
        messages: &[M],
        deadline: Option<Instant>,
    ) -> Result<(), PutManyError<E>> {
        let (mut bytes, mut ends) = (buffer::take(), Vec::new());
        let result = self.put_turns(messages, deadline, &mut bytes, &mut ends);
        buffer::keep(bytes);
        result
    }

    fn put_turns<E: From<TryPutError>>(
        &self,
        messages: &[M],
        deadline: Option<Instant>,
        bytes: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), PutManyError<E>> {
        let failed = |put, error: TryPutError| PutManyError { put, error: error.into() };
        let mut put = 0;
        while let Some(first) = messages.get(put) {
            encode_some(&messages[put..], bytes, ends);
            if ends.is_empty() {
                // One with handles, or one that has no bytes at all.
                let one = self.put_until(first, true, deadline);
                one.map_err(|error| failed(put, error))?;
                put += 1;
            }
            let mut done = 0;
            while done < ends.len() {
                let count = self.shared.put_more(bytes, ends, done);
                if count == 0 {
                    let begin = if done == 0 { 0 } else { ends[done - 1] };
                    let message = &bytes[begin..ends[done]];
                    let one = self.shared.put(message, &[], true, deadline);
                    one.map_err(|error| {
                        failed(put + done, put_error::<M>(error, message.len(), 0))
                    })?;
                }
                done += count.max(1);
            }
            put += done;
        }
        Ok(())
    }
}

/// Encodes as many of some messages as make a turn, up to one that has handles or cannot be encoded.
fn encode_some<M: Serialize>(messages: &[M], bytes: &mut Vec<u8>, ends: &mut Vec<usize>) {
    let mut encoded = Encoded { bytes: std::mem::take(bytes), handles: Vec::new() };
    encoded.bytes.clear();
    ends.clear();
    for message in messages.iter().take(TURN_MESSAGES) {
        let written = codec::encode_into(message, &mut encoded, "the message");
        if written.is_err() || !encoded.handles.is_empty() {
            break;
        }
        ends.push(encoded.bytes.len());
        if encoded.bytes.len() >= TURN_BYTES {
            break;
        }
    }
    *bytes = encoded.bytes;
}

impl<M: DeserializeOwned> Queue<M> {
    /// Waits for the next message, and takes it with those that are there behind it, at most `most`
    /// in all. Small ones cost far less than got one by one.
    ///
    /// # Across processes
    ///
    /// As with [`get`](Self::get), each message goes to one process. One that is killed in the
    /// middle has taken the messages that it had whole; the others stay.
    ///
    /// # Blocking
    ///
    /// As [`get`](Self::get), for the first message. For 0, not at all.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), with the other messages that were taken.
    pub fn get_many(&self, most: usize) -> Result<Vec<M>, GetManyError<M>> {
        self.get_many_until(most, None)
    }

    /// As [`get_many`](Self::get_many), waiting at most for `timeout` for the first message.
    ///
    /// # Errors
    ///
    /// As [`get_many`](Self::get_many), and [`Timeout`](GetTimeoutError::Timeout).
    pub fn get_many_timeout(
        &self,
        most: usize,
        timeout: Duration,
    ) -> Result<Vec<M>, GetManyError<M, GetTimeoutError>> {
        self.get_many_until(most, deadline(timeout))
    }

    fn get_many_until<E: From<TryGetError>>(
        &self,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<M>, GetManyError<M, E>> {
        let mut messages = Vec::new();
        if most == 0 {
            return Ok(messages);
        }
        let mut failed = None;
        match self.get_until(true, deadline) {
            Ok(first) => messages.push(first),
            Err(error @ TryGetError::Decode(_)) => failed = Some(error),
            Err(error) => return Err(GetManyError { messages, error: error.into() }),
        }
        let (mut bytes, mut ends) = (buffer::take(), Vec::new());
        bytes.clear();
        self.shared.get_more(most - 1, &mut bytes, &mut ends);
        messages.reserve(ends.len());
        let mut begin = 0;
        for end in ends {
            match codec::decode(&bytes[begin..end], Vec::new(), "the message") {
                Ok(message) => messages.push(message),
                Err(error) => failed = failed.or(Some(TryGetError::Decode(error))),
            }
            begin = end;
        }
        buffer::keep(bytes);
        match failed {
            None => Ok(messages),
            Some(error) => Err(GetManyError { messages, error: error.into() }),
        }
    }
}
