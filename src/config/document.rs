//! The form of a configuration document, and its limits' way into definitions.

use serde::Deserialize;

use super::calendar::CalendarDocument;
use super::rate::RequestsDocument;
use super::{ConfigError, LimitConfig, OwnerConfig};
use crate::budget::Budget;
use crate::concurrency::Concurrency;
use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::rate_limit::RateLimit;
use crate::sync::Arc;
use crate::time::{Period, Timestamp};
use crate::units::{Money, Price, PriceTable, TokenWeights};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    owners: Vec<OwnerDocument>,
    #[serde(default)]
    prices: Vec<PriceDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerDocument {
    id: OwnerId,
    #[serde(default)]
    parents: Vec<OwnerId>,
    #[serde(default)]
    budgets: Vec<BudgetDocument>,
    #[serde(default)]
    rate_limits: Vec<RateLimitDocument>,
    #[serde(default)]
    concurrency: Vec<ConcurrencyDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetDocument {
    id: LimitId,
    /// Without one the budget counts and never denies.
    limit: Option<Money>,
    /// `never` is prepaid.
    period: String,
    calendar: Option<CalendarDocument>,
    anchor: Option<Timestamp>,
    #[serde(default)]
    thresholds: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitDocument {
    id: LimitId,
    tokens: Option<TokensDocument>,
    requests: Option<RequestsDocument>,
    anchor: Option<Timestamp>,
    #[serde(default)]
    thresholds: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensDocument {
    /// Without one the tokens are counted and never deny.
    limit: Option<u64>,
    period: String,
    calendar: Option<CalendarDocument>,
    #[serde(default)]
    weights: WeightsDocument,
}

/// What tokens count for, as decimal texts. A kind that is not named counts one each.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WeightsDocument {
    input: Option<String>,
    output: Option<String>,
    cached: Option<String>,
    cache_write: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConcurrencyDocument {
    id: LimitId,
    limit: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceDocument {
    model: String,
    input: Money,
    output: Money,
    cached: Option<Money>,
    cache_write: Option<Money>,
    per_request: Option<Money>,
    input_multiplier: Option<String>,
    output_multiplier: Option<String>,
}

impl Document {
    pub(super) fn owners(&self) -> Result<Vec<OwnerConfig>, ConfigError> {
        self.owners
            .iter()
            .enumerate()
            .map(|(index, owner)| owner.config(&format!("owners[{index}]")))
            .collect()
    }

    pub(super) fn prices(&self) -> Result<PriceTable, ConfigError> {
        let mut table = PriceTable::new();
        for (index, price) in self.prices.iter().enumerate() {
            let at = format!("prices[{index}]");
            if table.insert(&price.model, price.price(&at)?).is_some() {
                let problem = format!("the model {} is there twice; each once", price.model);
                return Err(ConfigError::at(format_args!("{at}.model"), problem));
            }
        }
        Ok(table)
    }
}

impl OwnerDocument {
    fn config(&self, at: &str) -> Result<OwnerConfig, ConfigError> {
        let mut limits = Vec::new();
        for (index, budget) in self.budgets.iter().enumerate() {
            limits.push(budget.config(&format!("{at}.budgets[{index}]"))?);
        }
        for (index, rate_limit) in self.rate_limits.iter().enumerate() {
            limits.push(rate_limit.config(&format!("{at}.rate_limits[{index}]"))?);
        }
        for (index, concurrency) in self.concurrency.iter().enumerate() {
            let at = format!("{at}.concurrency[{index}]");
            let definition = Concurrency::new(concurrency.limit);
            limits.push(limit(&at, &concurrency.id, definition.into(), None)?);
        }
        Ok(OwnerConfig { id: self.id.clone(), parents: self.parents.clone(), limits })
    }
}

impl BudgetDocument {
    fn config(&self, at: &str) -> Result<LimitConfig, ConfigError> {
        let period = period(at, &self.period, self.calendar.as_ref())?;
        let budget = match self.limit {
            Some(limit) => Budget::new(limit, period),
            None => Budget::uncapped(period),
        };
        limit(at, &self.id, budget.thresholds(&self.thresholds).into(), self.anchor)
    }
}

impl RateLimitDocument {
    fn config(&self, at: &str) -> Result<LimitConfig, ConfigError> {
        let mut rate_limit = RateLimit::new().thresholds(&self.thresholds);
        if let Some(tokens) = &self.tokens {
            let at = format!("{at}.tokens");
            let period = period(&at, &tokens.period, tokens.calendar.as_ref())?;
            let weights = tokens.weights.weights(&format!("{at}.weights"))?;
            rate_limit = rate_limit.tokens(tokens.limit, period).weights(weights);
        }
        if let Some(requests) = &self.requests {
            let at = format!("{at}.requests");
            let period = period(&at, &requests.period, requests.calendar.as_ref())?;
            rate_limit = rate_limit.requests(requests.limit, period);
        }
        limit(at, &self.id, rate_limit.into(), self.anchor)
    }
}

impl WeightsDocument {
    fn weights(&self, at: &str) -> Result<TokenWeights, ConfigError> {
        let weight = |name: &str, text: &Option<String>, otherwise: u32| match text {
            None => Ok(otherwise),
            Some(text) => TokenWeights::parse_weight(text)
                .map_err(|error| ConfigError::at(format_args!("{at}.{name}"), error)),
        };
        let one = TokenWeights::default();
        Ok(TokenWeights {
            input: weight("input", &self.input, one.input)?,
            output: weight("output", &self.output, one.output)?,
            cached: weight("cached", &self.cached, one.cached)?,
            cache_write: weight("cache_write", &self.cache_write, one.cache_write)?,
        })
    }
}

impl PriceDocument {
    fn price(&self, at: &str) -> Result<Price, ConfigError> {
        let multiplier = |name: &str, text: &str| {
            Price::parse_multiplier(text)
                .map_err(|error| ConfigError::at(format_args!("{at}.{name}"), error))
        };
        let mut price = Price::per_million(self.input, self.output);
        if let Some(cached) = self.cached {
            price = price.cached(cached);
        }
        if let Some(cache_write) = self.cache_write {
            price = price.cache_write(cache_write);
        }
        if let Some(per_request) = self.per_request {
            price = price.per_request(per_request);
        }
        if let Some(text) = &self.input_multiplier {
            price = price.input_multiplier_ppm(multiplier("input_multiplier", text)?);
        }
        if let Some(text) = &self.output_multiplier {
            price = price.output_multiplier_ppm(multiplier("output_multiplier", text)?);
        }
        Ok(price)
    }
}

/// A definition with its plan, or what is wrong with it.
fn limit(
    at: &str,
    id: &LimitId,
    definition: Limit,
    anchor: Option<Timestamp>,
) -> Result<LimitConfig, ConfigError> {
    let plan = definition.plan().map_err(|error| ConfigError::at(at, error))?;
    Ok(LimitConfig { id: id.clone(), definition, plan: Arc::new(plan), anchor })
}

/// A rolling period, or one on the calendar if there is one.
fn period(
    at: &str,
    text: &str,
    calendar: Option<&CalendarDocument>,
) -> Result<Period, ConfigError> {
    match calendar {
        None => text.parse().map_err(|error| ConfigError::at(format_args!("{at}.period"), error)),
        Some(calendar) => {
            let alignment = calendar.alignment(&format!("{at}.calendar"))?;
            Period::calendar(text, &alignment)
                .map_err(|error| ConfigError::at(format_args!("{at}.period"), error))
        }
    }
}
