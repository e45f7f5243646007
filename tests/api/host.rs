//! Programs that are odd hosts, and what a host must not notice.

use procession::StartMethod;
use procession_tests::{Folder, Output, for_each_method, method_name, program};

for_each_method!(
    closed_standard_streams,
    closed_standard_streams_whose_numbers_pipes_get,
    ignored_sigchld,
    sigchld_that_reaps_by_itself,
    somebody_else_waits_for_any_child,
    nothing_of_the_program_is_changed,
    interrupted_by_signals,
    a_changed_mask_of_file_modes,
);

fn scenario(name: &str, method: StartMethod) -> Output {
    program!("host").arg(name).arg(method_name(method)).succeed()
}

/// Closes each choice of the three streams; what goes wrong is in a file, since standard error may
/// be among them.
fn closed(scenario: &str, method: StartMethod) {
    let folder = Folder::new();
    let report = folder.path().join("report");
    for mask in 1..8 {
        let program = program!("host").arg(scenario).arg(method_name(method));
        let output = program.arg(mask.to_string()).arg(&report).run();
        let report = std::fs::read_to_string(&report).unwrap_or_default();
        assert!(output.status.success(), "closed {mask:03b}: {report}: {output:#?}");
    }
}

fn closed_standard_streams(method: StartMethod) {
    closed("closed", method);
}

fn closed_standard_streams_whose_numbers_pipes_get(method: StartMethod) {
    closed("closed_with_pipes", method);
}

fn ignored_sigchld(method: StartMethod) {
    scenario("ignored", method);
}

fn sigchld_that_reaps_by_itself(method: StartMethod) {
    scenario("no_wait", method);
}

fn somebody_else_waits_for_any_child(method: StartMethod) {
    scenario("thief", method);
}

fn nothing_of_the_program_is_changed(method: StartMethod) {
    scenario("untouched", method);
}

fn interrupted_by_signals(method: StartMethod) {
    scenario("interrupted", method);
}

fn a_changed_mask_of_file_modes(method: StartMethod) {
    scenario("attributes", method);
}
