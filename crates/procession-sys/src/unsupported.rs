//! Systems without an implementation yet: the same functions, each of which says so.
//!
//! It keeps the seam honest: what compiles against this compiles against any system. PLATFORM.md
//! says what each system will need.

use std::io;

#[cfg(unix)]
pub use std::os::fd::{BorrowedFd as BorrowedHandle, OwnedFd as Handle};
#[cfg(windows)]
pub use std::os::windows::io::{BorrowedHandle, OwnedHandle as Handle};

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "procession does not support this system yet"))
}

/// Borrows an owned handle.
#[must_use]
pub fn borrow(handle: &Handle) -> BorrowedHandle<'_> {
    #[cfg(unix)]
    return std::os::fd::AsFd::as_fd(handle);
    #[cfg(windows)]
    return std::os::windows::io::AsHandle::as_handle(handle);
}

/// What a child has from its maker.
pub mod inherited {
    use super::unsupported;
    use std::io;

    /// Looks at this process.
    #[derive(Debug)]
    pub struct Observer(());

    /// What a child would inherit.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Inherited(());

    impl Observer {
        /// Opens what there is to look at.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn new() -> io::Result<Self> {
            unsupported()
        }

        /// Looks.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn look(&self) -> io::Result<Inherited> {
            unsupported()
        }
    }
}

/// The running executable.
pub mod image {
    use std::ffi::{c_char, c_int};

    /// A constructor.
    pub type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

    /// Names one build of an executable.
    pub type Identity = [u8; 32];

    /// The main executable of this process.
    #[derive(Debug)]
    pub struct Image(());

    impl Image {
        /// Returns the main executable's image.
        #[must_use]
        pub fn main() -> &'static Self {
            &Self(())
        }

        /// Returns no constructor: they do not matter without children.
        pub fn constructors_after(
            &self,
            _: &'static Constructor,
        ) -> impl Iterator<Item = Constructor> {
            std::iter::empty()
        }

        /// Returns the name of this build.
        #[must_use]
        pub fn identity(&self) -> Identity {
            [0; 32]
        }

        /// Nothing is known to lie in the image.
        #[must_use]
        pub fn offset_of(&self, _: usize) -> Option<u64> {
            None
        }

        /// Nothing is known to lie in the image.
        #[must_use]
        pub fn address_of(&self, _: u64, _: usize, _: usize) -> Option<usize> {
            None
        }
    }
}

/// Sealed anonymous memory.
pub mod memory {
    use super::{BorrowedHandle, Handle, unsupported};
    use std::io;

    /// Copies `parts` into sealed memory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn sealed(_: &[&[u8]]) -> io::Result<Handle> {
        unsupported()
    }

    /// A read-only view of sealed memory.
    #[derive(Debug)]
    pub struct View(std::convert::Infallible);

    impl View {
        /// Maps sealed memory.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn map(_: BorrowedHandle<'_>, _: usize) -> io::Result<Self> {
            unsupported()
        }
    }

    impl std::ops::Deref for View {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            match self.0 {}
        }
    }
}

/// Death handles.
pub mod process {
    use super::{BorrowedHandle, Handle, unsupported};
    use crate::ExitStatus;
    use std::io;
    use std::time::Instant;

    /// A process.
    #[derive(Debug)]
    pub struct Process(std::convert::Infallible);

    /// What [`Process::try_reap`] found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Reaped {
        /// It runs.
        Running,
        /// It is dead.
        Dead(ExitStatus),
        /// It is dead, and its status is not to be had.
        Lost,
    }

    macro_rules! methods {
        ($($(#[$doc:meta])* fn $name:ident(&self $(, $argument:ty)*) -> $result:ty;)*) => {
            $($(#[$doc])* pub fn $name(&self $(, _: $argument)*) -> $result { match self.0 {} })*
        };
    }

    impl Process {
        /// Opens a handle.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn open(_: u32) -> io::Result<Self> {
            unsupported()
        }

        /// Takes over a handle.
        ///
        /// # Panics
        ///
        /// Always: there is no way to have come by one.
        #[must_use]
        pub fn from_handle(_: u32, _: Handle) -> Self {
            unreachable!("no process has been started on an unsupported system")
        }

        /// Gives the handle up.
        #[must_use]
        pub fn into_handle(self) -> Handle {
            match self.0 {}
        }

        methods! {
            /// Lends the handle.
            fn handle(&self) -> BorrowedHandle<'_>;
            /// Returns the process's number.
            fn pid(&self) -> u32;
            /// Waits for its death.
            ///
            /// # Errors
            ///
            /// Never: there is no such process.
            fn wait(&self, Option<Instant>) -> io::Result<bool>;
            /// Takes its status.
            ///
            /// # Errors
            ///
            /// Never: there is no such process.
            fn try_reap(&self) -> io::Result<Reaped>;
            /// Asks it to end.
            ///
            /// # Errors
            ///
            /// Never: there is no such process.
            fn terminate(&self) -> io::Result<()>;
            /// Ends it.
            ///
            /// # Errors
            ///
            /// Never: there is no such process.
            fn kill(&self) -> io::Result<()>;
            /// Asks it and all below it to end.
            ///
            /// # Errors
            ///
            /// Never: there is no such process.
            fn terminate_tree(&self) -> io::Result<()>;
        }
    }

    /// Returns the number of this process.
    #[must_use]
    pub fn current_pid() -> u32 {
        std::process::id()
    }

    /// Returns 0: not known.
    #[must_use]
    pub fn parent_pid() -> u32 {
        0
    }

    /// Finds children by their titles.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn children_titled(_: &str) -> io::Result<Vec<u32>> {
        unsupported()
    }

    /// Counts this process's threads.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn count_threads() -> io::Result<usize> {
        unsupported()
    }

    /// Returns 0: there are no groups.
    #[must_use]
    pub fn current_group() -> u32 {
        0
    }

    /// Puts a child into a group.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn set_group(_: u32, _: u32) -> io::Result<()> {
        unsupported()
    }
}

