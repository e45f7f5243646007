//! Messages between two processes: a round trip, and as many as will go.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::measure::Plan;
use crate::pipe_peers;
use crate::row::{self, ratio, shown};
use crate::system;

/// The rows: what is asked for, and how the table calls it. The first is the base of the ratios.
const ROWS: [(&str, &str); 9] = [
    ("socketpair", "a raw socket pair"),
    ("raw-pipe", "two raw pipes"),
    ("procession", "**procession, `pipe::<Vec<u8>>`**"),
    ("queue", "**procession, `Queue::<Vec<u8>>`**"),
    ("queue-many", "**procession, `Queue::<Vec<u8>>`, up to 64 at once**"),
    ("ipc-bytes", "ipc-channel 0.23.1, bytes"),
    ("ipc-typed", "ipc-channel 0.23.1, `Vec<u8>`"),
    ("iceoryx2", "iceoryx2 0.10.0, asking again and again"),
    ("crossbeam", "crossbeam-channel (one process, moves a pointer)"),
];

const SIZES: [(&str, usize); 3] = [("64 B", 64), ("4 KiB", 4 << 10), ("1 MiB", 1 << 20)];

/// Where the two sides run.
const PLACEMENTS: [(&str, &str); 2] = [("same", "one core"), ("two", "two cores")];

/// Every peer has its own errors.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// One end of a connection under test.
pub(crate) trait End {
    /// Sends a message of so many bytes.
    fn send(&mut self, bytes: usize) -> Outcome;

    /// Takes a message of so many bytes.
    fn receive(&mut self, bytes: usize) -> Outcome;
}

/// What the far side does, until the near side goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Duty {
    pub(crate) core: usize,
    pub(crate) bytes: usize,
    /// How many messages it takes before it answers.
    pub(crate) take: usize,
    /// How long its answer is.
    pub(crate) answer: usize,
}

/// Does the far side's duty.
pub(crate) fn serve(duty: Duty, end: &mut impl End) {
    if system::pin(duty.core).is_err() {
        return;
    }
    while (0..duty.take).try_for_each(|_| end.receive(duty.bytes)).is_ok() {
        if end.send(duty.answer).is_err() {
            return;
        }
    }
}

/// Prints both tables, and says whether every number could be had.
pub(crate) fn tables(quick: bool) -> bool {
    let round_trips = table(quick, "Round trip, µs", "trip", |time| time / 1e3);
    let rates = table(quick, "One way, thousand messages/s", "stream", |time| 1e6 / time);
    round_trips && rates
}

/// `unit` makes a number for people of a message's nanoseconds.
fn table(quick: bool, title: &str, kind: &str, unit: fn(f64) -> f64) -> bool {
    let mut all_measured = true;
    for (placement, place) in PLACEMENTS {
        println!("\n### {title}: both sides on {place}\n");
        if placement == "two" && system::cores().len() < 2 {
            println!("(left out: this machine has one core)");
            continue;
        }
        let titles: Vec<String> =
            SIZES.iter().map(|(size, _)| format!(" {size} | × base |")).collect();
        println!("| |{}", titles.concat());
        println!("|---|{}", "---:|---:|".repeat(SIZES.len()));
        let mut base = Vec::new();
        for (what, title) in ROWS {
            let numbers: Vec<Option<f64>> = SIZES
                .iter()
                .map(|(_, bytes)| {
                    let size = bytes.to_string();
                    let time = row::measure(quick, &["pipe", what, &size, placement, kind])?[0];
                    Some(unit(time))
                })
                .collect();
            all_measured &= numbers.iter().all(Option::is_some);
            if base.is_empty() {
                base.clone_from(&numbers);
            }
            let cells = numbers.iter().zip(&base);
            let cells: Vec<String> = cells
                .map(|(&number, &base)| format!(" {} | {} |", shown(number), ratio(number, base)))
                .collect();
            println!("| {title} |{}", cells.concat());
        }
    }
    all_measured
}

/// Measures one row: the nanoseconds of a round trip, or of one message among many.
pub(crate) fn measure(
    plan: Plan,
    what: &str,
    size: &str,
    placement: &str,
    kind: &str,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let cores = system::cores();
    let (Some(&first), Some(&last)) = (cores.first(), cores.last()) else {
        return Err("no core to run on".into());
    };
    let bytes = size.parse()?;
    let core = if placement == "same" { first } else { last };
    let duty = match kind {
        "trip" => Duty { core, bytes, take: 1, answer: bytes },
        // Some milliseconds between two answers.
        _ => Duty { core, bytes, take: (16 << 20) / bytes.max(4 << 10), answer: 1 },
    };
    let mut end = pipe_peers::connect(what, duty)?;
    system::pin(first)?;
    let mut failure = None;
    let nanoseconds = plan.nanoseconds(|| {
        let sent = (0..duty.take).try_for_each(|_| end.send(duty.bytes));
        let outcome = sent.and_then(|()| end.receive(duty.answer));
        failure = failure.take().or(outcome.err());
    });
    if let Some(error) = failure {
        return Err(error);
    }
    Ok(vec![nanoseconds / duty.take as f64])
}
