//! Values to bytes and back, with handles beside them.
//!
//! The format is postcard's, except for vectors of plain numbers at the top of a message or as an
//! argument of their own: those are a length (8 bytes) and the numbers as they lie in memory, one
//! copy each way. Both sides run the same build on the same machine, so byte order and the choice
//! between the two are always the same.
//!
//! A handle (a [`Connection`](crate::Connection), say) is written as its place in a table that
//! travels beside the bytes, and only while the library itself encodes or decodes.

mod arguments;
pub(crate) mod buffer;
mod handles;
mod numbers;

use std::any::type_name;
use std::fmt;

use procession_shm::pipe::Bytes;
use procession_sys::Handle;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use arguments::Arguments;
pub(crate) use arguments::sealed as arguments_sealed;
pub(crate) use handles::{
    Carried, Lent, Received, deserialize as deserialize_handle, only_received, place_shared,
    refuse as refuse_handle, serialize as serialize_handle, with_shared,
};

/// Why a value could not be turned into bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    what: String,
    type_name: String,
    reason: String,
}

/// Why bytes could not be turned into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    what: String,
    type_name: String,
    reason: String,
}

macro_rules! codec_error {
    ($name:ident, $verb:literal) => {
        impl $name {
            pub(crate) fn new<T: ?Sized>(what: &str, reason: impl fmt::Display) -> Self {
                Self {
                    what: what.to_owned(),
                    type_name: type_name::<T>().to_owned(),
                    reason: reason.to_string(),
                }
            }

            pub(crate) fn from_parts(what: String, type_name: String, reason: String) -> Self {
                Self { what, type_name, reason }
            }

            pub(crate) fn into_parts(self) -> (String, String, String) {
                (self.what, self.type_name, self.reason)
            }

            /// Returns which part it was: "the message", "argument 2", "the result".
            #[must_use]
            pub fn what(&self) -> &str {
                &self.what
            }

            /// Returns the name of the Rust type.
            #[must_use]
            pub fn type_name(&self) -> &str {
                &self.type_name
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { what, type_name, reason } = self;
                write!(
                    f,
                    concat!("{} of type `{}` cannot be ", $verb, ": {}"),
                    what, type_name, reason
                )
            }
        }

        impl std::error::Error for $name {}
    };
}

codec_error!(EncodeError, "encoded");
codec_error!(DecodeError, "decoded");

/// A value as it crosses: bytes, and the handles that they refer to by place.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) handles: Vec<Handle>,
}

/// Encodes one value as a message of its own.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, what: &str) -> Result<Encoded, EncodeError> {
    let mut encoded = Encoded::default();
    encode_into(value, &mut encoded, what)?;
    Ok(encoded)
}

/// Appends one value to `encoded`, which is unchanged if it fails.
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    encoded: &mut Encoded,
    what: &str,
) -> Result<(), EncodeError> {
    if let Some(result) = numbers::encode(value, &mut encoded.bytes) {
        return result.map_err(|reason| EncodeError::new::<T>(what, reason));
    }
    let (bytes, handles) = (encoded.bytes.len(), encoded.handles.len());
    let writer = Appending(std::mem::take(&mut encoded.bytes));
    let result = handles::with_table::<T, _>(&mut encoded.handles, || {
        let mut serializer = postcard::Serializer { output: writer };
        let result = value.serialize(&mut serializer);
        (serializer.output.0, result)
    });
    let ((written, result), reason) = result;
    encoded.bytes = written;
    result.map_err(|error| {
        encoded.bytes.truncate(bytes);
        encoded.handles.truncate(handles);
        let reason = reason.unwrap_or_else(|| explain(error));
        EncodeError::new::<T>(what, reason)
    })
}

/// Shows a value as it crosses, in two parts, if that takes no encoding.
pub(crate) fn as_parts<T: ?Sized>(value: &T) -> Option<([u8; 8], &[u8])> {
    numbers::as_parts(value)
}

/// Decodes a message where it lies in shared memory, if that takes one copy.
pub(crate) fn copy<T>(bytes: &Bytes<'_>, what: &str) -> Option<Result<T, DecodeError>> {
    let copied = numbers::copy(bytes)?;
    Some(copied.map_err(|reason| DecodeError::new::<T>(what, reason)))
}

/// Decodes a message that is one value and nothing else.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    handles: Vec<Handle>,
    what: &str,
) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let mut table = handles.into_iter().map(Some).collect();
    let value = decode_from(&mut rest, &mut table, what)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        let reason = format!("{} bytes are left over at its end", rest.len());
        Err(DecodeError::new::<T>(what, reason))
    }
}

/// Takes one value from the front of `bytes`.
#[inline]
pub(crate) fn decode_from<T: DeserializeOwned>(
    bytes: &mut &[u8],
    handles: &mut Vec<Option<Handle>>,
    what: &str,
) -> Result<T, DecodeError> {
    if let Some(result) = numbers::decode(bytes) {
        return result.map_err(|reason| DecodeError::new::<T>(what, reason));
    }
    let (result, reason) =
        handles::with_received::<T, _>(handles, || postcard::take_from_bytes(bytes));
    let (value, rest) = result.map_err(|error| {
        let reason = reason.unwrap_or_else(|| explain(error));
        DecodeError::new::<T>(what, reason)
    })?;
    *bytes = rest;
    Ok(value)
}

/// What postcard means, in words that a user of this library can act on.
fn explain(error: postcard::Error) -> String {
    use postcard::Error;
    match error {
        Error::WontImplement => {
            "it asks for a self-describing format (an untagged or flattened serde type, \
             or `serde_json::Value`); send it as bytes or give it a plain derive"
                .to_owned()
        }
        Error::SerializeSeqLengthUnknown => {
            "it does not tell the length of a sequence or map before writing it".to_owned()
        }
        Error::SerializeBufferFull => "there is no memory for its bytes".to_owned(),
        Error::SerdeSerCustom => "its `Serialize` implementation reported an error".to_owned(),
        Error::SerdeDeCustom => "its `Deserialize` implementation refused the value".to_owned(),
        Error::DeserializeUnexpectedEnd => "the bytes end before the value does".to_owned(),
        other => format!("{other}; the bytes are not such a value"),
    }
}

/// Lets postcard append to a vector that has something in it already.
struct Appending(Vec<u8>);

impl Appending {
    #[inline]
    fn reserve(&mut self, more: usize) -> postcard::Result<()> {
        // A message that is too large for this process shall not end it.
        self.0.try_reserve(more).map_err(|_| postcard::Error::SerializeBufferFull)
    }
}

impl postcard::ser_flavors::Flavor for Appending {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.reserve(1)?;
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers are small: a byte costs less than a copy of one.
        if let [byte] = bytes {
            return self.try_push(*byte);
        }
        self.reserve(bytes.len())?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests;