/// Waiting for several handles.
pub mod ready {
    use super::{BorrowedHandle, unsupported};
    use std::io;
    use std::time::Instant;

    /// Waits for one of several handles.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn wait(_: &[BorrowedHandle<'_>], _: Option<Instant>) -> io::Result<Vec<bool>> {
        unsupported()
    }

    /// Waits for one handle.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn wait_one(_: BorrowedHandle<'_>, _: Option<Instant>) -> io::Result<bool> {
        unsupported()
    }

    /// The token of a nudge.
    pub const NUDGED: u64 = u64::MAX;

    /// A set of handles.
    #[derive(Debug)]
    pub struct Set(std::convert::Infallible);

    impl Set {
        /// Makes a set.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn new() -> io::Result<Self> {
            unsupported()
        }

        /// Adds a handle.
        ///
        /// # Errors
        ///
        /// Never: there is no such set.
        pub fn add(&self, _: BorrowedHandle<'_>, _: u64) -> io::Result<()> {
            match self.0 {}
        }

        /// Takes a handle out.
        pub fn remove(&self, _: BorrowedHandle<'_>) {
            match self.0 {}
        }

        /// Makes the waiting thread return.
        pub fn nudge(&self) {
            match self.0 {}
        }

        /// Waits.
        ///
        /// # Errors
        ///
        /// Never: there is no such set.
        pub fn wait(&self, _: &mut Vec<u64>) -> io::Result<()> {
            match self.0 {}
        }
    }
}

/// Rust's runtime, and hooks.
pub mod runtime {
    use super::{BorrowedHandle, unsupported};
    use std::io;

    /// Whether the target runs on the process's own main thread.
    pub const TARGET_ON_MAIN_THREAD: bool = false;

    /// What killed a child.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LastWord {
        /// Its main thread has used up its stack.
        StackOverflow,
        /// An allocation has failed.
        OutOfMemory,
    }

    /// Does nothing: there are no children.
    pub fn prepare(_: impl FnOnce()) {}
    /// Does nothing: there are no children.
    pub fn set_last_word(_: LastWord, _: Vec<u8>) {}
    /// Does nothing: there are no children.
    pub fn enter_child(_: BorrowedHandle<'_>) {}
    /// Does nothing: there are no children.
    pub fn install_altstack() {}
    /// Does nothing: there are no signals.
    pub fn block_all_signals() {}

    /// Runs `f`: there are no signals.
    pub fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    /// Installs a hook at exit.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn at_exit(_: extern "C" fn()) -> io::Result<()> {
        unsupported()
    }

    /// Installs a hook at fork.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn in_fork_copy(_: extern "C" fn()) -> io::Result<()> {
        unsupported()
    }

    /// Ends this process.
    pub fn exit_now(code: i32) -> ! {
        std::process::exit(code)
    }

    /// Ends this process.
    pub fn kill_self() -> ! {
        std::process::abort()
    }
}

/// A child's settings.
pub mod settings {
    use super::{BorrowedHandle, Handle, unsupported};
    use std::io;
    use std::path::Path;

