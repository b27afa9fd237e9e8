//! A request rate in a document: `"60/m"`, or a table.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::calendar::{CalendarDocument, Length};
use super::document::Amount;
use super::form::{Table, Text, Whole, table};
use crate::sync;
use crate::time::Period;
use crate::units::parse_count;

/// So many requests in a period.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct RequestsDocument {
    /// Without one the requests are counted and never deny.
    pub(super) limit: Option<u64>,
    pub(super) period: Text<Length>,
    pub(super) calendar: Option<Table<CalendarDocument>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateDocument {
    limit: Option<Amount>,
    period: Text<Length>,
    calendar: Option<Table<CalendarDocument>>,
}

impl<'de> Deserialize<'de> for RequestsDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

struct TextOrTable;

impl<'de> Visitor<'de> for TextOrTable {
    type Value = RequestsDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate such as \"60/m\" or \"1000/12h\", or a table of limit and period")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let Some((limit, period)) = text.split_once('/') else {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        };
        let limit = parse_count(limit).map_err(E::custom)?;
        let Whole(limit) = Amount::deserialize(limit.into_deserializer())?;
        // A unit alone is one of it.
        let one = period.starts_with(|first: char| first.is_ascii_alphabetic());
        let mut length = sync::Text::new();
        if one && period != "never" {
            length.push('1');
        }
        length.push_str(period);
        // Here rather than with the tables', because this is the text that it is wrong in.
        let _: Period = length.parse().map_err(E::custom)?;
        Ok(RequestsDocument { limit: Some(limit), period: Text(Length(length)), calendar: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let RateDocument { limit, period, calendar } = table(map)?;
        Ok(RequestsDocument { limit: limit.map(|limit| limit.0), period, calendar })
    }
}
