//! What a limit counts.

use std::fmt;
use std::str::FromStr;

use super::Money;

/// What a limit counts. Each dimension has a counter and a window of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Money, in [`Money`]'s nano-units.
    Money,
    /// Tokens, weighted by kind.
    Tokens,
    /// Requests.
    Requests,
    /// Requests in flight at the same time; there is no window.
    InFlight,
}

/// A text that names no dimension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a dimension; accepted: money, tokens, requests, in_flight")]
#[non_exhaustive]
pub struct DimensionError {
    /// The text, cut when it is very long.
    pub text: String,
}

impl Dimension {
    /// All four.
    pub const ALL: [Dimension; 4] =
        [Dimension::Money, Dimension::Tokens, Dimension::Requests, Dimension::InFlight];

    /// The name in texts and documents: `money`, `tokens`, `requests`, `in_flight`.
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Money => "money",
            Dimension::Tokens => "tokens",
            Dimension::Requests => "requests",
            Dimension::InFlight => "in_flight",
        }
    }
}

/// An amount of a dimension as people read it: money in units, the others as they are.
pub(crate) fn amount_text(dimension: Dimension, amount: u64) -> String {
    match (dimension, Money::from_nanos(amount)) {
        (Dimension::Money, Ok(money)) => money.to_string(),
        _ => amount.to_string(),
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dimension {
    type Err = DimensionError;

    fn from_str(text: &str) -> Result<Dimension, DimensionError> {
        let known = Dimension::ALL.into_iter().find(|dimension| dimension.name() == text);
        known.ok_or_else(|| DimensionError { text: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.to_string().parse(), Ok(dimension));
        }
        let refused = "Money".parse::<Dimension>().expect_err("names are lower case");
        assert_eq!(
            refused.to_string(),
            "\"Money\" is not a dimension; accepted: money, tokens, requests, in_flight"
        );
    }
}
