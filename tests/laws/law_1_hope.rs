//! Law 1: no wait outlives its hope.
//!
//! Whatever waits for a process ends when that process is killed, at whichever moment of waiting.

use std::time::Duration;

use procession::{
    Child, Connection, JoinError, Process, Receiver, RecvError, RecvTimeoutError, SendError,
    Sender, StartMethod, pipe, simplex, wait,
};
use procession_tests::{Random, for_each_method, is_long, proc, raw, sleep_long};

for_each_method! {
    every_way_of_receiving_ends,
    every_blocked_sender_is_told,
    every_way_of_joining_ends,
    a_wait_for_several_things_ends,
    siblings_are_told_of_each_other,
    a_child_that_waits_is_told_when_its_parent_lets_go,
    what_waits_for_the_living_can_give_up,
    a_stopped_child_has_not_ended,
}

/// So long that only the end of the other side can be what ended the wait.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

fn times() -> usize {
    if is_long() { 200 } else { 8 }
}

/// In a child: holds its end for ever.
fn hold<T>(end: T) {
    sleep_long();
    drop(end);
}

fn hold_connection(end: Connection<Vec<u8>>) {
    hold(end);
}

fn start<R>(process: Process<R>, method: StartMethod) -> Child<R>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    process.start_method(method).start().expect("it starts")
}

/// Runs some waits at the same time, and kills the child while they wait, or just before.
fn kill_during<R: Send>(child: &Child<R>, waits: &[&(dyn Fn() + Sync)]) {
    let micros = Random::new().below(5_000);
    std::thread::scope(|scope| {
        for wait in waits {
            scope.spawn(wait);
        }
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().expect("it is ours");
    });
}

fn every_way_of_receiving_ends(method: StartMethod) {
    for _ in 0..times() {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
        let child = start(Process::new(hold_connection, (theirs,)), method);
        kill_during(
            &child,
            &[
                &|| assert!(matches!(ours.recv(), Err(RecvError::Closed))),
                &|| assert!(matches!(ours.recv(), Err(RecvError::Closed))),
                &|| {
                    let result = ours.recv_timeout(FOR_EVER);
                    assert!(matches!(result, Err(RecvTimeoutError::Closed)), "{result:?}");
                },
                &|| assert!(ours.poll(FOR_EVER).expect("the end can be received")),
                &|| assert_eq!(wait(&[&ours], None).expect("a wait"), [0]),
                &|| assert_eq!(wait(&[&ours], Some(FOR_EVER)).expect("a wait"), [0]),
            ],
        );
        let joined = child.join();
        assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
    }
}

fn every_blocked_sender_is_told(method: StartMethod) {
    for _ in 0..times() {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
        let child = start(Process::new(hold_connection, (theirs,)), method);
        let small = || {
            // Nobody reads: after some of them there is no more room.
            while let Ok(()) = ours.send(&vec![1; 5_000]) {}
            let result = ours.send(&vec![1]);
            assert!(matches!(result, Err(SendError::Closed)), "{result:?}");
        };
        let large = || {
            while let Ok(()) = ours.send(&vec![1; 100_000]) {}
            let result = ours.send(&vec![1; 100_000]);
            assert!(matches!(result, Err(SendError::Closed)), "{result:?}");
        };
        kill_during(&child, &[&small, &small, &large]);
    }
}

fn every_way_of_joining_ends(method: StartMethod) {
    for _ in 0..times() {
        let child = start(Process::new(sleep_long, ()), method);
        let killed = |status: procession::ExitStatus| assert_eq!(status.signal(), Some(9));
        kill_during(
            &child,
            &[
                &|| killed(child.wait().expect("its status")),
                &|| killed(child.wait().expect("its status")),
                &|| killed(child.wait_timeout(FOR_EVER).expect("its status").expect("its end")),
                &|| assert_eq!(wait(&[&child], None).expect("a wait"), [0]),
            ],
        );
        killed(child.exit_status().expect("its status"));
        let joined = child.join_timeout(FOR_EVER);
        let Ok(Err(JoinError::Signaled { signal: 9, .. })) = joined else { panic!("{joined:?}") };
        // A join that began before the end.
        let child = start(Process::new(sleep_long, ()), method);
        let pid = child.pid();
        std::thread::scope(|scope| {
            let joined = scope.spawn(|| child.join());
            std::thread::sleep(Duration::from_micros(Random::new().below(3_000)));
            raw::signal(pid, libc::SIGKILL).expect("it is ours");
            let joined = joined.join().expect("no panic");
            assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
        });
    }
}

