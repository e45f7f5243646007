//! What a forked copy of a program can do with the program's children.

use std::process::ExitCode;
use std::time::Duration;

use procession::{
    Child, JoinError, Process, Receiver, StartMethod, active_children, simplex, spawn,
};
use procession_tests::{join, proc, raw, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "join_running" => join_running(crate::method(rest)),
        "join_dead" => join_dead(crate::method(rest)),
        "join_dying" => join_dying(crate::method(rest)),
        "own" => own_children(crate::method(rest)),
        "fork" => in_a_fork(crate::method(rest)),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// Returns 7 when the other end of its pipe is gone.
fn when_released(until: Receiver<()>) -> u8 {
    assert!(until.recv().is_err());
    7
}

/// Whether `result` says that the child is another's.
fn is_not_ours<T>(result: Result<T, JoinError>, pid: u32) -> bool {
    let Err(error) = result else { return false };
    matches!(error, JoinError::NotOurChild { pid: named } if named == pid)
        && error.to_string().contains(&pid.to_string())
}

/// Ends this copy with a code that names the first thing that is not so.
fn first_false(so: &[bool]) -> i32 {
    so.iter().position(|so| !so).map_or(0, |place| i32::try_from(place).unwrap_or(98) + 1)
}

/// Joins in a copy, and says whether that was refused.
fn join_in_copy(child: Child<u8>, before: impl FnOnce()) -> Child<u8> {
    let pid = child.pid();
    let mut child = Some(child);
    let joined = raw::in_forked_copy(|| {
        before();
        i32::from(!child.take().is_some_and(|child| is_not_ours(child.join(), pid)))
    });
    assert_eq!(joined.expect("fork"), 0, "the copy's join is refused");
    child.expect("taken in the copy only")
}

/// A copy is told that a child that runs is not its own, and the original keeps the result.
fn join_running(method: StartMethod) {
    let (until, release) = simplex().expect("pipe");
    let child = start(Process::new(when_released, (until,)), method);
    let pid = child.pid();
    let code = raw::in_forked_copy(|| {
        let so = [
            active_children().is_empty(),
            is_not_ours(child.wait(), pid),
            is_not_ours(child.wait_timeout(Duration::ZERO), pid),
            child.exit_status().is_none(),
        ];
        first_false(&so)
    });
    assert_eq!(code.expect("fork"), 0);
    let child = join_in_copy(child, || ());
    // The copies are gone, and with them their ends of the pipe.
    drop(release);
    assert_eq!(child.join().expect("the original's"), 7);
}

/// The same of one that has ended, and has been waited for, before the copy was made.
fn join_dead(method: StartMethod) {
    let child = start(Process::new(|| 7u8, ()), method);
    assert!(child.wait().expect("wait").success());
    let child = join_in_copy(child, || ());
    assert_eq!(child.join().expect("the original's"), 7);
}

/// The same of one that ends after the copy was made, and before it joins.
fn join_dying(method: StartMethod) {
    let (until, release) = simplex::<()>().expect("pipe");
    let child = start(
        Process::new(
            |until: Receiver<()>| {
                until.recv().expect("sent");
                7
            },
            (until,),
        ),
        method,
    );
    let pid = child.pid();
    let child = join_in_copy(child, || {
        release.send(&()).expect("the child reads");
        proc::wait_until(|| !proc::is_running(pid));
    });
    assert_eq!(child.join().expect("the original's"), 7);
}

fn double(number: u64) -> u64 {
    number * 2
}

/// A copy that was forked by others has children of its own, and its own fork server.
fn own_children(method: StartMethod) {
    assert_eq!(join(Process::new(double, (1,)), method), 2);
    let (until, release) = simplex().expect("pipe");
    let child = start(Process::new(when_released, (until,)), method);
    let code = raw::in_forked_copy(|| {
        let one = start(Process::new(double, (2,)), method);
        let known = active_children().iter().all(|other| other.pid() == one.pid());
        let so = [
            known,
            one.join().is_ok_and(|value| value == 4),
            spawn(double, (3,)).is_ok_and(|child| child.join().is_ok_and(|value| value == 6)),
            is_not_ours(child.wait(), child.pid()),
        ];
        // What the copy has started it ends itself: it leaves without hooks at exit.
        if let Some(server) = proc::fork_server_of(std::process::id()) {
            let _ = raw::signal(server, libc::SIGKILL);
        }
        first_false(&so)
    });
    assert_eq!(code.expect("fork"), 0);
    drop(release);
    assert_eq!(child.join().expect("the original's"), 7);
    assert_eq!(join(Process::new(double, (5,)), method), 10);
}

/// The same in a copy that procession has made.
fn in_a_fork(method: StartMethod) {
    let (until, release) = simplex::<()>().expect("pipe");
    let child = start(Process::new(when_released, (until,)), method);
    let pid = child.pid();
    // SAFETY: this program's other thread, procession's own, sleeps.
    let copy = unsafe { procession::fork(|| is_not_ours(child.wait(), pid)) }.expect("fork");
    assert!(copy.join().expect("join"));
    drop(release);
    assert_eq!(child.join().expect("the original's"), 7);
}
