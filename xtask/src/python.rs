//! The Python package: built into an environment of its own, and tested there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{self, Outcome, Report};

/// The oldest Python that the package is for.
const OLDEST: (u32, u32) = (3, 10);

/// Which of CPython's own tests run each time; `python/tests/cpython_suite.py` runs all.
const SUITE: [(&str, &str); 3] =
    [("spawn", "WithProcesses*"), ("forkserver", "WithProcessesTestProcess"), ("fork", "*")];

/// What the programs in `python/tests/programs` use. The wheel of PyTorch is a gigabyte: its program
/// runs where that is installed already.
const LIBRARIES: [&str; 4] = ["numpy", "pandas", "joblib", "scikit-learn"];

/// Builds and tests the package, with the Python that `PROCESSION_PYTHON` names or the newest one.
pub(crate) fn test(report: &mut Report) {
    let Some(python) = find() else {
        report.step("python", || {
            let (major, minor) = OLDEST;
            Outcome::Skipped(format!("no Python from {major}.{minor} on is installed"))
        });
        return;
    };
    let folder = crate::root().join("target").join("python");
    let environment = folder.join("bin").join("python");
    let mut built = false;
    report.step("python: pip install .", || {
        let outcome = install(&python, &folder);
        built = matches!(outcome, Outcome::Passed(_));
        outcome
    });
    if !built {
        return;
    }
    report.step("python: libraries of others, for programs that use them", || {
        let wheels = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:"];
        match run::quiet(command(&environment).args(wheels).args(LIBRARIES)) {
            Ok(_) => Outcome::Passed(LIBRARIES.join(", ")),
            Err(why) => Outcome::Skipped(why),
        }
    });
    report.step("python: pytest", || {
        // With a line for each test that is skipped.
        run::shown(command(&environment).args(["-m", "pytest", "-q", "-rs", "python/tests"]))
    });
    report.step("python: stubtest", || {
        run::shown(command(&environment).args([
            "-m",
            "mypy.stubtest",
            "procession",
            "--allowlist",
            "python/stubtest.txt",
        ]))
    });
    for (method, pattern) in SUITE {
        report.step(&format!("python: CPython's suite, {method}"), || {
            let arguments = ["python/tests/cpython_suite.py", method, "-k", pattern];
            run::shown(command(&environment).args(arguments))
        });
    }
}

fn install(python: &Path, folder: &Path) -> Outcome {
    let made = run::quiet(command(python).args(["-m", "venv", "--clear"]).arg(folder));
    if let Err(why) = made {
        return Outcome::Skipped(why);
    }
    let environment = folder.join("bin").join("python");
    // The build's own tools come from PyPI.
    let tools = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    let reached =
        run::quiet(command(&environment).args(tools).arg(folder.join("tools")).arg("maturin"));
    if let Err(why) = reached {
        return Outcome::Skipped(why);
    }
    run::shown(command(&environment).args(["-m", "pip", "install", "--quiet", ".[test]"]))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// The Python to test with.
fn find() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("PROCESSION_PYTHON") {
        return Some(chosen.into());
    }
    let mut candidates = vec![PathBuf::from("python3")];
    candidates.extend((OLDEST.1..OLDEST.1 + 10).map(|minor| format!("python3.{minor}").into()));
    // pyenv has versions that are not on the path.
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let versions = versions.into_iter().flatten().flatten();
    candidates.extend(versions.map(|version| version.path().join("bin").join("python3")));
    let versions = candidates.into_iter().filter_map(|python| Some((version(&python)?, python)));
    let newest = versions.filter(|(version, _)| *version >= OLDEST).max();
    newest.map(|(_, python)| python)
}

fn version(python: &Path) -> Option<(u32, u32)> {
    let code = "import sys; print(*sys.version_info[:2])";
    let said = run::quiet(Command::new(python).args(["-c", code]).stdin(Stdio::null())).ok()?;
    let (major, minor) = said.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
