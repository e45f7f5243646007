//! What a task costs: its round trip, many small ones, and how much of a worker's time is work.

use std::error::Error;
use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::{Pool, Queue};
use rayon::prelude::*;

use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::{idle, system};

/// Prints the tables, and says whether they could be measured.
pub(crate) fn tables(quick: bool) -> bool {
    let results = [
        round_trips(quick),
        many(quick),
        efficiency(quick),
        large(quick),
        growth(quick),
        idle_workers(quick),
    ];
    results.into_iter().all(|measured| measured)
}

fn one(quick: bool, what: &str, argument: &str) -> Option<f64> {
    row::measure(quick, &["pool", what, argument]).map(|numbers| numbers[0])
}

fn round_trips(quick: bool) -> bool {
    println!("\n### A task's round trip, one worker, µs\n");
    println!("| | on one core | × base | on two cores | × base | after 1 ms of rest | × base |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let rows = [
        ("queues", "two `Queue`s and a loop (no pool)"),
        ("apply", "**procession, `Pool::apply`**"),
        ("procspawn", "procspawn 1.0.2, `Pool`"),
        ("threadpool", "threadpool 1.8 (threads of one process)"),
    ];
    let mut base = [None; 3];
    let mut all_measured = true;
    for (what, title) in rows {
        let mut cells = String::new();
        for (place, base) in ["same", "two", "rest"].into_iter().zip(&mut base) {
            let number = one(quick, what, place);
            all_measured &= number.is_some();
            *base = base.or(number);
            cells += &format!(" {} | {} |", shown(number), ratio(number, *base));
        }
        println!("| {title} |{cells}");
    }
    all_measured
}

fn many(quick: bool) -> bool {
    println!("\n### 100,000 tasks that do nothing, two workers, ms\n");
    println!("| | one at a time | many at a time |");
    println!("|---|---:|---:|");
    let rows = [
        ("map", "**procession, `Pool::map`**"),
        ("async", "**procession, `Pool::apply_async`, then all results**"),
        ("procspawn-map", "procspawn 1.0.2, 64 outstanding"),
        ("threadpool-map", "threadpool 1.8 (threads of one process)"),
        ("rayon", "rayon `par_iter` (threads of one process)"),
    ];
    let mut all_measured = true;
    for (what, title) in rows {
        let single = one(quick, what, "1");
        let chunked = matches!(what, "map" | "rayon").then(|| one(quick, what, "many")).flatten();
        all_measured &= single.is_some();
        println!("| {title} | {} | {} |", shown(single), shown(chunked));
    }
    all_measured
}

fn efficiency(quick: bool) -> bool {
    println!("\n### How much of two workers' time is work, %\n");
    println!("| a task takes | `map`, one at a time | `map`, chunks as it chooses |");
    println!("|---|---:|---:|");
    let mut all_measured = true;
    for (microseconds, title) in [(1, "1 µs"), (10, "10 µs"), (100, "100 µs"), (1000, "1 ms")] {
        let microseconds = microseconds.to_string();
        let single = one(quick, "busy-1", &microseconds);
        let chunked = one(quick, "busy-many", &microseconds);
        all_measured &= single.is_some() && chunked.is_some();
        println!("| {title} | {} | {} |", shown(single), shown(chunked));
    }
    all_measured
}

fn large(quick: bool) -> bool {
    println!("\n### A task with bytes as its argument and as its value, one worker\n");
    println!("| | µs | GB/s, both ways |");
    println!("|---|---:|---:|");
    let mut all_measured = true;
    let sizes = [(1, "1 B"), (1 << 12, "4 KiB"), (1 << 16, "64 KiB"), (1 << 20, "1 MiB")];
    for (size, title) in sizes.into_iter().chain([(10 << 20, "10 MiB"), (100 << 20, "100 MiB")]) {
        let number = one(quick, "echo", &size.to_string());
        all_measured &= number.is_some();
        let speed = number.map(|microseconds| 2.0 * f64::from(size) / microseconds / 1000.0);
        println!("| {title} | {} | {} |", shown(number), shown(speed));
    }
    all_measured
}

