//! iceoryx2: what it can do of a queue's work.
//!
//! Its messages go from every publisher to every subscriber, so with one subscriber it is a queue.
//! It has no waiting of its own: who takes asks again and again.

use std::error::Error;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;
use std::{env, fs, process};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::crowd::Step;
use crate::pipe::{Duty, End, Outcome, serve};
use crate::system;

/// Removes the files of a row: whoever is killed leaves them.
pub(crate) fn remove_files(row: u32) {
    let prefix = prefix(row);
    let _ = fs::remove_dir_all(env::temp_dir().join(&prefix));
    for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(file.path());
        }
    }
}

fn prefix(row: u32) -> String {
    format!("procession-bench-{row}-")
}

/// How its ends find each other.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    service: String,
}

impl Names {
    /// The names of this row.
    pub(crate) fn new(service: &str) -> Self {
        set_log_level(LogLevel::Fatal);
        Self { prefix: prefix(process::id()), service: service.to_string() }
    }

    fn service(&self) -> Result<PortFactory<ipc::Service, [u8], ()>, Box<dyn Error>> {
        let mut config = Config::default();
        config.global.prefix = self.prefix.as_str().try_into()?;
        let root = env::temp_dir().join(&self.prefix);
        config.global.set_root_path(&root.to_str().ok_or("not UTF-8")?.try_into()?);
        let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
        let service = node.service_builder(&self.service.as_str().try_into()?);
        let service = service.publish_subscribe::<[u8]>();
        // Nothing is to be lost.
        let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(64);
        Ok(service.max_publishers(8).max_subscribers(8).open_or_create()?)
    }

    /// One that sends messages of at most so many bytes.
    pub(crate) fn sender(&self, most: usize) -> Result<Sender, Box<dyn Error>> {
        let service = self.service()?;
        let publisher = service.publisher_builder().initial_max_slice_len(most);
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Ok(Sender(publisher.create()?))
    }

    /// The one who takes them.
    pub(crate) fn receiver(&self) -> Result<Receiver, Box<dyn Error>> {
        Ok(Receiver(self.service()?.subscriber_builder().create()?))
    }

    pub(crate) fn writer(&self, message: Vec<u8>) -> Result<Step, Box<dyn Error>> {
        let sender = self.sender(message.len())?;
        Ok(Box::new(move || sender.send(&message).map(|()| 1)))
    }

    pub(crate) fn reader(&self) -> Result<Step, Box<dyn Error>> {
        let receiver = self.receiver()?;
        Ok(Box::new(move || receiver.receive().map(|_| 1)))
    }
}

pub(crate) struct Sender(Publisher<ipc::Service, [u8], ()>);

impl Sender {
    /// Copies the message into shared memory and sends it.
    pub(crate) fn send(&self, message: &[u8]) -> Result<(), Box<dyn Error>> {
        self.0.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        Ok(())
    }
}

pub(crate) struct Receiver(Subscriber<ipc::Service, [u8], ()>);

impl Receiver {
    /// Asks until a message is there, lets others run now and then, and gives its length.
    pub(crate) fn receive(&self) -> Result<usize, Box<dyn Error>> {
        for turn in 0_u64.. {
            if let Some(sample) = self.0.receive()? {
                return Ok(black_box(sample.payload()).len());
            }
            if turn % 64 == 63 { yield_now() } else { spin_loop() }
        }
        unreachable!("a count does not end")
    }
}

/// Starts the far side of a pair, and gives the near end.
pub(crate) fn connect(duty: Duty) -> Result<Box<dyn End>, Box<dyn Error>> {
    let (there, back) = (Names::new("there"), Names::new("back"));
    let is_there = system::shared(AtomicBool::new(false))?;
    system::fork(|| {
        system::die_with_parent();
        match Both::new(&back, &there, duty) {
            Ok(mut far) => {
                // ORDERING: what it tells of was done by system calls.
                is_there.store(true, Ordering::Relaxed);
                serve(duty, &mut far);
            }
            Err(error) => eprintln!("the far side of iceoryx2: {error}"),
        }
    })?;
    let near = Both::new(&there, &back, duty)?;
    // Whoever is not there yet gets nothing.
    while !is_there.load(Ordering::Relaxed) {
        yield_now();
    }
    Ok(Box::new(near))
}

struct Both {
    to: Sender,
    from: Receiver,
    message: Vec<u8>,
}

impl Both {
    fn new(to: &Names, from: &Names, duty: Duty) -> Result<Self, Box<dyn Error>> {
        let most = duty.bytes.max(duty.answer);
        Ok(Self { from: from.receiver()?, to: to.sender(most)?, message: vec![1; most] })
    }
}

impl End for Both {
    fn send(&mut self, bytes: usize) -> Outcome {
        self.to.send(&self.message[..bytes])
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        match self.from.receive()? {
            length if length == bytes => Ok(()),
            length => Err(format!("{length} bytes came in place of {bytes}").into()),
        }
    }
}
