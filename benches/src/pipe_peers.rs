//! The connections under test.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

use crossbeam_channel as crossbeam;
use ipc_channel::ipc;
use procession::{Connection, Process, Queue};

use crate::pipe::{Duty, End, Outcome, serve};
use crate::{iceoryx, system};

/// Starts the far side and gives the near end.
pub(crate) fn connect(what: &str, duty: Duty) -> Result<Box<dyn End>, Box<dyn Error>> {
    let messages = Messages::new(duty);
    Ok(match what {
        "socketpair" => {
            let (near, far) = system::socketpair()?;
            let [near, far] = [File::from(near), File::from(far)];
            let far = Raw { from: far.try_clone()?, to: far, messages: messages.clone() };
            with_fork(Raw { from: near.try_clone()?, to: near, messages }, far, duty)?
        }
        "raw-pipe" => {
            let ((from_near, to_far), (from_far, to_near)) = (system::pipe()?, system::pipe()?);
            let end =
                |from, to, messages| Raw { from: File::from(from), to: File::from(to), messages };
            let far = end(from_near, to_near, messages.clone());
            with_fork(end(from_far, to_far, messages), far, duty)?
        }
        "procession" => {
            let (near, far) = procession::pipe::<Vec<u8>>()?;
            procession::spawn(serve_ours, (duty, far))?;
            Box::new(Ours { connection: near, messages })
        }
        "queue" => {
            let (out, back) = (Queue::unbounded()?, Queue::unbounded()?);
            let child = Process::new(serve_queues, (duty, back.clone(), out.clone()));
            child.daemon(true).start()?;
            Box::new(Queues { to: out, from: back, messages })
        }
        "queue-many" => {
            let (out, back) = (Queue::unbounded()?, Queue::unbounded()?);
            let child = Process::new(serve_batches, (duty, back.clone(), out.clone()));
            child.daemon(true).start()?;
            Box::new(Batches::new(out, back, messages))
        }
        "ipc-bytes" => {
            let ((to_far, from_near), (to_near, from_far)) =
                (ipc::bytes_channel()?, ipc::bytes_channel()?);
            let near = IpcBytes { to: to_far, from: from_far, messages: messages.clone() };
            with_fork(near, IpcBytes { to: to_near, from: from_near, messages }, duty)?
        }
        "ipc-typed" => {
            let ((to_far, from_near), (to_near, from_far)) = (ipc::channel()?, ipc::channel()?);
            let near = IpcTyped { to: to_far, from: from_far, messages: messages.clone() };
            with_fork(near, IpcTyped { to: to_near, from: from_near, messages }, duty)?
        }
        "iceoryx2" => iceoryx::connect(duty)?,
        "mpsc" => {
            let ((to_far, from_near), (to_near, from_far)) = (mpsc::channel(), mpsc::channel());
            let mut far = Mpsc { to: to_near, from: from_near, messages: messages.clone() };
            thread::spawn(move || serve(duty, &mut far));
            Box::new(Mpsc { to: to_far, from: from_far, messages })
        }
        "crossbeam" => {
            let (to_far, from_near) = crossbeam::bounded(64);
            let (to_near, from_far) = crossbeam::bounded(64);
            let end = |to, from| Crossbeam { to, from, messages: messages.clone(), received: None };
            let mut far = end(to_near, from_near);
            thread::spawn(move || serve(duty, &mut far));
            Box::new(end(to_far, from_far))
        }
        _ => return Err(format!("there is no connection called `{what}`").into()),
    })
}

/// The far side in a fork of this process, which closes its copy of the near end.
fn with_fork(
    near: impl End + 'static,
    mut far: impl End,
    duty: Duty,
) -> Result<Box<dyn End>, Box<dyn Error>> {
    let mut near = Some(near);
    system::fork(|| {
        drop(near.take());
        serve(duty, &mut far);
    })?;
    Ok(Box::new(near.take().ok_or("the near end is gone")?))
}

fn serve_ours(duty: Duty, connection: Connection<Vec<u8>>) {
    serve(duty, &mut Ours { connection, messages: Messages::new(duty) });
}

fn serve_queues(duty: Duty, to: Queue<Vec<u8>>, from: Queue<Vec<u8>>) {
    serve(duty, &mut Queues { to, from, messages: Messages::new(duty) });
}

fn serve_batches(duty: Duty, to: Queue<Vec<u8>>, from: Queue<Vec<u8>>) {
    serve(duty, &mut Batches::new(to, from, Messages::new(duty)));
}

