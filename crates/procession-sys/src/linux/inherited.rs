//! What a child has from the process that makes it, beside what procession sets: on whose behalf
//! it runs, in which session, under which limits.
//!
//! A fork server has all this from the moment at which it was started. When the program has given
//! up its privileges since, a child of the old server would have them still, so each start compares.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::{Resource, Rlimit};

/// The lines of `/proc/self/status` that children inherit.
const LINES: [&str; 15] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NSsid",
    "SigIgn",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Cpus_allowed",
];

const LIMITS: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Looks at this process, and at no copy of it.
#[derive(Debug)]
pub struct Observer {
    status: File,
}

/// What a child would inherit at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    identity: Vec<u8>,
    /// Device and number of the root directory.
    root: (u64, u64),
    limits: [Rlimit; LIMITS.len()],
}

impl Observer {
    /// Opens what there is to look at.
    ///
    /// # Errors
    ///
    /// When `/proc` is not there, or no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { status: File::open("/proc/self/status")? })
    }

    /// Looks.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn look(&self) -> io::Result<Inherited> {
        // One reading is one consistent text. It is about 1,500 bytes; a long list of groups or
        // processors makes it longer.
        let mut text = vec![0; 4096];
        loop {
            let length = self.status.read_at(&mut text, 0)?;
            if length < text.len() {
                text.truncate(length);
                break;
            }
            text.resize(length * 2, 0);
        }
        let is_inherited = |line: &&[u8]| {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            LINES.iter().any(|known| known.as_bytes() == name)
        };
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(is_inherited).collect();
        let root = rustix::fs::stat("/")?;
        let root = (root.st_dev, root.st_ino);
        Ok(Inherited {
            root,
            identity: lines.join(&b'\n'),
            limits: LIMITS.map(rustix::process::getrlimit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_and_a_user_are_seen() {
        let observer = Observer::new().expect("observer");
        let before = observer.look().expect("look");
        let text = String::from_utf8_lossy(&before.identity).into_owned();
        for name in LINES {
            assert!(text.contains(&format!("{name}:\t")), "{name} is not in {text}");
        }
        assert_eq!(before, observer.look().expect("look"));
        let core = rustix::process::getrlimit(Resource::Core);
        let other = if core.current == Some(0) { core.maximum } else { Some(0) };
        if other == core.current {
            return; // this process may have no core dumps at all: nothing to change
        }
        rustix::process::setrlimit(Resource::Core, Rlimit { current: other, ..core })
            .expect("a soft limit may be changed");
        let after = observer.look().expect("look");
        rustix::process::setrlimit(Resource::Core, core).expect("and put back");
        assert_ne!(before, after);
    }
}
