//! A program for the tests of kills, of laws and of hostility: it is killed, looked at from
//! outside, or started with an environment that hurts.

mod crash;
mod end;
mod idle;
mod mains;
mod parent;
mod scarce;
mod strangers;
mod untouched;

use std::process::ExitCode;

fn main() -> ExitCode {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "crash" => crash::at_point(),
        "both-die" => crash::both_die(),
        "slow-copies" => crash::slow_copies(),
        "end" => return end::run(),
        "idle" => idle::run(),
        "mains" => mains::run(),
        "named" => named(),
        "parent" => parent::run(),
        "scarce" => scarce::starts(),
        "scarce-messages" => scarce::messages(),
        "scarce-replies" => scarce::replies(),
        "copies" => untouched::copies(),
        "group-interrupted" => strangers::group_interrupted(),
        "inherited" => strangers::inherited(),
        "ignored" => strangers::ignored(),
        "interrupted" => untouched::interrupted(),
        "masks" => untouched::masks(),
        "reaper" => strangers::reaper(),
        "strangers" => strangers::strangers(),
        "threads" => untouched::thread_goes(),
        "untouched" => untouched::untouched(),
        "say-main" => println!("main was entered"),
        _ => {
            eprintln!("no scenario `{scenario}`");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

/// The argument at `place`, after the scenario.
fn argument(place: usize) -> String {
    std::env::args().nth(place + 1).unwrap_or_else(|| panic!("argument {place} is missing"))
}

/// Makes shared memory under a name, says so, and is killed.
fn named() {
    let memory = procession::SharedMemory::create(&argument(1), 100).expect("the name is free");
    memory.write(0, b"whole").expect("inside");
    println!("made");
    procession_tests::sleep_long();
}