/// A message and an answer, made once, so that making them is not what is measured.
#[derive(Clone)]
struct Messages {
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Messages {
    fn new(duty: Duty) -> Messages {
        Messages { message: vec![1; duty.bytes], answer: vec![2; duty.answer] }
    }

    fn of(&self, bytes: usize) -> &Vec<u8> {
        if bytes == self.message.len() { &self.message } else { &self.answer }
    }
}

fn as_long_as(message: Vec<u8>, bytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    match message.len() {
        length if length == bytes => Ok(message),
        length => Err(format!("{length} bytes came in place of {bytes}").into()),
    }
}

struct Ours {
    connection: Connection<Vec<u8>>,
    messages: Messages,
}

impl End for Ours {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.connection.send(self.messages.of(bytes))?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        as_long_as(self.connection.recv()?, bytes).map(drop)
    }
}

struct Queues {
    to: Queue<Vec<u8>>,
    from: Queue<Vec<u8>>,
    messages: Messages,
}

impl End for Queues {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.to.put(self.messages.of(bytes))?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        as_long_as(self.from.get()?, bytes).map(drop)
    }
}

/// Puts and gets up to 64 at once.
struct Batches {
    to: Queue<Vec<u8>>,
    from: Queue<Vec<u8>>,
    messages: Messages,
    waiting: Vec<Vec<u8>>,
    came: std::vec::IntoIter<Vec<u8>>,
}

const BATCH: usize = 64;

impl Batches {
    fn new(to: Queue<Vec<u8>>, from: Queue<Vec<u8>>, messages: Messages) -> Batches {
        Batches { to, from, messages, waiting: Vec::new(), came: Vec::new().into_iter() }
    }

    fn flush(&mut self) -> Outcome {
        self.to.put_many(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl End for Batches {
    fn send(&mut self, bytes: usize) -> Outcome {
        // A program that has many messages has made them anyway: this copy is a part of the price.
        self.waiting.push(self.messages.of(bytes).clone());
        if self.waiting.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        self.flush()?;
        let message = match self.came.next() {
            Some(message) => message,
            None => {
                self.came = self.from.get_many(BATCH)?.into_iter();
                self.came.next().ok_or("an empty batch")?
            }
        };
        as_long_as(message, bytes).map(drop)
    }
}

/// Bytes through descriptors.
struct Raw {
    from: File,
    to: File,
    messages: Messages,
}

impl End for Raw {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.to.write_all(self.messages.of(bytes))?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        // What arrives may overwrite what is sent: only its length matters here.
        let Messages { message, answer } = &mut self.messages;
        let buffer = if bytes == message.len() { message } else { answer };
        Ok(self.from.read_exact(buffer)?)
    }
}

struct IpcBytes {
    to: ipc::IpcBytesSender,
    from: ipc::IpcBytesReceiver,
    messages: Messages,
}

impl End for IpcBytes {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.to.send(self.messages.of(bytes))?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        as_long_as(self.from.recv()?, bytes).map(drop)
    }
}

struct IpcTyped {
    to: ipc::IpcSender<Vec<u8>>,
    from: ipc::IpcReceiver<Vec<u8>>,
    messages: Messages,
}

impl End for IpcTyped {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.to.send(self.messages.of(bytes).clone())?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        as_long_as(self.from.recv()?, bytes).map(drop)
    }
}

/// A message that came in goes out again, as it would within one process: no copy, no allocation.
struct Crossbeam {
    to: crossbeam::Sender<Vec<u8>>,
    from: crossbeam::Receiver<Vec<u8>>,
    messages: Messages,
    received: Option<Vec<u8>>,
}

impl End for Crossbeam {
    fn send(&mut self, bytes: usize) -> Outcome {
        let received = self.received.take().filter(|message| message.len() == bytes);
        Ok(self.to.send(received.unwrap_or_else(|| self.messages.of(bytes).clone()))?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        self.received = Some(as_long_as(self.from.recv()?, bytes)?);
        Ok(())
    }
}

struct Mpsc {
    to: mpsc::Sender<Vec<u8>>,
    from: mpsc::Receiver<Vec<u8>>,
    messages: Messages,
}

impl End for Mpsc {
    fn send(&mut self, bytes: usize) -> Outcome {
        Ok(self.to.send(self.messages.of(bytes).clone())?)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        as_long_as(self.from.recv()?, bytes).map(drop)
    }
}
