//! Decimal text to a scaled integer, exactly: the only room that names the decimal library.
//!
//! The characters are checked before the library sees them, so what is accepted is written down
//! here and does not change with a dependency.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;

/// The longest text that is looked at, in bytes: it bounds every error's text too.
const TEXT_BYTES_MAX: usize = 64;

/// A text that is not the number it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecimalError {
    /// The text is empty.
    #[error("the number is empty; accepted: {accepted}")]
    Empty {
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
    /// The text is far longer than any number.
    #[error("the number is {bytes} bytes long, at most {max} can be one; accepted: {accepted}")]
    TextTooLong {
        /// The text's length in bytes.
        bytes: usize,
        /// The longest text that is looked at, in bytes.
        max: usize,
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
    /// There is a sign.
    #[error("the number {text:?} has a sign, amounts are never negative; accepted: {accepted}")]
    Signed {
        /// The text.
        text: String,
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
    /// There is something else than digits, or a point or `_` where none can be.
    #[error("the number {text:?} has {found:?} at byte {at}; accepted: {accepted}")]
    Malformed {
        /// The text.
        text: String,
        /// The character that does not belong.
        found: char,
        /// Where it is, in bytes from the start of `text`.
        at: usize,
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
    /// There are more fraction digits than the unit holds, be they zeros.
    #[error("the number {text:?} has {digits} fraction digits; accepted: {accepted}")]
    TooPrecise {
        /// The text.
        text: String,
        /// How many fraction digits it has.
        digits: usize,
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
    /// The number is larger than the unit holds.
    #[error("the number {text:?} is too large; accepted: {accepted}")]
    TooLarge {
        /// The text.
        text: String,
        /// What is accepted here.
        accepted: AcceptedNumber,
    },
}

/// What a number may look like at one place. Its text is the end of each [`DecimalError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedNumber {
    /// The most fraction digits.
    places: u32,
    /// The largest value, in units of the last place.
    max: u64,
}

impl fmt::Display for AcceptedNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.places {
            0 => write!(f, "digits, such as `100000` or `100_000`, at most {}", self.max),
            places => {
                let max = in_units(self.max, places);
                write!(
                    f,
                    "digits with at most {places} after one point, such as `12.5` or `1_000`, at \
                     most {max}"
                )
            }
        }
    }
}

/// Reads a whole number for configuration: `100000` or `100_000`.
///
/// Suffixes are not understood: `M` would be a million here and months in a period.
///
/// # Errors
///
/// [`DecimalError`] for anything but digits with `_` between them, and above [`u64::MAX`].
///
/// ```
/// assert_eq!(tollkeeper::parse_count("100_000"), Ok(100_000));
/// assert!(tollkeeper::parse_count("100k").is_err());
/// ```
pub fn parse_count(text: &str) -> Result<u64, DecimalError> {
    scaled(text, 0, u64::MAX)
}

/// Reads decimal text as a whole number of units of its last place: `"12.50"` with nine places is
/// 12_500_000_000. The result is at most `max`.
pub(crate) fn scaled(text: &str, places: u32, max: u64) -> Result<u64, DecimalError> {
    let accepted = AcceptedNumber { places, max };
    check_characters(text, accepted)?;
    let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if fraction > places as usize {
        let text = text.to_owned();
        return Err(DecimalError::TooPrecise { text, digits: fraction, accepted });
    }
    // At most `places` fraction digits are left and the value is at most a u64 of the last place,
    // so a number that the library's 96 bits cannot hold exactly is too large for us anyway.
    let digits = match text.contains('_') {
        true => Cow::Owned(text.replace('_', "")),
        false => Cow::Borrowed(text),
    };
    let too_large = || DecimalError::TooLarge { text: text.to_owned(), accepted };
    let decimal = Decimal::from_str_exact(&digits).map_err(|_| too_large())?;
    let up = 10_i128.pow(places - decimal.scale());
    let value = decimal.mantissa().checked_mul(up).ok_or_else(too_large)?;
    u64::try_from(value).ok().filter(|value| *value <= max).ok_or_else(too_large)
}

/// Only digits, at most one point with digits on both sides, and `_` between digits before it.
fn check_characters(text: &str, accepted: AcceptedNumber) -> Result<(), DecimalError> {
    if text.is_empty() {
        return Err(DecimalError::Empty { accepted });
    }
    if text.len() > TEXT_BYTES_MAX {
        let (bytes, max) = (text.len(), TEXT_BYTES_MAX);
        return Err(DecimalError::TextTooLong { bytes, max, accepted });
    }
    if text.starts_with(['+', '-', '\u{2212}']) {
        return Err(DecimalError::Signed { text: text.to_owned(), accepted });
    }
    let (mut after_digit, mut after_point) = (false, false);
    let mut last = None;
    for (at, found) in text.char_indices() {
        let fits = match found {
            '0'..='9' => true,
            '_' => after_digit && !after_point,
            '.' => after_digit && !after_point && accepted.places > 0,
            _ => false,
        };
        if !fits {
            return Err(DecimalError::Malformed { text: text.to_owned(), found, at, accepted });
        }
        after_point |= found == '.';
        // `1_.5` is caught here as well: a point needs a digit right before it.
        after_digit = found.is_ascii_digit();
        last = Some((at, found));
    }
    match last {
        Some((at, found)) if !after_digit => {
            Err(DecimalError::Malformed { text: text.to_owned(), found, at, accepted })
        }
        _ => Ok(()),
    }
}

/// Writes `value` units of the last of `places` as a decimal, without trailing zeros.
pub(crate) fn in_units(value: u64, places: u32) -> String {
    let decimal = Decimal::from_i128_with_scale(i128::from(value), places);
    decimal.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_scales_exactly() {
        for (text, places, value) in [
            ("0", 0, 0),
            ("18446744073709551615", 0, u64::MAX),
            ("1_000_000", 0, 1_000_000),
            ("0000000000000000000000000000000000000001", 0, 1),
            ("0.1", 3, 100),
            ("0.001", 3, 1),
            ("18446744073709551.615", 3, u64::MAX),
            ("1_000.5", 9, 1_000_500_000_000),
            ("0.000000001", 9, 1),
        ] {
            assert_eq!(scaled(text, places, u64::MAX), Ok(value), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused_with_its_place() {
        let accepted = AcceptedNumber { places: 3, max: 5_000 };
        for (text, found, at) in [
            (".5", '.', 0),
            ("5.", '.', 1),
            ("1..5", '.', 2),
            ("1.2.3", '.', 3),
            ("_1", '_', 0),
            ("1_", '_', 1),
            ("1__0", '_', 2),
            ("1_.5", '.', 2),
            ("1.5_0", '_', 3),
            (" 1", ' ', 0),
            ("1 ", ' ', 1),
            ("1e3", 'e', 1),
            ("NaN", 'N', 0),
            ("1,5", ',', 1),
            ("1k", 'k', 1),
            ("٣", '٣', 0),
        ] {
            let text = text.to_owned();
            let refused = scaled(&text, 3, 5_000);
            assert_eq!(refused, Err(DecimalError::Malformed { text, found, at, accepted }));
        }
        let whole = scaled("1.5", 0, 5_000).expect_err("a count has no fraction");
        assert_eq!(
            whole.to_string(),
            "the number \"1.5\" has '.' at byte 1; accepted: digits, such as `100000` or \
             `100_000`, at most 5000"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, places) in [
            ("5.001", 3),
            ("18446744073709551616", 0),
            ("99999999999999999999999999999999999999999", 3),
        ] {
            let refused = scaled(text, places, 5_000);
            assert!(matches!(refused, Err(DecimalError::TooLarge { .. })), "{text}");
        }
        let precise = scaled("1.0000", 3, 5_000).expect_err("four places");
        assert_eq!(
            precise.to_string(),
            "the number \"1.0000\" has 4 fraction digits; accepted: digits with at most 3 after \
             one point, such as `12.5` or `1_000`, at most 5"
        );
        let long = scaled(&"0".repeat(65), 0, 5).expect_err("too long to look at");
        assert!(matches!(long, DecimalError::TextTooLong { bytes: 65, max: 64, .. }));
        assert!(matches!(scaled("-1", 0, 5), Err(DecimalError::Signed { .. })));
        assert!(matches!(scaled("+1", 0, 5), Err(DecimalError::Signed { .. })));
        assert!(matches!(scaled("", 0, 5), Err(DecimalError::Empty { .. })));
    }
}
