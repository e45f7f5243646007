//! Targets: which functions can run in another process, and how one is named there.
//!
//! A target is a zero-sized function type, so all there is to it is its type. For each type the
//! compiler makes one static [`Entry`] with the function that decodes arguments, calls the target
//! and encodes its result. The entry's offset in the main executable names it in every process that
//! runs the same build; the receiver checks, before the jump, that it does run the same build, that
//! the offset lies in its image, that an entry is there, and that it is that of the same type.

use std::any::{TypeId, type_name};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use procession_sys::image::{Identity, Image};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::arguments_sealed::Decoding;
use crate::codec::{self, Arguments, DecodeError, EncodeError, Encoded};

/// A function that can be started in another process.
///
/// It is implemented for function items and for closures that capture nothing, with up to eight
/// arguments; there is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started in another process with arguments of type `{Args}`",
    label = "not a function, or a closure that captures something, or other arguments",
    note = "a target is a function item or a closure that captures nothing: what it needs is passed as arguments, \
            `spawn(|text: String| …, (text,))`"
)]
pub trait Target<Args>: Copy + Send + 'static {
    /// What the function returns.
    type Output;

    #[doc(hidden)]
    fn call(self, args: Args) -> Self::Output;
}

macro_rules! target {
    ($($A:ident $a:ident),*) => {
        impl<Func, Ret, $($A),*> Target<($($A,)*)> for Func
        where
            Func: Fn($($A),*) -> Ret + Copy + Send + 'static,
        {
            type Output = Ret;

            fn call(self, ($($a,)*): ($($A,)*)) -> Ret {
                self($($a),*)
            }
        }
    };
}

target!();
target!(A a);
target!(A a, B b);
target!(A a, B b, C c);
target!(A a, B b, C c, D d);
target!(A a, B b, C c, D d, E e);
target!(A a, B b, C c, D d, E e, F f);
target!(A a, B b, C c, D d, E e, F f, G g);
target!(A a, B b, C c, D d, E e, F f, G g, H h);

/// A process of one's own: data that is sent to a child and runs there.
///
/// The counterpart of subclassing `Process` and overriding `run` in Python.
///
/// # Examples
///
/// ```
/// use procession::{Process, Run};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Sum {
///     numbers: Vec<u64>,
/// }
///
/// impl Run for Sum {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         self.numbers.iter().sum()
///     }
/// }
///
/// let child = Process::custom(Sum { numbers: vec![1, 2, 3] }).name("adder").start()?;
/// assert_eq!(child.join()?, 6);
/// # Ok::<(), procession::Error>(())
/// ```
pub trait Run: Serialize + DeserializeOwned + Send + 'static {
    /// What [`run`](Self::run) returns to the parent.
    type Output: Serialize + DeserializeOwned;

    /// Runs in the child, which ends when it returns.
    fn run(self) -> Self::Output;
}

/// Why a target returned no encoded value.
#[derive(Debug)]
pub(crate) enum CallError {
    Arguments(DecodeError),
    Result(EncodeError),
}

type Call = fn(&mut Decoding<'_>, &mut Encoded) -> Result<(), CallError>;

/// What one target type's offset points to.
#[repr(C)]
pub(crate) struct Entry {
    magic: [u8; 16],
    type_id: TypeId,
    name: fn() -> &'static str,
    call: Call,
}

const MAGIC: [u8; 16] = *b"procession entry";

impl Entry {
    /// What the function is called in the sources.
    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Runs the target: arguments in, result out. Panics if the target does.
    pub(crate) fn call(&self, decoding: &mut Decoding<'_>) -> Result<Encoded, CallError> {
        let mut result = Encoded::default();
        self.call_into(decoding, &mut result)?;
        Ok(result)
    }

    /// As [`call`](Self::call), with the result behind what is in `result`.
    pub(crate) fn call_into(
        &self,
        decoding: &mut Decoding<'_>,
        result: &mut Encoded,
    ) -> Result<(), CallError> {
        (self.call)(decoding, result)
    }
}

trait HasEntry {
    const ENTRY: &'static Entry;
}

/// The entry of a function with its arguments.
struct Function<F, Args>(std::marker::PhantomData<(F, Args)>);

impl<F, Args> HasEntry for Function<F, Args>
where
    F: Target<Args>,
    Args: Arguments,
    F::Output: Serialize,
{
    const ENTRY: &'static Entry = &Entry {
        magic: MAGIC,
        type_id: TypeId::of::<F>(),
        name: type_name::<F>,
        call: call_function::<F, Args>,
    };
}

fn call_function<F, Args>(
    decoding: &mut Decoding<'_>,
    result: &mut Encoded,
) -> Result<(), CallError>
where
    F: Target<Args>,
    Args: Arguments,
    F::Output: Serialize,
{
    let args = Args::decode(decoding).map_err(CallError::Arguments)?;
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: `F` has no bytes (checked above), so there is nothing to read; it is inhabited, since
    // the parent had a value of it when it named this entry; and it is `Copy`, so another value
    // does no harm.
    let target = unsafe { std::ptr::NonNull::<F>::dangling().read() };
    codec::encode_into(&target.call(args), result, "the result").map_err(CallError::Result)
}

/// The entry of a custom process.
struct Custom<T>(std::marker::PhantomData<T>);

impl<T: Run> HasEntry for Custom<T> {
    const ENTRY: &'static Entry = &Entry {
        magic: MAGIC,
        type_id: TypeId::of::<Custom<T>>(),
        name: type_name::<T>,
        call: call_custom::<T>,
    };
}

