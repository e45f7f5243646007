//! Plain bytes under a name, for processes that are not related.
//!
//! # Layout
//!
//! A file `/dev/shm/procession-NAME` of mode 0600:
//!
//! ```text
//! 0                                                                4096
//! │ magic (8) │ version (4) │ name's length (4) │ length (8) │       │ the bytes
//! │ maker: process (8), when it was started (8) │ name │ zeros       │
//! ```
//!
//! The header is written once, while the file has no name, and checked once, when it is opened.
//! Nobody takes part: there is no roster, nothing waits, and nothing is swept.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see |
//! |---|---|
//! | maker, before the file has its name | nothing: the system takes the file back |
//! | maker, after that | the name, with all that it should have |
//! | the last who had it open | the name, in [`leftovers`] |
//!
//! # Invariants
//!
//! 1. The system does not let such a file be sealed: any process of its user can cut it short at any
//!    time. So nothing here touches the mapping. [`Named::read`] and [`Named::write`] go through the
//!    file, where what was cut off is an error.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use procession_sys::process::{self, current_pid};
use procession_sys::shared::Mapping;
use procession_sys::{BorrowedHandle, Handle, borrow, crash_point, named};

use crate::segment::SegmentError;

const MAGIC: [u8; 8] = *b"PRCname\n";
/// Grows with every change of the layout.
const VERSION: u32 = 1;
/// Where the bytes begin.
const HEADER: usize = 4096;
const NAME: usize = 40;
const PREFIX: &str = "procession-";
/// The longest name, in bytes.
pub const LONGEST_NAME: usize = named::LONGEST - PREFIX.len();

