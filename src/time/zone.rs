//! A time zone: which local date an instant has, and when a local date begins.

use std::fmt;

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};

use super::{PeriodError, Timestamp};

/// A time zone for calendar windows: UTC, or an IANA zone with the cargo feature `tz`.
///
/// The zone's rules are those compiled into the crate; they reach to the end of 2099, after which
/// the last offset holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Utc,
    #[cfg(feature = "tz")]
    Named(chrono_tz::Tz),
}

impl Zone {
    /// Coordinated Universal Time, the default.
    pub const UTC: Zone = Zone(Kind::Utc);

    /// The zone of an IANA name, such as `Europe/Berlin`; names are case-sensitive. `UTC` is
    /// [`Zone::UTC`].
    ///
    /// # Errors
    ///
    /// [`PeriodError::UnknownZone`] when there is no such zone, [`PeriodError::ZonesNotBuilt`] for
    /// any name but `UTC` when the cargo feature `tz` is off.
    pub fn named(name: &str) -> Result<Zone, PeriodError> {
        if name == "UTC" {
            return Ok(Zone::UTC);
        }
        Zone::iana(name)
    }

    #[cfg(feature = "tz")]
    fn iana(name: &str) -> Result<Zone, PeriodError> {
        let unknown = |_| PeriodError::UnknownZone { name: name.chars().take(64).collect() };
        let zone = name.parse().map_err(unknown)?;
        Ok(Zone(Kind::Named(zone)))
    }

    #[cfg(not(feature = "tz"))]
    fn iana(name: &str) -> Result<Zone, PeriodError> {
        Err(PeriodError::ZonesNotBuilt { name: name.chars().take(64).collect() })
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Utc => "UTC",
            #[cfg(feature = "tz")]
            Kind::Named(zone) => zone.name(),
        }
    }

    /// The local date at an instant.
    pub(super) fn date_at(&self, at: Timestamp) -> NaiveDate {
        let utc = at.to_utc();
        match &self.0 {
            Kind::Utc => utc.date(),
            #[cfg(feature = "tz")]
            Kind::Named(zone) => local(zone, utc).date(),
        }
    }

    /// The first instant of a local date, clamped into the range of [`Timestamp`].
    pub(super) fn start_of(&self, date: NaiveDate) -> Timestamp {
        let utc = match &self.0 {
            Kind::Utc => first_instant(&Utc, date),
            #[cfg(feature = "tz")]
            Kind::Named(zone) => first_instant(zone, date),
        };
        Timestamp::from_utc_clamped(utc)
    }
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What clocks in `zone` show at an instant given in UTC.
fn local(zone: &impl TimeZone, utc: NaiveDateTime) -> NaiveDateTime {
    utc + zone.offset_from_utc_datetime(&utc).fix()
}

/// The first instant of a local date, in UTC.
///
/// Midnight usually happens once. Where clocks go back over it, it happens twice and the earlier
/// one counts. Where clocks jump over it, the day begins at the first instant after the gap; when
/// the gap swallows the whole date (Apia, 2011-12-30) that instant begins the date after, and this
/// date has no length.
fn first_instant(zone: &impl TimeZone, date: NaiveDate) -> NaiveDateTime {
    let midnight = date.and_time(NaiveTime::MIN);
    if let Some(at) = zone.from_local_datetime(&midnight).earliest() {
        return at.naive_utc();
    }
    // Midnight was jumped over. Offsets stay within a day, so clocks show less than midnight at
    // `before` and more at `after`. Between them the jump is the only place where they pass it:
    // any other pass would show midnight. Jumps happen on whole seconds.
    let shows_past_midnight = |utc| local(zone, utc) >= midnight;
    let before = midnight - Duration::days(1);
    let (mut low, mut high) = (0_i64, Duration::days(2).num_seconds());
    debug_assert!(!shows_past_midnight(before), "offsets stay within a day");
    debug_assert!(
        shows_past_midnight(before + Duration::seconds(high)),
        "and so on the other side"
    );
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if shows_past_midnight(before + Duration::seconds(middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    before + Duration::seconds(high)
}

#[cfg(all(test, feature = "tz"))]
mod tests {
    use super::*;

    fn start(zone: &str, year: i32, month: u32, day: u32) -> String {
        let date = NaiveDate::from_ymd_opt(year, month, day).expect("a real date");
        Zone::named(zone).expect("a real zone").start_of(date).to_string()
    }

    #[test]
    fn a_day_begins_at_its_first_valid_instant() {
        for (zone, (year, month, day), expected) in [
            ("UTC", (2026, 3, 1), "2026-03-01T00:00:00Z"),
            ("Europe/Berlin", (2026, 3, 1), "2026-02-28T23:00:00Z"),
            // Midnight is jumped over: 00:00 becomes 01:00.
            ("Africa/Cairo", (2024, 4, 26), "2024-04-25T22:00:00Z"),
            ("Asia/Beirut", (2024, 3, 31), "2024-03-30T22:00:00Z"),
            ("America/Havana", (2024, 3, 10), "2024-03-10T05:00:00Z"),
            // Midnight happens twice: 01:00 becomes 00:00. The earlier one counts.
            ("America/Havana", (2024, 11, 3), "2024-11-03T04:00:00Z"),
            // 00:01 became 23:01 of the day before.
            ("America/St_Johns", (2010, 11, 7), "2010-11-07T02:30:00Z"),
            // The 30th was skipped, so it begins where the 31st begins.
            ("Pacific/Apia", (2011, 12, 29), "2011-12-29T10:00:00Z"),
            ("Pacific/Apia", (2011, 12, 30), "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", (2011, 12, 31), "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(start(zone, year, month, day), expected, "{zone} {year}-{month}-{day}");
        }
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(Zone::named("UTC"), Ok(Zone::UTC));
        for name in ["", "utc", "europe/berlin", "Europe/Berlin ", "+01:00", "CEST"] {
            let refused = Zone::named(name);
            assert_eq!(refused, Err(PeriodError::UnknownZone { name: name.to_owned() }));
        }
    }
}

#[cfg(all(test, not(feature = "tz")))]
mod tests_without_zones {
    use super::*;

    #[test]
    fn a_named_zone_says_which_feature_it_needs() {
        let refused = Zone::named("Europe/Berlin").expect_err("there are no zones");
        assert_eq!(
            refused.to_string(),
            "the time zone \"Europe/Berlin\" needs the cargo feature `tz` of tollkeeper, which is \
             not enabled; accepted without it: UTC"
        );
    }
}
