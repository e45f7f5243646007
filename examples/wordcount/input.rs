//! Which files to count.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The files below the given paths.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) files: Vec<File>,
    /// What could not be looked at, and why.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// One regular file.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl Input {
    /// The size of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Documentation that is on this machine: the toolchain's, else the system's, else what is here.
pub(crate) fn default_roots() -> Vec<PathBuf> {
    let system = ["/usr/share/doc", "/usr/share/common-licenses", "/usr/share/info"];
    let system: Vec<PathBuf> = system.iter().map(PathBuf::from).filter(|p| p.is_dir()).collect();
    // A minimal toolchain has a few licences there and no book.
    let toolchain = toolchain_documentation().filter(|path| path.join("rust/html").is_dir());
    match toolchain {
        Some(path) => vec![path],
        None if !system.is_empty() => system,
        None => vec![PathBuf::from(".")],
    }
}

fn toolchain_documentation() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let path = Path::new(sysroot.trim()).join("share/doc");
    path.is_dir().then_some(path)
}

/// Walks the paths in order. Symbolic links are followed where they are given, not where found.
pub(crate) fn find(roots: &[PathBuf]) -> Input {
    let mut input = Input::default();
    for root in roots {
        match fs::metadata(root) {
            Ok(metadata) => walk(root, &metadata, &mut input),
            Err(error) => input.unreadable.push((root.clone(), error)),
        }
    }
    input
}

fn walk(path: &Path, metadata: &fs::Metadata, input: &mut Input) {
    if metadata.is_file() {
        input.files.push(File { path: path.to_path_buf(), bytes: metadata.len() });
        return;
    }
    if !metadata.is_dir() {
        return;
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return input.unreadable.push((path.to_path_buf(), error)),
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        match entry.metadata() {
            Ok(metadata) => walk(&entry.path(), &metadata, input),
            Err(error) => input.unreadable.push((entry.path(), error)),
        }
    }
}
