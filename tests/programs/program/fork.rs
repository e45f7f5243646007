//! Forks of a program with one thread (and procession's own, which holds no lock while it sleeps).

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use procession::{
    Child, JoinError, Process, RLock, Receiver, RecvError, SendError, StartError, StartMethod,
    active_children, current_process, parent_process, pipe, simplex, spawn, wait,
};
use procession_tests::{METHODS, join, proc, raw, sleep_long};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "captured" => captured(),
        "results" => results(),
        "panics" => panics(),
        "unwinding" => unwinding(),
        "ends" => ends(),
        "names" => names(),
        "children" => children(),
        "forks" => forks(),
        "pipes" => pipes(),
        "pipes_of_the_dead" => pipes_of_the_dead(),
        "shared" => shared(),
        "waiting" => waiting(),
        "from_child" => from_child(crate::method(rest)),
        "printed_before" => printed_before(),
        "printed" => printed(),
        "dropped" => dropped(),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn try_fork<R, F>(target: F) -> Result<Child<R>, StartError>
where
    R: Serialize + DeserializeOwned,
    F: FnOnce() -> R,
{
    // SAFETY: no other thread of this program holds a lock: there is but procession's, asleep.
    unsafe { procession::fork(target) }
}

fn fork<R: Serialize + DeserializeOwned>(target: impl FnOnce() -> R) -> Child<R> {
    try_fork(target).expect("fork")
}

fn fork_and_join<R: Serialize + DeserializeOwned>(target: impl FnOnce() -> R) -> R {
    fork(target).join().expect("join")
}

fn captured() {
    let text = "text".to_owned();
    let shared = Rc::new(Cell::new(5));
    let mut changed = vec![1u8; 1 << 20];
    let function: Box<dyn Fn(u64) -> u64> = Box::new(|number| number + 1);
    let joined = fork_and_join(|| {
        changed[0] = 9;
        shared.set(shared.get() + 1);
        (text.len(), shared.get(), changed[0], function(1), changed.len())
    });
    assert_eq!(joined, (4, 6, 9, 2, 1 << 20));
    assert_eq!((shared.get(), changed[0]), (5, 1), "the copy has changed its own memory");
    assert_eq!(fork_and_join(move || text + "!"), "text!");
    let child = fork(std::process::id);
    let pid = child.pid();
    assert_eq!(child.join().expect("join"), pid);
}

fn results() {
    for size in [0, 1, 64 << 10, 300 << 10, 64 << 20] {
        let child = fork(|| vec![3u8; size]);
        assert!(child.wait().expect("wait").success());
        assert!(child.join().expect("join") == vec![3u8; size]);
    }
    assert_eq!(fork_and_join(|| Err::<u8, _>("an error".to_owned())), Err("an error".to_owned()));
    let (rx, tx) = fork_and_join(|| simplex::<u8>().expect("pipe"));
    tx.send(&1).expect("send");
    assert_eq!(rx.recv().expect("receive"), 1);
}

fn panics() {
    let line = line!() + 1;
    let error = fork(|| panic!("on {}", "purpose") as u8).join().expect_err("it panics");
    let JoinError::Panicked { message, location, .. } = &error else { panic!("{error:?}") };
    assert_eq!(message, "on purpose");
    assert!(location.contains(&format!("fork.rs:{line}:")), "{location}");
    let caught = || std::panic::catch_unwind(|| panic!("caught")).is_err();
    assert!(fork_and_join(caught));
}

/// Destructors may start processes while a panic of the program's unwinds.
fn unwinding() {
    struct StartsWhenDropped(fn() -> u8);
    impl Drop for StartsWhenDropped {
        fn drop(&mut self) {
            assert_eq!((self.0)(), 4);
        }
    }
    let spawns = || METHODS.map(|method| join(Process::new(|| 2u8, ()), method)).iter().sum();
    let forks = || fork_and_join(|| 4u8);
    for starts in [spawns as fn() -> u8, forks] {
        let caught = std::panic::catch_unwind(|| {
            let _starts = StartsWhenDropped(starts);
            panic!("in the program");
        });
        assert!(caught.is_err());
    }
}

fn ends() {
    let exited = fork(|| std::process::exit(3) as u8).join();
    assert!(matches!(exited, Err(JoinError::Exited(s)) if s.code() == Some(3)), "{exited:?}");
    let aborted = fork(|| std::process::abort() as u8).join();
    assert!(matches!(aborted, Err(JoinError::Signaled { signal: 6, .. })), "{aborted:?}");
    let killed = fork(|| raw::signal_self(libc::SIGKILL)).join();
    assert!(matches!(killed, Err(JoinError::Signaled { signal: 9, .. })), "{killed:?}");
    let status = fork(|| panic!("on purpose") as u8).wait().expect("wait");
    assert_eq!(status.code(), Some(1));
}

fn names() {
    let look = || {
        let (own, parent) = (current_process(), parent_process().expect("it has a parent"));
        assert_eq!(own.parent_pid(), parent.pid());
        (own.name().to_owned(), own.pid(), parent.name().to_owned(), parent.pid(), own.is_daemon())
    };
    for number in 1..3 {
        let child = fork(look);
        let name = format!("Process-{number}");
        assert_eq!(child.name(), name);
        assert!(!child.is_daemon());
        let expected = (name, child.pid(), "MainProcess".to_owned(), std::process::id(), false);
        assert_eq!(child.join().expect("join"), expected);
    }
    let below = fork_and_join(|| fork_and_join(look));
    assert_eq!((below.0.as_str(), below.2.as_str()), ("Process-3:1", "Process-3"));
    assert_eq!(current_process().name(), "MainProcess", "the program itself is what it was");
}

