//! Memory that is handed over, and what is copied, against copies of memory.

use std::error::Error;
use std::hint::black_box;

use ipc_channel::ipc::{self, IpcSharedMemory};
use procession::{Array, Receiver, Sender, SharedMemory, simplex};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::system;

/// What is handed over, until the other side has read its first byte and its last and said so.
const ROWS: [(&str, &str); 4] = [
    ("array", "**procession, `Array<u8>`**"),
    ("memory", "**procession, `SharedMemory`**"),
    ("ipc-memory", "ipc-channel 0.23.1, `IpcSharedMemory`"),
    ("vec", "**procession, `Vec<u8>`, which is copied**"),
];

const SIZES: [(&str, &str); 3] =
    [("4096", "4 KiB"), ("1048576", "1 MiB"), ("104857600", "100 MiB")];

/// Messages of this length.
const LONG: &str = "1048576";

/// Prints the tables, and says whether they could be measured.
pub(crate) fn tables(quick: bool) -> bool {
    let handed_over = handed_over(quick);
    let copied = copied(quick);
    handed_over && copied
}

fn handed_over(quick: bool) -> bool {
    println!("\n### Handed over to a child, read at both ends, and answered, µs\n");
    let titles = SIZES.map(|(_, title)| format!(" {title} |")).concat();
    println!("| |{titles}\n|---|{}", "---:|".repeat(SIZES.len()));
    let mut all_measured = true;
    for (what, title) in ROWS {
        let numbers = SIZES.map(|(bytes, _)| {
            row::measure(quick, &["shared", what, bytes]).map(|numbers| numbers[0] / 1e3)
        });
        all_measured &= numbers.iter().all(Option::is_some);
        println!("| {title} |{}", numbers.map(|n| format!(" {} |", shown(n))).concat());
    }
    all_measured
}

fn copied(quick: bool) -> bool {
    println!("\n### Messages of 1 MiB, one way, thousand/s\n");
    println!("| | one core | × base | two cores | × base |\n|---|---:|---:|---:|---:|");
    let copies = row::measure(quick, &["shared", "memcpy", LONG]).map(|numbers| 1e6 / numbers[0]);
    let base = shown(copies);
    println!("| two copies of warm memory, no message | {base} | 1.00× | {base} | 1.00× |");
    let mut all_measured = copies.is_some();
    for (title, row) in [
        ("**procession, `Queue::<Vec<u8>>`**", ["queue", "rate", "queue"]),
        ("**procession, `pipe::<Vec<u8>>`**", ["pipe", "procession", ""]),
        ("ipc-channel 0.23.1, bytes", ["pipe", "ipc-bytes", ""]),
        ("a raw socket pair", ["pipe", "socketpair", ""]),
    ] {
        let cells = [("one", "same"), ("two", "two")].map(|(of_queue, of_pipe)| {
            let rate = match row {
                ["queue", kind, what] => {
                    row::measure(quick, &["queue", kind, what, LONG, "1", "1", of_queue])
                        .map(|numbers| numbers[0] / 1e3)
                }
                [_, what, _] => row::measure(quick, &["pipe", what, LONG, of_pipe, "stream"])
                    .map(|numbers| 1e6 / numbers[0]),
            };
            all_measured &= rate.is_some();
            format!(" {} | {} |", shown(rate), ratio(rate, copies))
        });
        println!("| {title} |{}", cells.concat());
    }
    all_measured
}

