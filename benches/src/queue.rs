//! Messages from many to many: how many go through, how long one takes, and how both grow.

use std::error::Error;
use std::hint::black_box;
use std::sync::{Arc, mpsc};

use procession::Queue;

use crate::crowd::{self, Crowd, Open};
use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::{latency, queue_peers};

/// The first is the base of the ratios.
const ROWS: [(&str, &str); 10] = [
    ("crossbeam", "crossbeam-channel, unbounded (threads of one process)"),
    ("queue", "**procession, `Queue`, unbounded**"),
    ("many", "**procession, `Queue`, 64 at once**"),
    ("bounded", "**procession, `Queue::bounded(1024)`**"),
    ("crossbeam-bounded", "crossbeam-channel, `bounded(1024)` (threads)"),
    ("mpsc", "`std::sync::mpsc` (threads)"),
    ("ipc-typed", "ipc-channel 0.23.1"),
    ("iceoryx2", "iceoryx2 0.10.0, asking again and again"),
    ("socketpair", "a raw socket pair, packets"),
    ("pipe", "a raw pipe"),
];

/// What a round trip goes through. The first is the base of the ratios.
const TRIPS: [(&str, &str); 11] = [
    ("raw-pipe", "two raw pipes"),
    ("socketpair", "a raw socket pair"),
    ("futex", "two raw futexes (no message)"),
    ("spin", "two raw words, spinning (no message)"),
    ("queue", "**procession, two `Queue`s**"),
    ("procession", "**procession, `pipe`**"),
    ("ipc-bytes", "ipc-channel 0.23.1, bytes"),
    ("ipc-typed", "ipc-channel 0.23.1"),
    ("iceoryx2", "iceoryx2 0.10.0, asking again and again"),
    ("crossbeam", "crossbeam-channel (threads)"),
    ("mpsc", "`std::sync::mpsc` (threads)"),
];

/// From how many, to how many, and where.
const SHAPES: [(usize, usize, &str); 5] =
    [(1, 1, "two"), (1, 1, "one"), (2, 2, "two"), (1, 4, "two"), (4, 1, "two")];

const SIZES: [(usize, &str); 4] =
    [(8, "8 B"), (64, "64 B"), (4 << 10, "4 KiB"), (1 << 20, "1 MiB")];

/// Prints the tables, and says whether they could be measured.
pub(crate) fn tables(quick: bool) -> bool {
    let rates = SHAPES.map(|shape| through(quick, shape)).into_iter().all(|measured| measured);
    let trips = latency::tables(quick, "Round trip of 64 B", &TRIPS);
    let more = more_processes(quick);
    let waiting = more_waiting(quick);
    rates && trips && more && waiting
}

fn through(quick: bool, (writers, readers, place): (usize, usize, &str)) -> bool {
    let cores = if place == "one" { "one core" } else { "two cores" };
    println!("\n### Queue, {writers} to {readers} on {cores}, thousand messages/s\n");
    let titles: Vec<String> = SIZES.iter().map(|(_, size)| format!(" {size} | × base |")).collect();
    println!("| |{}\n|---|{}", titles.concat(), "---:|---:|".repeat(SIZES.len()));
    let (mut base, mut all_measured) = ([None; SIZES.len()], true);
    for (what, title) in ROWS {
        let mut cells = String::new();
        for ((bytes, _), base) in SIZES.into_iter().zip(&mut base) {
            let mut number = None;
            if queue_peers::can(what, bytes, writers, readers) {
                let [bytes, writers, readers] = [bytes, writers, readers].map(|n| n.to_string());
                let row = ["queue", "rate", what, &bytes, &writers, &readers, place];
                number = row::measure(quick, &row).map(|numbers| numbers[0] / 1e3);
                all_measured &= number.is_some();
            }
            *base = base.or(number);
            cells += &format!(" {} | {} |", shown(number), ratio(number, *base));
        }
        println!("| {title} |{cells}");
    }
    all_measured
}