/// Why an operation on named shared memory failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum NameError {
    /// There can be no such name, or no such memory.
    Invalid {
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// Something has the name already.
    Exists {
        /// The name.
        name: String,
    },
    /// Nothing has the name.
    NotFound {
        /// The name.
        name: String,
    },
    /// What has the name belongs to another user, or is open to others.
    Denied {
        /// The name.
        name: String,
        /// Whose it is.
        what: String,
    },
    /// What has the name was not made by procession.
    Foreign {
        /// The name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// What has the name was made by another version of this library.
    Version {
        /// The name.
        name: String,
        /// This library's version of the layout.
        ours: u32,
        /// The memory's.
        theirs: u32,
    },
    /// The system refused: no memory, no descriptor, no `/dev/shm`.
    Io {
        /// What was being done.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::Exists { name } => write!(
                f,
                "shared memory named `{name}` exists already: open it, or unlink the name first if a \
                 program that is gone has left it"
            ),
            Self::NotFound { name } => write!(
                f,
                "there is no shared memory named `{name}`: it was not created yet, or its name was \
                 unlinked"
            ),
            Self::Denied { name, what } => {
                write!(f, "`{name}` is not this user's shared memory, {what}: use another name")
            }
            Self::Foreign { name, what } => write!(
                f,
                "`{name}` is not procession's shared memory, {what}: use another name, or remove {}",
                path(name)
            ),
            Self::Version { name, ours, theirs } => write!(
                f,
                "shared memory `{name}` has layout {theirs}, this program has layout {ours}: both \
                 sides need the same version of procession; if nobody uses it any more, unlink it"
            ),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for NameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

fn file_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn path(name: &str) -> String {
    format!("{}/{}", named::FOLDER, file_of(name))
}

impl NameError {
    fn invalid(message: String) -> Self {
        Self::Invalid { message }
    }

    /// What the system said about `name`.
    fn from_io(name: &str, doing: &str, error: io::Error) -> Self {
        let owned = name.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists { name: owned },
            io::ErrorKind::NotFound => Self::NotFound { name: owned },
            io::ErrorKind::IsADirectory => {
                Self::Foreign { name: owned, what: "it is no file".to_owned() }
            }
            io::ErrorKind::PermissionDenied => {
                let what = match (error.raw_os_error(), named::owner(&file_of(name))) {
                    (Some(_), Some(owner)) => format!("it belongs to user {owner}"),
                    _ => error.to_string(),
                };
                Self::Denied { name: owned, what }
            }
            io::ErrorKind::InvalidData => Self::Foreign { name: owned, what: error.to_string() },
            _ => Self::Io { what: format!("shared memory `{name}` {doing}"), error },
        }
    }
}

fn check_name(name: &str) -> Result<(), NameError> {
    let wrong = if name.is_empty() {
        "a name of shared memory cannot be empty".to_owned()
    } else if name.len() > LONGEST_NAME {
        format!("a name of {} bytes is too long for shared memory", name.len())
    } else if name.contains(['/', '\0']) {
        format!("{name:?} cannot be the name of shared memory: it has a `/` or a NUL in it")
    } else {
        return Ok(());
    };
    Err(NameError::invalid(format!(
        "{wrong}; use 1 to {LONGEST_NAME} bytes without `/` and NUL, and no folder"
    )))
}

/// What a header says.
struct Header {
    version: u32,
    length: u64,
    maker: u32,
    started: u64,
    name: String,
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&MAGIC);
        put(&self.version.to_ne_bytes());
        put(&u32::try_from(self.name.len()).unwrap_or(0).to_ne_bytes());
        put(&self.length.to_ne_bytes());
        put(&u64::from(self.maker).to_ne_bytes());
        put(&self.started.to_ne_bytes());
        put(self.name.as_bytes());
        bytes
    }

    /// `None` if they are not a header of ours, of whatever version.
    fn from_bytes(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let name = bytes.get(NAME..)?.get(..half(12)? as usize)?;
        Some(Self {
            version: half(8)?,
            length: word(16)?,
            maker: u32::try_from(word(24)?).ok()?,
            started: word(32)?,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }
}

/// Bytes under a name that everybody of the same user may read and write at any time.
#[derive(Clone, Debug)]
pub struct Named(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    mapping: Mapping,
    length: usize,
    name: String,
}

impl Named {
    /// Makes `length` zeros under a name that nothing has.
    ///
    /// # Errors
    ///
    /// A [`NameError`].
    pub fn create(name: &str, length: usize) -> Result<Self, NameError> {
        check_name(name)?;
        let whole = length.checked_add(HEADER).filter(|whole| isize::try_from(*whole).is_ok());
        let Some(whole) = whole.filter(|_| length > 0) else {
            return Err(NameError::invalid(format!(
                "shared memory of {length} bytes cannot be made; ask for at least 1, and at most what \
                 the machine has"
            )));
        };
        let failed = |error| NameError::from_io(name, "cannot be created", error);
        // First, because it costs nothing; `publish` decides.
        if named::owner(&file_of(name)).is_some() {
            return Err(NameError::Exists { name: name.to_owned() });
        }
        let handle = named::create(whole).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => failed(io::Error::other(format!(
                "{} has no room for {length} bytes: make it larger (`--shm-size` of a container), or \
                 use `SharedMemory::new`, which does not need it",
                named::FOLDER
            ))),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                failed(io::Error::other(format!("{} cannot be used: {error}", named::FOLDER)))
            }
            _ => failed(error),
        })?;
        let maker = current_pid();
        let started = process::start_time(maker).unwrap_or(0);
        let name_and_all = Header {
            version: VERSION,
            length: length as u64,
            maker,
            started,
            name: name.to_owned(),
        };
        let written = named::write(borrow(&handle), 0, &name_and_all.to_bytes());
        written.map_err(failed)?;
        // Before it has a name, which an error that comes later would leave behind.
        let mapping = named::map(borrow(&handle)).map_err(failed)?;
        // CRASH (named.filled): it has no name: the system takes it back.
        crash_point!("named.filled");
        named::publish(borrow(&handle), &file_of(name)).map_err(failed)?;
        // CRASH (named.published): a name that nobody has open; `leftovers` tells of it.
        crash_point!("named.published");
        Ok(Self(Arc::new(Inner { handle, mapping, length, name: name.to_owned() })))
    }

    /// Opens what has this name.
    ///
    /// # Errors
    ///
    /// A [`NameError`].
    pub fn open(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        let failed = |error| NameError::from_io(name, "cannot be opened", error);
        let handle = named::open(&file_of(name)).map_err(failed)?;
        Self::from_checked(handle).map_err(|error| match error {
            SegmentError::Io(error) => failed(error),
            SegmentError::Version { ours, theirs } => {
                NameError::Version { name: name.to_owned(), ours, theirs }
            }
            SegmentError::Foreign { what } => NameError::Foreign { name: name.to_owned(), what },
            other => failed(io::Error::other(other)),
        })
    }

    /// Opens what a handle from another process is on.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] that says what the handle is instead.
    pub fn from_handle(handle: Handle) -> Result<Self, SegmentError> {
        named::check(borrow(&handle)).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => SegmentError::Foreign { what: error.to_string() },
            _ => SegmentError::Io(error),
        })?;
        Self::from_checked(handle)
    }

    fn from_checked(handle: Handle) -> Result<Self, SegmentError> {
        let foreign = |what: &str| SegmentError::Foreign { what: what.to_owned() };
        let header = read_header(&handle)?.ok_or_else(|| foreign("it has another beginning"))?;
        if header.version != VERSION {
            return Err(SegmentError::Version { ours: VERSION, theirs: header.version });
        }
        let mapping = named::map(borrow(&handle)).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => SegmentError::Foreign { what: error.to_string() },
            _ => SegmentError::Io(error),
        })?;
        let length = mapping.length().checked_sub(HEADER).filter(|length| *length > 0);
        let length = length.filter(|length| *length as u64 == header.length);
        let length = length.ok_or_else(|| foreign("it is not as long as it says"))?;
        Ok(Self(Arc::new(Inner { handle, mapping, length, name: header.name })))
    }

    /// Lends the handle to pass on.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.0.handle)
    }

    /// Returns the name under which it was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns where the bytes are, and how many: mapped for as long as `self` is, and aligned to 64.
    /// Touching them is a fatal signal when somebody has cut the file short.
    #[must_use]
    pub fn bytes(&self) -> (NonNull<u8>, usize) {
        // SAFETY: the mapping is longer than a header, as was checked when it was made.
        (unsafe { self.0.mapping.start().add(HEADER) }, self.0.length)
    }

    /// Copies bytes out, from `offset` on. Returns how many bytes the memory has when they are not
    /// all there.
    ///
    /// # Errors
    ///
    /// The length of the memory.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), usize> {
        self.check(offset, buffer.len())?;
        let read = named::read(self.handle(), HEADER + offset, buffer);
        if read.is_ok_and(|count| count == buffer.len()) { Ok(()) } else { Err(self.length_now()) }
    }

    /// Copies bytes in, from `offset` on.
    ///
    /// # Errors
    ///
    /// The length of the memory, when they do not all fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), usize> {
        self.check(offset, bytes.len())?;
        let written = named::write(self.handle(), HEADER + offset, bytes);
        if written.is_ok_and(|count| count == bytes.len()) {
            Ok(())
        } else {
            Err(self.length_now())
        }
    }

    fn check(&self, offset: usize, count: usize) -> Result<(), usize> {
        let inside = offset.checked_add(count).is_some_and(|end| end <= self.0.length);
        if inside { Ok(()) } else { Err(self.0.length) }
    }

    /// How many there are after somebody has cut it.
    fn length_now(&self) -> usize {
        let now = named::length(self.handle()).unwrap_or(0).saturating_sub(HEADER);
        now.min(self.0.length)
    }
}

