//! What a ledger had before a replay: of earlier replays, or of a gateway.

use super::rule::Rule;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tollkeeper::{
    Dimension, Filter, LedgerStore, LimitId, RecordId, StoreError, Stored, Timestamp, Total,
};

/// So many records are read at a time.
const PAGE: usize = 1_000;
const MINUTE: u64 = 60_000_000_000;

/// What was charged, by limit, dimension and the start of the window.
pub type Sums = BTreeMap<(LimitId, Dimension, Timestamp), i128>;

/// What a ledger had before a replay.
#[derive(Default)]
pub struct Past {
    /// What each record was, as a hash.
    pub records: HashMap<RecordId, u64>,
    /// The sums of their postings.
    pub sums: Sums,
    /// The last window of every counter.
    windows: Vec<Total>,
    /// The last instant that anything in it is of.
    end: Option<Timestamp>,
}

impl Past {
    /// Reads all of a ledger.
    pub fn read(store: &dyn LedgerStore) -> Result<Past, StoreError> {
        let mut past = Past::default();
        each_record(store, |stored| {
            past.end = past.end.max(Some(stored.record.settled_at));
            past.records.insert(stored.record.id, hash(&stored));
            add(&mut past.sums, &stored);
        })?;
        store.open_totals(Timestamp::UNIX_EPOCH, &mut |total| past.windows.push(total))?;
        let began = past.windows.iter().map(|total| total.window.start).max();
        past.end = past.end.max(began);
        Ok(past)
    }

    /// How far a trace that begins at `start` has to be moved to begin behind all this: by whole
    /// minutes, and not at all if it does so already.
    pub fn moves(&self, start: Timestamp) -> Duration {
        let behind = self.end.map_or(0, |end| end.saturating_since(start).as_nanos());
        let minutes = u64::try_from(behind).unwrap_or(u64::MAX).div_ceil(MINUTE);
        Duration::from_nanos(minutes.saturating_mul(MINUTE))
    }

    /// Gives rules what the windows that are open at `start` have been charged, and the lattice
    /// that they lie on.
    pub fn open(&self, rules: &mut [Rule], start: Timestamp) {
        let opened = self.windows.iter().filter(|total| {
            (total.window.start..total.window.end).contains(&start)
                || total.window.end == Timestamp::MAX
        });
        for total in opened {
            let of = |rule: &&mut Rule| {
                rule.limit == total.limit.as_str() && rule.owner == total.owner.as_str()
            };
            for rule in rules.iter_mut().filter(of) {
                // All counters of a limit are on one lattice.
                rule.anchor = rule.anchor.or(Some(total.anchor));
                if rule.dimension == total.dimension {
                    let place = (total.limit.clone(), total.dimension, total.window.start);
                    let sum = self.sums.get(&place).copied().unwrap_or(0);
                    rule.opening = u64::try_from(sum).unwrap_or(0);
                }
            }
        }
    }
}

/// Reads all records of a ledger, in pages.
pub fn each_record(
    store: &dyn LedgerStore,
    mut each: impl FnMut(Stored),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.records(&Filter::default(), after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.record.id);
        page.into_iter().for_each(&mut each);
    }
}

/// Adds what a record charges.
pub fn add(sums: &mut Sums, stored: &Stored) {
    for posting in &stored.postings {
        let place = (posting.limit.clone(), posting.dimension, posting.window.start);
        *sums.entry(place).or_default() += i128::from(posting.amount);
    }
}

/// By this a record is known to be what it was.
pub fn hash(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{stored:?}").hash(&mut hasher);
    hasher.finish()
}
