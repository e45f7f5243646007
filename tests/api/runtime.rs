//! What a child's target finds: an ordinary Rust program, but for `main`.

use std::cell::RefCell;
use std::process::Command;

use procession::{Process, Sender, StartMethod, simplex, spawn};
use procession_tests::{fail, for_each_method, join, method_name, proc, program, raw};

for_each_method!(
    the_marker_is_gone,
    grandchildren_by_other_means_are_ordinary,
    the_thread_is_called_main,
    it_is_the_only_one_and_has_the_childs_title,
    arguments_and_executable_are_the_programs,
    signals_are_as_in_a_program,
    thread_locals_are_dropped,
    what_is_printed_is_flushed,
    panics_are_told_on_standard_error,
    few_descriptors_are_open,
    threads_work,
    blocked_signals_are_not_passed_on,
    the_fork_server_holds_nothing_of_the_programs,
);

const PROGRAM: &str = env!("CARGO_BIN_EXE_program");

fn the_marker_is_gone(method: StartMethod) {
    let marked = || std::env::vars_os().any(|(key, _)| key == "PROCESSION_ENTRY");
    assert!(!join(Process::new(marked, ()), method));
    assert!(!join(Process::new(marked, ()).env_clear().env("A", "b"), method));
    let below = |_: u8| {
        let marked = || std::env::var_os("PROCESSION_ENTRY").is_some();
        spawn(marked, ()).expect("start").join().expect("join")
    };
    assert!(!join(Process::new(below, (1,)), method));
}

fn hello(path: String) -> String {
    let output = Command::new(path).args(["runtime", "hello"]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn grandchildren_by_other_means_are_ordinary(method: StartMethod) {
    let path = PROGRAM.to_owned();
    assert_eq!(join(Process::new(hello, (path.clone(),)), method), "hello, MainProcess\n");
    let below = |path: String| spawn(hello, (path,)).expect("start").join().expect("join");
    assert_eq!(join(Process::new(below, (path,)), method), "hello, MainProcess\n");
    let status = || {
        let status = Command::new("/bin/sh").args(["-c", "exit 9"]).status().expect("sh is there");
        status.code()
    };
    assert_eq!(join(Process::new(status, ()), method), Some(9));
    // Its own executable: the child is itself one that could be mistaken.
    program!("runtime").arg("itself").arg(method_name(method)).succeed();
}

fn the_thread_is_called_main(method: StartMethod) {
    let name = || std::thread::current().name().map(str::to_owned);
    assert_eq!(join(Process::new(name, ()), method).as_deref(), Some("main"));
}

fn it_is_the_only_one_and_has_the_childs_title(method: StartMethod) {
    let title = || proc::entry(std::process::id()).map(|own| own.name);
    let titled = Process::new(title, ()).name("a name of more than 15 bytes");
    assert_eq!(join(titled, method).as_deref(), Some("a name of more "));
    let number = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    assert_eq!(join(Process::new(number, ()), method), 1);
}

fn arguments_and_executable_are_the_programs(method: StartMethod) {
    let arguments = || std::env::args().collect::<Vec<_>>();
    assert_eq!(join(Process::new(arguments, ()), method), arguments());
    let executable = || std::env::current_exe().expect("known");
    assert_eq!(join(Process::new(executable, ()), method), executable());
}

fn signals_are_as_in_a_program(method: StartMethod) {
    let pipe_and_others = || {
        let others = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD, libc::SIGALRM];
        (raw::disposition(libc::SIGPIPE), others.map(raw::disposition), blocked())
    };
    let expected = (libc::SIG_IGN, [libc::SIG_DFL; 5], Some(0));
    assert_eq!(join(Process::new(pipe_and_others, ()), method), expected);
}

/// The mask of blocked signals of this process's main thread.
fn blocked() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Says so when it is dropped.
struct Says(Sender<String>, String);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.send(&self.1).expect("the parent reads");
    }
}

thread_local! {
    static SAYS: RefCell<Vec<Says>> = const { RefCell::new(Vec::new()) };
}

fn thread_locals_are_dropped(method: StartMethod) {
    let keeps = |tx: Sender<String>| {
        let says = |word: &str| Says(tx.clone(), word.to_owned());
        SAYS.with_borrow_mut(|all| all.push(says("of the main thread")));
        let other = says("of another thread");
        std::thread::spawn(|| SAYS.with_borrow_mut(|all| all.push(other))).join().expect("thread");
        says("at the end of the target")
    };
    let keeps = move |tx: Sender<String>| drop(keeps(tx));
    let (rx, tx) = simplex().expect("pipe");
    join(Process::new(keeps, (tx,)), method);
    let said: Vec<String> = std::iter::from_fn(|| rx.recv().ok()).collect();
    assert_eq!(said, ["of another thread", "at the end of the target", "of the main thread"]);
    let panics = |tx: Sender<String>| {
        SAYS.with_borrow_mut(|all| all.push(Says(tx, "after a panic".to_owned())));
        panic!("on purpose") as u8
    };
    let (rx, tx) = simplex().expect("pipe");
    fail(Process::new(panics, (tx,)), method);
    assert_eq!(rx.recv().expect("said"), "after a panic");
}

fn what_is_printed_is_flushed(method: StartMethod) {
    let output = program!("runtime").arg("prints").arg(method_name(method)).succeed();
    assert_eq!(output.stdout, "a line\nno newline|before a panic|before exit|");
}

fn panics_are_told_on_standard_error(method: StartMethod) {
    let output = program!("runtime").arg("panics").arg(method_name(method)).succeed();
    for word in ["on purpose", "runtime.rs:", "the culprit", "in a thread"] {
        assert!(output.stderr.contains(word), "{word}: {output:#?}");
    }
}

fn few_descriptors_are_open(method: StartMethod) {
    let (_a, _b) = procession::pipe::<u8>().expect("pipe");
    let _file = std::fs::File::open("/dev/zero").expect("opened");
    let inherited = raw::inheritable_descriptors();
    let open = || proc::descriptors_of(std::process::id());
    for daemon in [false, true] {
        let mut open = join(Process::new(open, ()).daemon(daemon), method);
        open.retain(|(number, _)| *number > 2 && !inherited.contains(number));
        // The wire to its parent, and a daemon's tether.
        assert!(open.len() <= 1 + usize::from(daemon), "{open:?}");
        assert!(!open.iter().any(|(_, target)| target == "/dev/zero"), "{open:?}");
    }
}

fn threads_work(method: StartMethod) {
    let sums = || {
        let sum = |i: u64| std::thread::spawn(move || (0..=i).sum::<u64>());
        let named = std::thread::Builder::new().name("named".to_owned());
        let name = || std::thread::current().name().map(str::to_owned);
        let name = named.spawn(name).expect("thread").join().expect("thread");
        let threads: Vec<_> = (0..20).map(sum).collect();
        (threads.into_iter().map(|t| t.join().expect("thread")).sum::<u64>(), name)
    };
    assert_eq!(join(Process::new(sums, ()), method), (1330, Some("named".to_owned())));
}

fn blocked_signals_are_not_passed_on(method: StartMethod) {
    program!("runtime").arg("blocked").arg(method_name(method)).succeed();
}

fn the_fork_server_holds_nothing_of_the_programs(method: StartMethod) {
    program!("runtime").arg("server").arg(method_name(method)).succeed();
}
