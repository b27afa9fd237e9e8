//! A period, and the window it lays around an instant.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use chrono::{Datelike, Months, NaiveDateTime};

use super::calendar::{self, Calendar};
use super::grammar::{self, Length, MILLIS_MAX};
use super::{Alignment, PeriodError, Span, Timestamp};

/// Nanoseconds in a millisecond, the finest length.
const NANOS_PER_MILLI: u64 = 1_000_000;

/// How long a window is and where windows begin: rolling, calendar, or never ending.
///
/// **Rolling** periods repeat from an anchor (a limit's creation) without a gap. Their text is
/// numbers with units, larger units first:
///
/// | unit | is |
/// |---|---|
/// | `ms` `s` `m` `h` | milliseconds, seconds, minutes, hours |
/// | `d` `w` | 24 hours, 7 times 24 hours |
/// | `M` `Q` `Y` | 1, 3, 12 months from the anchor's day and time in UTC |
///
/// `1h30m` and `1Y6M` are compounds, `1.5d` is a decimal (36 hours; not on `M`, `Q`, `Y`). A
/// length is whole milliseconds, at least `1ms` and at most 100 years (36525 days, 1200 months).
/// Months count from the anchor, never from the window before: anchored on 31 January, windows
/// begin on 28 or 29 February and then on 31 March.
///
/// **Calendar** periods follow the calendar of a zone: [`Period::calendar`], or as text the length,
/// `@`, the zone, and an option: `1d@UTC`, `1w@Europe/Berlin,week=sunday`, `1Q@UTC,fiscal=4`.
///
/// **`never`** is [`Period::NEVER`]: one window without end, for prepaid limits.
///
/// Two periods are equal when they lay the same windows: `24h` and `1d`, `3M@UTC` and `1Q@UTC`.
/// [`Display`](fmt::Display) prints one canonical text, which parses back to an equal period.
///
/// ```
/// use tollkeeper::Period;
///
/// let hourly: Period = "60m".parse()?;
/// assert_eq!(hourly.to_string(), "1h");
/// assert!("1min".parse::<Period>().is_err());
/// # Ok::<(), tollkeeper::PeriodError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Period(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Never,
    /// Nanoseconds, a multiple of a millisecond.
    Fixed(NonZeroU64),
    Months(NonZeroU32),
    Calendar(Calendar),
}

impl Period {
    /// One window without end: what is spent stays spent until the limit is topped up.
    pub const NEVER: Period = Period(Kind::Never);

    /// A rolling period of a fixed length.
    ///
    /// # Errors
    ///
    /// [`PeriodError::Zero`], [`PeriodError::TooFine`] when not whole milliseconds,
    /// [`PeriodError::TooLong`] beyond 36525 days.
    pub fn rolling(length: Duration) -> Result<Period, PeriodError> {
        let text = || format!("{length:?}");
        let nanos =
            u64::try_from(length.as_nanos()).map_err(|_| PeriodError::TooLong { text: text() })?;
        if nanos > MILLIS_MAX * NANOS_PER_MILLI {
            return Err(PeriodError::TooLong { text: text() });
        }
        if !nanos.is_multiple_of(NANOS_PER_MILLI) {
            return Err(PeriodError::TooFine { text: text() });
        }
        let nanos = NonZeroU64::new(nanos).ok_or_else(|| PeriodError::Zero { text: text() })?;
        Ok(Period(Kind::Fixed(nanos)))
    }

    /// A period on calendar boundaries.
    ///
    /// `length` is one whole number and one unit, and the number divides the unit above: `1d`;
    /// `1w`; `1M`, `2M`, `3M`, `4M`, `6M`, `12M`; `1Q`, `2Q`, `4Q`; `1Y`. Days and weeks are
    /// taken singly, because neither a week nor a month has a whole number of larger groups of
    /// them; `7d` is not a week. Years, and the grids of quarters and of several months, begin in
    /// the alignment's fiscal start month.
    ///
    /// A day begins at the first valid instant of its local date: after the gap when clocks jump
    /// over midnight, at the earlier one when they pass midnight twice. So days have 23 to 25
    /// hours where clocks change, and every instant lies in exactly one window.
    ///
    /// ```
    /// use tollkeeper::{Alignment, Period, Timestamp, Weekday};
    ///
    /// let weekly = Period::calendar("1w", &Alignment::new().week_start(Weekday::Sunday))?;
    /// let now: Timestamp = "2026-03-04T12:00:00Z".parse()?;
    /// let window = weekly.window_at(Timestamp::UNIX_EPOCH, now);
    /// assert_eq!(window.start.to_string(), "2026-03-01T00:00:00Z");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the text; [`PeriodError::NotAlignable`] for a length that does not follow the
    /// calendar; [`PeriodError::FiscalStart`] when the fiscal start is not 1 to 12.
    pub fn calendar(length: &str, alignment: &Alignment) -> Result<Period, PeriodError> {
        let written = grammar::parse(length)?;
        Calendar::new(length, &written, alignment).map(|calendar| Period(Kind::Calendar(calendar)))
    }

    /// Whether this is [`Period::NEVER`].
    pub fn is_never(&self) -> bool {
        matches!(self.0, Kind::Never)
    }

