//! A token rate in a document, and what the tokens weigh.

use serde::Deserialize;

use super::ConfigError;
use super::calendar::{CalendarDocument, Length, period};
use super::document::Amount;
use super::form::{Form, Table, Text, Word};
use crate::rate_limit::RateLimit;
use crate::units::{DecimalError, TokenWeights};

/// So many tokens in a period.
#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub(super) struct TokensDocument {
    /// Without one the tokens are counted and never deny.
    limit: Option<Amount>,
    period: Text<Length>,
    calendar: Option<Table<CalendarDocument>>,
    #[serde(default)]
    weights: Table<WeightsDocument>,
}

impl Form for TokensDocument {
    const EXPECTED: &'static str = "a table with limit and period";
}

impl TokensDocument {
    /// Adds it to a rate limit.
    pub(super) fn limit(&self, rate_limit: RateLimit) -> Result<RateLimit, ConfigError> {
        let period = period(&self.period, self.calendar.as_ref())?;
        let limit = self.limit.map(|limit| limit.0);
        Ok(rate_limit.tokens(limit, period).weights(self.weights.0.weights()))
    }
}

/// Thousandths of a token.
#[derive(PartialEq, Eq, Hash)]
struct Weight(u32);

impl Word for Weight {
    const EXPECTED: &'static str = "a weight as text, such as \"0.1\"";
    type Wrong = DecimalError;

    fn read(text: &str) -> Result<Self, DecimalError> {
        TokenWeights::parse_weight(text).map(Weight)
    }
}

/// What tokens count for, as decimal texts. A kind that is not named counts one each.
#[derive(Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default, deny_unknown_fields)]
struct WeightsDocument {
    input: Option<Text<Weight>>,
    output: Option<Text<Weight>>,
    cached: Option<Text<Weight>>,
    cache_write: Option<Text<Weight>>,
}

impl Form for WeightsDocument {
    const EXPECTED: &'static str = "a table of weights as text, such as \
        { cached = \"0.1\" }, for input, output, cached, cache_write";
}

impl WeightsDocument {
    fn weights(&self) -> TokenWeights {
        let or = |weight: &Option<Text<Weight>>, otherwise| match weight {
            Some(Text(Weight(thousandths))) => *thousandths,
            None => otherwise,
        };
        let one = TokenWeights::default();
        TokenWeights {
            input: or(&self.input, one.input),
            output: or(&self.output, one.output),
            cached: or(&self.cached, one.cached),
            cache_write: or(&self.cache_write, one.cache_write),
        }
    }
}
