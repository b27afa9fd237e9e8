//! How calendar windows are laid: the zone, the first day of the week, the fiscal year.

use std::fmt;
use std::str::FromStr;

use super::{PeriodError, Zone};

/// A day of the week, on which weekly calendar windows begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weekday {
    /// The default, as in ISO 8601.
    #[default]
    Monday,
    /// The day after Monday.
    Tuesday,
    /// The day after Tuesday.
    Wednesday,
    /// The day after Wednesday.
    Thursday,
    /// The day after Thursday.
    Friday,
    /// The day after Friday.
    Saturday,
    /// The day before Monday.
    Sunday,
}

impl Weekday {
    /// All seven, Monday first.
    const ALL: [(Weekday, &'static str); 7] = [
        (Weekday::Monday, "monday"),
        (Weekday::Tuesday, "tuesday"),
        (Weekday::Wednesday, "wednesday"),
        (Weekday::Thursday, "thursday"),
        (Weekday::Friday, "friday"),
        (Weekday::Saturday, "saturday"),
        (Weekday::Sunday, "sunday"),
    ];

    /// Days since Monday, `0..=6`.
    pub(super) fn days_from_monday(self) -> u32 {
        self as u32
    }
}

/// Reads `monday` to `sunday`, in lower case.
impl FromStr for Weekday {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Weekday, PeriodError> {
        let known = Weekday::ALL.iter().find(|(_, name)| *name == text);
        known
            .map(|(day, _)| *day)
            .ok_or_else(|| PeriodError::UnknownWeekday { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Weekday::ALL[*self as usize].1)
    }
}

/// How calendar windows are laid. The default is UTC, weeks from Monday, years from January.
///
/// One alignment may serve many periods: each uses what concerns it, a month ignores the first day
/// of the week.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alignment {
    pub(super) zone: Zone,
    pub(super) week_start: Weekday,
    pub(super) fiscal_start: u32,
}

impl Alignment {
    /// UTC, weeks from Monday, years from January.
    pub fn new() -> Alignment {
        Alignment { zone: Zone::UTC, week_start: Weekday::Monday, fiscal_start: 1 }
    }

    /// The zone whose midnights are the boundaries.
    #[must_use]
    pub fn zone(self, zone: Zone) -> Alignment {
        Alignment { zone, ..self }
    }

    /// The day on which weeks begin.
    #[must_use]
    pub fn week_start(self, week_start: Weekday) -> Alignment {
        Alignment { week_start, ..self }
    }

    /// The month in which years begin, 1 (January) to 12 (December); the grids of quarters and of
    /// several months begin there too. [`Period::calendar`](super::Period::calendar) refuses any
    /// other number.
    #[must_use]
    pub fn fiscal_start(self, month: u32) -> Alignment {
        Alignment { fiscal_start: month, ..self }
    }
}

impl Default for Alignment {
    fn default() -> Alignment {
        Alignment::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_round_trip_in_order() {
        for (days, (day, name)) in (0..).zip(Weekday::ALL) {
            assert_eq!(day.days_from_monday(), days);
            assert_eq!(day.to_string(), name);
            assert_eq!(name.parse(), Ok(day));
        }
        let refused = "Monday".parse::<Weekday>();
        assert_eq!(refused, Err(PeriodError::UnknownWeekday { text: "Monday".to_owned() }));
    }
}
