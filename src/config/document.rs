//! The form of a configuration document, and its limits' way into definitions.

use serde::Deserialize;

use super::calendar::{CalendarDocument, Length, period};
use super::form::{Form, Table, Text, Whole, Word};
use super::rate::RequestsDocument;
use super::{ConfigError, LimitConfig, OwnerConfig};
use crate::budget::Budget;
use crate::concurrency::Concurrency;
use crate::counter::SETTLED_MAX;
use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::plan::LimitError;
use crate::rate_limit::RateLimit;
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::{DecimalError, Money, Price, PriceTable, TokenWeights};

/// As much as a counter can count.
pub(super) type Amount = Whole<0, SETTLED_MAX>;

type Percent = Whole<1, 100>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    owners: Vec<Table<OwnerDocument>>,
    #[serde(default)]
    prices: Vec<Table<PriceDocument>>,
}

impl Form for Document {
    const EXPECTED: &'static str = "a table that may have owners and prices";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerDocument {
    id: OwnerId,
    #[serde(default)]
    parents: Vec<OwnerId>,
    #[serde(default)]
    budgets: Vec<Table<BudgetDocument>>,
    #[serde(default)]
    rate_limits: Vec<Table<RateLimitDocument>>,
    #[serde(default)]
    concurrency: Vec<Table<ConcurrencyDocument>>,
}

impl Form for OwnerDocument {
    const EXPECTED: &'static str =
        "a table with an id, such as { id = \"key:k1\" }, and what hangs on it";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetDocument {
    id: LimitId,
    /// Without one the budget counts and never denies.
    limit: Option<Money>,
    /// `never` is prepaid.
    period: Text<Length>,
    calendar: Option<Table<CalendarDocument>>,
    anchor: Option<Timestamp>,
    #[serde(default)]
    thresholds: Vec<Percent>,
}

impl Form for BudgetDocument {
    const EXPECTED: &'static str = "a table with id, limit and period";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitDocument {
    id: LimitId,
    tokens: Option<Table<TokensDocument>>,
    requests: Option<RequestsDocument>,
    anchor: Option<Timestamp>,
    #[serde(default)]
    thresholds: Vec<Percent>,
}

impl Form for RateLimitDocument {
    const EXPECTED: &'static str = "a table with id and tokens, requests or both";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensDocument {
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

/// Thousandths of a token.
struct Weight(u32);

impl Word for Weight {
    const EXPECTED: &'static str = "a weight as text, such as \"0.1\"";
    type Wrong = DecimalError;

    fn read(text: &str) -> Result<Self, DecimalError> {
        TokenWeights::parse_weight(text).map(Weight)
    }
}

/// Parts per million.
struct Multiplier(u32);

impl Word for Multiplier {
    const EXPECTED: &'static str = "a multiplier as text, such as \"1.2\"";
    type Wrong = DecimalError;

    fn read(text: &str) -> Result<Self, DecimalError> {
        Price::parse_multiplier(text).map(Multiplier)
    }
}

/// What tokens count for, as decimal texts. A kind that is not named counts one each.
#[derive(Default, Deserialize)]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConcurrencyDocument {
    id: LimitId,
    limit: Amount,
}

impl Form for ConcurrencyDocument {
    const EXPECTED: &'static str = "a table with id and limit";
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
    input_multiplier: Option<Text<Multiplier>>,
    output_multiplier: Option<Text<Multiplier>>,
}

impl Form for PriceDocument {
    const EXPECTED: &'static str = "a table with model, input and output";
}

impl Document {
    pub(super) fn owners(&self) -> Result<Vec<OwnerConfig>, ConfigError> {
        self.owners
            .iter()
            .enumerate()
            .map(|(index, owner)| owner.0.config(&format!("owners[{index}]")))
            .collect()
    }

    pub(super) fn prices(&self) -> Result<PriceTable, ConfigError> {
        let mut table = PriceTable::new();
        for (index, Table(price)) in self.prices.iter().enumerate() {
            if table.insert(&price.model, price.price()).is_some() {
                let problem = format!("the model {} is there twice; each once", price.model);
                return Err(ConfigError::at(format_args!("prices[{index}].model"), problem));
            }
        }
        Ok(table)
    }
}

impl OwnerDocument {
    fn config(&self, at: &str) -> Result<OwnerConfig, ConfigError> {
        let mut limits = Vec::new();
        for (index, Table(budget)) in self.budgets.iter().enumerate() {
            limits.push(budget.config(&format!("{at}.budgets[{index}]"))?);
        }
        for (index, Table(rate_limit)) in self.rate_limits.iter().enumerate() {
            limits.push(rate_limit.config(&format!("{at}.rate_limits[{index}]"))?);
        }
        for (index, Table(concurrency)) in self.concurrency.iter().enumerate() {
            let at = format!("{at}.concurrency[{index}]");
            let definition = Concurrency::new(concurrency.limit.0);
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
        let budget = budget.thresholds(&percent(&self.thresholds));
        limit(at, &self.id, budget.into(), self.anchor)
    }
}

impl RateLimitDocument {
    fn config(&self, at: &str) -> Result<LimitConfig, ConfigError> {
        let mut rate_limit = RateLimit::new().thresholds(&percent(&self.thresholds));
        if let Some(Table(tokens)) = &self.tokens {
            let at = format!("{at}.tokens");
            let period = period(&at, &tokens.period, tokens.calendar.as_ref())?;
            let weights = tokens.weights.0.weights();
            rate_limit =
                rate_limit.tokens(tokens.limit.map(|limit| limit.0), period).weights(weights);
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

impl PriceDocument {
    fn price(&self) -> Price {
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
        if let Some(Text(Multiplier(ppm))) = self.input_multiplier {
            price = price.input_multiplier_ppm(ppm);
        }
        if let Some(Text(Multiplier(ppm))) = self.output_multiplier {
            price = price.output_multiplier_ppm(ppm);
        }
        price
    }
}

fn percent(thresholds: &[Percent]) -> Vec<u8> {
    thresholds.iter().map(|percent| u8::try_from(percent.0).expect("at most 100")).collect()
}

/// A definition with its plan, or what is wrong with it.
fn limit(
    at: &str,
    id: &LimitId,
    definition: Limit,
    anchor: Option<Timestamp>,
) -> Result<LimitConfig, ConfigError> {
    let plan = definition.plan().map_err(|error| {
        let field = match error {
            LimitError::WeightlessTokens => ".tokens.weights",
            LimitError::Threshold { .. } | LimitError::Thresholds { .. } => ".thresholds",
            // Amounts were checked where they were read.
            LimitError::TooLarge { .. } | LimitError::NothingCounted => "",
        };
        ConfigError::at(format_args!("{at}{field}"), error)
    })?;
    Ok(LimitConfig { id: id.clone(), definition, plan: Arc::new(plan), anchor })
}
