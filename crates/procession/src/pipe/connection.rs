//! The ends of a pipe.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_shm::pipe::{self as shm, Bytes, Content, End};
use procession_sys::ready::Rings;
use procession_sys::{borrow, shared};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    PipeError, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::codec::{self, DecodeError, EncodeError, Lent, Received, buffer};

/// Makes a pipe with two equal ends: each sends messages of type `M` and receives the other's.
///
/// # Errors
///
/// [`PipeError::Io`] when this process has no free descriptor, or the system no memory.
///
/// # Examples
///
/// ```
/// fn shout(connection: procession::Connection<String>) {
///     while let Ok(word) = connection.recv() {
///         connection.send(&word.to_uppercase()).expect("the parent waits for it");
///     }
/// }
///
/// let (ours, theirs) = procession::pipe::<String>()?;
/// let child = procession::spawn(shout, (theirs,))?;
/// ours.send(&"quiet".to_string())?;
/// assert_eq!(ours.recv()?, "QUIET");
/// drop(ours); // the child reads the end of file
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub fn pipe<M>() -> Result<(Connection<M>, Connection<M>), PipeError> {
    duplex::<M, M>()
}

/// Makes a pipe whose ends send different types: the first sends `A` and receives `B`.
///
/// # Errors
///
/// [`PipeError::Io`] when this process has no free descriptor, or the system no memory.
///
/// # Examples
///
/// ```
/// let (client, server) = procession::duplex::<String, usize>()?;
/// client.send(&"four".to_string())?;
/// server.send(&server.recv()?.len())?;
/// assert_eq!(client.recv()?, 4);
/// # Ok::<(), procession::Error>(())
/// ```
#[expect(clippy::type_complexity, reason = "two connections, each the mirror of the other")]
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>), PipeError> {
    let (a, b) = End::pair().map_err(PipeError::from_segment)?;
    Ok((Connection::new(a), Connection::new(b)))
}

/// Makes a pipe for one direction.
///
/// # Errors
///
/// [`PipeError::Io`] when this process has no free descriptor, or the system no memory.
///
/// # Examples
///
/// ```
/// fn count(tx: procession::Sender<u32>) {
///     for i in 0..3 {
///         tx.send(&i).expect("the parent reads");
///     }
/// }
///
/// let (rx, tx) = procession::simplex::<u32>()?;
/// let child = procession::spawn(count, (tx,))?;
/// assert_eq!((rx.recv()?, rx.recv()?, rx.recv()?), (0, 1, 2));
/// assert!(matches!(rx.recv(), Err(procession::RecvError::Closed)));
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub fn simplex<M>() -> Result<(Receiver<M>, Sender<M>), PipeError> {
    let (a, b) = End::pair().map_err(PipeError::from_segment)?;
    Ok((Receiver(Connection::new(a)), Sender(Connection::new(b))))
}

/// One end of a pipe: sends messages of type `S`, receives those of type `R`.
///
/// # Across processes
///
/// A connection can be an argument, a result, and a message in another pipe; the other side gets an
/// end of the same pipe. An end that was passed by value is no longer open in this process, so the
/// peer sees [`Closed`](RecvError::Closed) as soon as the process that has it ends, however it ends.
///
/// A message arrives whole or not at all: one whose sender was killed before it was complete was
/// never sent. Several threads may send and receive on one end; each message goes to one of them.
pub struct Connection<S, R = S> {
    end: End,
    messages: PhantomData<fn(S) -> R>,
}

/// The sending end of a one-way pipe. See [`simplex`].
pub struct Sender<M>(Connection<M, std::convert::Infallible>);

/// The receiving end of a one-way pipe. See [`simplex`].
pub struct Receiver<M>(Connection<std::convert::Infallible, M>);

const WHAT: &str = "the message";
/// The most handles that one message carries; an end of a pipe is three, of which those that go along
/// to the same pipe share two.
const MOST_HANDLES: usize = procession_sys::wire::MAX_HANDLES;

impl<S, R> Connection<S, R> {
    fn new(end: End) -> Self {
        Self { end, messages: PhantomData }
    }

    /// Tells whether a message or the end of file is there; if not, what is
    /// [added](Self::add_to) tells of it.
    pub(crate) fn prepare_wait(&self) -> bool {
        self.end.prepare_wait()
    }

    pub(crate) fn add_to(&self, rings: &Rings) -> std::io::Result<()> {
        self.end.add_to(rings)
    }
}

