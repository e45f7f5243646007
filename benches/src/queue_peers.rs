//! What may stand for a queue, and its ends for a crowd.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, mpsc};

use crossbeam_channel as crossbeam;
use ipc_channel::ipc;
use procession::Queue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::crowd::{Lives, Open, Step};
use crate::iceoryx;
use crate::system;

/// Messages that are put and taken at once, by those who can.
const BATCH: usize = 64;

/// What a limited queue has room for.
const LIMIT: usize = 1024;

/// A peer, opened: where those who use it live, what puts, and what takes.
pub(crate) struct Peer {
    pub(crate) lives: Lives,
    pub(crate) write: Open,
    pub(crate) read: Open,
}

/// Tells whether it takes messages of so many bytes from and to so many.
pub(crate) fn can(what: &str, bytes: usize, writers: usize, readers: usize) -> bool {
    match what {
        // One reader, by their types or by what they do.
        "mpsc" | "ipc-typed" | "ipc-bytes" | "iceoryx2" => readers == 1,
        // A write is whole up to a page.
        "pipe" => bytes <= 4096 || (writers, readers) == (1, 1),
        // A packet has to fit into the socket's buffer.
        "socketpair" => bytes <= 64 << 10,
        "many" | "bounded" | "crossbeam-bounded" => bytes <= 64 << 10,
        _ => true,
    }
}

/// Opens a peer for messages of so many bytes.
pub(crate) fn open(what: &str, bytes: usize) -> Result<Peer, Box<dyn Error>> {
    match bytes {
        8 => open_typed(what, 0x0123_4567_89ab_cdef_u64, bytes),
        64 => open_typed(what, Record { number: 1, time: 0.5, values: [7; 6] }, bytes),
        _ => open_typed(what, vec![1_u8; bytes], bytes),
    }
}

/// Sixty-four bytes, as programs have them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Record {
    number: u64,
    time: f64,
    values: [u64; 6],
}

/// What may be a message.
trait Message: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<M: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Message for M {}

fn open_typed<M: Message>(what: &str, message: M, bytes: usize) -> Result<Peer, Box<dyn Error>> {
    Ok(match what {
        "queue" => ours(Queue::unbounded()?, message),
        "bounded" => ours(Queue::bounded(LIMIT)?, message),
        "many" => many(Queue::unbounded()?, message),
        "crossbeam" => crossbeam(crossbeam::unbounded(), message),
        "crossbeam-bounded" => crossbeam(crossbeam::bounded(LIMIT), message),
        "mpsc" => {
            let (sender, receiver) = mpsc::channel::<M>();
            let receiver = once(receiver);
            Peer {
                lives: Lives::Threads,
                write: each(move || {
                    let (sender, message) = (sender.clone(), message.clone());
                    Ok(Box::new(move || Ok(sender.send(message.clone()).map(|()| 1)?)))
                }),
                read: each(move || {
                    let receiver = receiver()?;
                    Ok(Box::new(move || taken(receiver.recv()?)))
                }),
            }
        }
        "ipc-typed" => {
            let (sender, receiver) = ipc::channel::<M>()?;
            let (sender, receiver) = (Mutex::new(sender), once(receiver));
            Peer {
                lives: Lives::Forks,
                write: each(move || {
                    let sender = sender.lock().map_err(|_| "a lock")?.clone();
                    let message = message.clone();
                    Ok(Box::new(move || Ok(sender.send(message.clone()).map(|()| 1)?)))
                }),
                read: each(move || {
                    let receiver = receiver()?;
                    Ok(Box::new(move || taken(receiver.recv()?)))
                }),
            }
        }
        "ipc-bytes" => {
            let (sender, receiver) = ipc::bytes_channel()?;
            let (sender, receiver) = (Mutex::new(sender), once(receiver));
            Peer {
                lives: Lives::Forks,
                write: each(move || {
                    let sender = sender.lock().map_err(|_| "a lock")?.clone();
                    let message = vec![1; bytes];
                    Ok(Box::new(move || Ok(sender.send(&message).map(|()| 1)?)))
                }),
                read: each(move || {
                    let receiver = receiver()?;
                    Ok(Box::new(move || taken(receiver.recv()?)))
                }),
            }
        }
        "iceoryx2" => {
            let names = iceoryx::Names::new("queue");
            let for_reader = names.clone();
            Peer {
                lives: Lives::Forks,
                write: each(move || names.writer(vec![1; bytes])),
                read: each(move || for_reader.reader()),
            }
        }
        "socketpair" => raw(system::packet_sockets()?, bytes),
        "pipe" => raw(system::pipe()?, bytes),
        _ => return Err(format!("there is no queue called `{what}`").into()),
    })
}

fn ours<M: Message>(queue: Queue<M>, message: M) -> Peer {
    let from = queue.clone();
    Peer {
        lives: Lives::Ours,
        write: each(move || {
            let (queue, message) = (queue.clone(), message.clone());
            Ok(Box::new(move || Ok(queue.put(&message).map(|()| 1)?)))
        }),
        read: each(move || {
            let queue = from.clone();
            Ok(Box::new(move || taken(queue.get()?)))
        }),
    }
}

fn many<M: Message>(queue: Queue<M>, message: M) -> Peer {
    let from = queue.clone();
    Peer {
        lives: Lives::Ours,
        write: each(move || {
            let (queue, messages) = (queue.clone(), vec![message.clone(); BATCH]);
            Ok(Box::new(move || Ok(queue.put_many(&messages).map(|()| BATCH as u64)?)))
        }),
        read: each(move || {
            let queue = from.clone();
            Ok(Box::new(move || Ok(black_box(queue.get_many(BATCH)?).len() as u64)))
        }),
    }
}

fn crossbeam<M: Message>(ends: (crossbeam::Sender<M>, crossbeam::Receiver<M>), message: M) -> Peer {
    let (sender, receiver) = ends;
    Peer {
        lives: Lives::Threads,
        write: each(move || {
            let (sender, message) = (sender.clone(), message.clone());
            Ok(Box::new(move || Ok(sender.send(message.clone()).map(|()| 1)?)))
        }),
        read: each(move || {
            let receiver = receiver.clone();
            Ok(Box::new(move || taken(receiver.recv()?)))
        }),
    }
}

/// Bytes through descriptors, as the kernel has them.
fn raw((from, to): (OwnedFd, OwnedFd), bytes: usize) -> Peer {
    let (from, to) = (File::from(from), File::from(to));
    Peer {
        lives: Lives::Forks,
        write: each(move || {
            let (mut to, message) = (to.try_clone()?, vec![1; bytes]);
            Ok(Box::new(move || Ok(to.write_all(&message).map(|()| 1)?)))
        }),
        read: each(move || {
            let (mut from, mut message) = (from.try_clone()?, vec![0; bytes]);
            Ok(Box::new(move || Ok(from.read_exact(&mut message).map(|()| 1)?)))
        }),
    }
}

fn each(open: impl Fn() -> Result<Step, Box<dyn Error>> + Send + Sync + 'static) -> Open {
    Arc::new(open)
}

/// Hands over, to the first who asks, what can have but one user.
fn once<T: Send>(thing: T) -> impl Fn() -> Result<T, Box<dyn Error>> + Send + Sync {
    let thing = Mutex::new(Some(thing));
    move || Ok(thing.lock().map_err(|_| "a lock")?.take().ok_or("it has one reader")?)
}

fn taken<M>(message: M) -> Result<u64, Box<dyn Error>> {
    drop(black_box(message));
    Ok(1)
}
