//! What every handle on an object in shared memory has.

/// Implements what makes a handle a value: it is cloned, shown, and goes where arguments, results
/// and messages go.
macro_rules! shared_handle {
    ($name:ident $(<$T:ident>)?, $shared:ty) => {
        impl$(<$T>)? Clone for $name$(<$T>)? {
            /// Makes another handle on the same object.
            fn clone(&self) -> Self {
                Self::from_shared(self.shared.clone())
            }
        }

        impl$(<$T>)? serde::Serialize for $name$(<$T>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::codec::serialize_handle(self.shared.handle(), serializer)
            }
        }

        impl<'de $(, $T)?> serde::Deserialize<'de> for $name$(<$T>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle = crate::codec::deserialize_handle(deserializer)?;
                let shared = <$shared>::open(handle).map_err(crate::codec::refuse_handle)?;
                Ok(Self::from_shared(shared))
            }
        }

        impl$(<$T>)? std::fmt::Debug for $name$(<$T>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use shared_handle;
