//! What is wrong with a period's text, and what would be right.

/// What every message about a rolling period ends with.
const ACCEPTED: &str = "accepted: numbers with units, larger units first, such as `1h30m`, \
    `1.5d` or `3M` (ms, s, m for minutes, h, d, w, M for months, Q for quarters, Y for years), \
    or `never`";

/// What every message about a calendar period ends with.
const ACCEPTED_CALENDAR: &str = "accepted with the calendar: 1d, 1w, 1M, 2M, 3M, 4M, 6M, 12M, \
    1Q, 2Q, 4Q, 1Y";

/// A period that cannot be: what was wrong, where, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodError {
    /// The text is empty.
    #[error("the period is empty; {}", ACCEPTED)]
    Empty,
    /// The text is far longer than any period.
    #[error("the period is {bytes} bytes long, at most {max} can be one; {}", ACCEPTED)]
    TextTooLong {
        /// The text's length in bytes.
        bytes: usize,
        /// The longest text that is looked at, in bytes.
        max: usize,
    },
    /// There is a blank in the text.
    #[error("the period {text:?} contains a blank; {}", ACCEPTED)]
    Blank {
        /// The text.
        text: String,
    },
    /// There is a `+` or `-` in the text.
    #[error("the period {text:?} has a sign, a period is never negative; {}", ACCEPTED)]
    Signed {
        /// The text.
        text: String,
    },
    /// A unit has no number before it.
    #[error("the period {text:?} has no number before {unit:?}; {}", ACCEPTED)]
    MissingNumber {
        /// The text.
        text: String,
        /// The unit that stands alone.
        unit: String,
    },
    /// A number has no unit after it.
    #[error("the period {text:?} has no unit after {number:?}; {}", ACCEPTED)]
    MissingUnit {
        /// The text.
        text: String,
        /// The number that stands alone.
        number: String,
    },
    /// A number is not digits with at most one point between them.
    #[error(
        "the period {text:?} has the malformed number {number:?}: digits, or digits with one \
         point between them; {}",
        ACCEPTED
    )]
    MalformedNumber {
        /// The text.
        text: String,
        /// The number as written.
        number: String,
    },
    /// A unit that does not exist.
    #[error("the period {text:?} has the unknown unit {unit:?}{hint}; {}", ACCEPTED)]
    UnknownUnit {
        /// The text.
        text: String,
        /// The unit as written.
        unit: String,
        /// What was probably meant; empty, or a clause that begins with a colon.
        hint: &'static str,
    },
    /// A unit appears twice, or after a smaller one.
    #[error("the period {text:?} has {unit:?} after a unit that is not larger; {}", ACCEPTED)]
    UnitOrder {
        /// The text.
        text: String,
        /// The unit that comes too late.
        unit: &'static str,
    },
    /// Months, quarters or years stand beside units of fixed length.
    #[error(
        "the period {text:?} mixes M, Q or Y with other units: M is months and m is minutes, \
         and a month has no fixed length to add them to; {}",
        ACCEPTED
    )]
    MixedUnits {
        /// The text.
        text: String,
    },
    /// A fraction of months, quarters or years.
    #[error(
        "the period {text:?} has a fraction of {unit:?}, which has no fixed length; {}",
        ACCEPTED
    )]
    FractionOfMonths {
        /// The text.
        text: String,
        /// The unit.
        unit: &'static str,
    },
    /// Not a whole number of milliseconds.
    #[error("the period {text:?} is not a whole number of milliseconds; {}", ACCEPTED)]
    TooFine {
        /// The text.
        text: String,
    },
    /// The length is zero.
    #[error("the period {text:?} is zero, the shortest is `1ms`; {}", ACCEPTED)]
    Zero {
        /// The text.
        text: String,
    },
    /// Longer than 100 years.
    #[error("the period {text:?} is longer than 100 years (1200 months, 36525 days); {}", ACCEPTED)]
    TooLong {
        /// The text.
        text: String,
    },
    /// The period has no calendar boundaries.
    #[error("the period {text:?} cannot follow the calendar: {reason}; {}", ACCEPTED_CALENDAR)]
    NotAlignable {
        /// The text.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// The fiscal start is not a month.
    #[error("the fiscal start month is {month}; accepted: 1 (January) to 12 (December)")]
    FiscalStart {
        /// The month as given.
        month: u32,
    },
    /// The weekday does not exist.
    #[error("{text:?} is not a weekday; accepted: monday, tuesday, and so on to sunday")]
    UnknownWeekday {
        /// The text, cut when it is very long.
        text: String,
    },
    /// The time zone does not exist.
    #[error("{name:?} is not a time zone; accepted: UTC and IANA names, such as `Europe/Berlin`")]
    UnknownZone {
        /// The name, cut when it is very long.
        name: String,
    },
    /// The crate was built without time zones.
    #[error(
        "the time zone {name:?} needs the cargo feature `tz` of tollkeeper, which is not enabled; \
         accepted without it: UTC"
    )]
    ZonesNotBuilt {
        /// The name, cut when it is very long.
        name: String,
    },
    /// What follows the zone in a calendar period's text is not understood.
    #[error(
        "the period {text:?} has the option {option:?}; accepted after the zone: \
         `week=monday` to `week=sunday` on 1w, `fiscal=1` to `fiscal=12` on M, Q and Y, each once"
    )]
    CalendarOption {
        /// The text.
        text: String,
        /// The option as written.
        option: String,
    },
}
