//! The ends of a pipe.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::ready;
use procession_sys::wire::Wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PipeError, RecvError, RecvTimeoutError, SendError, TryRecvError};
use crate::codec::{self, DecodeError, EncodeError};
use crate::frame::{self, Frame, FrameError, MAX_FRAME_HANDLES};

/// Makes a pipe with two equal ends: each sends messages of type `M` and receives the other's.
///
/// # Errors
///
/// [`PipeError::Io`] when this process has no free descriptor.
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
/// [`PipeError::Io`] when this process has no free descriptor.
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
    let (a, b) = Wire::pair().map_err(PipeError::Io)?;
    Ok((Connection::new(a), Connection::new(b)))
}

/// Makes a pipe for one direction.
///
/// # Errors
///
/// [`PipeError::Io`] when this process has no free descriptor.
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
    let (a, b) = Wire::pair().map_err(PipeError::Io)?;
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
    /// Shared by the clones in this process, so that making one cannot fail.
    wire: Arc<Wire>,
    messages: PhantomData<fn(S) -> R>,
}

/// The sending end of a one-way pipe. See [`simplex`].
pub struct Sender<M>(Connection<M, std::convert::Infallible>);

/// The receiving end of a one-way pipe. See [`simplex`].
pub struct Receiver<M>(Connection<std::convert::Infallible, M>);

impl<S, R> Connection<S, R> {
    fn new(wire: Wire) -> Self {
        Self { wire: Arc::new(wire), messages: PhantomData }
    }

    pub(crate) fn handle(&self) -> procession_sys::BorrowedHandle<'_> {
        self.wire.handle()
    }
}

impl<S: Serialize, R> Connection<S, R> {
    /// Sends one message.
    ///
    /// # Blocking
    ///
    /// Waits while the peer has not read what is in the pipe already (about 200 kB; a larger
    /// message counts little, it is in memory of its own).
    ///
    /// # Errors
    ///
    /// - [`Closed`](SendError::Closed): every other end is gone.
    /// - [`Encode`](SendError::Encode): the message is not for serde's data model, or carries more
    ///   handles than fit.
    /// - [`Io`](SendError::Io): no memory or descriptor for a large message or its handles.
    pub fn send(&self, message: &S) -> Result<(), SendError> {
        let encoded = codec::encode(message, "the message").map_err(SendError::Encode)?;
        if encoded.handles.len() > MAX_FRAME_HANDLES {
            let reason = format!(
                "it carries {} handles; the most is {MAX_FRAME_HANDLES}",
                encoded.handles.len()
            );
            return Err(SendError::Encode(EncodeError::new::<S>("the message", reason)));
        }
        let sent = frame::send(&self.wire, [&encoded.bytes, &[]], &encoded.handles);
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => SendError::Closed,
            _ => SendError::Io(error),
        })
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
    /// - [`Io`](RecvError::Io): the system refused.
    pub fn recv(&self) -> Result<R, RecvError> {
        Ok(self.take(true)?)
    }

    /// Takes a message if one is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty) when no message is there.
    pub fn try_recv(&self) -> Result<R, TryRecvError> {
        self.take(false)
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout) when no message came.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            match self.take(false) {
                Err(TryRecvError::Empty) => {}
                result => return Ok(result?),
            }
            // Another receiver may take what made the wire ready, so one look is not enough.
            if !ready::wait_one(self.handle(), deadline).map_err(RecvTimeoutError::Io)? {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    /// Waits until a message or the end of file can be received, at most for `timeout`.
    ///
    /// Returns false if neither came. With several receivers, one of them may be faster.
    ///
    /// # Errors
    ///
    /// [`RecvError::Io`] when the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        let deadline = Instant::now().checked_add(timeout);
        ready::wait_one(self.handle(), deadline).map_err(RecvError::Io)
    }

    fn take(&self, wait: bool) -> Result<R, TryRecvError> {
        let mut frame = Frame::receive(&self.wire, wait).map_err(|error| match error {
            FrameError::Empty => TryRecvError::Empty,
            FrameError::Closed => TryRecvError::Closed,
            FrameError::Io(error) => TryRecvError::Io(error),
            FrameError::Garbage(what) => {
                TryRecvError::Decode(DecodeError::new::<R>("the message", what))
            }
        })?;
        let handles = frame.take_handles();
        codec::decode(&frame, handles, "the message").map_err(TryRecvError::Decode)
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
}

impl<M> Receiver<M> {
    pub(crate) fn handle(&self) -> procession_sys::BorrowedHandle<'_> {
        self.0.handle()
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
        Self { wire: Arc::clone(&self.wire), messages: PhantomData }
    }
}

impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        codec::serialize_handle(self.handle(), serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = codec::deserialize_handle(deserializer)?;
        Wire::from_handle(handle).map(Self::new).map_err(codec::refuse_handle)
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
                f.debug_tuple(stringify!($name)).field(&self.0.wire).finish()
            }
        }
    };
}

one_way!(Sender);
one_way!(Receiver);

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("wire", &self.wire).finish()
    }
}
