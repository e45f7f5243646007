//! Maps that say how far they are: on a terminal, and nowhere else.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, program, raw};

for_each_method! {
    a_line_on_the_terminal_says_how_far_it_is,
    without_a_terminal_nothing_is_written,
}

fn a_line_on_the_terminal_says_how_far_it_is(method: StartMethod) {
    // Of what the last has no end in sight: `take_while` may end earlier.
    let scenarios = [
        ("map", "1 of 3,", "3 of 3,"),
        ("map_async", "1 of 3,", "3 of 3,"),
        ("imap", "1 of 3,", "3 of 3,"),
        ("imap_progress", "1, ", "3, "),
    ];
    for (scenario, at_first, at_last) in scenarios {
        let (terminal, theirs) = raw::terminal().expect("there are terminals");
        let mut program = program!("progress").arg(scenario).arg(method_name(method));
        program = program.env("TERM", "xterm");
        let mut running = program.start_with_stderr(Stdio::from(theirs));
        let (mut terminal, mut said) = (File::from(terminal), String::new());
        read_until(&mut terminal, &mut said, |said| said.contains(at_first));
        assert!(!said.contains(at_last), "{scenario}: {said:?}");
        running.say("go on");
        // The end of the terminal is when nobody has it any more.
        read_until(&mut terminal, &mut said, |_| false);
        assert!(said.contains(at_last), "{scenario}: {said:?}");
        let (status, stdout) = running.finish();
        assert!(status.success() && stdout == "true\n", "{scenario}: {status}, {stdout}");
    }
}

/// Reads until `said` is as wanted, or there is no more.
fn read_until(terminal: &mut File, said: &mut String, wanted: impl Fn(&str) -> bool) {
    let mut buffer = [0; 4096];
    // A terminal that nobody else has any more is an error.
    while !wanted(said)
        && let Ok(count @ 1..) = terminal.read(&mut buffer)
    {
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

fn without_a_terminal_nothing_is_written(method: StartMethod) {
    for scenario in ["map", "map_async", "imap"] {
        let output = program!("progress").arg(scenario).arg(method_name(method)).succeed();
        assert_eq!((&*output.stdout, &*output.stderr), ("true\n", ""), "{scenario}");
    }
}
