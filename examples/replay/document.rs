//! The limits document, as the replay and its audit read it.
//!
//! The engine reads and checks the same text by itself; this reading is the audit's own, so that a
//! limit which the engine understood otherwise shows. What is unknown here was refused there.

use super::failure::Failure;
use super::rule::Rule;
use serde::Deserialize;
use std::collections::HashMap;
use tollkeeper::{
    Alignment, Dimension, Money, OwnerId, Period, Timestamp, TokenWeights, Weekday, Zone,
};

/// The document that is used when none is given.
pub const DEFAULT: &str = include_str!("limits.toml");

/// Owners, limits and models.
pub struct Document {
    pub owners: Vec<Owner>,
    /// The owners that requests come by: indices of the owners of kind `key`.
    pub keys: Vec<usize>,
    pub models: Vec<Model>,
    pub rules: Vec<Rule>,
    pairs: Vec<(usize, [usize; 2])>,
}

pub struct Owner {
    pub id: OwnerId,
    parents: Vec<usize>,
}

/// Something that has a price. If there is an owner `model:NAME`, requests for it have that owner.
pub struct Model {
    pub name: String,
    pub owner: Option<usize>,
}

/// All that applies to the requests of one key for one model, as indices.
#[derive(Clone, Debug)]
pub struct Way {
    pub owners: Vec<usize>,
    pub rules: Vec<usize>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    owners: Vec<OwnerText>,
    #[serde(default)]
    prices: Vec<PriceText>,
}

#[derive(Deserialize)]
struct OwnerText {
    id: OwnerId,
    #[serde(default)]
    parents: Vec<OwnerId>,
    #[serde(default)]
    budgets: Vec<BudgetText>,
    #[serde(default)]
    rate_limits: Vec<RateLimitText>,
    #[serde(default)]
    concurrency: Vec<ConcurrencyText>,
}

#[derive(Deserialize)]
struct BudgetText {
    id: String,
    limit: Option<Money>,
    period: Option<String>,
    calendar: Option<CalendarText>,
    anchor: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RateLimitText {
    id: String,
    anchor: Option<Timestamp>,
    tokens: Option<CounterText>,
    requests: Option<CounterText>,
}

#[derive(Deserialize)]
struct ConcurrencyText {
    id: String,
    limit: u64,
}

/// `{ limit = 60, period = "1m" }` or `"60/m"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum CounterText {
    Rate(String),
    Table {
        limit: Option<u64>,
        period: Option<String>,
        calendar: Option<CalendarText>,
        #[serde(default)]
        weights: HashMap<String, String>,
    },
}

#[derive(Deserialize)]
struct CalendarText {
    zone: Option<String>,
    week_start: Option<String>,
    fiscal_start: Option<u32>,
}

#[derive(Deserialize)]
struct PriceText {
    model: String,
}

/// Reads a document that the engine has accepted.
pub fn parse(name: &str, text: &str) -> Result<Document, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| Failure::Input(format!("{name}: {why}"));
    let text: Text = toml::from_str(text).map_err(|why| unreadable(&why))?;
    let place: HashMap<OwnerId, usize> =
        text.owners.iter().enumerate().map(|(i, owner)| (owner.id.clone(), i)).collect();
    let mut document = Document {
        owners: Vec::new(),
        keys: Vec::new(),
        models: Vec::new(),
        rules: Vec::new(),
        pairs: Vec::new(),
    };
    for (index, owner) in text.owners.iter().enumerate() {
        rules(owner, &mut document.rules).map_err(|why| unreadable(&why))?;
        let known = |id: &OwnerId| {
            place.get(id).copied().ok_or_else(|| unreadable(&format!("{id} is no owner")))
        };
        let parents = owner.parents.iter().map(known).collect::<Result<_, _>>()?;
        if owner.id.kind() == "key" {
            document.keys.push(index);
        }
        if let Some((one, other)) = owner.id.members() {
            document.pairs.push((index, [known(&one)?, known(&other)?]));
        }
        document.owners.push(Owner { id: owner.id.clone(), parents });
    }
    for PriceText { model: name } in text.prices {
        let owner = OwnerId::new("model", &name).ok().and_then(|id| place.get(&id).copied());
        document.models.push(Model { name, owner });
    }
    if document.keys.is_empty() {
        return Err(unreadable(&"a replay needs at least one owner of kind key, like key:k1"));
    }
    if document.models.is_empty() {
        return Err(unreadable(&"a replay needs the price of at least one model"));
    }
    Ok(document)
}

