//! Laws 5 and 9 for programs that do something before `main`: children do it as well, once.

use procession_tests::{Folder, Output, Program, raw, tests};

tests! {
    a_childs_constructors_have_run,
    a_constructor_that_starts_processes_does_not_do_so_for_ever,
    a_program_with_threads_before_main_is_spawned,
    a_constructors_file_stays_its_own,
    a_constructor_that_reads_its_input_does_not_read_ours,
    a_program_that_gives_up_its_rights_gives_up_its_childrens,
}

fn early(scenario: &str, constructor: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_early"), scenario).env("EARLY", constructor)
}

fn lines(output: &Output) -> Vec<&str> {
    output.stdout.lines().collect()
}

fn a_childs_constructors_have_run() {
    let output = early("look", "").succeed();
    let expected = ["main", "here (1, \"\")", "spawn (1, \"\")", "forkserver (1, \"\")"];
    assert_eq!(lines(&output), expected);
}

fn a_constructor_that_starts_processes_does_not_do_so_for_ever() {
    let output = early("look", "start").succeed();
    let [main, here, spawned, forked] = lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!((main, here), ("main", "here (1, \"started: Ok(1)\")"));
    assert_eq!(spawned, "spawn (1, \"refused\")");
    assert_eq!(forked, "forkserver (1, \"refused\")");
}

fn a_program_with_threads_before_main_is_spawned() {
    let output = early("look", "thread").succeed();
    let expected = ["main", "here (1, \"\")", "spawn (1, \"\")", "forkserver (1, \"\")"];
    assert_eq!(lines(&output), expected);
}

fn a_constructors_file_stays_its_own() {
    let folder = Folder::new();
    let path = folder.path().join("own");
    let output = early("file", "file").env("EARLY_FILE", &path).succeed();
    assert_eq!(lines(&output), ["main", "other", "other"]);
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), "ownown");
}

fn a_constructor_that_reads_its_input_does_not_read_ours() {
    let output = early("look", "stdin").succeed();
    let nothing = "(1, \"0 bytes\")";
    let expected = [format!("here {nothing}"), format!("spawn {nothing}")];
    assert_eq!(lines(&output)[1..3], expected);
    assert_eq!(lines(&output)[3], format!("forkserver {nothing}"));
}

fn a_program_that_gives_up_its_rights_gives_up_its_childrens() {
    if raw::user() != 0 {
        println!("skipped: only root can give up something");
        return;
    }
    // Its new user has to be able to execute it.
    let folder = Folder::new();
    let program = folder.path().join("early");
    std::fs::copy(env!("CARGO_BIN_EXE_early"), &program).expect("copy");
    let output = Program::new(&program, "user").run();
    if output.stderr.contains("Permission denied") {
        println!("skipped: another user may not execute files in {}", folder.path().display());
        return;
    }
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&output), ["main", "0", "0", "54321", "54321"]);
}
