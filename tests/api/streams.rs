//! Standard input, output and error of a child.

use std::io::{Read, Write};
use std::process::Stdio;

use procession::{Child, Process, StartMethod};
use procession_tests::{Folder, for_each_method, method_name, program, start};

for_each_method!(
    every_combination_of_pipes,
    null_streams,
    files_and_other_pipes,
    much_goes_through_a_pipe,
    a_closed_pipe_is_an_error_in_the_child,
    inherited_streams,
);

/// Says how many bytes came, on both outputs, and returns them.
fn echo() -> String {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("text");
    print!("out {text}");
    eprint!("err {text}");
    text
}

fn read(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

fn every_combination_of_pipes(method: StartMethod) {
    // Without a pipe of its own an output goes nowhere, so that the test prints nothing.
    let piped = |yes| if yes { Stdio::piped() } else { Stdio::null() };
    for mask in 0..8 {
        let [stdin, stdout, stderr] = [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0];
        let process = Process::new(echo, ());
        let process = process.stdin(piped(stdin)).stdout(piped(stdout)).stderr(piped(stderr));
        let mut child = start(process, method);
        assert_eq!(child.stdin.is_some(), stdin);
        assert_eq!(child.stdout.is_some(), stdout);
        assert_eq!(child.stderr.is_some(), stderr);
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"hello").expect("written");
        }
        let text = if stdin { "hello" } else { "" };
        if let Some(output) = child.stdout.take() {
            assert_eq!(
                read(output),
                format!("out {text}"),
                "flushed at the end, without a newline"
            );
        }
        if let Some(output) = child.stderr.take() {
            assert_eq!(read(output), format!("err {text}"));
        }
        assert_eq!(child.join().expect("join"), text);
    }
    // One alone, the others inherited.
    let mut child: Child<()> =
        start(Process::new(|| print!("alone"), ()).stdout(Stdio::piped()), method);
    assert!(child.stdin.is_none() && child.stderr.is_none());
    assert_eq!(read(child.stdout.take().expect("piped")), "alone");
    child.join().expect("join");
    let mut child = start(Process::new(|| eprint!("alone"), ()).stderr(Stdio::piped()), method);
    assert_eq!(read(child.stderr.take().expect("piped")), "alone");
    child.join().expect("join");
    let length = || read(std::io::stdin()).len();
    let mut child = start(Process::new(length, ()).stdin(Stdio::piped()), method);
    child.stdin.take().expect("piped").write_all(b"alone").expect("written");
    assert_eq!(child.join().expect("join"), 5);
}

fn null_streams(method: StartMethod) {
    let targets = || (0..3).map(|number| target(number).unwrap_or_default()).collect::<Vec<_>>();
    let process = Process::new(targets, ());
    let process = process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(start(process, method).join().expect("join"), ["/dev/null"; 3]);
    let two = Process::new(targets, ()).stdin(Stdio::null()).stderr(Stdio::null());
    let two = start(two, method).join().expect("join");
    assert_eq!(two, ["/dev/null", &target(1).unwrap_or_default(), "/dev/null"]);
}

fn target(number: i32) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    Some(target.display().to_string())
}

fn files_and_other_pipes(method: StartMethod) {
    let folder = Folder::new();
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    std::fs::write(&input, "from a file").expect("written");
    let process = Process::new(echo, ())
        .stdin(std::fs::File::open(&input).expect("opened"))
        .stdout(std::fs::File::create(&output).expect("made"))
        .stderr(Stdio::null());
    assert_eq!(start(process, method).join().expect("join"), "from a file");
    assert_eq!(std::fs::read_to_string(&output).expect("read"), "out from a file");

    // One child's output is another's input.
    let mut first = start(Process::new(|| print!("word"), ()).stdout(Stdio::piped()), method);
    let between = first.stdout.take().expect("piped");
    let second = Process::new(|| read(std::io::stdin()), ()).stdin(between);
    assert_eq!(start(second, method).join().expect("join"), "word");
    first.join().expect("join");
}

fn much_goes_through_a_pipe(method: StartMethod) {
    const LINES: usize = 100_000;
    let copy = || {
        for line in std::io::stdin().lines() {
            println!("{}", line.expect("text"));
        }
    };
    let process = Process::new(copy, ()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = start(process, method);
    let mut input = std::io::BufWriter::new(child.stdin.take().expect("piped"));
    let writer = std::thread::spawn(move || {
        for line in 0..LINES {
            writeln!(input, "{line}").expect("the child reads");
        }
        input.flush().expect("the child reads");
    });
    let text = read(child.stdout.take().expect("piped"));
    assert!(text.lines().enumerate().all(|(i, line)| line.parse() == Ok(i)), "in order");
    assert_eq!(text.lines().count(), LINES);
    writer.join().expect("thread");
    child.join().expect("join");
}

fn a_closed_pipe_is_an_error_in_the_child(method: StartMethod) {
    let write = || {
        let mut until_it_fails =
            std::iter::repeat_with(|| std::io::stdout().write_all(&[b'\n'; 4096]));
        let error = until_it_fails.find_map(Result::err).expect("it fails");
        format!("{:?}", error.kind())
    };
    let mut child = start(Process::new(write, ()).stdout(Stdio::piped()), method);
    drop(child.stdout.take());
    assert_eq!(child.join().expect("SIGPIPE does not end it"), "BrokenPipe");
}

fn inherited_streams(method: StartMethod) {
    let mut helper = program!("streams").arg("inherited").arg(method_name(method)).start();
    helper.say("first");
    helper.say("second");
    let (status, text) = helper.finish();
    assert!(status.success(), "{text}");
    assert_eq!(text, "child read first\nprogram read second\nchild inherits\n");
}