fn read_header(handle: &Handle) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    let count = named::read(borrow(handle), 0, &mut bytes)?;
    Ok(if count == HEADER { Header::from_bytes(&bytes) } else { None })
}

/// Takes a name away. Who has the memory open keeps it.
///
/// # Errors
///
/// A [`NameError`].
pub fn unlink(name: &str) -> Result<(), NameError> {
    check_name(name)?;
    let failed = |error| NameError::from_io(name, "cannot be unlinked", error);
    named::unlink(&file_of(name)).map_err(failed)
}

/// A name whose memory nobody has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    name: String,
    maker: u32,
    bytes: usize,
}

impl Leftover {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of the process that has made it. Another may have that number by now.
    #[must_use]
    pub fn maker(&self) -> u32 {
        self.maker
    }

    /// Returns how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the name away, and with it the memory.
    ///
    /// # Errors
    ///
    /// A [`NameError`]; [`NotFound`](NameError::NotFound) when somebody else was faster.
    pub fn remove(self) -> Result<(), NameError> {
        unlink(&self.name)
    }
}

/// Returns this user's names whose memory no process has open, of whatever version.
///
/// # Errors
///
/// [`NameError::Io`] when the names cannot be read.
pub fn leftovers() -> Result<Vec<Leftover>, NameError> {
    let failed = |error| NameError::Io { what: "the names cannot be read".to_owned(), error };
    let mut found = Vec::new();
    for file in named::names(PREFIX).map_err(failed)? {
        // Whatever cannot be opened, or has gone meanwhile, is nothing that this process has left.
        let Ok(handle) = named::open(&file) else { continue };
        let (Ok(Some(header)), Ok(bytes)) = (read_header(&handle), named::length(borrow(&handle)))
        else {
            continue;
        };
        if let (Some(name), Ok(false)) =
            (file.strip_prefix(PREFIX), named::is_open_elsewhere(&handle))
        {
            found.push(Leftover { name: name.to_owned(), maker: header.maker, bytes });
        }
    }
    Ok(found)
}
