//! `Child`: wait, join and end, from one thread or several.

use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use procession::{
    Child, Connection, JoinError, Process, Receiver, Sender, StartMethod, active_children, pipe,
    simplex, spawn,
};
use procession_tests::{for_each_method, join, proc, raw, sleep_long, start};

for_each_method!(
    waiting_leaves_the_value,
    timeouts,
    join_with_a_timeout,
    several_threads_wait_for_one_child,
    a_waiting_thread_sees_every_end,
    ending_a_child,
    ending_what_has_ended,
    a_child_that_ignores_sigterm,
    a_whole_tree_is_terminated,
    a_tree_that_keeps_starting_is_terminated,
    dropped_children_run_on_and_leave_no_zombie,
    the_exit_status_comes_without_waiting,
    results_wait_however_long_nobody_joins,
    debug_shows_who_it_is,
);

/// Returns 7 when the other end of its pipe is gone.
fn when_released(until: Receiver<()>) -> u8 {
    assert!(until.recv().is_err());
    7
}

fn held(method: StartMethod) -> (Child<u8>, Sender<()>) {
    let (until, release) = simplex().expect("pipe");
    (start(Process::new(when_released, (until,)), method), release)
}

fn waiting_leaves_the_value(method: StartMethod) {
    let child = start(Process::new(|| vec![1u8; 1 << 20], ()), method);
    for _ in 0..3 {
        assert!(child.wait().expect("wait").success());
    }
    assert!(!child.is_alive());
    assert_eq!(child.join().expect("join").len(), 1 << 20);
}

fn timeouts(method: StartMethod) {
    let (child, release) = held(method);
    assert!(child.is_alive());
    assert_eq!(child.exit_status(), None);
    assert_eq!(child.wait_timeout(Duration::ZERO).expect("wait"), None);
    assert_eq!(child.wait_timeout(Duration::from_nanos(1)).expect("wait"), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(20)).expect("wait"), None);
    assert!(child.is_alive());
    drop(release);
    let status = child.wait_timeout(Duration::MAX).expect("wait").expect("it ends");
    assert!(status.success());
    assert_eq!(child.wait_timeout(Duration::ZERO).expect("wait"), Some(status));
    assert_eq!(child.exit_status(), Some(status));
    assert!(!child.is_alive());
    assert_eq!(child.join().expect("join"), 7);
}

fn join_with_a_timeout(method: StartMethod) {
    let (mut child, release) = held(method);
    let pid = child.pid();
    for timeout in [Duration::ZERO, Duration::from_millis(10)] {
        child = child.join_timeout(timeout).expect_err("it runs");
        assert_eq!(child.pid(), pid);
    }
    drop(release);
    let result = child.join_timeout(Duration::MAX).expect("it has ended");
    assert_eq!(result.expect("join"), 7);
    fn exits() {
        std::process::exit(4)
    }
    let dead = start(Process::new(exits, ()), method);
    dead.wait().expect("wait");
    let result = dead.join_timeout(Duration::ZERO).expect("it has ended");
    assert!(matches!(result, Err(JoinError::Exited(s)) if s.code() == Some(4)), "{result:?}");
}

fn several_threads_wait_for_one_child(method: StartMethod) {
    for _ in 0..20 {
        let (child, release) = held(method);
        let child = Arc::new(child);
        let wait = |i: u32| {
            let child = Arc::clone(&child);
            std::thread::spawn(move || match i % 3 {
                0 => child.wait().expect("wait"),
                1 => child.wait_timeout(Duration::MAX).expect("wait").expect("it ends"),
                _ => loop {
                    // Comes and goes while others stay.
                    let status = child.wait_timeout(Duration::from_micros(50)).expect("wait");
                    if let Some(status) = status {
                        break status;
                    }
                },
            })
        };
        let threads: Vec<_> = (0..6).map(wait).collect();
        drop(release);
        for thread in threads {
            assert!(thread.join().expect("thread").success());
        }
        let child = Arc::into_inner(child).expect("the threads have ended");
        assert_eq!(child.join().expect("join"), 7);
    }
}

fn a_waiting_thread_sees_every_end(method: StartMethod) {
    let (child, _release) = held(method);
    let child = Arc::new(child);
    let waiting = Arc::clone(&child);
    let waiter = std::thread::spawn(move || waiting.wait().expect("wait"));
    child.kill().expect("kill");
    assert_eq!(waiter.join().expect("thread").signal(), Some(9));
    assert_eq!(child.wait().expect("wait").signal(), Some(9));
}

fn ending_a_child(method: StartMethod) {
    let (child, _release) = held(method);
    child.terminate().expect("terminate");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
    let (child, _release) = held(method);
    child.kill().expect("kill");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 9, .. }), "{error:?}");
    let (child, _release) = held(method);
    child.terminate_tree().expect("terminate");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
    // Stopped by somebody: it must go on to be ended.
    let (child, _release) = held(method);
    raw::signal(child.pid(), libc::SIGSTOP).expect("stop");
    child.terminate_tree().expect("terminate");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
}

fn ending_what_has_ended(method: StartMethod) {
    let child = start(Process::new(|| 1, ()), method);
    child.wait().expect("wait");
    for _ in 0..2 {
        child.terminate().expect("no error");
        child.kill().expect("no error");
        child.terminate_tree().expect("no error");
    }
    assert_eq!(child.join().expect("join"), 1);
}

