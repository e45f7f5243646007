//! Children that write garbage to their own report wire, or do away with it.

use procession::{Child, JoinError, Process, StartMethod};
use procession_tests::{for_each_method, proc, raw};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::{IN_MEMORY, INLINE, header, sockets};

for_each_method! {
    garbage_before_the_report_hurts_the_child_alone,
    garbage_before_a_crash_leaves_the_status,
    a_child_without_descriptors_has_an_end,
    a_flood_has_an_end,
    a_flood_before_the_report_can_be_killed,
    garbage_from_a_child_allocates_nothing,
}

fn start<R: Serialize + DeserializeOwned>(process: Process<R>, method: StartMethod) -> Child<R> {
    process.start_method(method).start().expect("it starts")
}

/// In a child: every socket of its own, which is its report wire.
fn scribble() {
    for socket in sockets() {
        let messages = [
            vec![7; 100],
            header(INLINE, 0, u64::MAX),
            header(IN_MEMORY, 0, u64::MAX),
            [header(INLINE, 0, 3), vec![0xff; 3]].concat(),
            [header(INLINE, 0, 40), vec![0xff; 40]].concat(),
            header(INLINE, 0, 0),
        ];
        for message in messages {
            raw::send(socket, &message, &[]).expect("there is room");
        }
    }
}

fn next_child_is_not_hurt(method: StartMethod) {
    assert_eq!(start(Process::new(|| 8, ()), method).join().expect("it returns"), 8);
}

fn garbage_before_the_report_hurts_the_child_alone(method: StartMethod) {
    let scribbler = || {
        scribble();
        7
    };
    // Its value is behind the garbage, and can still be read.
    let joined = start(Process::new(scribbler, ()), method).join();
    assert!(matches!(joined, Ok(7)), "{joined:?}");
    next_child_is_not_hurt(method);
}

fn garbage_before_a_crash_leaves_the_status(method: StartMethod) {
    let exits = || {
        scribble();
        std::process::exit(3)
    };
    let joined = start(Process::<()>::new(exits, ()), method).join();
    let exited = matches!(&joined, Err(JoinError::Exited(status)) if status.code() == Some(3));
    assert!(exited, "{joined:?}");
    let aborts = || {
        scribble();
        std::process::abort()
    };
    let joined = start(Process::<()>::new(aborts, ()), method).join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 6, .. })), "{joined:?}");
    next_child_is_not_hurt(method);
}

fn a_child_without_descriptors_has_an_end(method: StartMethod) {
    fn close_all() {
        // SAFETY: plain numbers; this child uses none of them any more.
        unsafe { libc::close_range(3, u32::MAX, 0) };
    }
    let returns = || {
        close_all();
        vec![1u8; 3]
    };
    // It cannot tell its value; that it has none is told.
    let joined = start(Process::new(returns, ()), method).join();
    let failed = matches!(&joined, Err(JoinError::Exited(status)) if status.code() == Some(1));
    assert!(failed, "{joined:?}");
    let exits = || {
        close_all();
        std::process::exit(5)
    };
    let joined = start(Process::<()>::new(exits, ()), method).join();
    let exited = matches!(&joined, Err(JoinError::Exited(status)) if status.code() == Some(5));
    assert!(exited, "{joined:?}");
    let panics = || {
        close_all();
        panic!("on purpose")
    };
    let joined = start(Process::<()>::new(panics, ()), method).join();
    assert!(matches!(joined, Err(JoinError::Exited(_))), "{joined:?}");
    // As a daemon it has no tether any more either; its parent can still end it.
    let sleeps = || {
        close_all();
        procession_tests::sleep_long();
    };
    let sleeper = start(Process::new(sleeps, ()).daemon(true), method);
    sleeper.kill().expect("it is ours");
    let joined = sleeper.join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
    next_child_is_not_hurt(method);
}

/// In a child: fills its report wire until there is no more room.
fn flood() {
    let message = vec![9u8; 1000];
    for socket in sockets() {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the bytes are read only.
        while unsafe { libc::send(socket, message.as_ptr().cast(), message.len(), flags) } > 0 {}
    }
}

fn a_flood_has_an_end(method: StartMethod) {
    let floods = || {
        flood();
        std::process::exit(4)
    };
    let joined = start(Process::<()>::new(floods, ()), method).join();
    let exited = matches!(&joined, Err(JoinError::Exited(status)) if status.code() == Some(4));
    assert!(exited, "{joined:?}");
    next_child_is_not_hurt(method);
}

fn a_flood_before_the_report_can_be_killed(method: StartMethod) {
    let floods = |done: procession::Sender<u8>| {
        // Its first socket is the wire; that of `done` is flooded as well, and told by its end.
        flood();
        drop(done);
        7
    };
    let (end, done) = procession::simplex::<u8>().expect("a pipe");
    let child = start(Process::new(floods, (done,)), method);
    while !matches!(end.recv(), Err(procession::RecvError::Closed)) {}
    // It waits for room to tell its value, which its parent reads when it is dead. Whoever does
    // not want to wait for that says so.
    match child.join_timeout(std::time::Duration::from_millis(20)) {
        Ok(joined) => assert!(matches!(joined, Ok(7)), "{joined:?}"),
        Err(child) => {
            child.kill().expect("it is ours");
            let joined = child.join();
            assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
        }
    }
    next_child_is_not_hurt(method);
}

fn garbage_from_a_child_allocates_nothing(method: StartMethod) {
    let lies = || {
        for socket in sockets() {
            for claim in [u64::MAX, 1 << 40, 1 << 32] {
                let claims = claim.to_ne_bytes();
                for kind in [INLINE, IN_MEMORY] {
                    let frame = [header(kind, 0, 16), claims.to_vec(), vec![1; 8]].concat();
                    raw::send(socket, &frame, &[]).expect("there is room");
                }
            }
        }
        std::process::exit(0)
    };
    let before = proc::memory();
    for _ in 0..10 {
        let joined = start(Process::<Vec<u64>>::new(lies, ()), method).join();
        assert!(matches!(joined, Err(JoinError::Exited(_))), "{joined:?}");
    }
    let grown = proc::memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more after the lies");
}
