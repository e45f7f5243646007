//! The error that takes all others with `?`.

use std::fmt;

/// Implements `Error` for an error enum of which the named variants hold their cause, others none.
macro_rules! sources {
    ($($name:ident { $($variant:ident),* })*) => {
        $(impl std::error::Error for $name {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    $(Self::$variant(error) => Some(error),)*
                    _ => None,
                }
            }
        })*
    };
}
pub(crate) use sources;

/// Any error of this library.
///
/// Each operation has an error type of its own, which says what can happen there; this one is for
/// functions that use several of them with `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A process could not be started.
    Start(crate::StartError),
    /// A child ended without a value.
    Join(crate::JoinError),
    /// A pool could not be made, changed or joined.
    Pool(crate::PoolError),
    /// A task has no value.
    Task(crate::TaskError),
    /// A task has no value yet, or none.
    ResultTimeout(crate::ResultTimeoutError),
    /// A pipe could not be made.
    Pipe(crate::PipeError),
    /// A message could not be sent.
    Send(crate::SendError),
    /// A message was not sent at once.
    TrySend(crate::TrySendError),
    /// A message was not sent in time.
    SendTimeout(crate::SendTimeoutError),
    /// No message was received.
    Recv(crate::RecvError),
    /// No message was there.
    TryRecv(crate::TryRecvError),
    /// No message was received in time.
    RecvTimeout(crate::RecvTimeoutError),
    /// Several things could not be waited for.
    Wait(crate::WaitError),
    /// A message was not put into a queue.
    Put(crate::PutError),
    /// A message was not put into a queue at once.
    TryPut(crate::TryPutError),
    /// A message was not put into a queue in time.
    PutTimeout(crate::PutTimeoutError),
    /// No message was got from a queue.
    Get(crate::GetError),
    /// No message was in a queue.
    TryGet(crate::TryGetError),
    /// No message was got from a queue in time.
    GetTimeout(crate::GetTimeoutError),
    /// A message was marked as done that was not to be done.
    TaskDone(crate::TaskDoneError),
    /// Not every message of a queue was done.
    QueueJoin(crate::QueueJoinError),
    /// The start method could not be set.
    SetStartMethod(crate::SetStartMethodError),
    /// An object in shared memory could not be made.
    Create(crate::CreateError),
    /// Shared memory under a name could not be had.
    Name(crate::NameError),
    /// A process died while it held a lock. The guard is gone: the lock is free again.
    OwnerDied(crate::OwnerDied<()>),
    /// Something was given up that was not held.
    NotHeld(crate::NotHeldError),
    /// Nobody passes a barrier.
    Barrier(crate::BarrierError),
    /// A part of shared memory does not exist.
    OutOfBounds(crate::OutOfBounds),
    /// The system refused something else.
    Io(std::io::Error),
}

/// A result with any error of this library.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! from {
    ($($variant:ident($error:ty))*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(error) => error.fmt(f),)*
                    Self::OwnerDied(died) => died.fmt(f),
                }
            }
        }

        impl std::error::Error for Error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                // Display shows the inner error itself, so its source is the next link.
                match self {
                    $(Self::$variant(error) => error.source(),)*
                    Self::OwnerDied(died) => died.source(),
                }
            }
        }
    };
}

from! {
    Start(crate::StartError)
    Join(crate::JoinError)
    Pool(crate::PoolError)
    Task(crate::TaskError)
    ResultTimeout(crate::ResultTimeoutError)
    Pipe(crate::PipeError)
    Send(crate::SendError)
    TrySend(crate::TrySendError)
    SendTimeout(crate::SendTimeoutError)
    Recv(crate::RecvError)
    TryRecv(crate::TryRecvError)
    RecvTimeout(crate::RecvTimeoutError)
    Wait(crate::WaitError)
    Put(crate::PutError)
    TryPut(crate::TryPutError)
    PutTimeout(crate::PutTimeoutError)
    Get(crate::GetError)
    TryGet(crate::TryGetError)
    GetTimeout(crate::GetTimeoutError)
    TaskDone(crate::TaskDoneError)
    QueueJoin(crate::QueueJoinError)
    SetStartMethod(crate::SetStartMethodError)
    Create(crate::CreateError)
    Name(crate::NameError)
    NotHeld(crate::NotHeldError)
    Barrier(crate::BarrierError)
    OutOfBounds(crate::OutOfBounds)
    Io(std::io::Error)
}

impl<Args> From<crate::SubmitError<Args>> for Error {
    fn from(error: crate::SubmitError<Args>) -> Self {
        Self::Task(error.into())
    }
}

impl From<crate::PutManyError> for Error {
    fn from(error: crate::PutManyError) -> Self {
        Self::Put(error.into_error())
    }
}

impl<M> From<crate::GetManyError<M>> for Error {
    fn from(error: crate::GetManyError<M>) -> Self {
        Self::Get(error.into_error())
    }
}

impl<G> From<crate::OwnerDied<G>> for Error {
    fn from(died: crate::OwnerDied<G>) -> Self {
        Self::OwnerDied(died.map(drop))
    }
}
