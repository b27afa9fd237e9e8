//! Everything that a store has, and what children said about it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tollkeeper::{Dimension, Filter, LedgerStore, Outcome, OwnerId, RecordId, Stored, Timestamp};

use crate::place::{Place, Raw};
use crate::work::Mark;

/// What was acknowledged: by children of all rounds of one store.
#[derive(Debug, Default)]
pub struct Told {
    /// Of each record what the child was told: its references and the rest of it.
    pub written: BTreeMap<RecordId, (String, String, String)>,
    pub gone: BTreeSet<OwnerId>,
    /// The latest window of each counter that a reset has begun.
    pub begun: BTreeMap<(String, String), u64>,
    /// How many steps a thread took that was not killed, by round and thread.
    pub steps: BTreeMap<(u64, u64), u64>,
    /// Records that were written by a call whose answer was lost.
    pub recognised: u64,
}

impl Told {
    /// Takes in what a child of a round said. What went wrong there is a failure.
    pub fn take(&mut self, round: u64, said: &[String]) -> Vec<String> {
        let mut failures = Vec::new();
        for line in said {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = rest.splitn(4, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            match what {
                "written" => {
                    let id = word().parse().expect("an id");
                    let told = (word(), word(), word());
                    if self.written.get(&id).is_some_and(|before| *before != told) {
                        failures.push(format!("acknowledged twice, and not the same: {line}"));
                    }
                    self.written.insert(id, told);
                }
                "gone" => {
                    self.gone.insert(word().parse().expect("an owner"));
                }
                "reset" => {
                    let (counter, start) =
                        ((word(), word()), word().parse::<u64>().expect("an instant"));
                    let latest = self.begun.entry(counter).or_default();
                    *latest = start.max(*latest);
                }
                "steps" => {
                    let thread = word().parse().expect("a thread");
                    self.steps.insert((round, thread), word().parse().expect("a number"));
                }
                "recognised" => self.recognised += 1,
                "failed" | "failed:" => failures.push(line.clone()),
                _ => {}
            }
        }
        failures
    }
}

/// Everything that a store has.
pub struct History {
    pub raw: Raw,
    /// In the order of their ids.
    pub records: Vec<Stored>,
    /// The owners that are registered or have totals: one that is deleted is neither.
    pub owners: HashSet<String>,
}

impl History {
    pub fn read(place: &dyn Place, store: &dyn LedgerStore) -> History {
        let mut records: Vec<Stored> = Vec::new();
        loop {
            let after = records.last().map(|stored| stored.record.id);
            let more = store.records(&Filter::default(), after, 5_000).expect("records");
            if more.is_empty() {
                let raw = place.raw();
                let charged = raw.totals.values().map(|total| &total.owner);
                let owners = raw.owners.iter().chain(charged).cloned().collect();
                return History { raw, records, owners };
            }
            records.extend(more);
        }
    }

    /// The records of requests, by the step that made them.
    pub fn by_mark(&self) -> (BTreeMap<Mark, &Stored>, Vec<String>) {
        let (mut known, mut failures) = (BTreeMap::new(), Vec::new());
        for stored in &self.records {
            let record = &stored.record;
            if record.outcome == Outcome::Correction {
                continue;
            }
            match Mark::parse(record.model.as_deref().unwrap_or_default()) {
                None => failures.push(format!("nobody made this record: {record:?}")),
                Some(mark) => {
                    if let Some(twice) = known.insert(mark, stored) {
                        failures.push(format!("two records of one: {stored:?} {twice:?}"));
                    }
                }
            }
        }
        (known, failures)
    }

    /// The first instant that is not before anything in it.
    pub fn latest(&self) -> Timestamp {
        let settled = self.records.iter().map(|stored| stored.record.settled_at.as_nanos());
        let begun = self.raw.totals.keys().map(|(_, _, start)| u64::try_from(*start).unwrap_or(0));
        Timestamp::from_nanos(settled.chain(begun).max().unwrap_or(0))
    }

    /// What the last window of a counter comes to, if it is open at an instant.
    pub fn open(&self, limit: &str, dimension: Dimension, now: Timestamp) -> Option<(i64, i64)> {
        let of = (limit.to_owned(), number(dimension));
        let windows = (of.0.clone(), of.1, i64::MIN)..=(of.0, of.1, i64::MAX);
        let ((_, _, start), total) = self.raw.totals.range(windows).next_back()?;
        let now = i64::try_from(now.as_nanos()).expect("before 2262");
        (total.end > now).then_some((*start, total.settled))
    }
}

/// The number that stores write for a dimension.
pub fn number(dimension: Dimension) -> i64 {
    match dimension {
        Dimension::Money => 0,
        Dimension::Tokens => 1,
        Dimension::Requests => 2,
        Dimension::InFlight => 3,
    }
}