    /// The standard streams.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Stream {
        /// Standard input.
        In,
        /// Standard output.
        Out,
        /// Standard error.
        Err,
    }

    /// Returns the standard streams: none that can be passed on.
    #[must_use]
    pub fn standard_streams() -> [Option<BorrowedHandle<'static>>; 3] {
        [None, None, None]
    }

    macro_rules! settings {
        ($($(#[$doc:meta])* fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {
            $($(#[$doc])*
            ///
            /// # Errors
            ///
            /// Always: unsupported.
            pub fn $name($(_: $argument),*) -> io::Result<$result> { unsupported() })*
        };
    }

    settings! {
        /// Opens the null device.
        fn null() -> Handle;
        /// Opens the null device in the place of a closed stream.
        fn open_closed_streams() -> ();
        /// Opens a directory.
        fn open_directory(&Path) -> Handle;
        /// Enters a process group.
        fn enter_group(u32) -> ();
        /// Limits memory.
        fn limit_memory(u64) -> ();
    }

    /// Sets a standard stream.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn set_stream<H>(_: Stream, _: H) -> io::Result<()> {
        unsupported()
    }

    /// Enters a directory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn enter_directory<H>(_: H) -> io::Result<()> {
        unsupported()
    }

    /// Does nothing: there are no titles.
    pub fn set_title(_: &str) {}

    /// Does nothing: there are no children.
    ///
    /// # Safety
    ///
    /// Nothing is done.
    pub unsafe fn set_environment(_: Vec<(Vec<u8>, Vec<u8>)>) {}

    /// Does nothing: nothing is inherited.
    pub fn close_all_but(_: &[BorrowedHandle<'_>]) {}
}

/// New processes.
pub mod start {
    use super::process::Process;
    use super::unsupported;
    use super::wire::Wire;
    use std::ffi::OsStr;
    use std::io;
    use std::process::Command;

    /// The variable that makes a process a child.
    pub const MARKER: &str = "PROCESSION_ENTRY";

    /// Which standard streams the caller has set.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct StreamsSet {
        /// Standard input is set.
        pub stdin: bool,
        /// Standard output is set.
        pub stdout: bool,
        /// Standard error is set.
        pub stderr: bool,
    }

    /// The marker's contents.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Marker {
        /// The handle's number.
        pub number: i32,
        /// The nonce.
        pub nonce: u64,
    }

    /// Which side of a fork this is.
    #[derive(Debug)]
    pub enum Fork {
        /// The one that called.
        Parent(Process),
        /// The new process.
        Child,
    }

    /// The command that starts this executable anew.
    #[must_use]
    pub fn command() -> Command {
        Command::new(std::env::current_exe().unwrap_or_default())
    }

    /// Does nothing: there are no groups.
    pub fn set_group(_: &mut Command, _: u32) {}

    /// Starts a command.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn execute(
        _: Command,
        _: Wire,
        _: u64,
        _: StreamsSet,
    ) -> io::Result<(Process, std::process::Child)> {
        unsupported()
    }

    /// Reads a marker: none is right.
    #[must_use]
    pub fn parse_marker(_: &OsStr) -> Option<Marker> {
        None
    }

    /// Takes a handle for later.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn reserve() -> io::Result<super::Handle> {
        unsupported()
    }

    /// Takes an inherited wire.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn inherited_wire(_: &Marker) -> io::Result<Wire> {
        unsupported()
    }

    /// Forks.
    ///
    /// # Safety
    ///
    /// Nothing is done.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub unsafe fn fork_sibling() -> io::Result<Fork> {
        unsupported()
    }

    /// Forks.
    ///
    /// # Safety
    ///
    /// Nothing is done.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub unsafe fn fork() -> io::Result<Fork> {
        unsupported()
    }

    /// Does nothing: there is no such child.
    pub fn abandon(_: u32) {}
}

/// Tethers.
pub mod tether {
    use super::{BorrowedHandle, Handle, unsupported};
    use std::io;

    /// The parent's side of a tether.
    #[derive(Debug)]
    pub struct Tether(std::convert::Infallible);

    impl Tether {
        /// Makes a tether.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn new() -> io::Result<Self> {
            unsupported()
        }

        /// Lends the child's end.
        #[must_use]
        pub fn handle(&self) -> BorrowedHandle<'_> {
            match self.0 {}
        }
    }

    /// Ties this process to a tether.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn tie(_: Handle) -> io::Result<()> {
        unsupported()
    }

    /// Does nothing: nothing is tied.
    pub fn untie_copy() {}
}

/// Wires.
pub mod wire {
    use super::{BorrowedHandle, Handle, unsupported};
    use std::io;

    /// How many handles one message can carry.
    pub const MAX_HANDLES: usize = 253;
    /// How many bytes one message can carry.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// One end of a wire.
    #[derive(Debug)]
    pub struct Wire(std::convert::Infallible);

    /// Why nothing could be received.
    #[derive(Debug)]
    #[non_exhaustive]
    pub enum ReceiveError {
        /// No message is there.
        Empty,
        /// Every other end is gone.
        Closed,
        /// The handles in a message could not be taken.
        HandlesLost {
            /// How many bytes came.
            length: usize,
        },
        /// The system refused.
        Io(io::Error),
    }

    impl Wire {
        /// Makes a wire.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn pair() -> io::Result<(Self, Self)> {
            unsupported()
        }

        /// Takes a handle for a wire.
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn from_handle(_: Handle) -> io::Result<Self> {
            unsupported()
        }

        /// Gives the handle.
        #[must_use]
        pub fn into_handle(self) -> Handle {
            match self.0 {}
        }

        /// Lends the handle.
        #[must_use]
        pub fn handle(&self) -> BorrowedHandle<'_> {
            match self.0 {}
        }

        /// Sends a message.
        ///
        /// # Errors
        ///
        /// Never: there is no such wire.
        pub fn send(&self, _: &[&[u8]], _: &[BorrowedHandle<'_>]) -> io::Result<()> {
            match self.0 {}
        }

        /// Receives a message.
        ///
        /// # Errors
        ///
        /// Never: there is no such wire.
        pub fn receive(
            &self,
            _: &mut [u8],
            _: &mut Vec<Handle>,
            _: bool,
        ) -> Result<usize, ReceiveError> {
            match self.0 {}
        }
    }
}
