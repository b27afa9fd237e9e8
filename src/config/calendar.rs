//! How a document lays its windows: their length, and the calendar that they follow.

use std::convert::Infallible;

use serde::Deserialize;

use super::ConfigError;
use super::form::{Form, Table, Text, Whole, Word};
use crate::sync;
use crate::time::{Alignment, Period, PeriodError, Weekday, Zone};

/// The text of a period. What it means depends on whether there is a calendar beside it.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Length(pub(super) sync::Text);

impl Word for Length {
    const EXPECTED: &'static str = "a period as text, such as \"1h30m\", \"1M\" or \"never\"";
    type Wrong = Infallible;

    fn read(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl Word for Zone {
    const EXPECTED: &'static str = "a time zone as text, such as \"Europe/Berlin\" or \"UTC\"";
    type Wrong = PeriodError;

    fn read(text: &str) -> Result<Self, PeriodError> {
        Zone::named(text)
    }
}

impl Word for Weekday {
    const EXPECTED: &'static str = "a weekday as text, such as \"sunday\"";
    type Wrong = PeriodError;

    fn read(text: &str) -> Result<Self, PeriodError> {
        text.parse()
    }
}

/// January is 1.
type Month = Whole<1, 12>;

/// `calendar = {}` is UTC, weeks from Monday, years from January.
#[derive(Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CalendarDocument {
    zone: Option<Text<Zone>>,
    week_start: Option<Text<Weekday>>,
    fiscal_start: Option<Month>,
}

impl Form for CalendarDocument {
    const EXPECTED: &'static str = "a table that may have zone, week_start and fiscal_start";
}

impl CalendarDocument {
    fn alignment(&self) -> Alignment {
        let mut alignment = Alignment::new();
        if let Some(Text(zone)) = &self.zone {
            alignment = alignment.zone(zone.clone());
        }
        if let Some(Text(day)) = self.week_start {
            alignment = alignment.week_start(day);
        }
        if let Some(Whole(month)) = self.fiscal_start {
            alignment = alignment.fiscal_start(u32::try_from(month).expect("at most 12"));
        }
        alignment
    }
}

/// A rolling period, or one on the calendar if there is one.
pub(super) fn period(
    Text(Length(text)): &Text<Length>,
    calendar: Option<&Table<CalendarDocument>>,
) -> Result<Period, ConfigError> {
    match calendar {
        None => text.parse(),
        Some(Table(calendar)) => Period::calendar(text, &calendar.alignment()),
    }
    .map_err(|error| ConfigError::at("period", error))
}