fn call_custom<T: Run>(decoding: &mut Decoding<'_>, result: &mut Encoded) -> Result<(), CallError> {
    let Decoding { bytes, handles } = decoding;
    let process: T =
        codec::decode_from(bytes, handles, "the custom process").map_err(CallError::Arguments)?;
    codec::encode_into(&process.run(), result, "the result").map_err(CallError::Result)
}

/// A target as it is named across processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct TargetName {
    identity: Identity,
    offset: u64,
    type_hash: u64,
}

/// How long a name is as bytes.
pub(crate) const NAME_BYTES: usize = size_of::<Identity>() + 16;

/// Why a target has no name, or a name no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// The target lives in a library that was loaded, not in the executable.
    OutsideMainImage(&'static str),
    /// The other process runs another build.
    OtherBuild,
    /// The build is the same, but there is no such entry in it.
    NoSuchEntry,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideMainImage(name) => write!(
                f,
                "the target `{name}` is part of a library that this program has loaded; a child runs the \
                 program's executable alone and would not find it there: start a function of the executable"
            ),
            Self::OtherBuild => f.write_str(
                "parent and child run different builds of the program; was its executable replaced while it ran?",
            ),
            Self::NoSuchEntry => f.write_str("the hand-off names a target that is not in this executable"),
        }
    }
}

/// Names the target `F`.
pub(crate) fn name_function<F, Args>() -> Result<TargetName, NameError>
where
    F: Target<Args>,
    Args: Arguments,
    F::Output: Serialize,
{
    const {
        assert!(
            size_of::<F>() == 0,
            "a target captures nothing: pass the values it needs as arguments instead"
        );
    }
    TargetName::of(Function::<F, Args>::ENTRY, type_name::<F>())
}

/// Names the custom process `T`.
pub(crate) fn name_custom<T: Run>() -> Result<TargetName, NameError> {
    TargetName::of(Custom::<T>::ENTRY, type_name::<T>())
}

impl TargetName {
    fn of(entry: &'static Entry, type_name: &'static str) -> Result<Self, NameError> {
        let image = Image::main();
        let offset = image
            .offset_of(&raw const *entry as usize)
            .ok_or(NameError::OutsideMainImage(type_name))?;
        Ok(Self { identity: image.identity(), offset, type_hash: hash(entry.type_id) })
    }

    /// The name as bytes of a fixed length.
    pub(crate) fn to_bytes(self) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        let (identity, rest) = bytes.split_at_mut(self.identity.len());
        identity.copy_from_slice(&self.identity);
        rest[..8].copy_from_slice(&self.offset.to_ne_bytes());
        rest[8..].copy_from_slice(&self.type_hash.to_ne_bytes());
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (identity, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let type_hash = rest.try_into().ok()?;
        Some(Self {
            identity: *identity,
            offset: u64::from_ne_bytes(*offset),
            type_hash: u64::from_ne_bytes(type_hash),
        })
    }

    /// Finds the target in this process.
    pub(crate) fn find(&self) -> Result<&'static Entry, NameError> {
        let image = Image::main();
        if self.identity != image.identity() {
            return Err(NameError::OtherBuild);
        }
        let address = image
            .address_of(self.offset, size_of::<Entry>(), align_of::<Entry>())
            .ok_or(NameError::NoSuchEntry)?;
        let magic = address as *const [u8; 16];
        // SAFETY: `address_of` says that the bytes are inside a readable segment of the image.
        if unsafe { magic.read() } != MAGIC {
            return Err(NameError::NoSuchEntry);
        }
        let entry = address as *const Entry;
        // SAFETY: readable and aligned, as above; the same build has an entry wherever it has its
        // magic at an entry's alignment, because nothing else contains it.
        let entry = unsafe { &*entry };
        if hash(entry.type_id) != self.type_hash {
            return Err(NameError::NoSuchEntry);
        }
        Ok(entry)
    }
}

/// The same in every process of one build: the hasher's keys are constants.
fn hash(type_id: TypeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    type_id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(x: u32) -> u32 {
        x * 2
    }

    fn name<F: Target<(u32,), Output = u32>>(_: F) -> TargetName {
        name_function::<F, (u32,)>().expect("a function of this executable")
    }

    #[test]
    fn a_name_finds_its_function_and_closure() {
        for (name, expected) in [(name(double), 6), (name(|x: u32| x + 1), 4)] {
            let encoded = codec::encode(&3u32, "argument 1").expect("encode");
            let mut decoding = Decoding { bytes: &encoded.bytes, handles: Vec::new() };
            let result = name.find().expect("found").call(&mut decoding).expect("called");
            let value: u32 =
                codec::decode(&result.bytes, Vec::new(), "the result").expect("decode");
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn wrong_names_are_refused_before_the_jump() {
        let good = name(double);
        let other = name(|x: u32| x - 1);
        let mut identity = good.identity;
        identity[5] ^= 1;
        let cases = [
            (TargetName { identity, ..good }, NameError::OtherBuild),
            (TargetName { offset: good.offset + 8, ..good }, NameError::NoSuchEntry),
            (TargetName { offset: u64::MAX, ..good }, NameError::NoSuchEntry),
            (TargetName { offset: 0, ..good }, NameError::NoSuchEntry),
            (TargetName { type_hash: other.type_hash, ..good }, NameError::NoSuchEntry),
        ];
        for (name, expected) in cases {
            assert_eq!(name.find().err(), Some(expected), "{name:?}");
        }
    }
}
