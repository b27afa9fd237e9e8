//! What became of each owner's requests.

use super::audit::Ways;
use super::document::Document;
use super::log::{Ending, Log, What};
use super::traffic::{Fate, Request};
use std::collections::BTreeMap;
use tollkeeper::{Dimension, Usage};

/// What became of the requests of one owner.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub admitted: u64,
    pub denied: u64,
    /// The denied, by the limit that refused them first.
    pub denied_by: BTreeMap<(String, Dimension), u64>,
    /// Of all kinds, as they were settled or charged.
    pub tokens: u64,
    /// In nano-units of the currency.
    pub money: u64,
}

/// The tallies of the document's owners, in its order, and of all together.
pub struct Tallies {
    pub owners: Vec<Tally>,
    pub all: Tally,
    /// What was used and never charged: requests that nobody held anything for, whose client was
    /// gone before their usage was known. Estimated by what they would have used.
    pub unbilled: u64,
}

/// Adds up a log.
pub fn tally(log: &Log, requests: &[Request], document: &Document) -> Tallies {
    let ways = Ways::new(document);
    let mut tallies = Tallies {
        owners: vec![Tally::default(); document.owners.len()],
        all: Tally::default(),
        unbilled: 0,
    };
    let mut held: BTreeMap<usize, Usage> = BTreeMap::new();
    for entry in &log.entries {
        let request = &requests[entry.request];
        let mut each = |change: &dyn Fn(&mut Tally)| {
            change(&mut tallies.all);
            let owners = ways.of(request).owners.iter();
            owners.for_each(|&owner| change(&mut tallies.owners[owner]));
        };
        match &entry.what {
            What::Admitted { estimate } | What::Looked { estimate } => {
                held.insert(entry.request, *estimate);
                each(&|tally| {
                    tally.requests += 1;
                    tally.admitted += 1;
                });
            }
            What::Denied { by, .. } => each(&|tally| {
                tally.requests += 1;
                tally.denied += 1;
                if let Some(first) = by.first() {
                    let limit = (first.limit.to_string(), first.dimension);
                    *tally.denied_by.entry(limit).or_default() += 1;
                }
            }),
            What::Ended(Ending::Settled { used, .. } | Ending::Charged { used, .. }) => {
                each(&|tally| tally.book(used));
            }
            What::Ended(Ending::Uncertain) => {
                let estimate = held.get(&entry.request).copied().unwrap_or_default();
                each(&|tally| tally.book(&estimate));
            }
            What::Ended(Ending::Uncharged) => {
                if request.fate == Fate::Vanishes {
                    tallies.unbilled += request.usage.cost.as_nanos();
                }
            }
            What::Ended(Ending::Voided) => {}
        }
    }
    tallies
}

impl Tally {
    fn book(&mut self, used: &Usage) {
        self.tokens += used.input_tokens + used.output_tokens + used.cached_tokens;
        self.money += used.cost.as_nanos();
    }
}
