//! What a child has of its program.

use std::path::Path;
use std::process::ExitCode;

use procession::Process;
use procession_tests::join;

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "at_start" => at_start(rest),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn look() -> (Option<String>, std::path::PathBuf) {
    let directory = std::env::current_dir().expect("a current directory");
    (std::env::var("PROCESSION_TEST").ok(), directory)
}

/// Environment and directory are those of the moment of the start, not of the first start.
fn at_start(rest: &[String]) {
    let method = crate::method(rest);
    assert_eq!(join(Process::new(look, ()), method).0, None);
    let values = [Some("1"), Some("2"), None, Some("3")];
    for (value, directory) in values.into_iter().zip(["/usr", "/", "/tmp", "/usr"]) {
        match value {
            // SAFETY: no other thread reads the environment: procession's sleeps.
            Some(value) => unsafe { std::env::set_var("PROCESSION_TEST", value) },
            // SAFETY: as above.
            None => unsafe { std::env::remove_var("PROCESSION_TEST") },
        }
        set_directory(directory);
        let (there, place) = join(Process::new(look, ()), method);
        assert_eq!(there.as_deref(), value);
        assert_eq!(place, Path::new(directory));
        let (there, place) =
            join(Process::new(look, ()).env("PROCESSION_TEST", "x").current_dir("."), method);
        assert_eq!((there.as_deref(), place.as_path()), (Some("x"), Path::new(directory)));
    }
}

#[expect(clippy::disallowed_methods, reason = "the scenario is about the program's own directory")]
fn set_directory(directory: &str) {
    std::env::set_current_dir(directory).expect("it is there");
}
