//! What is inherited of a program's standard streams.

use std::io::{BufRead, Read};
use std::process::{ExitCode, Stdio};

use procession::{Pool, Process};
use procession_tests::join;

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "inherited" => inherited(rest),
        "pool" => pool(rest),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// Reads a line, a byte at a time: what follows belongs to others.
fn line() -> String {
    // Standard input would read ahead; a reader of its own for the same descriptor does not.
    let mut input = std::fs::File::open("/proc/self/fd/0").expect("standard input");
    let mut bytes = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte).expect("readable") == 1 && byte != *b"\n" {
        bytes.extend(byte);
    }
    String::from_utf8(bytes).expect("text")
}

/// A child has the program's streams, whether it is asked for or not.
fn inherited(rest: &[String]) {
    let method = crate::method(rest);
    join(Process::new(|| println!("child read {}", line()), ()), method);
    println!("program read {}", line());
    let explicitly = Process::new(|| print!("child inherits"), ());
    let inherit = Stdio::inherit;
    join(explicitly.stdin(inherit()).stdout(inherit()).stderr(inherit()), method);
    println!();
    assert_eq!(std::io::stdin().lock().lines().count(), 0);
}

/// Workers have the program's streams as well, and a pool needs none of them.
fn pool(rest: &[String]) {
    let pool = Pool::builder().workers(3).start_method(crate::method(rest));
    let pool = pool.build().expect("a pool");
    pool.options().chunk_size(3).map(|n: u32| println!("line {n}"), 0..100).expect("they return");
    pool.apply(|| println!("a task has read {:?}", line()), ()).expect("it returns");
}
