//! What it costs to take what nobody else wants, and to give it up.

use std::error::Error;
use std::hint::black_box;

use procession::{Lock, Mutex, RLock, Semaphore};

use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::system;

const ROWS: [(&str, &str); 7] = [
    ("robust", "a robust `pthread_mutex_t` between processes"),
    ("lock", "**procession, `Lock`**"),
    ("rlock", "**procession, `RLock`**"),
    ("mutex", "**procession, `Mutex::<u64>`**"),
    ("semaphore", "**procession, `Semaphore`**"),
    ("sem_t", "a `sem_t` between processes (hangs when its holder dies)"),
    ("std", "`std::sync::Mutex` (one process)"),
];

/// How many times per measured call.
const TIMES: usize = 100;

/// Prints the table, and says whether it could be measured.
pub(crate) fn table(quick: bool) -> bool {
    println!("\n### Take and give up, uncontended\n");
    println!("| | ns | × base |");
    println!("|---|---:|---:|");
    let mut base = None;
    let mut all_measured = true;
    for (what, title) in ROWS {
        let number = row::measure(quick, &["lock", what]).map(|numbers| numbers[0]);
        all_measured &= number.is_some();
        base = base.or(number);
        println!("| {title} | {} | {} |", shown(number), ratio(number, base));
    }
    all_measured
}

/// The nanoseconds of one pair of calls.
pub(crate) fn measure(plan: Plan, what: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let time = match what {
        "robust" => {
            let mutex = system::RobustMutex::new()?;
            plan.nanoseconds(|| (0..TIMES).for_each(|_| mutex.lock_and_unlock()))
        }
        "lock" => {
            let lock = Lock::new()?;
            plan.nanoseconds(|| (0..TIMES).for_each(|_| drop(black_box(lock.acquire()))))
        }
        "rlock" => {
            let lock = RLock::new()?;
            plan.nanoseconds(|| (0..TIMES).for_each(|_| drop(black_box(lock.acquire()))))
        }
        "mutex" => {
            let mutex = Mutex::<u64>::new(0)?;
            let add = || mutex.lock().map(|mut number| *number += 1).unwrap_or_default();
            plan.nanoseconds(|| (0..TIMES).for_each(|_| add()))
        }
        "semaphore" => {
            let semaphore = Semaphore::new(1)?;
            plan.nanoseconds(|| (0..TIMES).for_each(|_| drop(black_box(semaphore.acquire()))))
        }
        "sem_t" => {
            let semaphore = system::SharedSemaphore::new()?;
            plan.nanoseconds(|| (0..TIMES).for_each(|_| semaphore.wait_and_post()))
        }
        "std" => {
            let mutex = std::sync::Mutex::new(());
            plan.nanoseconds(|| (0..TIMES).for_each(|_| drop(black_box(mutex.lock()))))
        }
        _ => return Err(format!("there is no lock called `{what}`").into()),
    };
    Ok(vec![time / TIMES as f64])
}
