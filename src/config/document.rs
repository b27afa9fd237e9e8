//! The form of a configuration document, and its limits' way into definitions.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::calendar::{CalendarDocument, Length};
use super::definitions::{Definitions, Written};
use super::form::{Form, List, Table, Text, Whole, Word};
use super::rate::RequestsDocument;
use super::tokens::TokensDocument;
use super::trail::{self, Fields};
use super::{ConfigError, LimitConfig, OwnerConfig};
use crate::counter::SETTLED_MAX;
use crate::id::{LimitId, OwnerId};
use crate::plan::Enforcement;
use crate::time::Timestamp;
use crate::units::{DecimalError, Money, Price, PriceTable};

/// As much as a counter can count.
pub(super) type Amount = Whole<0, SETTLED_MAX>;

pub(super) type Percent = Whole<1, 100>;

/// What has been read of a document. It is read owner by owner and, in TOML, piece by piece: the
/// whole of it as it is written would take several times the memory of what it means.
#[derive(Default)]
pub(super) struct Document {
    owners: Vec<OwnerConfig>,
    limits: Vec<LimitConfig>,
    prices: Option<PriceTable>,
    definitions: Definitions,
    /// What is wrong with the meaning of what has been read, first of all. What is wrong with the
    /// form of what follows is told instead.
    problem: Option<ConfigError>,
}

impl Document {
    /// Reads a document or a piece of one. An error of the form comes with its path.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        &mut self,
        reader: D,
    ) -> Result<(), (String, D::Error)> {
        trail::follow(|| reader.deserialize_map(Root(self)))
    }

    /// The owners, limits and prices, if the meaning of each is right by itself.
    pub(super) fn finish(
        self,
    ) -> Result<(Vec<OwnerConfig>, Vec<LimitConfig>, PriceTable), ConfigError> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok((self.owners, self.limits, self.prices.unwrap_or_default())),
        }
    }

    fn add_owner(&mut self, owner: OwnerDocument) {
        if self.problem.is_none()
            && let Err(problem) = self.take_in(owner)
        {
            let index = self.owners.len();
            self.problem = Some(problem.within(format_args!("owners[{index}]")));
        }
    }

    fn take_in(&mut self, owner: OwnerDocument) -> Result<(), ConfigError> {
        let OwnerDocument { id, parents, budgets, rate_limits, concurrency } = owner;
        for (index, Table(budget)) in budgets.0.into_iter().enumerate() {
            let limit = budget.config(&mut self.definitions);
            self.limits.push(limit.map_err(|e| e.within(format_args!("budgets[{index}]")))?);
        }
        for (index, Table(rate_limit)) in rate_limits.0.into_iter().enumerate() {
            let limit = rate_limit.config(&mut self.definitions);
            self.limits.push(limit.map_err(|e| e.within(format_args!("rate_limits[{index}]")))?);
        }
        for (index, Table(concurrency)) in concurrency.0.into_iter().enumerate() {
            let limit = concurrency.config(&mut self.definitions);
            self.limits.push(limit.map_err(|e| e.within(format_args!("concurrency[{index}]")))?);
        }
        let (parents, limits_end) = (parents.0.into(), self.limits.len());
        self.owners.push(OwnerConfig { id, parents, limits_end });
        Ok(())
    }

    fn set_prices(&mut self, prices: List<Table<PriceDocument>>) {
        let table = self.prices.insert(PriceTable::new());
        for (index, Table(price)) in prices.0.into_iter().enumerate() {
            if table.insert(&price.model, price.price()).is_some() {
                let problem = format!("the model {} is there twice; each once", price.model);
                let at = format_args!("prices[{index}].model");
                self.problem.get_or_insert(ConfigError::at(at, problem));
            }
        }
    }
}

