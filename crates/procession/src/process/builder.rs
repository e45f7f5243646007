//! How a process is described before it is started.

use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Child;
use crate::codec::arguments_sealed::Encoding;
use crate::codec::{self, Arguments, EncodeError, Encoded};
use crate::context::StartMethod;
use crate::start::{self, EnvironmentChange, Group, Settings, StartError};
use crate::target::{self, NameError, Run, Target, TargetName};

/// Starts `target` with `args` in a process of its own, at once.
///
/// # Across processes
///
/// The target is a function item or a closure that captures nothing; `args` is a tuple of up to
/// eight serde values. They and the result are copied between the processes.
///
/// # Errors
///
/// A [`StartError`] when there is no room for another process, or an argument does not encode.
///
/// # Examples
///
/// ```
/// fn work(number: u64, word: String) -> String {
///     format!("{number} {word}")
/// }
///
/// let child = procession::spawn(work, (1, "a".to_string()))?;
/// assert_eq!(child.join()?, "1 a");
/// # Ok::<(), procession::Error>(())
/// ```
///
/// A crash stays where it happened:
///
/// ```
/// use procession::JoinError;
///
/// fn crash() {
///     std::process::abort()
/// }
///
/// let child = procession::spawn(crash, ())?;
/// assert!(matches!(child.join(), Err(JoinError::Signaled { signal: 6, .. })));
/// # Ok::<(), procession::Error>(())
/// ```
///
/// A closure that captures something does not compile; what it needs is passed as arguments:
///
/// ```compile_fail
/// let captured = 3u64;
/// let child = procession::spawn(move |x: u64| x + captured, (1,));
/// ```
pub fn spawn<F, Args>(target: F, args: Args) -> Result<Child<F::Output>, StartError>
where
    F: Target<Args>,
    Args: Arguments + 'static,
    F::Output: Serialize + DeserializeOwned,
{
    Process::new(target, args).start()
}

/// A process that is not started yet: settings come first.
///
/// # Examples
///
/// ```
/// use procession::Process;
///
/// let child = Process::new(|| std::env::var("GREETING").unwrap_or_default(), ())
///     .name("greeter")
///     .daemon(true)
///     .env("GREETING", "hello")
///     .start()?;
/// assert_eq!(child.name(), "greeter");
/// assert_eq!(child.join()?, "hello");
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a process does nothing until it is started"]
pub struct Process<R> {
    target: Result<TargetName, NameError>,
    arguments: ArgumentsEncoder,
    settings: Settings,
    value: PhantomData<fn() -> R>,
}

/// Encodes the arguments behind a hand-off; they are dropped when the process has started.
type ArgumentsEncoder = Box<dyn Fn(&mut Encoded) -> Result<(), EncodeError> + Send>;

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Describes a process that runs `target` with `args`, as [`spawn`] does.
    pub fn new<F, Args>(target: F, args: Args) -> Self
    where
        F: Target<Args, Output = R>,
        Args: Arguments + 'static,
    {
        let _ = target; // it has no bytes: its type says it all
        Self {
            target: target::name_function::<F, Args>(),
            arguments: Box::new(move |encoded| args.encode(&mut Encoding(encoded))),
            settings: Settings::default(),
            value: PhantomData,
        }
    }

    /// Describes a process of one's own: data that is sent to the child and runs there.
    pub fn custom<T: Run<Output = R>>(process: T) -> Self {
        Self {
            target: target::name_custom::<T>(),
            arguments: Box::new(move |encoded| {
                codec::encode_into(&process, encoded, "the custom process")
            }),
            settings: Settings::default(),
            value: PhantomData,
        }
    }

    /// Names the process; "Process-1", "Process-2", … otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Makes it end with this process, whatever ends this one: within the same moment, by the
    /// system's own hand. Whatever it starts itself with procession ends with it as well.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.settings.daemon = daemon;
        self
    }

    /// Chooses the start method for this process.
    ///
    /// A process with streams of its own ([`stdin`](Self::stdin) and so on) is always spawned.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.settings.method = Some(method);
        self
    }

    /// Chooses the process group.
    pub fn group(mut self, group: Group) -> Self {
        self.settings.group = group;
        self
    }

    /// Limits the private memory of the process, in bytes: heap, stacks of threads and private
    /// mappings, not code and not what it shares with others.
    ///
    /// An allocation beyond it fails; if that ends the process, [`join`](Child::join) says
    /// [`OutOfMemory`](crate::JoinError::OutOfMemory).
    /// Only while a panic is told may there be more, up to 256 MiB: its trace needs memory, and it is
    /// often for want of that that it is made.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Sets a variable in the child's environment, which is otherwise what this process has now.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.settings.environment.push(EnvironmentChange::Set(key.into(), value.into()));
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.settings.environment.push(EnvironmentChange::Remove(key.into()));
        self
    }

    /// Empties the child's environment, but for what is set afterwards.
    pub fn env_clear(mut self) -> Self {
        self.settings.environment.push(EnvironmentChange::Clear);
        self
    }

    /// Sets the child's current directory, which is otherwise this process's.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.directory = Some(directory.into());
        self
    }

    /// Sets the child's standard input, which is otherwise this process's.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.settings.stdin = Some(stdin.into());
        self
    }

    /// Sets the child's standard output, which is otherwise this process's.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.settings.stdout = Some(stdout.into());
        self
    }

    /// Sets the child's standard error, which is otherwise this process's.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.settings.stderr = Some(stderr.into());
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    ///
    /// A [`StartError`] that says which setting, argument or lack of resources is in the way.
    /// Nothing is left of the attempt then.
    pub fn start(self) -> Result<Child<R>, StartError> {
        start::start(self.settings, self.target?, &*self.arguments).map(Child::new)
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("settings", &self.settings).finish_non_exhaustive()
    }
}