fn more_processes(quick: bool) -> bool {
    println!(
        "\n### One queue, more processes, each puts 64 B and gets them: thousand messages/s\n"
    );
    println!("| processes or threads | **`Queue`** | crossbeam-channel | × | a raw socket pair |");
    println!("|---:|---:|---:|---:|---:|");
    let mut all_measured = true;
    for count in ["1", "2", "4", "8", "16", "32"] {
        let numbers = ["queue", "crossbeam", "socketpair"].map(|what| {
            let row = ["queue", "both", what, "64", count, count, "two"];
            row::measure(quick, &row).map(|numbers| numbers[0] / 1e3)
        });
        all_measured &= numbers.iter().all(Option::is_some);
        let [ours, theirs, sockets] = numbers;
        let (ratio, sockets) = (ratio(ours, theirs), shown(sockets));
        println!("| {count} | {} | {} | {ratio} | {sockets} |", shown(ours), shown(theirs));
    }
    all_measured
}

fn more_waiting(quick: bool) -> bool {
    println!("\n### Messages of 64 B that wait, in one process: ns to put one and get one\n");
    println!("| waiting | **`Queue`** | crossbeam-channel | `std::sync::mpsc` |");
    println!("|---:|---:|---:|---:|");
    let mut all_measured = true;
    for count in ["0", "1", "100", "10000", "1000000"] {
        let numbers = ["queue", "crossbeam", "mpsc"].map(|what| {
            row::measure(quick, &["queue", "waiting", what, "64", count, "1", "one"])
                .map(|numbers| numbers[0])
        });
        all_measured &= numbers.iter().all(Option::is_some);
        println!("| {count} |{}", numbers.map(|n| format!(" {} |", shown(n))).concat());
    }
    all_measured
}

/// One row's number: messages in a second, or nanoseconds.
pub(crate) fn measure(plan: Plan, row: &[&str]) -> Result<Vec<f64>, Box<dyn Error>> {
    let &[kind, what, bytes, writers, readers, place] = row else {
        return Err(format!("no such row: {row:?}").into());
    };
    let [bytes, writers, readers] = [bytes.parse()?, writers.parse()?, readers.parse()?];
    let number = match kind {
        "rate" => {
            let peer = queue_peers::open(what, bytes)?;
            let crowd = Crowd {
                lives: peer.lives,
                writers: (writers, peer.write),
                readers: (readers, peer.read),
                // Four mebibytes of them, but never few nor very many.
                ahead: ((4 << 20) / bytes as u64).clamp(8, 16 << 10),
                on_one_core: place == "one",
            };
            crowd::rate(plan, &crowd)?.0
        }
        "both" => {
            let peer = queue_peers::open(what, bytes)?;
            let (lives, put, get) = (peer.lives, peer.write, peer.read);
            let both: Open = Arc::new(move || {
                let (mut put, mut get) = (put()?, get()?);
                Ok(Box::new(move || {
                    put()?;
                    get()
                }))
            });
            let (writers, readers) = ((0, Arc::clone(&both)), (readers, both));
            let crowd = Crowd { lives, writers, readers, ahead: 0, on_one_core: false };
            crowd::rate(plan, &crowd)?.0
        }
        _ => {
            // Sixteen at a time, as one is soon done.
            let mut both = put_and_get(what, writers)?;
            plan.nanoseconds(|| (0..16).for_each(|_| both())) / 16.0
        }
    };
    Ok(vec![number])
}

/// Puts one message and gets another, with `waiting` in between.
fn put_and_get(what: &str, waiting: usize) -> Result<Box<dyn FnMut()>, Box<dyn Error>> {
    let message = [7_u64; 8];
    Ok(match what {
        "queue" => {
            let queue = Queue::<[u64; 8]>::unbounded()?;
            (0..waiting).try_for_each(|_| queue.put(&message))?;
            Box::new(move || {
                queue.put(&message).expect("it is open");
                black_box(queue.get()).expect("one is there");
            })
        }
        "crossbeam" => {
            let (sender, receiver) = crossbeam_channel::unbounded();
            (0..waiting).try_for_each(|_| sender.send(message))?;
            Box::new(move || {
                sender.send(message).expect("it is open");
                black_box(receiver.recv()).expect("one is there");
            })
        }
        _ => {
            let (sender, receiver) = mpsc::channel();
            (0..waiting).try_for_each(|_| sender.send(message))?;
            Box::new(move || {
                sender.send(message).expect("it is open");
                black_box(receiver.recv()).expect("one is there");
            })
        }
    })
}
