//! Where in a document reading failed.
//!
//! What serde reads knows nothing of what it is in. So each list and each table adds its step to
//! the trail on an error's way out, innermost first. Nothing is recorded of what is right but the
//! name that is being read, in place: keeping the whole path at every step (as serde_path_to_error
//! does) took longer than reading the document.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};

use crate::sync::Text;

thread_local! {
    /// The steps to the error that is on its way out on this thread, innermost first.
    static TRAIL: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
}

/// One step into a document.
pub(super) enum Step {
    Name(Text),
    Index(usize),
}

/// Reads with `read`; an error comes with the path to where it was.
pub(super) fn follow<T, E>(read: impl FnOnce() -> Result<T, E>) -> Result<T, (String, E)> {
    let result = read();
    let trail = TRAIL.take();
    result.map_err(|error| (path(&trail), error))
}

fn path(trail: &[Step]) -> String {
    let mut path = String::new();
    for step in trail.iter().rev() {
        match step {
            Step::Name(name) if path.is_empty() => path.push_str(name),
            Step::Name(name) => path.extend([".", name]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Reads what is at a step, which is made when it is needed.
pub(super) struct Within<F, S> {
    step: F,
    seed: S,
}

/// Reads an element of a list.
pub(super) fn at<S>(index: usize, seed: S) -> Within<impl FnOnce() -> Step, S> {
    Within { step: move || Step::Index(index), seed }
}

impl<'de, F: FnOnce() -> Step, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<F, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        let Self { step, seed } = self;
        seed.deserialize(reader).inspect_err(|_| TRAIL.with_borrow_mut(|trail| trail.push(step())))
    }
}

/// The fields of a table, each within its name.
pub(super) struct Fields<A> {
    table: A,
    name: Text,
}

impl<A> Fields<A> {
    pub(super) fn of(table: A) -> Self {
        Self { table, name: Text::new() }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.table.next_key_seed(Name { read: &mut self.name, seed })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let name = &self.name;
        self.table.next_value_seed(Within { step: || Step::Name(name.clone()), seed })
    }
}

/// Reads a field's name, and keeps it.
struct Name<'a, K> {
    read: &'a mut Text,
    seed: K,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Name<'_, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<K::Value, D::Error> {
        *self.read = reader.deserialize_identifier(OnlyName)?;
        let name = &*self.read;
        let reader: StrDeserializer<D::Error> = name.as_str().into_deserializer();
        // A name that is not known is an error at the place that it names.
        Within { step: || Step::Name(name.clone()), seed: self.seed }.deserialize(reader)
    }
}

struct OnlyName;

impl Visitor<'_> for OnlyName {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Text, E> {
        Ok(name.into())
    }
}
