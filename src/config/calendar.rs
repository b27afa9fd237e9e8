//! How a document lays its calendar windows.

use serde::Deserialize;

use super::ConfigError;
use crate::time::{Alignment, Zone};

/// `calendar = {}` is UTC, weeks from Monday, years from January.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CalendarDocument {
    zone: Option<String>,
    week_start: Option<String>,
    fiscal_start: Option<u32>,
}

impl CalendarDocument {
    pub(super) fn alignment(&self, at: &str) -> Result<Alignment, ConfigError> {
        let mut alignment = Alignment::new();
        if let Some(zone) = &self.zone {
            let zone = Zone::named(zone)
                .map_err(|error| ConfigError::at(format_args!("{at}.zone"), error))?;
            alignment = alignment.zone(zone);
        }
        if let Some(day) = &self.week_start {
            let day = day.parse().map_err(|error: crate::PeriodError| {
                ConfigError::at(format_args!("{at}.week_start"), error)
            })?;
            alignment = alignment.week_start(day);
        }
        if let Some(month) = self.fiscal_start {
            alignment = alignment.fiscal_start(month);
        }
        Ok(alignment)
    }
}
