//! How a child can crash or be killed, each with its own `JoinError`.

use procession::{Connection, JoinError, Process, StartMethod};
use procession_tests::{fail, for_each_method, raw, start};

for_each_method!(
    aborts_are_signal_6,
    an_abort_after_a_refused_allocation_is_signal_6,
    signals_have_their_number,
    a_fault_is_its_signal,
    a_fault_that_is_raised_ends_a_child,
    a_fault_that_is_sent_ends_a_child,
    a_full_stack,
    no_memory,
    no_memory_in_a_thread,
    a_panic_for_want_of_memory_is_told,
);

fn signaled(error: &JoinError) -> i32 {
    match error {
        JoinError::Signaled { signal, .. } => *signal,
        other => panic!("{other:?}"),
    }
}

fn aborts_are_signal_6(method: StartMethod) {
    let aborts = || std::process::abort() as u8;
    assert_eq!(signaled(&fail(Process::new(aborts, ()), method)), 6);
    let limited = Process::new(aborts, ()).memory_limit(1 << 30);
    assert_eq!(signaled(&fail(limited, method)), 6, "not for want of memory");
}

fn an_abort_after_a_refused_allocation_is_signal_6(method: StartMethod) {
    // A system call that has failed for want of memory a while ago is not the reason either.
    let after = || {
        assert!(Vec::<u8>::new().try_reserve_exact(isize::MAX as usize).is_err());
        std::process::abort() as u8
    };
    let error = fail(Process::new(after, ()), method);
    assert_eq!(signaled(&error), 6, "the failure had been dealt with");
}

fn raises(signal: i32) -> u8 {
    raw::signal_self(signal);
    1
}

fn answers(connection: Connection<()>) {
    while connection.send(&()).is_ok() && connection.recv().is_ok() {}
}

/// The error of a child that waits and gets a signal from here.
fn sent(signal: i32, method: StartMethod) -> JoinError {
    let (ours, theirs) = procession::pipe::<()>().expect("pipe");
    let child = start(Process::new(answers, (theirs,)), method);
    ours.recv().expect("it runs");
    raw::signal(child.pid(), signal).expect("it is there");
    // The signal is there before the message is: who answers has survived it.
    let survived = ours.send(&()).is_ok() && ours.recv().is_ok();
    child.kill().expect("kill");
    assert!(!survived, "the child has survived signal {signal}");
    child.join().expect_err("it is killed")
}

fn signals_have_their_number(method: StartMethod) {
    for (signal, name) in [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (40, "signal 40"),
    ] {
        let error = fail(Process::new(raises, (signal,)), method);
        assert_eq!(signaled(&error), signal, "{name} raised");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(signaled(&sent(signal, method)), signal, "{name} sent");
    }
}

fn a_fault_that_is_raised_ends_a_child(method: StartMethod) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let error = fail(Process::new(raises, (signal,)), method);
        assert_eq!(signaled(&error), signal);
    }
}

fn a_fault_that_is_sent_ends_a_child(method: StartMethod) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        assert_eq!(signaled(&sent(signal, method)), signal);
    }
}

fn a_fault_is_its_signal(method: StartMethod) {
    let writes = |address: usize| {
        // SAFETY: none, on purpose: it ends this process.
        unsafe { std::ptr::without_provenance_mut::<u8>(address).write_volatile(1) };
        1u8
    };
    for address in [0, 8, 4096, usize::MAX] {
        let child = start(Process::new(writes, (address,)), method);
        let error = child.join().expect_err("there is no memory");
        assert_eq!(signaled(&error), libc::SIGSEGV, "{address:#x}");
    }
    let in_a_thread = || {
        let writes = || {
            // SAFETY: none, on purpose: it ends this process.
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
        };
        std::thread::spawn(writes).join().is_ok()
    };
    let error = fail(Process::new(in_a_thread, ()), method);
    assert_eq!(signaled(&error), libc::SIGSEGV);
}

fn descend(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { descend(depth + 1) + here[depth as usize % 64] }
}

fn descend_widely(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64 << 10]);
    if depth == u64::MAX { 0 } else { descend_widely(depth + 1) + here[depth as usize % 64] }
}

fn a_full_stack(method: StartMethod) {
    let error = fail(Process::new(descend, (0,)), method);
    assert!(matches!(error, JoinError::StackOverflow), "{error:?}");
    let error = fail(Process::new(descend_widely, (0,)), method);
    assert!(matches!(error, JoinError::StackOverflow), "{error:?}");
    let in_a_thread = || std::thread::spawn(|| descend(0)).join().is_ok();
    let error = fail(Process::new(in_a_thread, ()), method);
    let died = matches!(
        error,
        JoinError::StackOverflow | JoinError::Signaled { signal: 6 | libc::SIGSEGV, .. }
    );
    assert!(died, "{error:?}");
}

const LIMIT: u64 = 64 << 20;

fn no_memory(method: StartMethod) {
    let too_much = || vec![0u8; isize::MAX as usize].len();
    let error = fail(Process::new(too_much, ()), method);
    assert!(matches!(error, JoinError::OutOfMemory { limit: None }), "{error:?}");
    assert!(error.to_string().contains("memory"), "{error}");
    let bit_by_bit = || {
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 10]);
            if all.len() as u64 > LIMIT {
                return all.len();
            }
        }
    };
    let error = fail(Process::new(bit_by_bit, ()).memory_limit(LIMIT), method);
    assert!(matches!(error, JoinError::OutOfMemory { limit: Some(LIMIT) }), "{error:?}");
}

fn a_panic_for_want_of_memory_is_told(method: StartMethod) {
    let fills = || -> () {
        let mut all: Vec<Vec<u8>> = Vec::with_capacity(LIMIT as usize >> 20);
        loop {
            let mut piece = Vec::new();
            if piece.try_reserve_exact(1 << 20).is_err() {
                // For the message; the trace takes many times as much.
                all.pop();
                panic!("nothing left");
            }
            piece.resize(1 << 20, 1);
            all.push(piece);
        }
    };
    for (trace, expected) in [("0", false), ("1", true)] {
        let process = Process::new(fills, ()).memory_limit(LIMIT).env("RUST_BACKTRACE", trace);
        match fail(process, method) {
            JoinError::Panicked { message, backtrace, .. } => {
                assert_eq!((&*message, !backtrace.is_empty()), ("nothing left", expected));
            }
            other => panic!("{other:?}"),
        }
    }
    // Again and again: a trace that was made does not count, and a limit stays one.
    let twice = || {
        let caught =
            |text: &'static str| std::panic::catch_unwind(move || panic!("{text}")).is_err();
        let panics = caught("once") && caught("twice");
        let half = vec![1u8; LIMIT as usize / 2].len();
        (panics, half, Vec::<u8>::new().try_reserve_exact(2 * LIMIT as usize).is_err())
    };
    let process = Process::new(twice, ()).memory_limit(LIMIT).env("RUST_BACKTRACE", "1");
    let result = start(process, method).join().expect("it returns");
    assert_eq!(result, (true, LIMIT as usize / 2, true));
}

fn no_memory_in_a_thread(method: StartMethod) {
    let in_a_thread = || std::thread::spawn(|| vec![1u8; 2 * LIMIT as usize].len()).join().is_ok();
    for backtrace in ["0", "1"] {
        let process = Process::new(in_a_thread, ()).memory_limit(LIMIT);
        let error = fail(process.env("RUST_BACKTRACE", backtrace), method);
        let expected = matches!(error, JoinError::OutOfMemory { limit: Some(LIMIT) });
        assert!(expected, "RUST_BACKTRACE={backtrace}: {error:?}");
    }
}