fn growth(quick: bool) -> bool {
    println!("\n### From nothing to the first value, and 10,000 tasks one at a time\n");
    println!("| workers | `Pool::new` to the first value, ms | 10,000 tasks, ms |");
    println!("|---:|---:|---:|");
    let mut all_measured = true;
    for workers in ["1", "2", "8", "32", "64"] {
        let (first, tasks) = (one(quick, "first", workers), one(quick, "grow", workers));
        all_measured &= first.is_some() && tasks.is_some();
        println!("| {workers} | {} | {} |", shown(first), shown(tasks));
    }
    all_measured
}

fn idle_workers(quick: bool) -> bool {
    let numbers = row::measure(quick, &["pool", "idle", "8"]);
    let Some([seconds, ticks, wakes, memory]) = numbers.as_deref() else { return false };
    println!("\n### Eight workers without a task, over {seconds} s\n");
    println!("| CPU ticks of all | wake-ups of all | private memory of the largest, MiB |");
    println!("|---:|---:|---:|");
    println!("| {ticks} | {wakes} | {} |", shown(Some(*memory)));
    true
}

fn nothing(number: u64) -> u64 {
    number
}

/// Uses the processor for so many microseconds.
fn busy(microseconds: u64) -> u64 {
    let (start, length) = (Instant::now(), Duration::from_micros(microseconds));
    let mut turns = 0;
    while start.elapsed() < length {
        turns += 1;
    }
    turns
}

const TASKS: u64 = 100_000;

/// One row's number.
pub(crate) fn measure(
    plan: Plan,
    quick: bool,
    what: &str,
    argument: &str,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let number: Result<u64, _> = argument.parse();
    let time = match what {
        "queues" | "apply" | "procspawn" | "threadpool" => round_trip(plan, what, argument)?,
        "map" | "async" | "procspawn-map" | "threadpool-map" | "rayon" => {
            plan.nanoseconds(many_tasks(what, argument == "1")?) / 1e6
        }
        "busy-1" | "busy-many" => {
            let (pool, microseconds) = (Pool::new(2)?, number?);
            let count = (100_000 / microseconds).clamp(100, 20_000);
            let chunk = (what == "busy-1").then_some(1);
            let wall = plan.nanoseconds(|| map(&pool, busy, microseconds, count, chunk));
            100.0 * (count * microseconds * 1000) as f64 / (2.0 * wall)
        }
        "echo" => {
            let (pool, bytes) = (Pool::new(1)?, vec![7_u8; usize::try_from(number?)?]);
            let echo = || pool.apply(|bytes: Vec<u8>| bytes, (bytes.clone(),)).map(|b| b.len());
            echo()?;
            plan.nanoseconds(|| _ = black_box(echo())) / 1000.0
        }
        "first" => {
            let workers = usize::try_from(number?)?;
            let first = || -> Result<u64, procession::Error> {
                Ok(Pool::new(workers)?.apply(nothing, (1,))?)
            };
            first()?; // starts the fork server
            plan.nanoseconds(|| _ = black_box(first())) / 1e6
        }
        "grow" => {
            let pool = Pool::new(usize::try_from(number?)?)?;
            plan.nanoseconds(|| map(&pool, nothing, 1, 10_000, Some(1))) / 1e6
        }
        "idle" => return idle_numbers(quick, usize::try_from(number?)?),
        _ => return Err(format!("there is no row `{what}`").into()),
    };
    Ok(vec![time])
}

fn map<F>(pool: &Pool, task: F, argument: u64, count: u64, chunk: Option<usize>)
where
    F: procession::Target<(u64,), Output = u64>,
{
    let items = (0..count).map(|_| argument);
    let values = match chunk {
        Some(chunk) => pool.map_chunked(task, items, chunk),
        None => pool.map(task, items),
    };
    black_box(values).expect("every task returns");
}

