//! What is left of a lock when several processes want it at once.

use std::error::Error;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession::{Condition, Lock, Mutex, RLock, Semaphore};

use crate::crowd::{self, Crowd, Lives, Open, Step};
use crate::measure::Plan;
use crate::posix::{RobustMutex, SharedSemaphore};
use crate::row::{self, ratio, shown};
use crate::system;

/// The first is the base of the ratios.
const ROWS: [(&str, &str); 8] = [
    ("robust", "a robust `pthread_mutex_t` between processes"),
    ("lock", "**procession, `Lock`**"),
    ("rlock", "**procession, `RLock`**"),
    ("condition", "**procession, `Condition`'s lock**"),
    ("mutex", "**procession, `Mutex::<u64>`**"),
    ("semaphore", "**procession, `Semaphore` of 1**"),
    ("sem_t", "a `sem_t` of 1 between processes"),
    ("std", "`std::sync::Mutex` (threads)"),
];

/// What is done with it, and how long in between.
const PAUSES: [(&str, &str); 2] = [("0", "at once again"), ("2", "after 2 µs of other work")];

/// Prints the tables, and says whether they could be measured.
pub(crate) fn tables(quick: bool) -> bool {
    PAUSES.map(|(pause, title)| table(quick, pause, title)).into_iter().all(|measured| measured)
}

fn table(quick: bool, pause: &str, title: &str) -> bool {
    println!("\n### Several want one lock, {title}: thousand times/s in all\n");
    println!("| | 2 | × base | least/most | 3 | × base | least/most | 4 | × base | least/most |");
    println!("|---|{}", "---:|---:|---:|".repeat(3));
    let (mut base, mut all_measured) = ([None; 3], true);
    for (what, title) in ROWS {
        let mut cells = String::new();
        for (count, base) in ["2", "3", "4"].into_iter().zip(&mut base) {
            let numbers = row::measure(quick, &["contention", what, count, pause]);
            all_measured &= numbers.is_some();
            let numbers = numbers.as_deref();
            let of = |index: usize| numbers.and_then(|all| all.get(index).copied());
            let (rate, fair) = (of(0).map(|rate| rate / 1e3), of(1));
            *base = base.or(rate);
            cells += &format!(" {} | {} | {} |", shown(rate), ratio(rate, *base), shown(fair));
        }
        println!("| {title} |{cells}");
    }
    all_measured
}

/// How often in a second all together, and what part of the most the least one had.
pub(crate) fn measure(
    plan: Plan,
    what: &str,
    count: &str,
    pause: &str,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let (count, pause) = (count.parse()?, Duration::from_micros(pause.parse()?));
    let lives = match what {
        "robust" | "sem_t" => Lives::Forks,
        "std" => Lives::Threads,
        _ => Lives::Ours,
    };
    let take = take(what)?;
    let readers: Open = Arc::new(move || {
        let mut take = take()?;
        Ok(Box::new(move || {
            let times = take()?;
            if !pause.is_zero() {
                let start = Instant::now();
                while start.elapsed() < pause {
                    spin_loop();
                }
            }
            Ok(times)
        }))
    });
    let writers = (0, Arc::clone(&readers));
    let crowd = Crowd { lives, writers, readers: (count, readers), ahead: 0, on_one_core: false };
    let (rate, fair) = crowd::rate(plan, &crowd)?;
    Ok(vec![rate, fair])
}

/// Takes it, adds one to a number that all share, and gives it up.
fn take(what: &str) -> Result<Open, Box<dyn Error>> {
    let number: &'static AtomicU64 = system::shared(AtomicU64::new(0))?;
    let add = || {
        // ORDERING: the lock's. Not an addition of the processor, which would do without a lock.
        number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        1
    };
    fn each(open: impl Fn() -> Step + Send + Sync + 'static) -> Open {
        Arc::new(move || Ok(open()))
    }
    Ok(match what {
        "robust" => {
            let mutex = RobustMutex::new()?;
            each(move || {
                Box::new(move || {
                    mutex.lock();
                    let times = add();
                    mutex.unlock();
                    Ok(times)
                })
            })
        }
        "sem_t" => {
            let semaphore = SharedSemaphore::new(1)?;
            each(move || {
                Box::new(move || {
                    semaphore.wait();
                    let times = add();
                    semaphore.post();
                    Ok(times)
                })
            })
        }
        "std" => {
            let mutex = Arc::new(std::sync::Mutex::new(()));
            each(move || {
                let mutex = Arc::clone(&mutex);
                Box::new(move || {
                    let _guard = mutex.lock().map_err(|_| "one has panicked")?;
                    Ok(add())
                })
            })
        }
        "lock" => {
            let lock = Lock::new()?;
            each(move || {
                let lock = lock.clone();
                Box::new(move || {
                    let _guard = lock.acquire().map_err(|_| "one has died")?;
                    Ok(add())
                })
            })
        }
        "rlock" => {
            let lock = RLock::new()?;
            each(move || {
                let lock = lock.clone();
                Box::new(move || {
                    let _guard = lock.acquire().map_err(|_| "one has died")?;
                    Ok(add())
                })
            })
        }
        "condition" => {
            let condition = Condition::new()?;
            each(move || {
                let condition = condition.clone();
                Box::new(move || {
                    let _guard = condition.acquire().map_err(|_| "one has died")?;
                    Ok(add())
                })
            })
        }
        "semaphore" => {
            let semaphore = Semaphore::new(1)?;
            each(move || {
                let semaphore = semaphore.clone();
                Box::new(move || {
                    let _guard = semaphore.acquire().map_err(|_| "one has died")?;
                    Ok(add())
                })
            })
        }
        "mutex" => {
            let mutex = Mutex::<u64>::new(0)?;
            each(move || {
                let mutex = mutex.clone();
                Box::new(move || {
                    *mutex.lock().map_err(|_| "one has died")? += 1;
                    Ok(1)
                })
            })
        }
        _ => return Err(format!("there is no lock called `{what}`").into()),
    })
}
