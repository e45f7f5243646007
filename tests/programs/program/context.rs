//! What a program chooses once, for itself and all below it.

use std::process::ExitCode;

use procession::{Process, StartMethod, set_start_method, spawn};
use procession_tests::{METHODS, join, proc};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "method" => method(crate::method(rest)),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn nothing() {}

/// Whether starts without a choice of their own have launched a fork server, and a new choice
/// was refused.
fn look() -> (bool, bool) {
    spawn(nothing, ()).expect("start").join().expect("join");
    let server = proc::fork_server_of(std::process::id()).is_some();
    let refused = METHODS.into_iter().all(|method| set_start_method(method).is_err());
    (server, refused)
}

fn look_below() -> (bool, bool) {
    spawn(look, ()).expect("start").join().expect("join")
}

fn method(method: StartMethod) {
    set_start_method(method).expect("the first choice");
    for again in METHODS {
        let error = set_start_method(again).expect_err("the second");
        let text = error.to_string();
        assert!(text.contains(&format!("{method:?}")) && text.contains("once"), "{text}");
    }
    let serves = method == StartMethod::ForkServer;
    assert_eq!(look(), (serves, true));
    for other in METHODS {
        assert_eq!(join(Process::new(look, ()), other), (serves, true), "inherited");
        assert_eq!(join(Process::new(look_below, ()), other), (serves, true), "for generations");
    }
    // Both are there for who chooses for one process.
    assert!(proc::fork_server_of(std::process::id()).is_some());
}
