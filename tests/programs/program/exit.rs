//! Programs that exit while they have children.

use std::process::ExitCode;

use procession::{Process, Sender, StartMethod, pipe, simplex};
use procession_tests::{join, proc, raw, sleep_long, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let method = crate::method(rest);
    match scenario {
        "return" => leave_children(method),
        "error" => {
            leave_children(method);
            return Some(report(Err("its own error")));
        }
        "exit" => {
            leave_children(method);
            std::process::exit(7);
        }
        "panic" => {
            leave_children(method);
            panic!("main panics");
        }
        "thread" => {
            leave_children(method);
            std::thread::spawn(|| std::process::exit(8));
            sleep_long();
        }
        "child" => child(method),
        "fork" => fork(method),
        "asked" => asked(method),
        "deaf" => deaf(method),
        "busy" => busy(method),
        "joined" => {
            for daemon in [false, true] {
                join(Process::new(|| (), ()).daemon(daemon), method);
            }
        }
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// What the runtime does with an error that `main` returns.
fn report(result: Result<(), &str>) -> ExitCode {
    use std::process::Termination;
    result.report()
}

fn waits_for_the_end(ready: Sender<()>) {
    ready.send(&()).expect("the program reads");
    sleep_long();
}

/// Sees that the daemon is ended, which nobody does but the exit, and that its parent is there.
fn outlives(daemon: u32) {
    let parent = procession::current_process().parent_pid();
    proc::wait_until(|| !proc::is_running(daemon));
    if proc::entry(std::process::id()).is_some_and(|own| own.parent == parent) {
        println!("the daemon was ended and the program waits");
    }
}

/// Starts a daemon and two others, one of which nobody holds.
fn leave_children(method: StartMethod) {
    let (ready, tell) = simplex().expect("pipe");
    let daemon = start(Process::new(waits_for_the_end, (tell,)).daemon(true), method);
    ready.recv().expect("it runs");
    drop(start(Process::new(outlives, (daemon.pid(),)), method));
    std::mem::forget(start(Process::new(outlives, (daemon.pid(),)), method));
    std::mem::forget(daemon);
    println!("from main");
}

/// A child that leaves children calls `exit`.
fn child(method: StartMethod) {
    let name = procession_tests::method_name(method).to_owned();
    let child = start(Process::new(leaves_and_exits, (name,)), method);
    assert_eq!(child.wait().expect("wait").code(), Some(9));
}

fn leaves_and_exits(method: String) {
    leave_children(procession_tests::method_from(&method));
    std::process::exit(9);
}

/// A fork that leaves children returns.
fn fork(method: StartMethod) {
    // SAFETY: this program has one thread.
    let child = unsafe { procession::fork(|| leave_children(method)) }.expect("fork");
    child.join().expect("join");
}

/// Says that it is asked to end, and ends.
extern "C" fn say_asked(_: libc::c_int) {
    let text = b"asked\n";
    // SAFETY: write is allowed in a handler, and the bytes are static.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
    // SAFETY: ends the process, which is allowed in a handler.
    unsafe { libc::_exit(0) };
}

fn handles_sigterm(ready: Sender<()>) {
    raw::handle(libc::SIGTERM, say_asked);
    waits_for_the_end(ready);
}

/// A daemon gets the chance to end by itself.
fn asked(method: StartMethod) {
    let (ready, tell) = simplex().expect("pipe");
    drop(start(Process::new(handles_sigterm, (tell,)).daemon(true), method));
    ready.recv().expect("it runs");
}

fn ignores_sigterm(ready: Sender<()>) {
    raw::ignore(libc::SIGTERM);
    waits_for_the_end(ready);
}

/// Daemons that ignore what they are asked, with daemons below them.
fn deaf(method: StartMethod) {
    fn deaf_below(ready: Sender<()>) {
        let below = ready.clone();
        let child = Process::new(ignores_sigterm, (below,)).daemon(true).start().expect("start");
        ignores_sigterm(ready);
        drop(child);
    }
    let (ready, tell) = simplex().expect("pipe");
    for _ in 0..3 {
        let tell = tell.clone();
        drop(start(Process::new(deaf_below, (tell,)).daemon(true), method));
    }
    (0..6).for_each(|_| ready.recv().expect("it runs"));
}

/// Exits while threads start daemons, and children that end.
fn busy(method: StartMethod) {
    let (ready, tell) = pipe::<()>().expect("pipe");
    for daemon in [true, false, true, false] {
        let tell = tell.clone();
        std::thread::spawn(move || {
            loop {
                let process =
                    if daemon { Process::new(sleep_long, ()) } else { Process::new(nothing, ()) };
                // At the exit the system may refuse: then there is nothing to end.
                drop(process.daemon(daemon).start_method(method).start());
                let _ = tell.send(&());
            }
        });
    }
    (0..40).for_each(|_| ready.recv().expect("they start"));
}

fn nothing() {}
