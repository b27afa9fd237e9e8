//! Serde through text: what has one text form is that text in every document.
//!
//! Values are read with `FromStr`, so a document's errors are the parsers' errors. A number is
//! never accepted for an amount or an instant: its unit would be a guess.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Reads any type that has a text form.
struct TextVisitor<T> {
    expecting: &'static str,
    read: PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! serde_as_text {
    ($($type:ty: $expecting:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let visitor = TextVisitor { expecting: $expecting, read: PhantomData };
                deserializer.deserialize_str(visitor)
            }
        }
    )*};
}

serde_as_text! {
    crate::Timestamp: "an RFC 3339 timestamp as text, such as \"2026-02-28T23:59:59Z\"";
    crate::Period: "a period as text, such as \"1h30m\", \"1M@UTC\" or \"never\"";
    crate::Money: "an amount of money as text, such as \"12.50\"";
    crate::Dimension: "a dimension as text: money, tokens, requests or in_flight";
    crate::OwnerId: "an owner as text, such as \"key:k1\"";
    crate::LimitId: "a limit id as text";
}
