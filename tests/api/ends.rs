//! How a child can end by itself, each with its own `JoinError`.

use std::sync::mpsc;

use procession::{ExitStatus, JoinError, Process, StartMethod};
use procession_tests::{fail, for_each_method, join, sleep_long, start};

for_each_method!(
    panics_have_message_and_location,
    panics_have_a_backtrace_if_asked_for,
    odd_panics,
    panics_that_are_none_of_the_targets,
    exits_have_a_code,
    a_crash_after_the_value,
    the_status_says_it_all,
    an_error_that_is_returned_is_a_value,
    threads_that_run_on_do_not_hold_a_child,
);

fn panicked(error: &JoinError) -> (&str, &str, &str) {
    match error {
        JoinError::Panicked { message, location, backtrace } => (message, location, backtrace),
        other => panic!("{other:?}"),
    }
}

fn panics_have_message_and_location(method: StartMethod) {
    let line = line!() + 1;
    let error = fail(Process::new(|| panic!("on purpose") as u8, ()), method);
    let (message, location, _) = panicked(&error);
    assert_eq!(message, "on purpose");
    assert!(location.contains(&format!("api/ends.rs:{line}:")), "{location}");
    let text = error.to_string();
    assert!(text.contains("on purpose") && text.contains(location), "{text}");

    let formatted = |what: String, number: u32| panic!("{what} {number}") as u8;
    let error = fail(Process::new(formatted, ("number".to_owned(), 7)), method);
    assert_eq!(panicked(&error).0, "number 7");
    let unwrapped = |inside: Result<u8, String>| inside.expect("outside");
    let error = fail(Process::new(unwrapped, (Err("inside".to_owned()),)), method);
    assert_eq!(panicked(&error).0, "outside: \"inside\"");
    let bounds = |place: usize| [1u8, 2, 3][place];
    let error = fail(Process::new(bounds, (3,)), method);
    assert!(panicked(&error).0.contains("out of bounds"), "{error}");
    let large = |size: usize| panic!("{}", "x".repeat(size)) as u8;
    for size in [0, 100 << 10, 8 << 20] {
        let child = start(Process::new(large, (size,)).stderr(std::process::Stdio::null()), method);
        assert_eq!(child.wait().expect("wait").code(), Some(1));
        let error = child.join().expect_err("it panics");
        assert_eq!(panicked(&error).0.len(), size);
    }
}

