//! Locks and their kin: alone, by turns, and when several want one at once.

use std::error::Error;
use std::hint::black_box;

use procession::{Condition, Event, Lock, Mutex, RLock, Semaphore};

use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::{contention, latency, posix};

const ROWS: [(&str, &str); 10] = [
    ("robust", "a robust `pthread_mutex_t` between processes"),
    ("lock", "**procession, `Lock`**"),
    ("rlock", "**procession, `RLock`**"),
    ("mutex", "**procession, `Mutex::<u64>`**"),
    ("semaphore", "**procession, `Semaphore`**"),
    ("condition", "**procession, `Condition`, with a `notify` for nobody**"),
    ("pthread_cond", "a robust mutex and a `pthread_cond_t`, with a signal for nobody"),
    ("event", "**procession, `Event`: `set`, `wait`, `clear`**"),
    ("sem_t", "a `sem_t` between processes (hangs when its holder dies)"),
    ("std", "`std::sync::Mutex` (one process)"),
];

/// What two processes go by turns with. The first is the base of the ratios.
const TURNS: [(&str, &str); 6] = [
    ("futex", "two raw futexes"),
    ("event", "**procession, two `Event`s**"),
    ("semaphore", "**procession, two `Semaphore`s**"),
    ("condition", "**procession, a `Condition`**"),
    ("sem_t", "two `sem_t`s"),
    ("pthread_cond", "a robust mutex and a `pthread_cond_t`"),
];

/// How many times per measured call.
const TIMES: usize = 100;

/// Prints the tables, and says whether they could be measured.
pub(crate) fn tables(quick: bool) -> bool {
    let alone = uncontended(quick);
    let turns = latency::tables(quick, "There and back, without a message", &TURNS);
    let several = contention::tables(quick);
    alone && turns && several
}

fn uncontended(quick: bool) -> bool {
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
            let mutex = posix::RobustMutex::new()?;
            let both = || {
                mutex.lock();
                mutex.unlock();
            };
            plan.nanoseconds(|| (0..TIMES).for_each(|_| both()))
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
        "condition" => {
            let condition = Condition::new()?;
            let both = || {
                let _guard = condition.acquire();
                condition.notify(1);
            };
            plan.nanoseconds(|| (0..TIMES).for_each(|_| both()))
        }
        "pthread_cond" => {
            let (mutex, condition) = (posix::RobustMutex::new()?, posix::SharedCondition::new()?);
            let both = || {
                mutex.lock();
                condition.notify();
                mutex.unlock();
            };
            plan.nanoseconds(|| (0..TIMES).for_each(|_| both()))
        }
        "event" => {
            let event = Event::new()?;
            let all = || {
                event.set();
                event.wait();
                event.clear();
            };
            plan.nanoseconds(|| (0..TIMES).for_each(|_| all()))
        }
        "sem_t" => {
            let semaphore = posix::SharedSemaphore::new(1)?;
            let both = || {
                semaphore.wait();
                semaphore.post();
            };
            plan.nanoseconds(|| (0..TIMES).for_each(|_| both()))
        }
        "std" => {
            let mutex = std::sync::Mutex::new(());
            plan.nanoseconds(|| (0..TIMES).for_each(|_| drop(black_box(mutex.lock()))))
        }
        _ => return Err(format!("there is no lock called `{what}`").into()),
    };
    Ok(vec![time / TIMES as f64])
}
