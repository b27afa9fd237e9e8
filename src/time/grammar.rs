//! The text of a period's length: `1h30m`, `1.5d`, `3M`, `never`.
//!
//! ```text
//! period = "never" | part+           larger units first, each at most once
//! part   = number unit               no blanks, no sign
//! number = digit+ | digit+ "." digit+
//! unit   = "Y" | "Q" | "M"           months: whole numbers, not beside the other units
//!        | "w" | "d" | "h" | "m" | "s" | "ms"
//! ```
//!
//! A decimal is fine where it comes to whole milliseconds. A part may be zero (`1h0m`), the whole
//! may not.

use super::PeriodError;

/// The longest text that is looked at, in bytes: it bounds every error's text too.
const TEXT_BYTES_MAX: usize = 128;

/// The longest fixed length: 100 years of 365.25 days.
pub(super) const MILLIS_MAX: u64 = 36_525 * 24 * 60 * 60 * 1_000;

/// The longest length in months: 100 years.
const MONTHS_MAX: u64 = 1_200;

/// The units, largest first: a later one is smaller, which is what a compound must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Milli,
}

/// What one of a unit comes to.
enum Worth {
    Months(u64),
    Millis(u64),
}

impl Unit {
    fn read(text: &str) -> Option<Unit> {
        Some(match text {
            "Y" => Unit::Year,
            "Q" => Unit::Quarter,
            "M" => Unit::Month,
            "w" => Unit::Week,
            "d" => Unit::Day,
            "h" => Unit::Hour,
            "m" => Unit::Minute,
            "s" => Unit::Second,
            "ms" => Unit::Milli,
            _ => return None,
        })
    }

    fn text(self) -> &'static str {
        match self {
            Unit::Year => "Y",
            Unit::Quarter => "Q",
            Unit::Month => "M",
            Unit::Week => "w",
            Unit::Day => "d",
            Unit::Hour => "h",
            Unit::Minute => "m",
            Unit::Second => "s",
            Unit::Milli => "ms",
        }
    }

    fn is_months(self) -> bool {
        self <= Unit::Month
    }

    fn worth(self) -> Worth {
        match self {
            Unit::Year => Worth::Months(12),
            Unit::Quarter => Worth::Months(3),
            Unit::Month => Worth::Months(1),
            Unit::Week => Worth::Millis(7 * 24 * 60 * 60 * 1_000),
            Unit::Day => Worth::Millis(24 * 60 * 60 * 1_000),
            Unit::Hour => Worth::Millis(60 * 60 * 1_000),
            Unit::Minute => Worth::Millis(60 * 1_000),
            Unit::Second => Worth::Millis(1_000),
            Unit::Milli => Worth::Millis(1),
        }
    }
}

/// A length of time, checked: positive and at most 100 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Without end.
    Never,
    /// Whole milliseconds, `1..=MILLIS_MAX`.
    Millis(u64),
    /// Whole months, `1..=MONTHS_MAX`.
    Months(u32),
}

/// A text as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) length: Length,
    /// Count and unit when the text is one whole number with one unit: all that a calendar takes.
    pub(super) single: Option<(u64, Unit)>,
}

/// Reads the text of a length.
pub(super) fn parse(text: &str) -> Result<Written, PeriodError> {
    let owned = || text.to_owned();
    check_characters(text)?;
    if text == "never" {
        return Ok(Written { length: Length::Never, single: None });
    }
    let (mut millis, mut months) = (0_u64, 0_u64);
    let mut last: Option<Unit> = None;
    let mut single = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, tail) = take_part(text, rest)?;
        rest = tail;
        // Mixing is told before order: who writes `1h30M` most likely means minutes.
        if last.is_some_and(|last| last.is_months() != unit.is_months()) {
            return Err(PeriodError::MixedUnits { text: owned() });
        }
        if last.is_some_and(|last| unit <= last) {
            return Err(PeriodError::UnitOrder { text: owned(), unit: unit.text() });
        }
        let too_long = || PeriodError::TooLong { text: owned() };
        match unit.worth() {
            Worth::Months(each) => {
                if !number.fraction.is_empty() {
                    let unit = unit.text();
                    return Err(PeriodError::FractionOfMonths { text: owned(), unit });
                }
                let part = number.whole().and_then(|n| n.checked_mul(each));
                months = part.and_then(|n| n.checked_add(months)).ok_or_else(too_long)?;
            }
            Worth::Millis(each) => {
                let part = number.times(each).map_err(|fault| fault.of(text))?;
                millis = part.checked_add(millis).ok_or_else(too_long)?;
            }
        }
        let alone = last.is_none() && rest.is_empty() && number.fraction.is_empty();
        single = if alone { number.whole().map(|n| (n, unit)) } else { None };
        last = Some(unit);
    }
    if months == 0 && millis == 0 {
        return Err(PeriodError::Zero { text: owned() });
    }
    if months > MONTHS_MAX || millis > MILLIS_MAX {
        return Err(PeriodError::TooLong { text: owned() });
    }
    let length = match u32::try_from(months).expect("at most MONTHS_MAX") {
        0 => Length::Millis(millis),
        months => Length::Months(months),
    };
    Ok(Written { length, single })
}

/// Refuses a text that is longer than any period, before anyone copies it.
pub(super) fn check_length(text: &str) -> Result<(), PeriodError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PeriodError::TextTooLong { bytes: text.len(), max: TEXT_BYTES_MAX });
    }
    Ok(())
}

