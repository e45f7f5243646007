//! Says when `main` is entered, and starts processes, in several ways.

use std::process::Command;

use procession::Process;
use procession_tests::{method_from, method_name};

use crate::argument;

/// Starts children by the method of the first argument, as the second says.
pub(crate) fn run() {
    println!("main");
    let (method, how) = (method_from(&argument(1)), argument(2));
    match how.as_str() {
        "plain" => below(2, method_name(method).to_owned()),
        "cleared" => {
            let seen = || std::env::vars_os().count();
            let child = Process::new(seen, ()).env_clear().start_method(method).start();
            assert_eq!(child.expect("it starts").join().expect("it returns"), 0);
        }
        "threads" => std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for number in 0..5 {
                        let process = Process::new(|number: i32| number, (number,));
                        let child = process.start_method(method).start().expect("it starts");
                        assert_eq!(child.join().expect("it returns"), number);
                    }
                });
            }
        }),
        "streams" => {
            let null = std::process::Stdio::null;
            let process = Process::new(|| 1, ()).stdin(null()).stdout(null()).stderr(null());
            let child = process.start_method(method).start().expect("it starts");
            assert_eq!(child.join().expect("it returns"), 1);
        }
        "commands" => {
            let child = Process::new(run_program, (method_name(method).to_owned(),));
            let child = child.start_method(method).start().expect("it starts");
            assert!(child.join().expect("it returns"));
        }
        // What a command of a child runs.
        _ => {
            let child = Process::new(|| 1, ()).start_method(method).start().expect("it starts");
            assert_eq!(child.join().expect("it returns"), 1);
        }
    }
}

/// Starts two processes of the next depth, and waits for them.
fn below(depth: u32, method: String) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let start = |_| {
        let process = Process::new(say_and_go_on, (depth, method.clone()));
        process.start_method(method_from(&method)).start().expect("it starts")
    };
    let children: Vec<_> = (0..2).map(start).collect();
    for child in children {
        child.join().expect("it returns");
    }
}

fn say_and_go_on(depth: u32, method: String) {
    println!("child");
    below(depth, method);
}

/// In a child: runs this very program again, by the means of std.
fn run_program(method: String) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("it is known"));
    command.args(["mains", &method, "one"]).status().expect("it starts").success()
}
