//! The program's file replaced, moved or deleted while it runs, and targets that are not in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use procession::StartMethod;
use procession_tests::{Folder, copy_executable, for_each_method, method_name, program};

for_each_method!(
    deleted_before_the_first_start,
    deleted_between_two_starts,
    replaced_by_another_program,
    replaced_by_no_program,
    moved_away,
    a_target_in_a_loaded_library_is_refused,
    a_library_loaded_in_a_child_leaves_it_alone,
);

const PROGRAM: &str = env!("CARGO_BIN_EXE_program");

/// Runs a copy of the helper program, and does something to its file while it runs.
fn while_running(method: StartMethod, starts_before: u32, change: impl FnOnce(&Path)) {
    let folder = Folder::new();
    let path = folder.path().join("program");
    copy_executable(PROGRAM, &path);
    let program = procession_tests::Program::new(&path, "executable").arg("changed");
    let mut running = program.arg(method_name(method)).arg(starts_before.to_string()).start();
    assert_eq!(running.line(), "running");
    change(&path);
    running.say("go on");
    let (status, rest) = running.finish();
    assert!(status.success() && rest == "done\n", "{status}: {rest}");
}

fn deleted_before_the_first_start(method: StartMethod) {
    while_running(method, 0, |path| std::fs::remove_file(path).expect("deleted"));
}

fn deleted_between_two_starts(method: StartMethod) {
    while_running(method, 2, |path| std::fs::remove_file(path).expect("deleted"));
}

fn replaced_by_another_program(method: StartMethod) {
    for starts_before in [0, 1] {
        while_running(method, starts_before, |path| {
            // As cargo does after a change: another file under the same name.
            let new = path.with_extension("new");
            copy_executable(env!("CARGO_BIN_EXE_victim"), &new);
            std::fs::rename(new, path).expect("replaced");
        });
    }
}

fn replaced_by_no_program(method: StartMethod) {
    while_running(method, 0, |path| {
        std::fs::remove_file(path).expect("deleted");
        std::fs::write(path, "no program").expect("written");
    });
}

fn moved_away(method: StartMethod) {
    while_running(method, 0, |path| {
        std::fs::rename(path, path.with_extension("moved")).expect("moved");
    });
}

/// The library of this package, built if it is not there or not up to date.
fn plugin() -> PathBuf {
    let folder = Path::new(PROGRAM).parent().expect("target/debug");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = match folder.file_name().and_then(std::ffi::OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "procession-tests", "--example", "plugin"]);
        build.args(["--profile", profile, "--target-dir"]).arg(folder.parent().expect("target"));
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "the library is built");
    }
    folder.join("examples/libplugin.so")
}

fn a_target_in_a_loaded_library_is_refused(method: StartMethod) {
    program!("executable").arg("plugin").arg(method_name(method)).arg(plugin()).succeed();
}

fn a_library_loaded_in_a_child_leaves_it_alone(method: StartMethod) {
    program!("executable").arg("plugin_in_child").arg(method_name(method)).arg(plugin()).succeed();
}