    /// Whether windows follow the calendar rather than an anchor.
    pub fn is_calendar(&self) -> bool {
        matches!(self.0, Kind::Calendar(_))
    }

    /// The length of every window, when they all have the same: none for months, calendar
    /// periods and `never`.
    pub fn fixed_length(&self) -> Option<Duration> {
        match self.0 {
            Kind::Fixed(nanos) => Some(Duration::from_nanos(nanos.get())),
            _ => None,
        }
    }

    /// The window around `now`: a pure function of its arguments.
    ///
    /// Always `start < end` and, for `anchor <= now < Timestamp::MAX`, `start <= now < end`; at
    /// `end` exactly the next window begins. `now` before `anchor` counts as `anchor`, so a clock
    /// that steps back finds the first window, not an earlier one. Calendar windows begin on their
    /// boundary even where that lies before the anchor (but not before 1970). An end that cannot
    /// be held is [`Timestamp::MAX`]. [`Timestamp::MAX`] itself, as `anchor` or `now`, counts as
    /// the nanosecond before it.
    ///
    /// For rolling periods of fixed length this is one division.
    pub fn window_at(&self, anchor: Timestamp, now: Timestamp) -> Span {
        let last = Timestamp::from_nanos(u64::MAX - 1);
        let anchor = anchor.min(last);
        let now = now.clamp(anchor, last);
        match &self.0 {
            Kind::Never => Span { start: anchor, end: Timestamp::MAX },
            Kind::Fixed(nanos) => fixed_window(anchor, nanos.get(), now),
            Kind::Months(months) => months_window(anchor, months.get(), now),
            Kind::Calendar(calendar) => calendar.window_at(now),
        }
    }
}

/// The lattice `anchor + k * length`, for `now >= anchor`.
fn fixed_window(anchor: Timestamp, length: u64, now: Timestamp) -> Span {
    let past = (now.as_nanos() - anchor.as_nanos()) % length;
    let start = now.as_nanos() - past;
    Span {
        start: Timestamp::from_nanos(start),
        end: Timestamp::from_nanos(start.saturating_add(length)),
    }
}

/// The lattice of months counted from the anchor, for `now >= anchor`.
fn months_window(anchor: Timestamp, months: u32, now: Timestamp) -> Span {
    let from = anchor.to_utc();
    let at = now.to_utc();
    let month_number = |d: NaiveDateTime| i64::from(d.year()) * 12 + i64::from(d.month0());
    let apart = u32::try_from(month_number(at) - month_number(from))
        .expect("now is not before the anchor, and both lie in 1970..2554");
    let boundary = |k: u32| {
        let moved = from.checked_add_months(Months::new(k * months));
        Timestamp::from_utc_clamped(moved.expect("1970..2554 and 100 years are in range"))
    };
    // The boundary in the month of `now`, if there is one, may still lie ahead; the one before it
    // does not, because it lies in an earlier month.
    let k = apart / months;
    if boundary(k) <= now {
        Span { start: boundary(k), end: boundary(k + 1) }
    } else {
        Span { start: boundary(k - 1), end: boundary(k) }
    }
}

/// Reads a length (`1h30m`, `1.5d`, `3M`, `never`), or a length on the calendar (`1M@UTC`).
impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Period, PeriodError> {
        let Some((length, behind)) = text.split_once('@') else {
            return Ok(match grammar::parse(text)?.length {
                Length::Never => Period::NEVER,
                Length::Millis(millis) => {
                    let nanos = NonZeroU64::new(millis * NANOS_PER_MILLI);
                    Period(Kind::Fixed(nanos.expect("a read length is 1..=MILLIS_MAX")))
                }
                Length::Months(months) => {
                    let months = NonZeroU32::new(months);
                    Period(Kind::Months(months.expect("a read length is at least a month")))
                }
            });
        };
        grammar::check_length(text)?;
        let written = grammar::parse(length)?;
        let alignment = calendar::parse_alignment(text, &written, behind)?;
        Calendar::new(length, &written, &alignment).map(|calendar| Period(Kind::Calendar(calendar)))
    }
}

/// The canonical text: whole weeks as weeks, otherwise days and smaller units.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEK: u64 = 7 * 24 * 60 * 60 * 1_000;
        match &self.0 {
            Kind::Never => f.write_str("never"),
            Kind::Calendar(calendar) => calendar.fmt(f),
            Kind::Months(months) => write_parts(f, u64::from(months.get()), &[(12, "Y"), (1, "M")]),
            Kind::Fixed(nanos) => {
                let millis = nanos.get() / NANOS_PER_MILLI;
                if millis.is_multiple_of(WEEK) {
                    return write!(f, "{}w", millis / WEEK);
                }
                let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m")];
                write_parts(f, millis, &units)?;
                write_parts(f, millis % 60_000, &[(1_000, "s"), (1, "ms")])
            }
        }
    }
}

/// Writes as many of each unit as fit, largest first, leaving out those of which there are none.
fn write_parts(f: &mut fmt::Formatter<'_>, mut amount: u64, units: &[(u64, &str)]) -> fmt::Result {
    for (each, unit) in units {
        if amount >= *each {
            write!(f, "{}{unit}", amount / each)?;
            amount %= each;
        }
    }
    Ok(())
}