fn panics_have_a_backtrace_if_asked_for(method: StartMethod) {
    #[inline(never)]
    fn deep_inside() -> u8 {
        panic!("deep inside")
    }
    let error = fail(Process::new(deep_inside, ()).env("RUST_BACKTRACE", "1"), method);
    let (.., backtrace) = panicked(&error);
    assert!(backtrace.contains("deep_inside"), "{backtrace}");
    let without = Process::new(deep_inside, ()).env_remove("RUST_BACKTRACE");
    let error = fail(without.env_remove("RUST_LIB_BACKTRACE"), method);
    assert_eq!(panicked(&error).2, "");
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn odd_panics(method: StartMethod) {
    let payload = || std::panic::panic_any(7u64) as u8;
    let error = fail(Process::new(payload, ()), method);
    let (message, location, _) = panicked(&error);
    assert!(!message.is_empty() && location.contains("api/ends.rs"), "{message} {location}");
    let resumed = || std::panic::resume_unwind(Box::new("resumed")) as u8;
    let error = fail(Process::new(resumed, ()), method);
    assert_eq!(panicked(&error).0, "resumed");
    let dropped = || {
        let _panics = PanicsWhenDropped;
        1
    };
    let error = fail(Process::new(dropped, ()), method);
    assert_eq!(panicked(&error).0, "dropped");
    // A second panic while the first unwinds aborts, as in every Rust program.
    let twice = || {
        let _panics = PanicsWhenDropped;
        panic!("first") as u8
    };
    let error = fail(Process::new(twice, ()), method);
    assert!(matches!(error, JoinError::Signaled { signal: 6, .. }), "{error:?}");
    let hooked = || {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("with a hook of the target's own") as u8
    };
    let error = fail(Process::new(hooked, ()), method);
    assert_eq!(panicked(&error).0, "with a hook of the target's own");
}

fn panics_that_are_none_of_the_targets(method: StartMethod) {
    let caught = || std::panic::catch_unwind(|| panic!("caught")).is_err();
    assert!(join(Process::new(caught, ()), method));
    let in_a_thread = || std::thread::spawn(|| panic!("in a thread")).join().is_err();
    assert!(join(Process::new(in_a_thread, ()), method));
    let line = line!() + 3;
    let caught_before = || {
        assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
        panic!("not caught") as u8
    };
    let error = fail(Process::new(caught_before, ()), method);
    let (message, location, _) = panicked(&error);
    assert_eq!(message, "not caught");
    assert!(location.contains(&format!("api/ends.rs:{line}:")), "{location}");
}

fn exits(code: i32) -> u8 {
    std::process::exit(code)
}

fn exits_have_a_code(method: StartMethod) {
    for (code, seen) in [(0, 0), (1, 1), (3, 3), (70, 70), (255, 255), (256, 0), (-1, 255)] {
        let child = start(Process::new(exits, (code,)), method);
        assert_eq!(child.wait().expect("wait").code(), Some(seen));
        let error = child.join().expect_err("it has returned nothing");
        let JoinError::Exited(status) = &error else { panic!("{error:?}") };
        assert_eq!((status.code(), status.signal()), (Some(seen), None));
        assert!(error.to_string().contains(&format!("exit code {seen}")), "{error}");
    }
    let in_a_thread = || {
        std::thread::spawn(|| exits(5)).join().expect("never");
        1u8
    };
    let error = fail(Process::new(in_a_thread, ()), method);
    assert!(matches!(error, JoinError::Exited(s) if s.code() == Some(5)), "{error:?}");
}

struct AbortsAtTheEnd;

impl Drop for AbortsAtTheEnd {
    fn drop(&mut self) {
        std::process::abort();
    }
}

thread_local! {
    static LAST: std::cell::RefCell<Option<AbortsAtTheEnd>> = const { std::cell::RefCell::new(None) };
}

fn a_crash_after_the_value(method: StartMethod) {
    let crashes = || {
        LAST.set(Some(AbortsAtTheEnd));
        1
    };
    let child = start(Process::new(crashes, ()), method);
    let status = child.wait().expect("wait");
    let result = child.join();
    assert!(matches!(result, Err(JoinError::Signaled { signal: 6, .. })), "{result:?} {status}");
}

fn the_status_says_it_all(method: StartMethod) {
    let returned: ExitStatus = start(Process::new(|| 1, ()), method).wait().expect("wait");
    assert_eq!((returned.code(), returned.signal(), returned.success()), (Some(0), None, true));
    assert_eq!(returned.to_string(), "exit code 0");
    assert!(!returned.core_dumped());
    let panicked = start(Process::new(|| panic!("on purpose") as u8, ()), method);
    let panicked = panicked.wait().expect("wait");
    assert_eq!((panicked.code(), panicked.signal(), panicked.success()), (Some(1), None, false));
    let child = start(Process::new(sleep_long, ()), method);
    child.kill().expect("kill");
    let killed = child.wait().expect("wait");
    assert_eq!((killed.code(), killed.signal(), killed.success()), (None, Some(9), false));
    assert_eq!(killed.to_string(), "signal 9 (SIGKILL)");
    assert!(!killed.core_dumped());
    let error = child.join().expect_err("killed");
    assert!(matches!(error, JoinError::Signaled { signal: 9, core_dumped: false }), "{error:?}");
    assert!(procession::Error::from(error).to_string().contains("SIGKILL"));
}

fn an_error_that_is_returned_is_a_value(method: StartMethod) {
    let fails = || Err::<u8, String>("its own".to_owned());
    let child = start(Process::new(fails, ()), method);
    assert!(child.wait().expect("wait").success());
    assert_eq!(child.join().expect("a value"), Err("its own".to_owned()));
}

fn threads_that_run_on_do_not_hold_a_child(method: StartMethod) {
    let leaves = || {
        let (runs, running) = mpsc::channel();
        std::thread::spawn(move || {
            runs.send(()).expect("received");
            sleep_long();
        });
        running.recv().expect("it runs");
        1
    };
    assert_eq!(join(Process::new(leaves, ()), method), 1);
}
