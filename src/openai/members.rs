//! The members of a request's body that decide what it costs, each as it is written.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::operation::Operation;
use crate::http::Refusal;

/// The members that every operation has.
const COMMON: [&str; 9] = [
    "model",
    "models",
    "fallbacks",
    "stream",
    "stream_options",
    "background",
    "tools",
    "service_tier",
    "prediction",
];

/// The body of a request, taken apart one level deep.
pub(super) struct Members<'a> {
    known: Vec<(&'static str, &'a RawValue)>,
    /// The bytes of the other members, but for numbers and the like.
    pub(super) other_bytes: u64,
}

/// An answer to a request in which this member is wrong.
pub(super) fn wrong(param: &'static str, code: &'static str, accepted: &str) -> Refusal {
    let message = format!("`{param}` cannot be read; accepted: {accepted}");
    Refusal::new(StatusCode::BAD_REQUEST, code, message).param(param)
}

impl<'a> Members<'a> {
    /// Takes a body apart.
    ///
    /// A member that decides what the request costs must be there once and in its usual spelling:
    /// the gateway and the upstream would otherwise have to agree on which one counts, and some
    /// servers take `Model` for `model`.
    pub(super) fn of(operation: Operation, body: &'a [u8]) -> Result<Self, Refusal> {
        let input = [operation.input()];
        let limits = [operation.output_limits(), operation.choices(), operation.unseen()];
        let names = [&COMMON[..], &input, &limits.concat()].concat();
        let refused = |why: &dyn fmt::Display| {
            let message = format!("the body is no JSON object: {why}");
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        };
        // Said here, because the reader's own message would have the whole of what it is instead.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(refused(&"it does not begin with `{`"));
        }
        let object = object(body, &names).map_err(|error| refused(&error))?;
        Ok(Self { known: object.checked()?, other_bytes: object.other_bytes })
    }

    /// The member of this name, which null is not.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.known.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The member of this name, as it is written, null or not there.
    pub(super) fn given(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| value.get() != "null")
    }

    /// The member of this name, read as a `T`.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        name: &'static str,
        accepted: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let value = serde_json::from_str(value.get());
        value.map(Some).map_err(|_| wrong(name, "invalid_type", accepted))
    }

    /// The largest of the counts of these names that are there.
    pub(super) fn largest(&self, names: &[&'static str]) -> Result<Option<u64>, Refusal> {
        let mut largest = None;
        for name in names {
            largest = largest.max(self.read(name, "a whole number from 0 to 2^64 - 1")?);
        }
        Ok(largest)
    }
}

/// An object, with the members of some names taken out.
pub(super) struct Object<'a> {
    known: Vec<(&'static str, &'a RawValue)>,
    pub(super) other_bytes: u64,
    pub(super) is_empty: bool,
    twice: Option<&'static str>,
    misspelt: Option<&'static str>,
}

impl<'a> Object<'a> {
    /// Its members, if each is there once and in its usual spelling.
    pub(super) fn checked(&self) -> Result<Vec<(&'static str, &'a RawValue)>, Refusal> {
        let refused = |param, message| {
            Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_parameter", message).param(param))
        };
        if let Some(name) = self.twice {
            return refused(name, format!("`{name}` is given twice; accepted: once"));
        }
        if let Some(name) = self.misspelt {
            let message = format!("`{name}` is spelt with other capitals; accepted: `{name}`");
            return refused(name, message);
        }
        Ok(self.known.clone())
    }
}

/// Reads an object, and takes the members of these names out.
pub(super) fn object<'a>(
    text: &'a [u8],
    names: &[&'static str],
) -> Result<Object<'a>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let object = reader.deserialize_map(ObjectVisitor(names))?;
    reader.end()?;
    Ok(object)
}

struct ObjectVisitor<'n>(&'n [&'static str]);

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object<'de>, A::Error> {
        let known = Vec::new();
        let mut object =
            Object { known, other_bytes: 0, is_empty: true, twice: None, misspelt: None };
        while let Some(Key(key)) = members.next_key()? {
            object.is_empty = false;
            let Some(name) = self.0.iter().find(|name| folds_to(&key, name)) else {
                let value: &RawValue = members.next_value()?;
                if value.get().starts_with(['"', '{', '[']) {
                    object.other_bytes += value.get().len() as u64;
                }
                continue;
            };
            // Of those that are refused nothing is kept.
            if key != *name {
                object.misspelt = Some(name);
                members.next_value::<IgnoredAny>()?;
            } else if object.known.iter().any(|(known, _)| known == name) {
                object.twice = Some(name);
                members.next_value::<IgnoredAny>()?;
            } else {
                object.known.push((name, members.next_value()?));
            }
        }
        Ok(object)
    }
}

/// A key, copied only if it has escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(key: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        key.deserialize_str(KeyVisitor)
    }
}

/// Whether a key is this name to one who does not look at capitals. Beside those of ASCII, two
/// characters of Unicode fold to letters of it.
fn folds_to(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|c| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}
