//! The events of pools, collected by a subscriber of the program's own.

use std::fmt::{Debug, Write};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use procession::{Pool, TaskError};
use procession_tests::{proc, sleep_long};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static POOL: OnceLock<Pool> = OnceLock::new();

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let panics = match scenario {
        "collected" => false,
        "panics" => true,
        _ => return None,
    };
    tracing::subscriber::set_global_default(Collector { panics }).expect("there is none");
    let builder = Pool::builder().workers(1).name("told").start_method(crate::method(rest));
    let pool = POOL.get_or_init(|| builder.build().expect("a pool"));
    assert_eq!(pool.map(square, 0..10), Ok((0..10).map(square).collect()));
    assert!(matches!(pool.apply(no, ()), Err(TaskError::Panicked { .. })));
    assert!(matches!(pool.apply(die, ()), Err(TaskError::WorkerDied { .. })));
    let limited = pool.options().timeout(Duration::from_millis(20));
    assert!(matches!(limited.apply(sleep_long, ()), Err(TaskError::TimedOut { .. })));
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    pool.close();
    pool.join().expect("it is closed");
    if panics {
        return Some(ExitCode::SUCCESS);
    }
    // Outcomes are told before anybody has them.
    for (what, times) in [
        ("TRACE task ran outcome=returned", 11),
        ("TRACE task ran outcome=panicked", 1),
        ("TRACE task failed outcome=worker died", 1),
        ("TRACE task failed outcome=timed out", 1),
    ] {
        assert_eq!(count(what), times, "{what}: {:#?}", LINES.lock());
    }
    // What workers do may be told by another thread.
    proc::wait_until(|| {
        count("INFO worker started") >= 3 && count("WARN worker died, and is replaced") == 2
    });
    assert!(count("name=told-1") >= 2 && count("exit=signal 6") == 1, "{:#?}", LINES.lock());
    Some(ExitCode::SUCCESS)
}

/// How many lines have all of these words, one after the other.
fn count(words: &str) -> usize {
    let lines = LINES.lock().expect("nobody has panicked");
    lines.iter().filter(|line| line.contains(words)).count()
}

fn square(number: u64) -> u64 {
    number * number
}

fn no() {
    panic!("no");
}

fn die() {
    std::process::abort();
}

/// Writes events down. It asks the pool how it is: no lock of the pool's is held meanwhile.
struct Collector {
    panics: bool,
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // It would come between the message and what the test looks for.
            "number" | "worker" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("memory");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.fields, " {}={value}", field.name()).expect("memory");
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "procession::pool"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let line = format!("{} {}{}", event.metadata().level(), line.message, line.fields);
        LINES.lock().expect("nobody has panicked").push(line);
        if let Some(pool) = POOL.get() {
            let _ = pool.stats();
        }
        assert!(!self.panics, "a subscriber that panics");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
