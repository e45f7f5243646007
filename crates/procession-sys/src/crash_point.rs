//! Named points at which a test can kill a process.
//!
//! Without the feature `crash-points` the macro is nothing. With it, `PROCESSION_CRASH_POINT=name`
//! in the environment kills the process that comes to the point `name`, and
//! `PROCESSION_CRASH_LOG=path` collects the names of all points that were reached.

/// Dies here, as by `SIGKILL` from outside, if a test has asked for this point.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash_point::reached($name)
    };
}

/// Does nothing: the feature is off.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn reached(_: &str) {}

/// Dies if `name` is the point that the environment asks for.
#[cfg(feature = "crash-points")]
pub fn reached(name: &str) {
    use std::io::Write;
    if let Some(path) = std::env::var_os("PROCESSION_CRASH_LOG") {
        let log = std::fs::File::options().append(true).create(true).open(path);
        let written = log.and_then(|mut log| log.write_all(format!("{name}\n").as_bytes()));
        if let Err(error) = written {
            let _ = writeln!(
                std::io::stderr(),
                "procession: the log of crash points cannot be written: {error}"
            );
        }
    }
    if std::env::var_os("PROCESSION_CRASH_POINT").is_some_and(|point| point == name) {
        crate::runtime::kill_self();
    }
}
