//! The arguments of a target: tuples of up to eight values.

use serde::Serialize;
use serde::de::DeserializeOwned;

use procession_sys::Handle;

use super::{DecodeError, EncodeError, Encoded, decode_from, encode_into};

/// A tuple of values that can be the arguments of a function in another process.
///
/// It is implemented for tuples of up to eight serde types; there is nothing to implement.
pub trait Arguments: Sized + Send + sealed::Sealed {
    #[doc(hidden)]
    fn encode(&self, encoded: &mut sealed::Encoding<'_>) -> Result<(), EncodeError>;
    #[doc(hidden)]
    fn decode(decoding: &mut sealed::Decoding<'_>) -> Result<Self, DecodeError>;
}

pub(crate) mod sealed {
    use super::{Encoded, Handle};

    /// Keeps the trait ours.
    pub trait Sealed {}

    /// Where arguments go.
    #[derive(Debug)]
    pub struct Encoding<'a>(pub(crate) &'a mut Encoded);

    /// Where arguments come from.
    #[derive(Debug)]
    pub struct Decoding<'a> {
        pub(crate) bytes: &'a [u8],
        pub(crate) handles: Vec<Option<Handle>>,
    }
}

macro_rules! arguments {
    ($($A:ident $index:tt $number:literal),*) => {
        impl<$($A),*> sealed::Sealed for ($($A,)*) {}

        impl<$($A: Serialize + DeserializeOwned + Send),*> Arguments for ($($A,)*) {
            fn encode(&self, encoded: &mut sealed::Encoding<'_>) -> Result<(), EncodeError> {
                let _ = encoded; // unused by the empty tuple
                $(encode_into(&self.$index, encoded.0, $number)?;)*
                Ok(())
            }

            fn decode(decoding: &mut sealed::Decoding<'_>) -> Result<Self, DecodeError> {
                let _ = decoding;
                Ok(($(decode_from::<$A>(&mut decoding.bytes, &mut decoding.handles, $number)?,)*))
            }
        }
    };
}

arguments!();
arguments!(A 0 "argument 1");
arguments!(A 0 "argument 1", B 1 "argument 2");
arguments!(A 0 "argument 1", B 1 "argument 2", C 2 "argument 3");
arguments!(A 0 "argument 1", B 1 "argument 2", C 2 "argument 3", D 3 "argument 4");
arguments!(A 0 "argument 1", B 1 "argument 2", C 2 "argument 3", D 3 "argument 4", E 4 "argument 5");
arguments!(
    A 0 "argument 1", B 1 "argument 2", C 2 "argument 3", D 3 "argument 4", E 4 "argument 5",
    F 5 "argument 6"
);
arguments!(
    A 0 "argument 1", B 1 "argument 2", C 2 "argument 3", D 3 "argument 4", E 4 "argument 5",
    F 5 "argument 6", G 6 "argument 7"
);
arguments!(
    A 0 "argument 1", B 1 "argument 2", C 2 "argument 3", D 3 "argument 4", E 4 "argument 5",
    F 5 "argument 6", G 6 "argument 7", H 7 "argument 8"
);
