//! What one request uses, and how its tokens are weighed.

use super::Money;
use super::decimal::{self, DecimalError};

/// What one request is estimated to use, or did use.
///
/// The four kinds of tokens are disjoint: what was read from or written to a cache is not part of
/// `input_tokens`. The default is all zero, so `requests` must be set where requests count.
///
/// ```
/// use tollkeeper::{Money, Usage};
///
/// let usage = Usage { input_tokens: 500, requests: 1, ..Usage::default() };
/// assert_eq!(usage.cost, Money::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Usage {
    /// Tokens sent that no cache was involved in.
    pub input_tokens: u64,
    /// Tokens received.
    pub output_tokens: u64,
    /// Tokens sent that were read from a cache.
    pub cached_tokens: u64,
    /// Tokens sent that were written to a cache.
    pub cache_write_tokens: u64,
    /// Requests, usually 1.
    pub requests: u64,
    /// Money, as a [`Price`](super::Price) computes it from the rest.
    pub cost: Money,
}

/// How much a token of each kind counts against a token limit, in thousandths of a token.
///
/// The default counts each kind fully. Cached input at a tenth, as some providers limit it, is
/// `TokenWeights { cached: 100, ..TokenWeights::default() }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenWeights {
    /// Thousandths per token of [`Usage::input_tokens`].
    pub input: u32,
    /// Thousandths per token of [`Usage::output_tokens`].
    pub output: u32,
    /// Thousandths per token of [`Usage::cached_tokens`].
    pub cached: u32,
    /// Thousandths per token of [`Usage::cache_write_tokens`].
    pub cache_write: u32,
}

/// A weighted sum of tokens that cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the weighted tokens come to {tokens}; accepted: at most {}", u64::MAX)]
#[non_exhaustive]
pub struct WeightError {
    /// The sum in whole tokens.
    pub tokens: u128,
}

/// The thousandths in a token.
const ONE: u32 = 1_000;

impl TokenWeights {
    /// Reads one weight: decimal text with at most three fraction digits, `"0.1"` is 100.
    ///
    /// # Errors
    ///
    /// [`DecimalError`] for any other text, and above `4294967.295`.
    pub fn parse_weight(text: &str) -> Result<u32, DecimalError> {
        let thousandths = decimal::scaled(text, 3, u64::from(u32::MAX))?;
        Ok(u32::try_from(thousandths).expect("at most u32::MAX was asked for"))
    }

    /// Whether no token weighs anything.
    pub fn is_zero(&self) -> bool {
        *self == TokenWeights { input: 0, output: 0, cached: 0, cache_write: 0 }
    }

    /// The tokens of a usage, each kind by its weight, rounded up once to whole tokens.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when the sum is larger than a `u64`.
    ///
    /// ```
    /// use tollkeeper::{TokenWeights, Usage};
    ///
    /// let weights = TokenWeights { cached: 100, ..TokenWeights::default() };
    /// let usage = Usage { input_tokens: 50, cached_tokens: 1_001, ..Usage::default() };
    /// assert_eq!(weights.weigh(&usage), Ok(151));
    /// ```
    #[inline]
    pub fn weigh(&self, usage: &Usage) -> Result<u64, WeightError> {
        if *self == TokenWeights::default() {
            // The usual case, without a product.
            let kinds = [usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens];
            let sum = kinds.iter().try_fold(usage.input_tokens, |sum, n| sum.checked_add(*n));
            if let Some(sum) = sum {
                return Ok(sum);
            }
        }
        self.multiply(usage)
    }

    fn multiply(&self, usage: &Usage) -> Result<u64, WeightError> {
        let parts = [
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cached_tokens, self.cached),
            (usage.cache_write_tokens, self.cache_write),
        ];
        // A u64 times a u32 is below 2^96, so four of them cannot wrap 128 bits.
        let thousandths: u128 = parts.iter().map(|(n, w)| u128::from(*n) * u128::from(*w)).sum();
        // Nearly always 64 bits are enough, and dividing them is several times cheaper.
        if let Ok(small) = u64::try_from(thousandths) {
            return Ok(small.div_ceil(u64::from(ONE)));
        }
        let tokens = thousandths.div_ceil(u128::from(ONE));
        u64::try_from(tokens).map_err(|_| WeightError { tokens })
    }
}

impl Default for TokenWeights {
    fn default() -> TokenWeights {
        TokenWeights { input: ONE, output: ONE, cached: ONE, cache_write: ONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_up_once() {
        let tenth = TokenWeights { input: 100, output: 100, cached: 0, cache_write: 1 };
        let usage = |input, output, cached, write| Usage {
            input_tokens: input,
            output_tokens: output,
            cached_tokens: cached,
            cache_write_tokens: write,
            ..Usage::default()
        };
        // Two half tokens are one, not two.
        assert_eq!(tenth.weigh(&usage(5, 5, 0, 0)), Ok(1));
        assert_eq!(tenth.weigh(&usage(5, 5, 0, 1)), Ok(2));
        assert_eq!(tenth.weigh(&usage(0, 0, u64::MAX, 0)), Ok(0));
        let full = TokenWeights::default();
        assert_eq!(full.weigh(&usage(1, 2, 3, 4)), Ok(10));
        assert_eq!(full.weigh(&usage(u64::MAX, 0, 0, 0)), Ok(u64::MAX));
        let too_many = u128::from(u64::MAX) + 1;
        assert_eq!(full.weigh(&usage(u64::MAX, 1, 0, 0)), Err(WeightError { tokens: too_many }));
    }

    #[test]
    fn the_widest_weights_do_not_wrap() {
        let widest = TokenWeights {
            input: u32::MAX,
            output: u32::MAX,
            cached: u32::MAX,
            cache_write: u32::MAX,
        };
        let usage = Usage {
            input_tokens: u64::MAX,
            output_tokens: u64::MAX,
            cached_tokens: u64::MAX,
            cache_write_tokens: u64::MAX,
            ..Usage::default()
        };
        let thousandths = 4 * u128::from(u64::MAX) * u128::from(u32::MAX);
        let tokens = thousandths / 1_000 + u128::from(thousandths % 1_000 > 0);
        assert_eq!(widest.weigh(&usage), Err(WeightError { tokens }));
    }

    #[test]
    fn a_weight_is_read_in_thousandths() {
        for (text, thousandths) in [("1", 1_000), ("0.1", 100), ("0.125", 125), ("0", 0)] {
            assert_eq!(TokenWeights::parse_weight(text), Ok(thousandths));
        }
        assert_eq!(TokenWeights::parse_weight("4294967.295"), Ok(u32::MAX));
        for text in ["4294967.296", "0.0001", "-1", "1e3", ""] {
            assert!(TokenWeights::parse_weight(text).is_err(), "{text}");
        }
    }
}