impl<S: Serialize, R> Connection<S, R> {
    /// Sends one message.
    ///
    /// # Blocking
    ///
    /// Waits while the peer has not read what is in the pipe already: 256 messages, or about 3 MiB.
    /// One message always fits into an empty pipe, whatever its size.
    ///
    /// # Errors
    ///
    /// - [`Closed`](SendError::Closed): every other end is gone. (A message sent at the very moment
    ///   when the last one goes may be sent and never read.)
    /// - [`Encode`](SendError::Encode): the message is not for serde's data model, or carries more
    ///   handles than fit.
    /// - [`Io`](SendError::Io): no memory or descriptor for a large message or its handles.
    pub fn send(&self, message: &S) -> Result<(), SendError> {
        Ok(self.send_until(message, true, None)?)
    }

    /// Sends one message if there is room now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Full`](TrySendError::Full) when the peer has not read enough of
    /// what is there already.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::TrySendError;
    ///
    /// let (a, b) = procession::pipe::<u32>()?;
    /// let mut sent = 0;
    /// while let Ok(()) = a.try_send(&sent) {
    ///     sent += 1;
    /// }
    /// assert!(matches!(a.try_send(&sent), Err(TrySendError::Full)));
    /// for number in 0..sent {
    ///     assert_eq!(b.recv()?, number);
    /// }
    /// a.try_send(&sent)?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_send(&self, message: &S) -> Result<(), TrySendError> {
        self.send_until(message, false, None)
    }

    /// Sends one message, waiting at most for `timeout` if there is no room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Timeout`](SendTimeoutError::Timeout) when there was no room in
    /// time. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (a, b) = procession::pipe::<String>()?;
    /// a.send_timeout(&"soon".to_owned(), Duration::from_secs(1))?;
    /// assert_eq!(b.recv()?, "soon");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn send_timeout(&self, message: &S, timeout: Duration) -> Result<(), SendTimeoutError> {
        Ok(self.send_until(message, true, Instant::now().checked_add(timeout))?)
    }

    fn send_until(
        &self,
        message: &S,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), TrySendError> {
        if let Some((length, bytes)) = codec::as_parts(message) {
            let sent = self.end.send([&length, bytes], &[], wait, deadline);
            return sent.map_err(|error| send_error::<S>(error, 0));
        }
        let mut encoded = codec::Encoded { bytes: buffer::take(), handles: Vec::new() };
        encoded.bytes.clear();
        let result = codec::encode_into(message, &mut encoded, WHAT);
        let sent = result.map_err(TrySendError::Encode).and_then(|()| {
            let handles: Vec<_> = encoded.handles.iter().map(borrow).collect();
            let sent = self.end.send([&encoded.bytes, &[]], &handles, wait, deadline);
            sent.map_err(|error| send_error::<S>(error, handles.len()))
        });
        buffer::keep(encoded.bytes);
        sent
    }
}

fn send_error<S>(error: shm::SendError, handles: usize) -> TrySendError {
    match error {
        shm::SendError::Closed => TrySendError::Closed,
        shm::SendError::Full => TrySendError::Full,
        shm::SendError::Io(error) => TrySendError::Io(error),
        _ => {
            let reason = format!("it carries {handles} handles; the most is {MOST_HANDLES}");
            TrySendError::Encode(EncodeError::new::<S>(WHAT, reason))
        }
    }
}

impl<S, R: DeserializeOwned> Connection<S, R> {
    /// Waits for the next message.
    ///
    /// # Blocking
    ///
    /// Until a message comes or every other end is gone, whatever ended its process.
    ///
    /// # Errors
    ///
    /// - [`Closed`](RecvError::Closed): every other end is gone, and every message has been taken.
    /// - [`Decode`](RecvError::Decode): something was taken that is not an `R`.
    /// - [`Io`](RecvError::Io): no descriptor is free for the handles of a message, which stays; or
    ///   somebody has written other things over the memory of the pipe.
    pub fn recv(&self) -> Result<R, RecvError> {
        Ok(self.recv_until(true, None)?)
    }

    /// Takes a message if one is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty) when no message is there.
    pub fn try_recv(&self) -> Result<R, TryRecvError> {
        self.recv_until(false, None)
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout) when no message came.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvTimeoutError> {
        Ok(self.recv_until(true, Instant::now().checked_add(timeout))?)
    }

