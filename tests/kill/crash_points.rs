//! A death at every crash point in the sources on the way from a start to an end: of a child alone,
//! of the fork server alone. (The structures in shared memory have points of their own, and what
//! their deaths mean is told and tested with them.)
//!
//! Which process comes to which point:
//!
//! | point | spawned child | fork server | forked child |
//! |---|---|---|---|
//! | `entry.marked` | ✓ | ✓ | |
//! | `entry.wired`, `entry.handed-off` | ✓ | ✓ | ✓ |
//! | `server.*` | | ✓ | |
//! | `entry.forked`, `child.said-hello` | | | ✓, still with the server's environment |
//! | `child.tied` | ✓ | | ✓, still with the server's environment |
//! | other `child.*` | ✓ | | ✓ |
//!
//! A point is chosen by a variable of the environment, so a forked child dies at a point before it
//! has its own environment only if its server has the variable as well, and has come past the point
//! itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use procession::{JoinError, Process, StartMethod};
use procession_tests::{Folder, METHODS, tests};

use crate::mark::Mark;

tests! {
    a_death_at_every_point_ends_the_call_and_hurts_nothing_else,
    a_server_and_its_copy_that_both_die_leave_no_zombie,
    a_copy_that_is_slow_to_say_hello_is_not_made_twice,
}

/// The names of all crash points in the sources of a crate.
pub(crate) fn points_in(name: &str) -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name);
    let mut points = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![sources];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                let uses = text.split("crash_point!(\"").skip(1);
                points.extend(uses.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    points
}

/// What becomes of a start whose fork server, and whose child, die at `point`.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The server dies each time, before there is a child: the start is refused.
    Refused,
    /// The child dies: joining says so.
    ChildKilled,
    /// The server dies after the child has come to life, which hurts nobody.
    Value,
}

/// The decision, for each point, of what its death means when the server has the point as well.
fn expected_with_server(point: &str) -> Outcome {
    match point {
        "server.forked" | "server.replied" => Outcome::Value,
        "entry.forked" => Outcome::ChildKilled,
        _ if point.starts_with("child.") => Outcome::ChildKilled,
        _ if point.starts_with("server.") || point.starts_with("entry.") => Outcome::Refused,
        _ => panic!("`{point}` is new: say here what its death means"),
    }
}

/// The names in a log of crash points.
fn reached(log: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// The child's work: leaves a line, so that running twice shows.
fn leave_a_line(tally: PathBuf) -> u32 {
    use std::io::Write;
    let file = fs::File::options().create(true).append(true).open(tally);
    file.and_then(|mut file| file.write_all(b"ran\n")).expect("the folder is there");
    7
}

fn a_death_at_every_point_ends_the_call_and_hurts_nothing_else() {
    let mut points = points_in("procession");
    points.retain(|point| !crate::pool::is_ours(point));
    assert!(points.len() >= 14, "the sources were searched in the wrong place: {points:?}");
    let folder = Folder::new();
    let mut ever_reached = BTreeSet::new();
    for point in &points {
        let mut killed_child = false;
        for method in METHODS {
            let log = folder.path().join(format!("{point}.{method:?}.log"));
            let tally = folder.path().join(format!("{point}.{method:?}.tally"));
            killed_child |= kill_the_child(point, method, &log, &tally);
            ever_reached.extend(reached(&log));
        }
        // The others are the server's, or come before a forked child has its own environment.
        let is_early = matches!(point.as_str(), "entry.forked" | "child.said-hello");
        let is_childs = !point.starts_with("server.") && !is_early;
        assert_eq!(killed_child, is_childs, "whether a child comes to `{point}`");
        let log = folder.path().join(format!("{point}.server.log"));
        let tally = folder.path().join(format!("{point}.server.tally"));
        kill_the_server(point, &log, &tally);
        ever_reached.extend(reached(&log));
    }
    let never: Vec<_> = points.difference(&ever_reached).collect();
    assert!(never.is_empty(), "never reached: {never:?}");
}

/// The point is in the child's environment alone. Returns whether the child came to it.
fn kill_the_child(point: &str, method: StartMethod, log: &Path, tally: &Path) -> bool {
    let process = || {
        Process::new(leave_a_line, (tally.to_owned(),))
            .start_method(method)
            .env("PROCESSION_CRASH_LOG", log)
    };
    let child = process().env("PROCESSION_CRASH_POINT", point).start().expect("it starts");
    let joined = child.join();
    let came = reached(log).contains(point);
    let ran = lines(tally);
    if came {
        let killed = matches!(joined, Err(JoinError::Signaled { signal: 9, .. }));
        assert!(killed, "{point}, {method:?}: {joined:?}");
        assert!(ran <= 1, "{point}, {method:?}: it ran {ran} times");
    } else {
        assert_eq!((joined.expect("it returns"), ran), (7, 1), "{point}, {method:?}");
    }
    // The next one is not hurt.
    let next = process().start().expect("the next one starts").join();
    assert_eq!(next.expect("the next one returns"), 7, "{point}, {method:?}");
    assert_eq!(lines(tally), ran + 1, "{point}, {method:?}");
    came
}

/// The point is in the environment of a program while it launches its fork server, and starts its
/// first child.
fn kill_the_server(point: &str, log: &Path, tally: &Path) {
    let mark = Mark::new();
    let victim = mark.victim("crash").arg(point).arg(tally).env("PROCESSION_CRASH_LOG", log);
    let output = victim.succeed();
    mark.wait_for_end();
    assert!(reached(log).contains(point), "{point}: nobody came to it: {output:?}");
    let said: Vec<&str> = output.stdout.lines().collect();
    let [first, first_ran, second, second_ran] = said[..] else { panic!("{point}: {output:?}") };
    let outcome = match first {
        "value 7" => Outcome::Value,
        "signal 9" => Outcome::ChildKilled,
        refused if refused.starts_with("refused: the fork server died") => Outcome::Refused,
        _ => panic!("{point}: {output:?}"),
    };
    assert_eq!(outcome, expected_with_server(point), "{point}: {output:?}");
    let first_ran: usize = first_ran.parse().expect("a number");
    match outcome {
        Outcome::Refused => assert_eq!(first_ran, 0, "{point}: refused, but it ran"),
        Outcome::ChildKilled => assert!(first_ran <= 1, "{point}: it ran {first_ran} times"),
        Outcome::Value => assert_eq!(first_ran, 1, "{point}: it ran {first_ran} times"),
    }
    assert_eq!(second, "value 7", "{point}: the next start: {output:?}");
    assert_eq!(second_ran.parse(), Ok(first_ran + 1), "{point}: {output:?}");
}

fn a_server_and_its_copy_that_both_die_leave_no_zombie() {
    let mark = Mark::new();
    let output = mark.victim("both-die").run();
    mark.wait_for_end();
    assert!(output.status.success(), "{output:#?}");
}

fn a_copy_that_is_slow_to_say_hello_is_not_made_twice() {
    let (mark, folder) = (Mark::new(), Folder::new());
    let output = mark.victim("slow-copies").arg(folder.path().join("tally")).run();
    mark.wait_for_end();
    assert!(output.status.success(), "{output:#?}");
}
