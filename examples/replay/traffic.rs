//! Requests: rows of a trace that were given a client, a key, a model, a price and a fate.

use super::clients::Clients;
use super::document::{Document, Model};
use super::draw::{Dice, MILLION, Purpose};
use super::failure::Failure;
use super::trace::Row;
use std::time::Duration;
use tollkeeper::{PriceTable, Timestamp, Usage};

/// So many of a million requests fail upstream before they have cost anything.
const FAILS: u64 = 10_000;
/// So many of a million lose their client before their usage is known.
const VANISHES: u64 = 10_000;
/// So many of a million ask for the first model of the document; the others share the rest.
const FIRST_MODEL: u64 = 700_000;
/// So many of a million find a part of their context in the upstream's cache: a part of between
/// these two, in a million.
const CACHED: u64 = 300_000;
const CACHED_PART: (u64, u64) = (250_000, 900_000);

/// A request takes at least this long,
const BASE: Duration = Duration::from_millis(200);
/// this long for each token of context,
const EACH_INPUT: Duration = Duration::from_micros(100);
/// this long for each generated token,
const EACH_OUTPUT: Duration = Duration::from_millis(15);
/// and so many per cent of all that.
const JITTER: (u64, u64) = (80, 120);

/// What is drawn for a request, in words, for the output.
pub const LAW: &str = "\
70\u{a0}% ask for the first model of the document, 30\u{a0}% for the others. 30\u{a0}% find 25 to \
90\u{a0}% of their context cached. 1\u{a0}% fail upstream and cost nothing, 1\u{a0}% lose their \
client half way.";

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub arrival: Timestamp,
    /// Index among the keys of the document.
    pub key: usize,
    /// Index among the models of the document.
    pub model: usize,
    /// What it uses if it comes to its end.
    pub usage: Usage,
    pub fate: Fate,
    /// From its admission to its end.
    pub takes: Duration,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// With an answer and its usage.
    Completes,
    /// With an error of the upstream, before it has cost anything.
    Fails,
    /// With its client gone: it was sent upstream, and nobody knows what it used.
    Vanishes,
}

/// Makes requests of the rows of a trace.
pub fn assemble(
    rows: &[Row],
    clients: &Clients,
    document: &Document,
    prices: &PriceTable,
    seed: u64,
) -> Result<Vec<Request>, Failure> {
    let mut who = Dice::new(seed, Purpose::Clients);
    let mut traits = Dice::new(seed, Purpose::Traits);
    rows.iter()
        .map(|row| {
            let client = clients.draw(&mut who);
            let drawn = Traits::draw(row, document.models.len(), &mut traits);
            // Round robin by rank, so that every key has some large and some small clients.
            let key = client % document.keys.len();
            let usage = drawn.usage(row, document, prices)?;
            Ok(Request {
                arrival: row.at,
                key,
                model: drawn.model,
                usage,
                fate: drawn.fate,
                takes: drawn.takes,
            })
        })
        .collect()
}

/// What is drawn for a request, always in this order and always all of it: then nothing about one
/// request changes what is drawn for the next.
struct Traits {
    model: usize,
    cached: u64,
    fate: Fate,
    takes: Duration,
}

impl Traits {
    fn draw(row: &Row, models: usize, dice: &mut Dice) -> Traits {
        let first = dice.chance(FIRST_MODEL);
        let other = dice.below(models.saturating_sub(1).max(1) as u64) as usize;
        let finds = dice.chance(CACHED);
        let part = dice.between(CACHED_PART.0, CACHED_PART.1);
        let fate = match dice.below(MILLION) {
            roll if roll < FAILS => Fate::Fails,
            roll if roll < FAILS + VANISHES => Fate::Vanishes,
            _ => Fate::Completes,
        };
        let jitter = dice.between(JITTER.0, JITTER.1);
        let early = dice.between(0, 100);
        let whole = percent(duration(row), jitter);
        Traits {
            model: if first || models < 2 { 0 } else { 1 + other },
            cached: if finds { row.input_tokens * part / MILLION } else { 0 },
            fate,
            takes: match fate {
                Fate::Completes => whole,
                // Failed or lost on the way.
                Fate::Fails | Fate::Vanishes => percent(whole, early),
            },
        }
    }

    fn usage(&self, row: &Row, document: &Document, prices: &PriceTable) -> Result<Usage, Failure> {
        let usage = Usage {
            input_tokens: row.input_tokens - self.cached,
            output_tokens: row.output_tokens,
            cached_tokens: self.cached,
            requests: 1,
            ..Usage::default()
        };
        priced(usage, &document.models[self.model], prices)
    }
}

fn duration(row: &Row) -> Duration {
    // At most ten million tokens of each kind: well under a year in nanoseconds.
    let tokens = |each: Duration, count: u64| Duration::from_nanos(nanos(each) * count);
    BASE + tokens(EACH_INPUT, row.input_tokens) + tokens(EACH_OUTPUT, row.output_tokens)
}

fn percent(of: Duration, percent: u64) -> Duration {
    Duration::from_nanos(nanos(of) / 100 * percent)
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

/// The usage with what it costs.
pub fn priced(usage: Usage, model: &Model, prices: &PriceTable) -> Result<Usage, Failure> {
    let cost = prices
        .cost(&model.name, &usage)
        .map_err(|why| Failure::Input(format!("model {}: {why}", model.name)))?;
    Ok(Usage { cost, ..usage })
}