fn rules(owner: &OwnerText, rules: &mut Vec<Rule>) -> Result<(), String> {
    let mut rule = |limit: &str, dimension, (most, period, weights), anchor| {
        let (limit, owner) = (limit.to_owned(), owner.id.to_string());
        rules.push(Rule { limit, owner, dimension, most, period, weights, anchor, opening: 0 });
    };
    let even = TokenWeights::default();
    for budget in &owner.budgets {
        let period = period(budget.period.as_deref(), budget.calendar.as_ref())?;
        let most = budget.limit.map(Money::as_nanos);
        rule(&budget.id, Dimension::Money, (most, period, even), budget.anchor);
    }
    for limit in &owner.rate_limits {
        let counters = [(Dimension::Tokens, &limit.tokens), (Dimension::Requests, &limit.requests)];
        for (dimension, counter) in counters {
            let Some(counter) = counter else { continue };
            rule(&limit.id, dimension, counter.read()?, limit.anchor);
        }
    }
    for limit in &owner.concurrency {
        rule(&limit.id, Dimension::InFlight, (Some(limit.limit), Period::NEVER, even), None);
    }
    Ok(())
}

impl CounterText {
    fn read(&self) -> Result<(Option<u64>, Period, TokenWeights), String> {
        match self {
            CounterText::Rate(text) => {
                let (most, each) =
                    text.split_once('/').ok_or_else(|| format!("{text:?} is no rate"))?;
                let digit = each.starts_with(|first: char| first.is_ascii_digit());
                let length = if digit { each.to_owned() } else { format!("1{each}") };
                let most = tollkeeper::parse_count(most).map_err(|why| why.to_string())?;
                Ok((Some(most), period(Some(&length), None)?, TokenWeights::default()))
            }
            CounterText::Table { limit, period: length, calendar, weights } => {
                let period = period(length.as_deref(), calendar.as_ref())?;
                Ok((*limit, period, read_weights(weights)?))
            }
        }
    }
}

fn read_weights(texts: &HashMap<String, String>) -> Result<TokenWeights, String> {
    let mut weights = TokenWeights::default();
    for (kind, text) in texts {
        let weight = match kind.as_str() {
            "input" => &mut weights.input,
            "output" => &mut weights.output,
            "cached" => &mut weights.cached,
            "cache_write" => &mut weights.cache_write,
            _ => return Err(format!("{kind:?} is no kind of token")),
        };
        *weight = TokenWeights::parse_weight(text).map_err(|why| why.to_string())?;
    }
    Ok(weights)
}

fn period(length: Option<&str>, calendar: Option<&CalendarText>) -> Result<Period, String> {
    let Some(length) = length else { return Ok(Period::NEVER) };
    let Some(calendar) = calendar else {
        return length.parse().map_err(|why| format!("period {length:?}: {why}"));
    };
    let mut alignment = Alignment::new();
    if let Some(zone) = &calendar.zone {
        alignment = alignment.zone(Zone::named(zone).map_err(|why| why.to_string())?);
    }
    if let Some(day) = &calendar.week_start {
        let day: Weekday = day.parse().map_err(|_| format!("{day:?} is no day of the week"))?;
        alignment = alignment.week_start(day);
    }
    if let Some(month) = calendar.fiscal_start {
        alignment = alignment.fiscal_start(month);
    }
    Period::calendar(length, &alignment).map_err(|why| format!("period {length:?}: {why}"))
}

impl Document {
    /// The owners that requests of a key for a model name themselves.
    pub fn named(&self, key: usize, model: usize) -> Vec<OwnerId> {
        let model = self.models[model].owner;
        let owners = std::iter::once(self.keys[key]).chain(model);
        owners.map(|owner| self.owners[owner].id.clone()).collect()
    }

    /// The provider that serves such requests, if the document has one.
    pub fn upstream(&self, key: usize, model: usize) -> Option<OwnerId> {
        let owners = self.way(key, model).owners;
        let mut ids = owners.into_iter().map(|owner| &self.owners[owner].id);
        ids.find(|id| id.kind() == "provider").cloned()
    }

    /// All owners and rules on the way of such requests.
    pub fn way(&self, key: usize, model: usize) -> Way {
        let mut owners: Vec<usize> =
            std::iter::once(self.keys[key]).chain(self.models[model].owner).collect();
        let mut next = 0;
        while let Some(&owner) = owners.get(next) {
            let parents = &self.owners[owner].parents;
            let new: Vec<_> = parents.iter().filter(|it| !owners.contains(it)).copied().collect();
            owners.extend(new);
            next += 1;
        }
        let both = |of: &[usize; 2]| of.iter().all(|one| owners.contains(one));
        let pairs: Vec<usize> =
            self.pairs.iter().filter(|(_, of)| both(of)).map(|(pair, _)| *pair).collect();
        owners.extend(pairs);
        let applies =
            |rule: &Rule| owners.iter().any(|&owner| self.owners[owner].id.as_str() == rule.owner);
        let rules = (0..self.rules.len()).filter(|&rule| applies(&self.rules[rule])).collect();
        Way { owners, rules }
    }
}
