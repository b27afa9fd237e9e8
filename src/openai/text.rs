//! How much is sent to a model, counted in one pass over the text of it, without a copy.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::members::Key;

/// What some part of a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The bytes of its strings, decoded.
    pub(super) bytes: u64,
    /// Its numbers: in an array of tokens each is one.
    pub(super) numbers: u64,
    /// Images and recordings.
    pub(super) media: u64,
    /// Whether it refers to what is not in it.
    pub(super) has_reference: bool,
}

/// The members of parts of a message that hold a medium of limited cost, itself or by reference.
/// What is in them is not text. A file may be all text, so it counts by its bytes.
const MEDIA: &[&str] = &[
    "input_audio",
    "audio",
    // What an image generator has answered.
    "result",
];

/// The members that refer to a file, a recording or a film of any length.
const REFERENCES: &[&str] = &["file_id", "file_url", "audio_url", "video_url"];

/// Reads the content of a JSON text.
///
/// # Errors
///
/// For what is no JSON, and for what is nested more than some hundred levels deep.
pub(super) fn content(text: &str) -> Result<Content, serde_json::Error> {
    let mut content = Content::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    Counting { content: &mut content, part: Part::Text }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(content)
}

/// How many inputs a JSON text is: the strings, arrays and objects of an array, of which an array
/// of tokens has none, and one where it is no array.
///
/// # Errors
///
/// For what is no JSON.
pub(super) fn inputs(text: &str) -> Result<u64, serde_json::Error> {
    if !text.starts_with('[') {
        return Ok(1);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let inputs = reader.deserialize_seq(Inputs)?;
    reader.end()?;
    Ok(inputs)
}

struct Inputs;

impl<'de> Visitor<'de> for Inputs {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut inputs = 0;
        while let Some(item) = items.next_element::<&RawValue>()? {
            inputs += u64::from(item.get().starts_with(['"', '[', '{']));
        }
        Ok(inputs)
    }
}

/// Adds what it reads.
struct Counting<'c> {
    content: &'c mut Content,
    part: Part,
}

/// What a value is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    /// The value of `type`.
    Type,
    /// An image. Some servers take any file in its place, which may be all text.
    Image,
}

/// Whether a text is the address of data that is no image.
fn is_other_data(text: &str) -> bool {
    let begins = |with: &str| {
        let head = text.as_bytes().get(..with.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()))
    };
    begins("data:") && !begins("data:image/")
}

impl<'de> DeserializeSeed<'de> for Counting<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counting<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.part != Part::Image || is_other_data(text) {
            self.content.bytes += text.len() as u64;
        }
        self.content.has_reference |= self.part == Part::Type && text == "item_reference";
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.content.numbers += 1;
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.content.numbers += 1;
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.content.numbers += 1;
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let content = self.content;
        let part = if self.part == Part::Image { Part::Image } else { Part::Text };
        while items.next_element_seed(Counting { content, part })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let content = self.content;
        // An item that says nothing of itself but its id stands for an earlier one.
        let (mut has_id, mut has_more) = (false, false);
        while let Some(Key(key)) = members.next_key()? {
            has_id |= key == "id";
            has_more |= key != "id" && key != "type";
            if MEDIA.contains(&&*key) {
                let medium: Option<IgnoredAny> = members.next_value()?;
                content.media += u64::from(medium.is_some());
            } else if REFERENCES.contains(&&*key) {
                let reference: Option<IgnoredAny> = members.next_value()?;
                content.has_reference |= reference.is_some();
            } else {
                content.media += u64::from(key == "image_url");
                let part = match (self.part, &*key) {
                    (Part::Image, _) | (_, "image_url") => Part::Image,
                    (_, "type") => Part::Type,
                    _ => Part::Text,
                };
                members.next_value_seed(Counting { content, part })?;
            }
        }
        content.has_reference |= has_id && !has_more;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
