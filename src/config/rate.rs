//! A request rate in a document: `"60/m"`, or a table.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::calendar::CalendarDocument;
use crate::units::parse_count;

/// So many requests in a period.
pub(super) struct RequestsDocument {
    /// Without one the requests are counted and never deny.
    pub(super) limit: Option<u64>,
    pub(super) period: String,
    pub(super) calendar: Option<CalendarDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    limit: Option<u64>,
    period: String,
    calendar: Option<CalendarDocument>,
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
        // A unit alone is one of it.
        let one = period.starts_with(|first: char| first.is_ascii_alphabetic());
        let period = if one { format!("1{period}") } else { period.to_owned() };
        Ok(RequestsDocument { limit: Some(limit), period, calendar: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RequestsDocument { limit: table.limit, period: table.period, calendar: table.calendar })
    }
}
