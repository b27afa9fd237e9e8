//! What the parts of a document are made of: tables, lists, texts, and numbers with a range.
//!
//! Serde's own errors name Rust's types, and its structs may be written as lists without names.
//! Here an error says what the document may have, and where; and a table is a table.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};

use super::trail::{Fields, at};

/// What a table is, for errors where something else is in its place.
pub(super) trait Form {
    /// Follows "expected", such as "a table with an id".
    const EXPECTED: &'static str;
}

/// Something that is written as a table and no other way.
#[derive(Default, PartialEq, Eq, Hash)]
pub(super) struct Table<T>(pub(super) T);

/// Reads a table whose beginning has been recognised.
pub(super) fn table<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: A) -> Result<T, A::Error> {
    T::deserialize(MapAccessDeserializer::new(Fields::of(map)))
}

impl<'de, T: Form + Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnlyTable(PhantomData))
    }
}

struct OnlyTable<T>(PhantomData<T>);

impl<'de, T: Form + Deserialize<'de>> Visitor<'de> for OnlyTable<T> {
    type Value = Table<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        table(map).map(Table)
    }
}

/// A list, empty unless it is written.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OnlyList(PhantomData))
    }
}

struct OnlyList<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyList<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // Most lists are of one, and this is room for one.
        let mut list = Vec::with_capacity(1);
        while let Some(element) = seq.next_element_seed(at(list.len(), PhantomData))? {
            list.push(element);
        }
        Ok(List(list))
    }
}

/// Something with a text form of its own.
pub(super) trait Word: Sized {
    /// Follows "expected", such as "a weight as text".
    const EXPECTED: &'static str;

    /// What is wrong with a text, and what is accepted.
    type Wrong: fmt::Display;

    fn read(text: &str) -> Result<Self, Self::Wrong>;
}

/// Something that is written as text and no other way.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: Word> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OnlyText(PhantomData))
    }
}

struct OnlyText<T>(PhantomData<T>);

impl<T: Word> Visitor<'_> for OnlyText<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::read(text).map(Text).map_err(E::custom)
    }
}

/// A whole number from `MIN` to `MAX`, written as a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Whole<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(InRange::<MIN, MAX>)
    }
}

struct InRange<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for InRange<MIN, MAX> {
    type Value = Whole<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        if (MIN..=MAX).contains(&number) {
            return Ok(Whole(number));
        }
        Err(E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}