fn square(number: u64) -> u64 {
    number * number
}

fn children() {
    // Before and after the program has a fork server and a child of its own.
    for _ in 0..2 {
        let sums = fork_and_join(|| {
            assert!(active_children().is_empty(), "the program's children are not the copy's");
            METHODS.map(|method| join(Process::new(square, (7,)), method))
        });
        assert_eq!(sums, [49, 49]);
        let (until, release) = simplex::<()>().expect("pipe");
        let held = spawn(|until: Receiver<()>| until.recv().is_err(), (until,)).expect("start");
        assert!(fork_and_join(|| spawn(square, (3,)).expect("start").join().expect("join")) == 9);
        assert_eq!(active_children().iter().map(|c| c.pid()).collect::<Vec<_>>(), [held.pid()]);
        drop(release);
        assert!(held.join().expect("join"));
    }
}

fn forks() {
    let depth = fork_and_join(|| fork_and_join(|| fork_and_join(|| 3) + 10) + 100);
    assert_eq!(depth, 113);
    let children: Vec<Child<u64>> = (0..20).map(|number| fork(move || square(number))).collect();
    for (number, child) in (0..).zip(children) {
        assert_eq!(child.join().expect("join"), square(number));
    }
}

fn pipes() {
    let (ours, theirs) = pipe::<u64>().expect("pipe");
    let child = fork(|| {
        let number = theirs.recv().expect("receive");
        theirs.send(&(number + 1)).expect("send");
    });
    ours.send(&1).expect("send");
    assert_eq!(ours.recv().expect("receive"), 2);
    child.join().expect("join");
    // The copy has a copy of both ends; when it is gone and ours is dropped, none is left.
    drop(theirs);
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
}

/// Who only sends is told of the end, by the copy's own watch.
fn pipes_of_the_dead() {
    let (rx, tx) = simplex::<u64>().expect("pipe");
    let (until, says) = simplex::<()>().expect("pipe");
    let reads_nothing = |_rx: Receiver<u64>| sleep_long();
    let reader = spawn(reads_nothing, (rx,)).expect("start");
    // So many that the original is told of the end, and asks no more.
    for number in 0..100 {
        tx.send(&number).expect("somebody may read it");
    }
    let child = fork(|| {
        until.recv().expect("the original says when");
        matches!(tx.send(&100), Err(SendError::Closed))
    });
    reader.kill().expect("it is ours");
    reader.wait().expect("it ends");
    says.send(&()).expect("it waits");
    assert!(child.join().expect("join"), "nobody will ever read it");
}

fn shared() {
    let lock = RLock::new().expect("lock");
    let (mirror, there) = pipe::<RLock>().expect("pipe");
    let guard = lock.acquire().expect("nobody dies here");
    let child = fork(|| {
        assert!(lock.try_acquire().expect("nobody dies here").is_none(), "it is the original's");
        let _mine = lock.acquire().expect("nobody dies here");
        // A handle that comes back is on what this copy has already.
        mirror.send(&lock).expect("send");
        let again = there.recv().expect("receive");
        again.try_acquire().expect("nobody dies here").is_some()
    });
    std::thread::sleep(Duration::from_millis(10));
    drop(guard);
    assert!(child.join().expect("join"), "one process is one participant");
    assert!(lock.try_acquire().expect("it was given up").is_some());
}

fn waiting() {
    let (until, release) = simplex::<()>().expect("pipe");
    let child = fork(move || {
        let dropped = until.recv_timeout(Duration::from_millis(1)).is_err();
        sleep_long();
        dropped
    });
    assert!(child.is_alive() && child.exit_status().is_none());
    assert_eq!(child.wait_timeout(Duration::from_millis(5)).expect("wait"), None);
    assert_eq!(wait(&[&child], Some(Duration::ZERO)).expect("wait"), [0usize; 0]);
    assert_eq!(active_children().len(), 1);
    child.terminate().expect("terminate");
    assert_eq!(wait(&[&child], None).expect("wait"), [0]);
    let error = child.join().expect_err("it is ended");
    assert!(matches!(error, JoinError::Signaled { signal: 15, .. }), "{error:?}");
    drop(release);
    let (told, tell) = simplex::<u32>().expect("pipe");
    let child = fork(move || {
        let below = fork(sleep_long);
        tell.send(&below.pid()).expect("the program reads");
        sleep_long();
    });
    let below = told.recv().expect("it tells");
    child.terminate_tree().expect("terminate");
    assert!(child.join().is_err());
    proc::wait_until(|| !proc::is_running(below));
}

/// A fork within a child that is not one itself.
fn from_child(method: StartMethod) {
    let forks = |number: u64| {
        let name = fork_and_join(|| current_process().name().to_owned());
        (fork_and_join(move || square(number)), name)
    };
    let child = procession_tests::start(Process::new(forks, (5,)), method);
    let name = format!("{}:1", child.name());
    assert_eq!(child.join().expect("join"), (25, name));
}

fn printed_before() {
    print!("before, ");
    fork_and_join(|| print!("in the fork, "));
    println!("after");
}

fn printed() {
    fork_and_join(|| {
        println!("first line");
        print!("no newline");
    });
}

fn dropped() {
    println!("from main");
    let program = std::process::id();
    // Nothing tells the copy that `main` has returned but that its daemon is gone.
    let daemon = Process::new(sleep_long, ()).daemon(true).start().expect("start");
    let pid = daemon.pid();
    drop(fork(move || {
        proc::wait_until(|| !proc::is_running(pid));
        assert!(proc::is_running(program), "the program waits");
        println!("from the fork");
    }));
}
