//! Windows on calendar boundaries: days, weeks, and groups of months.

use std::fmt;

use chrono::{Datelike, Days, Months, NaiveDate};

use super::grammar::{Length, Unit, Written};
use super::{Alignment, PeriodError, Span, Timestamp, Weekday, Zone};

/// A calendar grid in a zone.
///
/// Only what concerns the grid is kept, so two calendars are equal exactly when they cut time at
/// the same places (in the same zone).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Calendar {
    grid: Grid,
    zone: Zone,
}

/// Which local dates begin a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Grid {
    /// Every one.
    Days,
    /// Every one that is this weekday.
    Weeks(Weekday),
    /// The first of each month whose number leaves `phase` when divided by `count`, numbering
    /// January 0. `count` divides 12, so all years are cut alike.
    Months { count: u32, phase: u32 },
}

impl Calendar {
    /// The calendar windows of a length as written.
    pub(super) fn new(
        text: &str,
        written: &Written,
        alignment: &Alignment,
    ) -> Result<Calendar, PeriodError> {
        let refuse = |reason| PeriodError::NotAlignable { text: text.to_owned(), reason };
        if !(1..=12).contains(&alignment.fiscal_start) {
            return Err(PeriodError::FiscalStart { month: alignment.fiscal_start });
        }
        let Some((count, unit)) = written.single else {
            return Err(refuse(match written.length {
                Length::Never => "it never ends",
                _ => "it is a compound or a decimal",
            }));
        };
        let months =
            |count: u32| Grid::Months { count, phase: (alignment.fiscal_start - 1) % count };
        let grid = match (unit, count) {
            (Unit::Day, 1) => Grid::Days,
            (Unit::Day, 7) => return Err(refuse("seven days are not a week, a week is `1w`")),
            (Unit::Day, _) => return Err(refuse("that many days divide no week")),
            (Unit::Week, 1) => Grid::Weeks(alignment.week_start),
            (Unit::Week, _) => return Err(refuse("that many weeks divide no month")),
            (Unit::Month, 1) => months(1),
            (Unit::Month, 2) => months(2),
            (Unit::Month, 3) | (Unit::Quarter, 1) => months(3),
            (Unit::Month, 4) => months(4),
            (Unit::Month, 6) | (Unit::Quarter, 2) => months(6),
            (Unit::Month, 12) | (Unit::Quarter, 4) | (Unit::Year, 1) => months(12),
            (Unit::Month, _) => return Err(refuse("that many months divide no year")),
            (Unit::Quarter, _) => return Err(refuse("that many quarters divide no year")),
            (Unit::Year, _) => return Err(refuse("only single years follow the calendar")),
            (Unit::Hour | Unit::Minute | Unit::Second | Unit::Milli, _) => {
                return Err(refuse("the shortest calendar window is a day"));
            }
        };
        Ok(Calendar { grid, zone: alignment.zone.clone() })
    }

    /// The window around `now`, for `now` before [`Timestamp::MAX`].
    pub(super) fn window_at(&self, now: Timestamp) -> Span {
        let mut first = self.grid.floor(self.zone.date_at(now));
        loop {
            let next = self.grid.next(first);
            let end = self.zone.start_of(next);
            if now < end {
                return Span { start: self.zone.start_of(first), end };
            }
            // The clocks went back over the boundary, so the local date is once more the old one
            // while its window is over. Dates grow, and an end beyond the range reads as
            // `Timestamp::MAX`, so this comes to rest.
            first = next;
        }
    }
}

impl Grid {
    /// The last date on or before `date` that begins a window.
    fn floor(self, date: NaiveDate) -> NaiveDate {
        match self {
            Grid::Days => date,
            Grid::Weeks(from) => {
                let past = date.weekday().num_days_from_monday() + 7 - from.days_from_monday();
                date.checked_sub_days(Days::new(u64::from(past % 7))).expect("years are 1969..2556")
            }
            Grid::Months { count, phase } => {
                let past = (date.month0() + 12 - phase) % count;
                let first = date.with_day(1).expect("every month has a first day");
                first.checked_sub_months(Months::new(past)).expect("years are 1969..2556")
            }
        }
    }

    /// The date after `first` that begins the next window.
    fn next(self, first: NaiveDate) -> NaiveDate {
        match self {
            Grid::Days => first.checked_add_days(Days::new(1)),
            Grid::Weeks(_) => first.checked_add_days(Days::new(7)),
            Grid::Months { count, .. } => first.checked_add_months(Months::new(count)),
        }
        .expect("years are 1969..2556")
    }
}

/// `1M@Europe/Berlin`, `1w@UTC,week=sunday`, `3M@UTC,fiscal=2`.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = &self.zone;
        match self.grid {
            Grid::Days => write!(f, "1d@{zone}"),
            Grid::Weeks(Weekday::Monday) => write!(f, "1w@{zone}"),
            Grid::Weeks(from) => write!(f, "1w@{zone},week={from}"),
            Grid::Months { count, phase } => {
                match count {
                    12 => write!(f, "1Y@{zone}")?,
                    _ => write!(f, "{count}M@{zone}")?,
                }
                if phase > 0 {
                    write!(f, ",fiscal={}", phase + 1)?;
                }
                Ok(())
            }
        }
    }
}

/// Reads what stands behind the `@` of a calendar period: a zone, then options that concern the
/// unit before the `@`, each at most once.
pub(super) fn parse_alignment(
    text: &str,
    written: &Written,
    behind: &str,
) -> Result<Alignment, PeriodError> {
    let mut parts = behind.split(',');
    let zone = Zone::named(parts.next().unwrap_or_default())?;
    let mut alignment = Alignment::new().zone(zone);
    let unit = written.single.map(|(_, unit)| unit);
    let mut seen = false;
    for option in parts {
        let misplaced =
            || PeriodError::CalendarOption { text: text.to_owned(), option: option.to_owned() };
        // No unit takes both options, so the second one is misplaced whatever it is.
        if std::mem::replace(&mut seen, true) {
            return Err(misplaced());
        }
        alignment = match (option.split_once('='), unit) {
            (Some(("week", day)), Some(Unit::Week)) => {
                alignment.week_start(day.parse().map_err(|_| misplaced())?)
            }
            (Some(("fiscal", month)), Some(Unit::Month | Unit::Quarter | Unit::Year)) => {
                let plain = !month.is_empty() && month.bytes().all(|b| b.is_ascii_digit());
                let month = if plain { month.parse().ok() } else { None };
                alignment.fiscal_start(month.ok_or_else(misplaced)?)
            }
            _ => return Err(misplaced()),
        };
    }
    Ok(alignment)
}