fn round_trip(plan: Plan, what: &str, place: &str) -> Result<f64, Box<dyn Error>> {
    let cores = system::cores();
    // Both sides inherit the place of the thread that starts them; on two cores, ours moves away.
    system::pin(cores[0])?;
    let rest = (place == "rest").then_some(Duration::from_millis(1));
    let mut call: Box<dyn FnMut()> = match what {
        "queues" => {
            let (out, back) = (Queue::<u64>::unbounded()?, Queue::<u64>::unbounded()?);
            let serve = |from: Queue<u64>, to: Queue<u64>| {
                for number in &from {
                    to.put(&number).expect("it is open");
                }
            };
            procession::Process::new(serve, (out.clone(), back.clone())).daemon(true).start()?;
            Box::new(move || {
                out.put(&1).expect("it is open");
                black_box(back.get()).expect("it comes");
            })
        }
        "apply" => {
            let pool = Pool::new(1)?;
            Box::new(move || _ = black_box(pool.apply(nothing, (1,)).expect("a value")))
        }
        "procspawn" => {
            let pool = procspawn::Pool::new(1)?;
            Box::new(move || {
                black_box(pool.spawn(1_u64, |number| number).join()).expect("a value");
            })
        }
        _ => {
            let pool = threadpool::ThreadPool::new(1);
            let (sender, receiver) = mpsc::channel();
            Box::new(move || {
                let sender = sender.clone();
                pool.execute(move || sender.send(nothing(1)).expect("it listens"));
                black_box(receiver.recv()).expect("it comes");
            })
        }
    };
    call();
    if place != "same" {
        system::pin(*cores.last().ok_or("no core")?)?;
    }
    let nanoseconds = match rest {
        None => plan.nanoseconds(call),
        // The rest itself is taken off.
        Some(rest) => {
            let mut times = Vec::new();
            let _ = plan.nanoseconds(|| {
                std::thread::sleep(rest);
                let start = Instant::now();
                call();
                times.push(start.elapsed().as_nanos() as f64);
            });
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        }
    };
    Ok(nanoseconds / 1000.0)
}

/// Runs 100,000 tasks each time that it is called.
fn many_tasks(what: &str, single: bool) -> Result<Box<dyn FnMut()>, Box<dyn Error>> {
    Ok(match what {
        "map" => {
            let pool = Pool::new(2)?;
            Box::new(move || map(&pool, nothing, 1, TASKS, single.then_some(1)))
        }
        "async" => {
            let pool = Pool::new(2)?;
            Box::new(move || {
                let submit = |number| pool.apply_async(nothing, (number,)).expect("it is open");
                let results: Vec<_> = (0..TASKS).map(submit).collect();
                results.iter().for_each(|result| _ = black_box(result.get()).expect("a value"));
            })
        }
        "procspawn-map" => {
            let pool = procspawn::Pool::new(2)?;
            Box::new(move || {
                let mut outstanding = std::collections::VecDeque::new();
                for number in 0..TASKS {
                    outstanding.push_back(pool.spawn(number, |number| number));
                    if outstanding.len() == 64 {
                        black_box(outstanding.pop_front().map(|task| task.join()));
                    }
                }
                outstanding.into_iter().for_each(|task| _ = black_box(task.join()));
            })
        }
        "threadpool-map" => {
            let pool = threadpool::ThreadPool::new(2);
            Box::new(move || {
                let (sender, receiver) = mpsc::channel();
                for number in 0..TASKS {
                    let sender = sender.clone();
                    pool.execute(move || sender.send(nothing(number)).expect("it listens"));
                }
                drop(sender);
                assert_eq!(receiver.iter().count() as u64, TASKS);
            })
        }
        _ => {
            let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
            let least = if single { 1 } else { 10_000 };
            Box::new(move || {
                let values: Vec<u64> = threads.install(|| {
                    (0..TASKS as usize)
                        .into_par_iter()
                        .with_max_len(least)
                        .map(|n| nothing(n as u64))
                        .collect()
                });
                black_box(values);
            })
        }
    })
}

/// Seconds, ticks and wake-ups of all workers, and the private memory of the largest.
fn idle_numbers(quick: bool, workers: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let seconds = if quick { 2 } else { 10 };
    let pool = Pool::new(workers)?;
    pool.map(nothing, 0..1000)?;
    std::thread::sleep(Duration::from_secs(1));
    let pids: Vec<u32> = pool.stats().workers.iter().map(|worker| worker.pid).collect();
    let (ticks, wakes, memory) = idle::over(&pids, Duration::from_secs(seconds))?;
    Ok(vec![seconds as f64, ticks, wakes, memory])
}
