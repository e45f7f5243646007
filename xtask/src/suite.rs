//! `cargo xtask test` and `cargo xtask bench`: what runs, in which order.

use crate::examples;
use crate::leftovers::Snapshot;
use crate::python;
use crate::run::{self, Outcome, Report, cargo, rustup};
use crate::tidy;

/// Platforms for which the library must at least compile.
const CHECKED_TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// The oldest toolchain that is promised to work, as `rust-version` in the workspace's manifest.
const MSRV: &str = "1.91";

/// Runs every check. `long` gives each kill test 1,000 rounds.
pub(crate) fn test(long: bool) -> bool {
    let mut report = Report::default();
    report.step("tidy", || match tidy::check(&crate::root()) {
        Ok(summary) => Outcome::Passed(summary),
        Err(faults) => Outcome::Failed(faults),
    });
    report.step("cargo fmt", || {
        with_component("rustfmt", || run::shown(&mut cargo(&["fmt", "--all", "--", "--check"])))
    });
    report.step("cargo clippy", || {
        with_component("clippy", || {
            let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            run::shown(&mut cargo(&arguments))
        })
    });

    let before = Snapshot::take();
    report.step("cargo test", || {
        let mut command = cargo(&["test", "--no-fail-fast"]);
        if long {
            command.env("PROCESSION_LONG", "1");
        }
        run::shown(&mut command)
    });
    report.step("examples", examples::check);
    python::test(&mut report);
    report.step("the fuzzers' corpus", replay_corpus);
    report.step("nothing left behind", || before.compare());

    report.step("models", check_models);
    report.step("miri", check_with_miri);
    report.step("cargo doc", || {
        let mut command = cargo(&[
            "doc",
            "--no-deps",
            "-p",
            "procession-sys",
            "-p",
            "procession-shm",
            "-p",
            "procession",
            "--features",
            "procession/progress,procession/tracing",
        ]);
        run::shown(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    for target in CHECKED_TARGETS {
        report.step(&format!("cargo check {target}"), || {
            with_target(target, || {
                run::shown(&mut cargo(&["check", "-p", "procession", "--target", target]))
            })
        });
    }
    // Pure Rust, linked with what rustup brings: no musl-gcc is needed.
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    report.step(&format!("cargo test {musl}"), || with_target(&musl, || test_on(&musl)));
    report.step(&format!("cargo check with Rust {MSRV}"), check_msrv);
    report.step("cargo deny", || {
        if run::quiet(&mut cargo(&["deny", "--version"])).is_err() {
            return Outcome::Skipped("cargo-deny is not installed".to_string());
        }
        run::shown(&mut cargo(&["deny", "check"]))
    });
    report.finish()
}

/// Builds and tests the Python package.
pub(crate) fn python() -> bool {
    let mut report = Report::default();
    python::test(&mut report);
    report.finish()
}

/// Has loom check the models of the shared structures. They are optimised, as there are many orders,
/// and keep out of the other builds' way.
fn check_models() -> Outcome {
    let mut command = cargo(&["test", "-p", "procession-shm", "--lib", "--release"]);
    command.args(["--target-dir", "target/loom"]);
    run::shown(command.env("RUSTFLAGS", "--cfg loom -C debug-assertions"))
}

/// Has Miri run the tests that make no system call.
fn check_with_miri() -> Outcome {
    let is_there = || run::quiet(&mut rustup(&["run", "nightly", "cargo", "miri", "--version"]));
    if is_there().is_err() {
        let components = ["component", "add", "--toolchain", "nightly", "miri", "rust-src"];
        let installed = run::quiet(&mut rustup(&components));
        if is_there().is_err() {
            return Outcome::Skipped(installed.err().unwrap_or_else(|| {
                "`rustup component add --toolchain nightly miri` did not bring it".to_string()
            }));
        }
    }
    let shm = ["roster::", "words_come_back", "a_notification_is_for"];
    let codec = ["codec::", "--skip", "handles"];
    for (package, tests) in [("procession-shm", &shm), ("procession", &codec)] {
        let arguments = ["run", "nightly", "cargo", "miri", "test", "--lib", "-p", package];
        let mut command = rustup(&arguments);
        command.args(["--target-dir", "target/miri", "--"]).args(tests);
        // As for the oldest toolchain.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
        if let Outcome::Failed(why) = run::shown(&mut command) {
            return Outcome::Failed(why);
        }
    }
    Outcome::Passed(String::new())
}

/// The fuzzer itself needs a nightly compiler; what it has found has to stay found with any.
fn replay_corpus() -> Outcome {
    let manifest = ["test", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features"];
    run::shown(cargo(&manifest).args(["--target-dir", "target/fuzz"]))
}

fn test_on(target: &str) -> Outcome {
    let packages = ["-p", "procession-sys", "-p", "procession-shm", "-p", "procession"];
    let mut command = cargo(&["test", "--no-fail-fast", "--lib", "--target", target]);
    run::shown(command.args(packages))
}

fn check_msrv() -> Outcome {
    let Ok(toolchains) = run::quiet(&mut rustup(&["toolchain", "list"])) else {
        return Outcome::Skipped("rustup is not installed".to_string());
    };
    let Some(toolchain) = toolchains.split_whitespace().find(|name| name.starts_with(MSRV)) else {
        return Outcome::Skipped(format!("`rustup toolchain install {MSRV}` adds this check"));
    };
    let arguments = ["run", toolchain, "cargo", "check", "-p", "procession"];
    // The cargo that runs us has named its own toolchain, which would win over `rustup run`.
    let mut command = rustup(&arguments);
    run::shown(command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC"))
}

/// Runs a step that needs a component of the toolchain, and installs that first if it is missing.
fn with_component(component: &str, step: impl FnOnce() -> Outcome) -> Outcome {
    let subcommand = if component == "rustfmt" { "fmt" } else { component };
    let is_there = || run::quiet(&mut cargo(&[subcommand, "--version"])).is_ok();
    if !is_there() {
        let installed = run::quiet(&mut rustup(&["component", "add", component]));
        if !is_there() {
            return Outcome::Skipped(installed.err().unwrap_or_else(|| {
                format!("`rustup component add {component}` did not bring cargo {subcommand}")
            }));
        }
    }
    step()
}

/// Runs a step that needs another target, and installs that first if it is missing.
fn with_target(target: &str, step: impl FnOnce() -> Outcome) -> Outcome {
    let installed = run::quiet(&mut rustup(&["target", "list", "--installed"]));
    if installed.is_ok_and(|list| list.lines().any(|line| line == target)) {
        return step();
    }
    match run::quiet(&mut rustup(&["target", "add", target])) {
        Ok(_) => step(),
        Err(why) => Outcome::Skipped(why),
    }
}