/// Measures one row, in nanoseconds.
pub(crate) fn measure(plan: Plan, what: &str, bytes: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let bytes = bytes.parse()?;
    let nanoseconds = match what {
        "array" => {
            let array = Array::<u8>::new(bytes)?;
            touch(&mut array.lock().map_err(|_| "one has died")?);
            hand_over(plan, &array, ends_of_array)?
        }
        "memory" => {
            let memory = SharedMemory::new(bytes)?;
            memory.write(0, &vec![1; bytes])?;
            hand_over(plan, &memory, ends_of_memory)?
        }
        "vec" => hand_over(plan, &vec![1; bytes], ends)?,
        "ipc-memory" => ipc_memory(plan, bytes)?,
        "memcpy" => {
            let (from, mut between, mut to) = (vec![1_u8; bytes], vec![0; bytes], vec![0; bytes]);
            plan.nanoseconds(|| {
                between.copy_from_slice(black_box(&from));
                to.copy_from_slice(black_box(&between));
                black_box(&to);
            })
        }
        _ => return Err(format!("nothing is handed over as `{what}`").into()),
    };
    Ok(vec![nanoseconds])
}

fn touch(bytes: &mut [u8]) {
    bytes.fill(1);
}

/// Sends the same thing again and again; each time the other side opens it anew.
fn hand_over<M: Serialize + DeserializeOwned + Send + 'static>(
    plan: Plan,
    thing: &M,
    look: fn(Receiver<M>, Sender<u8>),
) -> Result<f64, Box<dyn Error>> {
    let (theirs, ours) = simplex::<M>()?;
    let (answers, answer) = simplex::<u8>()?;
    // SAFETY: the other thread of this process is procession's own, which it minds.
    let child = unsafe { procession::fork(move || look(theirs, answer)) }?;
    let mut failure = None;
    let nanoseconds = plan.nanoseconds(|| {
        let outcome = ours.send(thing).map_err(Box::<dyn Error>::from);
        let outcome = outcome.and_then(|()| Ok(answers.recv()?));
        failure = failure.take().or(outcome.err());
    });
    // It has a copy of our end as well, so that it would wait for ever.
    child.kill()?;
    let _ = child.join();
    failure.map_or(Ok(nanoseconds), Err)
}

fn ends_of_array(arrays: Receiver<Array<u8>>, answer: Sender<u8>) {
    while let Ok(array) = arrays.recv() {
        let Ok(bytes) = array.lock() else { return };
        if answer.send(&sum_of_ends(&bytes)).is_err() {
            return;
        }
    }
}

fn ends_of_memory(memories: Receiver<SharedMemory>, answer: Sender<u8>) {
    while let Ok(memory) = memories.recv() {
        let mut ends = [[0], [0]];
        let read = memory.read(0, &mut ends[0]);
        if read.and_then(|()| memory.read(memory.len() - 1, &mut ends[1])).is_err()
            || answer.send(&(ends[0][0] + ends[1][0])).is_err()
        {
            return;
        }
    }
}

fn ends(messages: Receiver<Vec<u8>>, answer: Sender<u8>) {
    while let Ok(bytes) = messages.recv() {
        if answer.send(&sum_of_ends(&bytes)).is_err() {
            return;
        }
    }
}

fn sum_of_ends(bytes: &[u8]) -> u8 {
    bytes.first().zip(bytes.last()).map_or(0, |(first, last)| first + last)
}

fn ipc_memory(plan: Plan, bytes: usize) -> Result<f64, Box<dyn Error>> {
    let (ours, theirs) = ipc::channel::<IpcSharedMemory>()?;
    let (answer, answers) = ipc::channel::<u8>()?;
    let memory = IpcSharedMemory::from_byte(1, bytes);
    let pid = system::fork(move || {
        system::die_with_parent();
        while let Ok(memory) = theirs.recv() {
            if answer.send(sum_of_ends(&memory)).is_err() {
                return;
            }
        }
    })?;
    let mut failure = None;
    let nanoseconds = plan.nanoseconds(|| {
        let outcome = ours.send(memory.clone()).map_err(Box::<dyn Error>::from);
        let outcome = outcome.and_then(|()| Ok(answers.recv()?));
        failure = failure.take().or(outcome.err());
    });
    system::kill(pid);
    failure.map_or(Ok(nanoseconds), Err)
}
