//! An instant: nanoseconds since the Unix epoch.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

/// Nanoseconds in a second.
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// An instant: whole nanoseconds since 1970-01-01T00:00:00Z, in UTC.
///
/// The range is 1970 to 2554-07-21T23:34:33.709551615Z. Arithmetic saturates at both ends. Leap
/// seconds do not exist, as in Unix time.
///
/// ```
/// use tollkeeper::Timestamp;
/// use std::time::Duration;
///
/// let t: Timestamp = "2026-02-28T23:59:59.5Z".parse()?;
/// assert_eq!((t + Duration::from_millis(500)).to_string(), "2026-03-01T00:00:00Z");
/// # Ok::<(), tollkeeper::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A text that is not an instant this crate can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The text is not RFC 3339.
    #[error(
        "{text:?} is not an RFC 3339 timestamp; accepted: date, `T`, time with at most nine \
         fraction digits, and `Z` or an offset, such as `2026-02-28T23:59:59.5Z`"
    )]
    Malformed {
        /// The text, cut when it is very long.
        text: String,
    },
    /// The instant lies before 1970 or after [`Timestamp::MAX`].
    #[error("{text:?} is out of range; accepted: 1970-01-01T00:00:00Z to {}", Timestamp::MAX)]
    OutOfRange {
        /// The text.
        text: String,
    },
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z, the earliest instant.
    pub const UNIX_EPOCH: Timestamp = Timestamp(0);

    /// 2554-07-21T23:34:33.709551615Z, the latest instant. As the end of a window it means never.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Timestamp {
        Timestamp(nanos)
    }

    /// The instant `millis` milliseconds after the epoch, at most [`Timestamp::MAX`].
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis.saturating_mul(1_000_000))
    }

    /// The instant `secs` seconds after the epoch, at most [`Timestamp::MAX`].
    pub const fn from_secs(secs: u64) -> Timestamp {
        Timestamp(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant moved forward by `by`, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(whole_nanos(by)))
    }

    /// This instant moved back by `by`, at least [`Timestamp::UNIX_EPOCH`].
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(whole_nanos(by)))
    }

    /// The time since `earlier`; zero when `earlier` is in fact later.
    pub const fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339, with `Z` or a numeric offset: `2026-02-28T23:59:59+01:00`.
    ///
    /// # Errors
    ///
    /// [`TimestampError::Malformed`] for anything but RFC 3339, for more than nine fraction digits
    /// and for a leap second (`:60`); [`TimestampError::OutOfRange`] outside 1970..2554.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimestampError> {
        // Longer than any timestamp with nine fraction digits; it also bounds the error's text.
        const BYTES_MAX: usize = 40;
        let malformed = || TimestampError::Malformed { text: text.chars().take(64).collect() };
        let fraction_digits = text
            .split_once('.')
            .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
        // The library reads a blank for the `T` and drops digits after the ninth; we do neither.
        let strict =
            text.len() <= BYTES_MAX && !text.contains(char::is_whitespace) && fraction_digits <= 9;
        if !strict {
            return Err(malformed());
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| malformed())?;
        if parsed.nanosecond() >= 1_000_000_000 {
            return Err(malformed());
        }
        let nanos = i128::from(parsed.timestamp()) * i128::from(NANOS_PER_SEC)
            + i128::from(parsed.nanosecond());
        let nanos = u64::try_from(nanos)
            .map_err(|_| TimestampError::OutOfRange { text: text.to_owned() })?;
        Ok(Timestamp(nanos))
    }

    /// The calendar library's view of this instant, in UTC.
    pub(super) fn to_utc(self) -> NaiveDateTime {
        let secs = i64::try_from(self.0 / NANOS_PER_SEC).expect("a u64 of nanos is < 2^35 seconds");
        let nanos = u32::try_from(self.0 % NANOS_PER_SEC).expect("a remainder is below 10^9");
        DateTime::from_timestamp(secs, nanos).expect("1970..2554 is within the library").naive_utc()
    }

    /// The instant of a date and time in UTC, clamped into the range.
    pub(super) fn from_utc_clamped(at: NaiveDateTime) -> Timestamp {
        let at = at.and_utc();
        let nanos = i128::from(at.timestamp()) * i128::from(NANOS_PER_SEC)
            + i128::from(at.timestamp_subsec_nanos());
        // What does not fit after clamping at zero lies after the latest instant.
        Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

/// A duration in nanoseconds; longer than 584 years reads as the longest.
fn whole_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        Timestamp::parse_rfc3339(text)
    }
}

/// Saturates, as [`Timestamp::saturating_add`] does.
impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, by: Duration) -> Timestamp {
        self.saturating_add(by)
    }
}

/// RFC 3339 in UTC with as many fraction digits as needed; parses back to the same instant.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.to_utc();
        let (year, month, day) = (at.year(), at.month(), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if at.nanosecond() > 0 {
            let fraction = format!("{:09}", at.nanosecond());
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_at_the_edges() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (1_772_323_199_999_999_999, "2026-02-28T23:59:59.999999999Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_nanos(nanos)));
        }
    }

    #[test]
    fn offsets_are_taken_off() {
        let utc = Timestamp::parse_rfc3339("2026-02-28T22:59:59Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-02-28T23:59:59+01:00"), utc);
    }

    #[test]
    fn loose_texts_are_refused() {
        for text in [
            "",
            "2026-02-28",
            "2026-02-28 23:59:59Z",
            "2026-02-28T23:59:59",
            " 2026-02-28T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-02-28T23:59:59.0000000001Z",
            "2026-02-28T23:59:59.Z",
            "1772323199",
        ] {
            let refused = Timestamp::parse_rfc3339(text);
            assert_eq!(refused, Err(TimestampError::Malformed { text: text.to_owned() }));
        }
        for text in ["1969-12-31T23:59:59.999999999Z", "2554-07-21T23:34:33.709551616Z"] {
            let refused = Timestamp::parse_rfc3339(text);
            assert_eq!(refused, Err(TimestampError::OutOfRange { text: text.to_owned() }));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let second = Duration::from_secs(1);
        assert_eq!(Timestamp::MAX.saturating_add(second), Timestamp::MAX);
        assert_eq!(Timestamp::from_secs(3).saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::UNIX_EPOCH.saturating_sub(second), Timestamp::UNIX_EPOCH);
        assert_eq!(Timestamp::UNIX_EPOCH.saturating_since(Timestamp::MAX), Duration::ZERO);
        assert_eq!(Timestamp::from_secs(5).saturating_since(Timestamp::from_secs(4)), second);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(1_500), Timestamp::from_nanos(1_500_000_000));
    }
}