/// Refuses what no period contains, before anything is taken apart.
fn check_characters(text: &str) -> Result<(), PeriodError> {
    if text.is_empty() {
        return Err(PeriodError::Empty);
    }
    check_length(text)?;
    if text.contains(char::is_whitespace) {
        return Err(PeriodError::Blank { text: text.to_owned() });
    }
    if text.contains(['+', '-', '\u{2212}']) {
        return Err(PeriodError::Signed { text: text.to_owned() });
    }
    Ok(())
}

/// A number as written: the digits before the point and after it.
#[derive(Clone, Copy)]
struct Number<'a> {
    integer: &'a str,
    /// Empty when there is no point.
    fraction: &'a str,
}

/// Why a number times its unit is no length.
enum Fault {
    TooFine,
    TooLong,
}

impl Fault {
    fn of(self, text: &str) -> PeriodError {
        match self {
            Fault::TooFine => PeriodError::TooFine { text: text.to_owned() },
            Fault::TooLong => PeriodError::TooLong { text: text.to_owned() },
        }
    }
}

impl Number<'_> {
    /// The digits before the point; none when they do not fit.
    fn whole(&self) -> Option<u64> {
        self.integer.parse().ok()
    }

    /// This many times `each` milliseconds, exactly.
    fn times(&self, each: u64) -> Result<u64, Fault> {
        let whole = self.whole().and_then(|n| n.checked_mul(each)).ok_or(Fault::TooLong)?;
        let digits = self.fraction.trim_end_matches('0');
        if digits.is_empty() {
            return Ok(whole);
        }
        // A fraction that ends in a non-zero digit at place p needs 2^p or 5^p in the unit. A
        // week of milliseconds, the largest, holds 2^12 and 5^7, so 18 places are plenty, and
        // 18 digits times a week fit 128 bits.
        if digits.len() > 18 {
            return Err(Fault::TooFine);
        }
        let numerator: u128 = digits.parse().map_err(|_| Fault::TooFine)?;
        let denominator = 10_u128.pow(u32::try_from(digits.len()).expect("at most 18"));
        let product = numerator * u128::from(each);
        if !product.is_multiple_of(denominator) {
            return Err(Fault::TooFine);
        }
        let part = u64::try_from(product / denominator).expect("a fraction is less than `each`");
        whole.checked_add(part).ok_or(Fault::TooLong)
    }
}

/// Takes one number with its unit off the front of `rest`, which is not empty.
fn take_part<'a>(text: &str, rest: &'a str) -> Result<(Number<'a>, Unit, &'a str), PeriodError> {
    let owned = || text.to_owned();
    let is_numeric = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = rest.split_at(rest.find(|c| !is_numeric(c)).unwrap_or(rest.len()));
    let (unit, rest) = rest.split_at(rest.find(is_numeric).unwrap_or(rest.len()));
    if number.is_empty() {
        return Err(PeriodError::MissingNumber { text: owned(), unit: unit.to_owned() });
    }
    let (integer, fraction) = match number.split_once('.') {
        None => (number, ""),
        Some((integer, fraction)) => {
            if integer.is_empty() || fraction.is_empty() || fraction.contains('.') {
                let number = number.to_owned();
                return Err(PeriodError::MalformedNumber { text: owned(), number });
            }
            (integer, fraction)
        }
    };
    if unit.is_empty() {
        return Err(PeriodError::MissingUnit { text: owned(), number: number.to_owned() });
    }
    let known = Unit::read(unit).ok_or_else(|| PeriodError::UnknownUnit {
        text: owned(),
        unit: unit.to_owned(),
        hint: hint(unit),
    })?;
    Ok((Number { integer, fraction }, known, rest))
}

/// What an unknown unit was probably meant to be.
fn hint(unit: &str) -> &'static str {
    let lower = unit.to_lowercase();
    match lower.as_str() {
        "mo" | "mos" | "mon" | "month" | "months" => ": M is months, m is minutes",
        "mi" | "min" | "mins" | "minute" | "minutes" => ": m is minutes, M is months",
        "ms" | "msec" | "milli" | "millis" | "millisecond" | "milliseconds" => {
            ": ms is milliseconds"
        }
        "s" | "sec" | "secs" | "second" | "seconds" => ": s is seconds",
        "h" | "hr" | "hrs" | "hour" | "hours" => ": h is hours",
        "d" | "day" | "days" => ": d is days",
        "w" | "wk" | "week" | "weeks" => ": w is weeks",
        "q" | "quarter" | "quarters" => ": Q is quarters",
        "y" | "yr" | "year" | "years" => ": Y is years",
        "us" | "µs" | "μs" | "ns" => ": ms is the finest",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_reads_as_what_it_prints() {
        use Unit::*;
        let units = [Year, Quarter, Month, Week, Day, Hour, Minute, Second, Milli];
        for unit in units {
            assert_eq!(Unit::read(unit.text()), Some(unit));
        }
        assert!(units.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn single_is_one_whole_number_with_one_unit() {
        assert_eq!(parse("3M").map(|w| w.single), Ok(Some((3, Unit::Month))));
        assert_eq!(parse("7d").map(|w| w.single), Ok(Some((7, Unit::Day))));
        for text in ["1.0d", "1h30m", "1Y6M", "never"] {
            assert_eq!(parse(text).map(|w| w.single), Ok(None), "{text}");
        }
    }
}
