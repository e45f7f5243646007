//! How long one round trip takes, and how long the slowest of a hundred and of a thousand.

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::pipe::{Duty, Outcome};
use crate::row::{self, ratio, shown};
use crate::{pipe_peers, signals, system};

/// How long a message is.
const BYTES: usize = 64;

/// Where the two sides run, and whether they do so all the time.
const PLACES: [(&str, &str); 3] = [
    ("two", "two cores"),
    ("rest", "two cores, after 1 ms of rest (asleep)"),
    ("same", "one core"),
];

/// Prints a table for each place, and says whether every number could be had. The first row is the
/// base of the ratios.
pub(crate) fn tables(quick: bool, title: &str, rows: &[(&str, &str)]) -> bool {
    let mut all_measured = true;
    for (place, where_they_run) in PLACES {
        println!("\n### {title}, µs: {where_they_run}\n");
        println!("| | half within | × base | 99 % within | 99.9 % within |");
        println!("|---|---:|---:|---:|---:|");
        let mut base = None;
        for (what, title) in rows {
            // Who spins, and is alone on the core, waits for a tick each time.
            let numbers = match (*what, place) {
                ("spin", "same") => continue,
                _ => row::measure(quick, &["latency", what, place]),
            };
            all_measured &= numbers.is_some();
            let of = |index: usize| numbers.as_ref().and_then(|all| all.get(index).copied());
            base = base.or(of(0));
            let [half, most, nearly_all] = [0, 1, 2].map(|index| shown(of(index)));
            println!("| {title} | {half} | {} | {most} | {nearly_all} |", ratio(of(0), base));
        }
    }
    all_measured
}

/// Measures one row: the median, and the 99th and 99.9th of a hundred parts, in microseconds.
pub(crate) fn measure(quick: bool, what: &str, place: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let cores = system::cores();
    let (Some(&first), Some(&last)) = (cores.first(), cores.last()) else {
        return Err("no core to run on".into());
    };
    let core = if place == "same" { first } else { last };
    let duty = Duty { core, bytes: BYTES, take: 1, answer: BYTES };
    let mut end = match signals::connect(what, duty)? {
        Some(end) => end,
        None => pipe_peers::connect(what, duty)?,
    };
    system::pin(first)?;
    let mut trip = || -> Outcome {
        end.send(BYTES)?;
        end.receive(BYTES)
    };
    let scale = if quick { 10 } else { 1 };
    let (warm, count, rest) = match place {
        "rest" => (20, 3000 / scale, Some(Duration::from_millis(1))),
        _ => (1000 / scale, 100_000 / scale, None),
    };
    (0..warm).try_for_each(|_| trip())?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        rest.into_iter().for_each(sleep);
        let start = Instant::now();
        trip()?;
        times.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok([0.5, 0.99, 0.999].map(|part| times[((count - 1) as f64 * part) as usize]).to_vec())
}
