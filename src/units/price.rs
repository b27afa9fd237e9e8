//! What a request costs: integers over one common denominator, divided once, rounded up.

use super::decimal::{self, DecimalError};
use super::{Money, Usage};

/// Parts per million: a multiplier of one.
const PPM: u32 = 1_000_000;

/// The common denominator of every component: tokens per priced million, times parts per million.
const DENOMINATOR: u128 = 1_000_000 * PPM as u128;

/// What one model's tokens cost.
///
/// Prices are amounts per million tokens. Until they are set, cached and cache-write tokens cost
/// as much as input, the multipliers are one and a request itself is free.
///
/// ```
/// use tollkeeper::{Money, Price, Usage};
///
/// let price = Price::per_million(Money::from_units(2), Money::from_units(8))
///     .input_multiplier_ppm(1_200_000)
///     .output_multiplier_ppm(800_000);
/// let usage = Usage { input_tokens: 1_000, output_tokens: 500, ..Usage::default() };
/// assert_eq!(price.cost(&usage)?.as_nanos(), 5_600_000);
/// # Ok::<(), tollkeeper::PriceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    input: Money,
    output: Money,
    cached: Option<Money>,
    cache_write: Option<Money>,
    per_request: Money,
    input_multiplier_ppm: u32,
    output_multiplier_ppm: u32,
}

/// A cost that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// The table has no price for the model: its cost is unknown, which is not nothing.
    #[error("the price table has no model {model:?}; accepted: exactly the names it was given")]
    UnknownModel {
        /// The model, cut when it is very long.
        model: String,
    },
    /// A component of the cost, or their sum, is more than [`Money::MAX`].
    #[error("the cost of the {component} is too large; accepted: at most {}", Money::MAX)]
    Overflow {
        /// What costs too much: `input tokens`, `output tokens`, `cached tokens`,
        /// `cache write tokens`, `requests` or `request as a whole`.
        component: &'static str,
    },
}

impl Price {
    /// Reads a multiplier: decimal text with at most six fraction digits, `"1.2"` is 1,200,000
    /// parts per million.
    ///
    /// # Errors
    ///
    /// [`DecimalError`] for any other text, and above `4294.967295`.
    pub fn parse_multiplier(text: &str) -> Result<u32, DecimalError> {
        let ppm = decimal::scaled(text, 6, u64::from(u32::MAX))?;
        Ok(u32::try_from(ppm).expect("at most u32::MAX was asked for"))
    }

    /// Prices per million input and output tokens.
    pub const fn per_million(input: Money, output: Money) -> Price {
        Price {
            input,
            output,
            cached: None,
            cache_write: None,
            per_request: Money::ZERO,
            input_multiplier_ppm: PPM,
            output_multiplier_ppm: PPM,
        }
    }

    /// The price per million tokens read from a cache, instead of the input price.
    #[must_use]
    pub const fn cached(self, per_million: Money) -> Price {
        Price { cached: Some(per_million), ..self }
    }

    /// The price per million tokens written to a cache, instead of the input price.
    #[must_use]
    pub const fn cache_write(self, per_million: Money) -> Price {
        Price { cache_write: Some(per_million), ..self }
    }

    /// A flat price for each of [`Usage::requests`], on top of the tokens. No multiplier applies.
    #[must_use]
    pub const fn per_request(self, each: Money) -> Price {
        Price { per_request: each, ..self }
    }

    /// Multiplies the prices of input, cached and cache-write tokens, in parts per million.
    #[must_use]
    pub const fn input_multiplier_ppm(self, ppm: u32) -> Price {
        Price { input_multiplier_ppm: ppm, ..self }
    }

    /// Multiplies the price of output tokens, in parts per million.
    #[must_use]
    pub const fn output_multiplier_ppm(self, ppm: u32) -> Price {
        Price { output_multiplier_ppm: ppm, ..self }
    }

    /// What a usage costs, rounded up once to whole nano-units. [`Usage::cost`] is not read.
    ///
    /// # Errors
    ///
    /// [`PriceError::Overflow`] naming the component that costs more than [`Money::MAX`].
    pub fn cost(&self, usage: &Usage) -> Result<Money, PriceError> {
        let (cached, cache_write) =
            (self.cached.unwrap_or(self.input), self.cache_write.unwrap_or(self.input));
        let (sent, received) = (self.input_multiplier_ppm, self.output_multiplier_ppm);
        let tokens = [
            ("input tokens", usage.input_tokens, self.input, sent),
            ("output tokens", usage.output_tokens, self.output, received),
            ("cached tokens", usage.cached_tokens, cached, sent),
            ("cache write tokens", usage.cache_write_tokens, cache_write, sent),
        ];
        // Every component is at most MAX_NUMERATOR, below 2^102, so five of them cannot wrap.
        let mut sum = component("requests", usage.requests, self.per_request, DENOMINATOR)?;
        for (name, count, price, multiplier) in tokens {
            sum += component(name, count, price, u128::from(multiplier))?;
        }
        let overflow = PriceError::Overflow { component: "request as a whole" };
        let nanos = u64::try_from(sum.div_ceil(DENOMINATOR)).map_err(|_| overflow.clone())?;
        Money::from_nanos(nanos).map_err(|_| overflow)
    }
}

/// One component over [`DENOMINATOR`]; an error when it alone is more than [`Money::MAX`].
fn component(
    name: &'static str,
    count: u64,
    price: Money,
    multiplier: u128,
) -> Result<u128, PriceError> {
    const MAX_NUMERATOR: u128 = Money::MAX.as_nanos() as u128 * DENOMINATOR;
    // The first product has at most 126 bits; only the second can be too wide.
    (u128::from(count) * u128::from(price.as_nanos()))
        .checked_mul(multiplier)
        .filter(|numerator| *numerator <= MAX_NUMERATOR)
        .ok_or(PriceError::Overflow { component: name })
}