fn ignores_sigterm(connection: Connection<()>) {
    raw::ignore(libc::SIGTERM);
    connection.send(&()).expect("the parent reads");
    while connection.recv().is_ok() {
        connection.send(&()).expect("the parent reads");
    }
    sleep_long();
}

fn a_child_that_ignores_sigterm(method: StartMethod) {
    let (ours, theirs) = pipe().expect("pipe");
    let child = start(Process::new(ignores_sigterm, (theirs,)), method);
    ours.recv().expect("it runs");
    child.terminate().expect("terminate");
    child.terminate_tree().expect("terminate");
    ours.send(&()).expect("it runs on");
    ours.recv().expect("it runs on");
    child.kill().expect("kill");
    let error = child.join().expect_err("it is killed");
    assert!(matches!(error, JoinError::Signaled { signal: 9, .. }), "{error:?}");
}

/// Starts a tree below itself, two wide and `depth` deep, and reports every process in it.
fn grow(depth: u32, found: Sender<u32>) {
    let below = |_| {
        let found = found.clone();
        spawn(grow, (depth - 1, found)).expect("start")
    };
    let children: Vec<_> = (0..if depth == 0 { 0 } else { 2 }).map(below).collect();
    found.send(&std::process::id()).expect("the root reads");
    for child in children {
        // Its end is its own.
        let _ = child.wait();
    }
    sleep_long();
}

fn a_whole_tree_is_terminated(method: StartMethod) {
    let (reports, found) = simplex().expect("pipe");
    let child = start(Process::new(grow, (2, found)), method);
    let mut pids: Vec<u32> = (0..7).map(|_| reports.recv().expect("it reports")).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 7);
    child.terminate_tree().expect("terminate");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
    proc::wait_until(|| !pids.iter().any(|pid| proc::is_running(*pid)));
    assert!(reports.recv().is_err(), "nobody holds the other end any more");
}

/// Starts programs that are not procession's, in groups of their own, for as long as it lives.
fn breed(started: Sender<()>) {
    loop {
        let sleep = std::process::Command::new("sleep").arg("3600").process_group(0).spawn();
        assert!(sleep.expect("sleep is there").id() > 0);
        started.send(&()).expect("the parent reads");
    }
}

fn a_tree_that_keeps_starting_is_terminated(method: StartMethod) {
    let variable = format!("PROCESSION_TEST_TREE={}-{method:?}", std::process::id());
    let (name, value) = variable.split_once('=').expect("made so");
    let (started, start_one) = simplex().expect("pipe");
    let child = start(Process::new(breed, (start_one,)).env(name, value), method);
    for _ in 0..10 {
        started.recv().expect("it starts them");
    }
    child.terminate_tree().expect("terminate");
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
    proc::wait_until(|| proc::with_variable(&variable).is_empty());
}

fn dropped_children_run_on_and_leave_no_zombie(method: StartMethod) {
    let (until, release) = simplex::<()>().expect("pipe");
    let (done, tell) = simplex::<u32>().expect("pipe");
    let works = |until: Receiver<()>, tell: Sender<u32>| {
        assert!(until.recv().is_err());
        tell.send(&std::process::id()).expect("the parent reads");
        vec![1u8; 4 << 20] // nobody will read it
    };
    let clone = (until.clone(), tell.clone());
    let pids = [(until, tell), clone].map(|args| start(Process::new(works, args), method).pid());
    assert_eq!(active_children().iter().map(|child| child.pid()).collect::<Vec<_>>(), pids);
    drop(release);
    let mut told = [done.recv().expect("it runs on"), done.recv().expect("it runs on")];
    told.sort_unstable();
    assert_eq!(told, [pids[0].min(pids[1]), pids[0].max(pids[1])]);
    proc::wait_until(|| pids.iter().all(|pid| proc::entry(*pid).is_none()));
    assert!(active_children().is_empty());
}

fn the_exit_status_comes_without_waiting(method: StartMethod) {
    let (child, release) = held(method);
    assert_eq!(child.exit_status(), None);
    drop(release);
    proc::wait_until(|| child.exit_status().is_some());
    assert_eq!(child.exit_status().map(|status| status.success()), Some(true));
    assert_eq!(child.join().expect("join"), 7);
}

fn results_wait_however_long_nobody_joins(method: StartMethod) {
    let result = |i: u32| vec![i; 100_000];
    let children: Vec<_> = (0..40).map(|i| start(Process::new(result, (i,)), method)).collect();
    for child in &children {
        assert!(child.wait().expect("wait").success());
    }
    assert!(active_children().is_empty());
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().expect("join"), result(i as u32));
    }
    assert_eq!(join(Process::new(|| 1, ()), method), 1);
}

fn debug_shows_who_it_is(method: StartMethod) {
    let process = Process::new(|| 1, ()).name("shown");
    assert!(format!("{process:?}").contains("shown"));
    let child = start(process, method);
    let text = format!("{child:?}");
    assert!(text.contains("shown") && text.contains(&child.pid().to_string()), "{text}");
    assert_eq!(child.join().expect("join"), 1);
}
