//! How a process ended.

use std::fmt;

/// How a process ended: with an exit code, or by a signal.
///
/// It has the methods of [`std::process::ExitStatus`] on Unix, and can cross a process boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Code(i32),
    Signal { signal: i32, core_dumped: bool },
}

impl ExitStatus {
    /// A status of a process that exited with `code`.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        Self { outcome: Outcome::Code(code) }
    }

    /// A status of a process that `signal` ended.
    #[must_use]
    pub fn from_signal(signal: i32, core_dumped: bool) -> Self {
        Self { outcome: Outcome::Signal { signal, core_dumped } }
    }

    /// Returns the exit code, or `None` if a signal ended the process.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Code(code) => Some(code),
            Outcome::Signal { .. } => None,
        }
    }

    /// Returns the signal that ended the process, or `None` if it exited.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Code(_) => None,
            Outcome::Signal { signal, .. } => Some(signal),
        }
    }

    /// Tells whether the signal that ended the process also made it leave a core dump.
    #[must_use]
    pub fn core_dumped(&self) -> bool {
        matches!(self.outcome, Outcome::Signal { core_dumped: true, .. })
    }

    /// Tells whether the process exited with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code() == Some(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Code(code) => write!(f, "exit code {code}"),
            Outcome::Signal { signal, core_dumped } => {
                write!(f, "signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " ({name})")?;
                }
                if core_dumped {
                    write!(f, ", core dumped")?;
                }
                Ok(())
            }
        }
    }
}

/// The usual name of a signal, where its number is the same on every Unix or it is common on Linux.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 if cfg!(target_os = "linux") => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 if cfg!(target_os = "linux") => "SIGUSR1",
        11 => "SIGSEGV",
        12 if cfg!(target_os = "linux") => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 if cfg!(target_os = "linux") => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;

    #[test]
    fn code_and_signal_exclude_each_other() {
        let exited = ExitStatus::from_code(3);
        assert_eq!((exited.code(), exited.signal(), exited.success()), (Some(3), None, false));
        let killed = ExitStatus::from_signal(9, false);
        assert_eq!((killed.code(), killed.signal(), killed.success()), (None, Some(9), false));
        assert!(ExitStatus::from_code(0).success());
    }

    #[test]
    fn display_names_the_signal() {
        assert_eq!(ExitStatus::from_code(2).to_string(), "exit code 2");
        assert_eq!(ExitStatus::from_signal(9, false).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(
            ExitStatus::from_signal(11, true).to_string(),
            "signal 11 (SIGSEGV), core dumped"
        );
        assert_eq!(ExitStatus::from_signal(40, false).to_string(), "signal 40");
    }
}