    /// Waits until a message or the end of file can be received, at most for `timeout`.
    ///
    /// Returns false if neither came. With several receivers, one of them may be faster.
    ///
    /// # Errors
    ///
    /// [`RecvError::Io`] when the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        let ready = self.end.wait(Instant::now().checked_add(timeout));
        ready.map_err(|error| RecvError::Io(std::io::Error::other(error)))
    }

    fn recv_until(&self, wait: bool, deadline: Option<Instant>) -> Result<R, TryRecvError> {
        let copy = |bytes: &Bytes<'_>| {
            if let Some(value) = codec::copy::<R>(bytes, WHAT) {
                return Ok(value);
            }
            let mut copied = buffer::take();
            copied.clear();
            if copied.try_reserve(bytes.len()).is_err() {
                let reason = format!("there is no memory for a copy of its {} bytes", bytes.len());
                return Ok(Err(DecodeError::new::<R>(WHAT, reason)));
            }
            // SAFETY: any bytes are a value of `u8`.
            unsafe { bytes.append_to(0, &mut copied) };
            Err(copied)
        };
        let received = self.end.receive(copy, wait, deadline).map_err(recv_error::<R>)?;
        let handles = received.handles;
        let decoded = match received.content {
            Content::Copied(Ok(decoded)) => decoded,
            Content::Copied(Err(bytes)) => {
                let decoded = codec::decode(&bytes, handles, WHAT);
                buffer::keep(bytes);
                decoded
            }
            Content::Apart(view) => codec::decode(&view, handles, WHAT),
        };
        decoded.map_err(TryRecvError::Decode)
    }
}

fn recv_error<R>(error: shm::ReceiveError) -> TryRecvError {
    match error {
        shm::ReceiveError::Closed => TryRecvError::Closed,
        shm::ReceiveError::Empty => TryRecvError::Empty,
        shm::ReceiveError::Io(error) => TryRecvError::Io(error),
        _ => {
            let reason = "what was in the pipe was not written by procession";
            TryRecvError::Decode(DecodeError::new::<R>(WHAT, reason))
        }
    }
}

impl<M: Serialize> Sender<M> {
    /// Sends one message, as [`Connection::send`].
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn send(&self, message: &M) -> Result<(), SendError> {
        self.0.send(message)
    }

    /// Sends one message if there is room now, as [`Connection::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Connection::try_send`].
    pub fn try_send(&self, message: &M) -> Result<(), TrySendError> {
        self.0.try_send(message)
    }

    /// Sends one message, waiting at most for `timeout`, as [`Connection::send_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Connection::send_timeout`].
    pub fn send_timeout(&self, message: &M, timeout: Duration) -> Result<(), SendTimeoutError> {
        self.0.send_timeout(message, timeout)
    }
}

impl<M> Receiver<M> {
    pub(crate) fn prepare_wait(&self) -> bool {
        self.0.prepare_wait()
    }

    pub(crate) fn add_to(&self, rings: &Rings) -> std::io::Result<()> {
        self.0.add_to(rings)
    }
}

impl<M: DeserializeOwned> Receiver<M> {
    /// Waits for the next message, as [`Connection::recv`].
    ///
    /// # Errors
    ///
    /// As [`Connection::recv`].
    pub fn recv(&self) -> Result<M, RecvError> {
        self.0.recv()
    }

    /// Takes a message if one is there, as [`Connection::try_recv`].
    ///
    /// # Errors
    ///
    /// As [`Connection::try_recv`].
    pub fn try_recv(&self) -> Result<M, TryRecvError> {
        self.0.try_recv()
    }

    /// Waits for the next message, at most for `timeout`, as [`Connection::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Connection::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<M, RecvTimeoutError> {
        self.0.recv_timeout(timeout)
    }

    /// Waits until a message or the end of file can be received, as [`Connection::poll`].
    ///
    /// # Errors
    ///
    /// As [`Connection::poll`].
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.0.poll(timeout)
    }
}

impl<S, R> Clone for Connection<S, R> {
    /// Makes another handle on the same end; the peer sees the end of file when all are gone.
    fn clone(&self) -> Self {
        Self::new(self.end.clone())
    }
}

impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        use serde::ser::Error;
        let none = || Z::Error::custom("the pipe has no bell");
        let both = self.end.shared().ok_or_else(none)?;
        // What all holders in one process share crosses once in each message.
        let which = shared::identity(both[0]).map_err(Z::Error::custom)?;
        let place = codec::place_shared::<Z::Error>(which, both)?;
        (Lent(self.end.line()), place).serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        codec::only_received()?;
        let (Received(line), place) = <(Received, u32)>::deserialize(deserializer)?;
        let end = codec::with_shared(place, |[memory, bell]| End::open(line, memory, bell))?;
        end.map(Self::new).map_err(codec::refuse_handle)
    }
}

macro_rules! one_way {
    ($name:ident) => {
        impl<M> Serialize for $name<M> {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, M> Deserialize<'de> for $name<M> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Connection::deserialize(deserializer).map(Self)
            }
        }

        impl<M> Clone for $name<M> {
            /// Makes another handle on the same end.
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<M> fmt::Debug for $name<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

one_way!(Sender);
one_way!(Receiver);

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
