//! Who is who: this process, its parent, its children, and what they inherit.

use procession::{
    Process, ProcessInfo, Receiver, Sender, StartMethod, active_children, cpu_count,
    current_process, parent_process, simplex, spawn,
};
use procession_tests::{for_each_method, join, method_name, program, start, tests};

for_each_method!(
    a_child_knows_itself_and_its_parent,
    names_in_generations,
    active_children_are_those_that_live,
    a_childs_children_are_its_own,
    the_start_method_is_set_once_and_inherited,
);
tests!(a_program_of_its_own, processors);

fn a_program_of_its_own() {
    let own = current_process();
    assert_eq!(own.name(), "MainProcess");
    assert_eq!(own.pid(), std::process::id());
    assert_eq!(own.parent_pid(), std::os::unix::process::parent_id());
    assert!(!own.is_daemon());
    assert_eq!(parent_process(), None);
    assert!(active_children().is_empty());
    assert_eq!(own.clone(), own);
    assert!(format!("{own:?}").contains("MainProcess"));
}

fn processors() {
    let expected = std::thread::available_parallelism().expect("known").get();
    assert_eq!(cpu_count(), expected);
    assert_eq!(join(Process::new(cpu_count, ()), StartMethod::default()), expected);
}

/// name, pid, parent, daemon.
type Known = (String, u32, u32, bool);

fn known(info: &ProcessInfo) -> Known {
    (info.name().to_owned(), info.pid(), info.parent_pid(), info.is_daemon())
}

fn look() -> (Known, Option<Known>, u32, usize) {
    let parent = parent_process().map(|parent| known(&parent));
    let real_parent = std::os::unix::process::parent_id();
    (known(&current_process()), parent, real_parent, active_children().len())
}

fn a_child_knows_itself_and_its_parent(method: StartMethod) {
    for daemon in [false, true] {
        let child = start(Process::new(look, ()).name("seeker").daemon(daemon), method);
        let pid = child.pid();
        let (own, parent, real_parent, children) = child.join().expect("join");
        assert_eq!(own, ("seeker".to_owned(), pid, std::process::id(), daemon));
        assert_eq!(parent, Some(known(&current_process())));
        assert_eq!(real_parent, std::process::id());
        assert_eq!(children, 0);
    }
}

type Generation = Vec<(String, Option<String>)>;

/// Names of this process and its parent, of two children with the methods and of theirs.
fn generations(depth: u32) -> Generation {
    let parent = parent_process().map(|parent| parent.name().to_owned());
    let mut names = vec![(current_process().name().to_owned(), parent)];
    if depth > 0 {
        for method in procession_tests::METHODS {
            names.extend(join(Process::new(generations, (depth - 1,)), method));
        }
    }
    names
}

fn names_in_generations(method: StartMethod) {
    let child = start(Process::new(generations, (2,)), method);
    let first = child.name().to_owned();
    assert!(first.starts_with("Process-") && !first.contains(':'), "{first}");
    let expected: Generation = ["", ":1", ":1:1", ":1:2", ":2", ":2:1", ":2:2"]
        .iter()
        .map(|places| {
            let parent = places.rsplit_once(':').map(|(above, _)| format!("{first}{above}"));
            let parent = parent.unwrap_or_else(|| "MainProcess".to_owned());
            (format!("{first}{places}"), Some(parent))
        })
        .collect();
    assert_eq!(child.join().expect("join"), expected);
    // A chosen name is the child's alone; those below count on.
    let named = start(Process::new(generations, (1,)).name("chosen"), method);
    let names = named.join().expect("join");
    assert_eq!(names[0].0, "chosen");
    assert!(names[1].0.starts_with("Process-") && names[1].0.ends_with(":1"), "{names:?}");
    assert_eq!(names[1].1.as_deref(), Some("chosen"));
}

/// Returns when the other end of its pipe is gone.
fn until_released(until: Receiver<()>) {
    assert!(until.recv().is_err());
}

fn active_children_are_those_that_live(method: StartMethod) {
    let held = |name: &str, daemon| {
        let (until, release) = simplex::<()>().expect("pipe");
        let process = Process::new(until_released, (until,)).name(name).daemon(daemon);
        (start(process, method), release)
    };
    let listed = || active_children().iter().map(known).collect::<Vec<_>>();
    let ((first, release_first), (second, release_second)) = (held("a", false), held("b", true));
    let (third, release_third) = held("c", false);
    let own = std::process::id();
    let entries = [&first, &second, &third]
        .map(|child| (child.name().to_owned(), child.pid(), own, child.is_daemon()));
    assert_eq!(listed(), entries, "in the order of their starts");
    drop(release_second);
    second.wait().expect("wait");
    assert_eq!(listed(), [entries[0].clone(), entries[2].clone()]);
    // Dropped children are still children.
    drop(third);
    assert_eq!(listed(), [entries[0].clone(), entries[2].clone()]);
    drop((release_first, release_third));
    first.join().expect("join");
    procession_tests::proc::wait_until(|| active_children().is_empty());
    second.join().expect("join");
}

fn hold_and_look(tell: Sender<Known>, until: Receiver<()>) -> Vec<Known> {
    let child = spawn(until_released, (until,)).expect("start");
    tell.send(&known(&active_children()[0])).expect("the parent reads");
    child.join().expect("join");
    active_children().iter().map(known).collect()
}

fn a_childs_children_are_its_own(method: StartMethod) {
    let (told, tell) = simplex().expect("pipe");
    let (until, release) = simplex::<()>().expect("pipe");
    let child = start(Process::new(hold_and_look, (tell, until)), method);
    let (name, pid, parent, daemon) = told.recv().expect("it tells");
    assert_eq!((parent, daemon), (child.pid(), false));
    assert_eq!(name, format!("{}:1", child.name()));
    assert_ne!(pid, child.pid());
    assert_eq!(active_children().iter().map(|c| c.pid()).collect::<Vec<_>>(), [child.pid()]);
    drop(release);
    assert_eq!(child.join().expect("join"), []);
}

fn the_start_method_is_set_once_and_inherited(method: StartMethod) {
    program!("context").arg("method").arg(method_name(method)).succeed();
}
