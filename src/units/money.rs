//! An amount of money in nano-units of a currency.

use std::fmt;
use std::str::FromStr;

use super::decimal::{self, DecimalError};

/// Decimal places of a nano-unit.
const PLACES: u32 = 9;

/// Nano-units in a unit.
const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// An amount of money: whole nano-units (10⁻⁹) of one currency, never negative.
///
/// The largest amount is 2⁶²−1 nano-units, some 4.6 billion units. No float is involved anywhere.
/// Which currency it is, is the caller's business: amounts are never converted.
///
/// The text is decimal digits with at most nine after the point, `_` between digits before it, and
/// one of `$`, `€`, `£` in front or none: `12.50`, `$0.0000375`, `1_000`. The currency sign is
/// read and forgotten. Blanks, signs, exponents and more digits are errors; nothing is rounded.
///
/// ```
/// use tollkeeper::Money;
///
/// let price: Money = "$0.0000375".parse()?;
/// assert_eq!(price.as_nanos(), 37_500);
/// assert_eq!(Money::from_units(12).to_string(), "12.00");
/// # Ok::<(), tollkeeper::MoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

/// An amount of money that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The text is not an amount.
    #[error("not an amount of money: {0}, with or without one of `$`, `€`, `£` in front")]
    Text(DecimalError),
    /// More nano-units than [`Money::MAX`].
    #[error(
        "{nanos} nano-units are more than an amount of money holds; accepted: at most {}",
        Money::MAX.as_nanos()
    )]
    TooLarge {
        /// The nano-units.
        nanos: u64,
    },
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// 2⁶²−1 nano-units: as much as a counter can book.
    pub const MAX: Money = Money((1 << 62) - 1);

    /// An amount of nano-units.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLarge`] above [`Money::MAX`].
    pub const fn from_nanos(nanos: u64) -> Result<Money, MoneyError> {
        if nanos > Money::MAX.0 {
            return Err(MoneyError::TooLarge { nanos });
        }
        Ok(Money(nanos))
    }

    /// An amount of whole units, such as dollars. Every `u32` fits; parse a text for more.
    pub const fn from_units(units: u32) -> Money {
        // The widest u32 is 4.29 * 10^18 nano-units, below 2^62: see the assertion after this.
        Money(units as u64 * NANOS_PER_UNIT)
    }

    /// The amount in nano-units.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; none above [`Money::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Money) -> Option<Money> {
        // Two amounts are below 2^63, so the sum itself cannot wrap.
        let nanos = self.0 + other.0;
        if nanos <= Money::MAX.0 { Some(Money(nanos)) } else { None }
    }

    /// The difference; none below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Money) -> Option<Money> {
        match self.0.checked_sub(other.0) {
            Some(nanos) => Some(Money(nanos)),
            None => None,
        }
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

const _: () = assert!(u32::MAX as u64 * NANOS_PER_UNIT <= Money::MAX.0);

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Money, MoneyError> {
        let amount = text.strip_prefix(['$', '€', '£']).unwrap_or(text);
        let nanos = decimal::scaled(amount, PLACES, Money::MAX.0).map_err(MoneyError::Text)?;
        Ok(Money(nanos))
    }
}

/// Decimal with at least two fraction digits and no trailing zeros beyond; parses back.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, nanos) = (self.0 / NANOS_PER_UNIT, self.0 % NANOS_PER_UNIT);
        let fraction = format!("{nanos:09}");
        let (cents, rest) = fraction.split_at(2);
        f.pad(&format!("{units}.{cents}{}", rest.trim_end_matches('0')))
    }
}