/// The table that a document is.
struct Root<'a>(&'a mut Document);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum RootField {
    Owners,
    Prices,
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table that may have owners and prices")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut fields = Fields::of(map);
        let mut owners = false;
        while let Some(field) = fields.next_key()? {
            match field {
                RootField::Owners if std::mem::replace(&mut owners, true) => {
                    return Err(A::Error::duplicate_field("owners"));
                }
                RootField::Owners => fields.next_value_seed(Owners(self.0))?,
                RootField::Prices if self.0.prices.is_some() => {
                    return Err(A::Error::duplicate_field("prices"));
                }
                RootField::Prices => self.0.set_prices(fields.next_value()?),
            }
        }
        Ok(())
    }
}

/// The list of owners, each of which is taken in before the next is read.
struct Owners<'a>(&'a mut Document);

impl<'de> DeserializeSeed<'de> for Owners<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Owners<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let seed = PhantomData::<Table<OwnerDocument>>;
            match seq.next_element_seed(trail::at(index, seed))? {
                Some(Table(owner)) => self.0.add_owner(owner),
                None => break,
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerDocument {
    id: OwnerId,
    #[serde(default)]
    parents: List<OwnerId>,
    #[serde(default)]
    budgets: List<Table<BudgetDocument>>,
    #[serde(default)]
    rate_limits: List<Table<RateLimitDocument>>,
    #[serde(default)]
    concurrency: List<Table<ConcurrencyDocument>>,
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
    thresholds: List<Percent>,
    enforcement: Option<Text<Enforcement>>,
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
    thresholds: List<Percent>,
    enforcement: Option<Text<Enforcement>>,
}

impl Form for RateLimitDocument {
    const EXPECTED: &'static str = "a table with id and tokens, requests or both";
}

/// Parts per million.
struct Multiplier(u32);

impl Word for Enforcement {
    const EXPECTED: &'static str = "an enforcement as text: \"hard\", \"soft\" or \"shadow\"";
    type Wrong = String;

    fn read(text: &str) -> Result<Self, String> {
        let known = Enforcement::ALL.into_iter().find(|enforcement| enforcement.name() == text);
        known.ok_or_else(|| {
            let text: String = text.chars().take(64).collect();
            format!("{text:?} is not an enforcement; accepted: hard, soft, shadow")
        })
    }
}

impl Word for Multiplier {
    const EXPECTED: &'static str = "a multiplier as text, such as \"1.2\"";
    type Wrong = DecimalError;

    fn read(text: &str) -> Result<Self, DecimalError> {
        Price::parse_multiplier(text).map(Multiplier)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConcurrencyDocument {
    id: LimitId,
    limit: Amount,
    enforcement: Option<Text<Enforcement>>,
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

fn enforced(written: Option<Text<Enforcement>>) -> Enforcement {
    written.map(|Text(enforcement)| enforcement).unwrap_or_default()
}

impl BudgetDocument {
    fn config(self, definitions: &mut Definitions) -> Result<LimitConfig, ConfigError> {
        let Self { id, limit, period, calendar, anchor, thresholds, enforcement } = self;
        let written = Written::Budget { limit, period, calendar, thresholds };
        let definition = definitions.of(written, enforced(enforcement))?;
        Ok(LimitConfig { id, definition, anchor: anchor.map(Box::new) })
    }
}

impl RateLimitDocument {
    fn config(self, definitions: &mut Definitions) -> Result<LimitConfig, ConfigError> {
        let Self { id, tokens, requests, anchor, thresholds, enforcement } = self;
        let tokens = tokens.map(|Table(tokens)| tokens);
        let written = Written::RateLimit { tokens, requests, thresholds };
        let definition = definitions.of(written, enforced(enforcement))?;
        Ok(LimitConfig { id, definition, anchor: anchor.map(Box::new) })
    }
}

impl ConcurrencyDocument {
    fn config(self, definitions: &mut Definitions) -> Result<LimitConfig, ConfigError> {
        let Self { id, limit: Whole(limit), enforcement } = self;
        let definition = definitions.of(Written::Concurrency { limit }, enforced(enforcement))?;
        Ok(LimitConfig { id, definition, anchor: None })
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
