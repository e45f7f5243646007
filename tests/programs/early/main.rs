//! A program with a constructor of its own, which runs before `main`, in it and in its children.
//!
//! What the constructor does is said by the variable `EARLY`; what `main` does, by the argument.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use procession::{Process, StartError, StartMethod};
use procession_tests::{METHODS, method_name, raw};

static RUNS: AtomicU32 = AtomicU32::new(0);
static FILE: Mutex<Option<File>> = Mutex::new(None);
static SAID: Mutex<String> = Mutex::new(String::new());

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    RUNS.fetch_add(1, Ordering::Relaxed);
    match std::env::var("EARLY").as_deref() {
        Ok("start") => {
            let said = match procession::spawn(|| 1, ()) {
                Ok(child) => format!("started: {:?}", child.join()),
                Err(StartError::BeforeMain) => "refused".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            *SAID.lock().unwrap_or_else(PoisonError::into_inner) = said;
        }
        Ok("thread") => drop(std::thread::spawn(std::thread::park)),
        Ok("file") => {
            let path = std::env::var("EARLY_FILE").expect("a path");
            let file = File::options().create(true).append(true).open(path).expect("the file");
            *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        }
        Ok("stdin") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes).expect("it can be read");
            *SAID.lock().unwrap_or_else(PoisonError::into_inner) = format!("{read} bytes");
        }
        _ => {}
    }
}

fn said() -> String {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What the child sees of the constructor: how often it ran, what it has said.
fn look() -> (u32, String) {
    (RUNS.load(Ordering::Relaxed), said())
}

/// Writes to the constructor's file, and to another, and returns what is in the other.
fn write_both(other: String) -> String {
    let mut own = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = File::create(&other).expect("another file");
    file.write_all(b"other").expect("it can be written");
    own.as_mut().expect("the constructor's").write_all(b"own").expect("it is open still");
    drop(file);
    std::fs::read_to_string(other).expect("it is there")
}

fn in_child<R>(process: Process<R>, method: StartMethod) -> R
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    process.start_method(method).start().expect("it starts").join().expect("it returns")
}

fn main() {
    println!("main");
    match std::env::args().nth(1).as_deref() {
        Some("look") => {
            println!("here {:?}", look());
            for method in METHODS {
                println!("{} {:?}", method_name(method), in_child(Process::new(look, ()), method));
            }
        }
        Some("file") => {
            for method in METHODS {
                let other = std::env::var("EARLY_FILE").expect("a path") + ".other";
                println!("{}", in_child(Process::new(write_both, (other,)), method));
            }
        }
        Some("user") => {
            for method in METHODS {
                println!("{}", in_child(Process::new(raw::user, ()), method));
            }
            raw::become_user(54_321).expect("we are root");
            for method in METHODS {
                println!("{}", in_child(Process::new(raw::user, ()), method));
            }
        }
        other => panic!("there is no scenario {other:?}"),
    }
}