fn a_wait_for_several_things_ends(method: StartMethod) {
    for _ in 0..times() {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
        let (quiet, _other) = pipe::<u8>().expect("a pipe");
        let doomed = start(Process::new(hold_connection, (theirs,)), method);
        let other = start(Process::new(sleep_long, ()), method);
        kill_during(
            &doomed,
            &[
                &|| assert_eq!(wait(&[&other, &quiet, &doomed], None).expect("a wait"), [2]),
                &|| assert_eq!(wait(&[&quiet, &ours, &other], None).expect("a wait"), [1]),
            ],
        );
        other.kill().expect("it is ours");
        assert_eq!(wait(&[&other], None).expect("a wait"), [0]);
    }
}

/// The parent keeps no copy of what it has given away, and neither does the fork server: between
/// its children a pipe has just two ends.
fn siblings_are_told_of_each_other(method: StartMethod) {
    fn receive(rx: Receiver<u8>, ready: Sender<()>) -> bool {
        ready.send(&()).expect("the parent waits");
        matches!(rx.recv(), Err(RecvError::Closed))
    }
    for _ in 0..times() {
        let (rx, tx) = simplex::<u8>().expect("a pipe");
        let (is_ready, ready) = simplex().expect("a pipe");
        let doomed = start(Process::new(|tx: Sender<u8>| hold(tx), (tx,)), method);
        let waiting = start(Process::new(receive, (rx, ready)), method);
        // Started later than both, and with nothing of theirs.
        let bystander = start(Process::new(sleep_long, ()), method);
        is_ready.recv().expect("it waits");
        doomed.kill().expect("it is ours");
        assert!(waiting.join().expect("it is told"));
        bystander.kill().expect("it is ours");
    }
}

fn a_child_that_waits_is_told_when_its_parent_lets_go(method: StartMethod) {
    for _ in 0..times() {
        let (rx, tx) = simplex::<u8>().expect("a pipe");
        let receive = |rx: Receiver<u8>| matches!(rx.recv(), Err(RecvError::Closed));
        let child = start(Process::new(receive, (rx,)), method);
        // Other children, which have begun meanwhile, do not hold it open.
        let other = start(Process::new(sleep_long, ()), method);
        drop(tx);
        assert!(child.join().expect("it is told"));
        other.kill().expect("it is ours");
    }
}

fn what_waits_for_the_living_can_give_up(method: StartMethod) {
    let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
    let child = start(Process::new(hold_connection, (theirs,)), method);
    for moment in [Duration::ZERO, Duration::from_millis(3)] {
        let result = ours.recv_timeout(moment);
        assert!(matches!(result, Err(RecvTimeoutError::Timeout)), "{result:?}");
        assert!(!ours.poll(moment).expect("a look"));
        assert_eq!(child.wait_timeout(moment).expect("a look"), None);
        assert!(wait(&[&child, &ours], Some(moment)).expect("a look").is_empty());
    }
    let child = child.join_timeout(Duration::ZERO).expect_err("it lives");
    child.kill().expect("it is ours");
}

fn a_stopped_child_has_not_ended(method: StartMethod) {
    let child = start(Process::new(sleep_long, ()), method);
    for signal in [libc::SIGSTOP, libc::SIGCONT, libc::SIGSTOP] {
        raw::signal(child.pid(), signal).expect("it is ours");
        let state = if signal == libc::SIGSTOP { 'T' } else { 'S' };
        proc::wait_until(|| proc::entry(child.pid()).is_some_and(|entry| entry.state == state));
        assert_eq!(child.wait_timeout(Duration::from_millis(3)).expect("a look"), None);
        assert!(child.is_alive() && child.exit_status().is_none());
    }
    // Also one that stands still can be ended.
    child.kill().expect("it is ours");
    assert_eq!(child.wait().expect("its status").signal(), Some(9));
}
