//! How Go reads and writes JSON, where that differs from serde's way: null is a zero value on input,
//! empty slices and maps are `null` on output unless the API initialises them.
//!
//! It must not know any type of the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A JSON object with free keys; Go writes them sorted, and so does this.
pub type Map<T> = BTreeMap<String, T>;

/// The zero time as Go prints it.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// `{}`: the element of a set kept in a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A list of strings which may be sent as one string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StrSlice(pub Vec<String>);

impl std::ops::Deref for StrSlice {
    type Target = Vec<String>;

    fn deref(&self) -> &Vec<String> {
        &self.0
    }
}

impl From<Vec<String>> for StrSlice {
    fn from(list: Vec<String>) -> Self {
        StrSlice(list)
    }
}

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            List(Vec<String>),
            One(String),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::List(list) => StrSlice(list),
            Form::One(one) => StrSlice(vec![one]),
        })
    }
}

/// Reads null as the zero value.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What Go's `omitempty` looks at.
pub(crate) trait Zero {
    /// Whether this is the zero value of its type.
    fn is_zero(&self) -> bool;
}

impl Zero for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Zero for bool {
    fn is_zero(&self) -> bool {
        !self
    }
}

macro_rules! zero_number {
    ($($t:ty),*) => {$(
        impl Zero for $t {
            fn is_zero(&self) -> bool {
                *self == 0
            }
        }
    )*};
}
zero_number!(u16, u32, u64, i32, i64);

impl<T> Zero for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<T> Zero for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Zero for Map<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// `omitempty`.
pub(crate) fn zero<T: Zero>(value: &T) -> bool {
    value.is_zero()
}

/// Writes an empty list or map as null, as Go writes one that was never made.
pub(crate) fn null_if_empty<T: Zero + Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if value.is_zero() {
        serializer.serialize_none()
    } else {
        value.serialize(serializer)
    }
}

/// Declares structs of the API: names in PascalCase, every field optional and nullable on input.
/// The fields carry the names of the Docker Engine API, whose reference documents them.
macro_rules! go_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        #[allow(missing_docs)]
        pub struct $name {
            $(
                #[serde(deserialize_with = "crate::go::nullable")]
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strslice_takes_both_forms() {
        let one: StrSlice = serde_json::from_str("\"sh\"").expect("string");
        assert_eq!(one.0, ["sh"]);
        let list: StrSlice = serde_json::from_str("[\"a\",\"b\"]").expect("list");
        assert_eq!(list.0, ["a", "b"]);
        assert!(serde_json::from_str::<StrSlice>("3").is_err());
    }
}
