//! The proof of a ledger: all that it has, compared with the log of the replay.
//!
//! What each request is to be charged is worked out here again from the log, the audit's rules and
//! what the ledger had before. Where the log does not tell exactly when something happened, as on
//! many threads, any of the windows that it may have been in will do.

use super::audit::Ways;
use super::clerk::Closed;
use super::closings::Places;
use super::document::Document;
use super::laws::Laws;
use super::log::{Ending, Entry, Log, What};
use super::past::{self, Past, Sums};
use super::rule::Rule;
use super::traffic::Request;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tollkeeper::{
    Dimension, LedgerStore, LimitId, LimitUsage, Outcome, RecordId, Span, StoreError, Stored,
    Timestamp, Usage, UsageRecord,
};

/// A ledger after a replay.
pub struct Kept {
    pub store: Arc<dyn LedgerStore>,
    pub past: Past,
    /// What every limit had used when the ledger was opened.
    pub opened: Vec<LimitUsage>,
    pub closed: Closed,
}

/// Compares. Fails only if the ledger cannot be read.
pub fn prove(
    kept: &Kept,
    log: &Log,
    (requests, document, start): (&[Request], &Document, Timestamp),
    laws: &mut Laws,
) -> Result<(), StoreError> {
    let mut proof = Proof {
        kept,
        requests,
        document,
        start,
        ways: Ways::new(document),
        places: Places::new(&document.rules),
        ends: ends(log),
        laws,
    };
    proof.restored();
    let sums = proof.records()?;
    let totals = proof.totals(&sums)?;
    proof.memory(log, &totals);
    Ok(())
}

/// From when a request was let through to when it ended.
#[derive(Clone, Copy)]
struct Course<'a> {
    admission: &'a Entry,
    end: &'a Entry,
    ending: &'a Ending,
}

/// Of the requests that have a record.
fn ends(log: &Log) -> HashMap<usize, Course<'_>> {
    let (mut open, mut ends) = (HashMap::new(), HashMap::new());
    for entry in &log.entries {
        match &entry.what {
            What::Admitted { .. } | What::Looked { .. } => {
                open.insert(entry.request, entry);
            }
            What::Ended(Ending::Uncharged) | What::Denied { .. } => {}
            What::Ended(ending) => {
                let Some(admission) = open.remove(&entry.request) else { continue };
                ends.insert(entry.request, Course { admission, end: entry, ending });
            }
        }
    }
    ends
}

struct Proof<'a> {
    kept: &'a Kept,
    requests: &'a [Request],
    document: &'a Document,
    start: Timestamp,
    ways: Ways,
    places: Places,
    ends: HashMap<usize, Course<'a>>,
    laws: &'a mut Laws,
}

impl Proof<'_> {
    /// It began with what the ledger had.
    fn restored(&mut self) {
        for (rule, counter) in self.places.counters(&self.kept.opened) {
            let rule = &self.document.rules[rule];
            self.laws.check("L11", counter.settled == rule.opening, || {
                let (name, opening) = (rule.name(), rule.opening);
                format!("{name} began with {}, the ledger had {opening}", counter.settled)
            });
        }
    }

    /// Every request that is over is there once, as it was; what was there before is there still;
    /// and nothing else is.
    fn records(&mut self) -> Result<Sums, StoreError> {
        let Kept { store, past, closed, .. } = self.kept;
        for fault in &closed.faults {
            self.laws.check("L11", false, || fault.clone());
        }
        let mut ours: HashMap<RecordId, usize> =
            closed.notes.iter().map(|note| (note.record, note.request)).collect();
        let named: HashSet<usize> = ours.values().copied().collect();
        for request in self.ends.keys() {
            self.laws.check("L11", named.contains(request), || {
                format!("request {request} ended and has no record")
            });
        }
        let mut before: HashMap<RecordId, u64> = past.records.clone();
        let mut sums = Sums::new();
        past::each_record(&**store, |stored| {
            past::add(&mut sums, &stored);
            let id = stored.record.id;
            if let Some(hash) = before.remove(&id) {
                self.laws.check("L11", hash == past::hash(&stored), || {
                    format!("record {id} of an earlier run is another one now")
                });
                return;
            }
            let request = ours.remove(&id);
            self.laws.check("L11", request.is_some(), || {
                format!("record {id} is of no request, or there twice")
            });
            if let Some(request) = request {
                let found = self.differs(&stored, request);
                self.laws.check("L11", found.is_none(), || {
                    let what = found.unwrap_or_default();
                    format!("the record of request {request}: {what}; it is {stored:?}")
                });
            }
        })?;
        for (id, request) in ours {
            self.laws.check("L11", false, || format!("record {id} of request {request} is gone"));
        }
        for id in before.keys() {
            self.laws.check("L11", false, || format!("record {id} of an earlier run is gone"));
        }
        Ok(sums)
    }

    /// How a record is not what the log says of its request.
    fn differs(&self, stored: &Stored, request: usize) -> Option<String> {
        let Some(course) = self.ends.get(&request) else {
            return Some("the request has not ended".to_owned());
        };
        let (outcome, usage) = recorded(course);
        let record = &stored.record;
        if (record.outcome, &record.usage) != (outcome, &usage) {
            return Some(format!("it was {outcome}, {usage:?}"));
        }
        if !self.is_named(record, &self.requests[request]) || stored.nulled.any() {
            return Some("key, upstream or model are others".to_owned());
        }
        // What is charged without having been held is admitted when it is settled.
        let from = match course.ending {
            Ending::Charged { .. } => course.end,
            _ => course.admission,
        };
        let within = |at: Timestamp, of: &Entry| (of.from..=of.until).contains(&at);
        if !within(record.admitted_at, from) || !within(record.settled_at, course.end) {
            return Some("its times are others".to_owned());
        }
        let mut known = 0;
        for &rule in &self.ways.of(&self.requests[request]).rules {
            let rule = &self.document.rules[rule];
            let of = |limit: &LimitId, dimension| {
                limit.as_str() == rule.limit && dimension == rule.dimension
            };
            let posted = stored.postings.iter().filter(|it| of(&it.limit, it.dimension));
            known += posted.clone().count();
            let posted: Vec<_> = posted.filter(|it| it.amount != 0).collect();
            let posted: Vec<_> = posted.iter().map(|it| (it.window, it.amount)).collect();
            if !self.may_be(rule, course, &posted) {
                let (admission, end) = (course.admission, course.end);
                return Some(format!(
                    "it charges {} otherwise, admitted from {} to {}, ended from {} to {}",
                    rule.name(),
                    admission.from,
                    admission.until,
                    end.from,
                    end.until,
                ));
            }
        }
        (known != stored.postings.len()).then(|| "it charges what is not on its way".to_owned())
    }

    fn is_named(&self, record: &UsageRecord, request: &Request) -> bool {
        let key = &self.document.owners[self.document.keys[request.key]].id;
        record.api_key.as_ref() == Some(key)
            && record.upstream == self.document.upstream(request.key, request.model)
            && record.model.as_ref() == Some(&self.document.models[request.model].name)
    }

    /// Whether a request may have been charged so on a rule: what was held where it was held, and
    /// the rest where it ended; all of it there if that is the same window.
    fn may_be(&self, rule: &Rule, course: &Course, posted: &[(Span, i64)]) -> bool {
        let (held, actual) = match (course.ending, &course.admission.what) {
            _ if rule.dimension == Dimension::InFlight => (0, 0),
            (Ending::Settled { used, .. }, What::Admitted { estimate }) => {
                (rule.hold(estimate), rule.amount(used))
            }
            (Ending::Uncertain, What::Admitted { estimate }) => {
                (rule.hold(estimate), rule.hold(estimate))
            }
            (Ending::Charged { used, .. }, _) => (0, rule.amount(used)),
            _ => (0, 0),
        };
        let began = self.windows(rule, course.admission);
        let ended = self.windows(rule, course.end);
        // Whose window cannot be known any more is charged where it ends.
        let all_there = |other: &Span| matches!(posted[..], [(span, _)] if span == *other);
        let sum: i64 = posted.iter().map(|(_, amount)| amount).sum();
        if rule.ends_twice(self.start, course.admission)
            && Ok(sum) == i64::try_from(actual)
            && (actual == 0 || ended.iter().any(all_there))
        {
            return true;
        }
        began.iter().any(|one| {
            ended.iter().filter(|other| one.start <= other.start).any(|other| {
                let both = if one == other {
                    vec![(*one, actual)]
                } else {
                    vec![(*one, held), (*other, actual.saturating_sub(held))]
                };
                let both = both.into_iter().filter(|(_, amount)| *amount > 0);
                let both = both.map(|(span, amount)| (span, i64::try_from(amount).unwrap_or(-1)));
                both.collect::<Vec<_>>() == posted
            })
        })
    }

    /// The windows that something may have happened in.
    fn windows(&self, rule: &Rule, entry: &Entry) -> Vec<Span> {
        let first = rule.window(self.start, entry.from);
        let next = |span: &Span| {
            let is_over = span.end <= entry.until && span.end != Timestamp::MAX;
            is_over.then(|| rule.window(self.start, span.end))
        };
        std::iter::successors(Some(first), next).collect()
    }

    /// Every total is the sum of what was charged.
    fn totals(&mut self, sums: &Sums) -> Result<Sums, StoreError> {
        let mut totals = Sums::new();
        let known = self.document.rules.iter().filter_map(|rule| LimitId::new(&rule.limit).ok());
        let limits: BTreeSet<LimitId> =
            sums.keys().map(|(id, ..)| id.clone()).chain(known).collect();
        for limit in limits {
            for total in self.kept.store.totals(&limit)? {
                let place = (total.limit, total.dimension, total.window.start);
                totals.insert(place, i128::from(total.settled));
            }
        }
        let mut places: BTreeMap<_, (i128, i128)> = BTreeMap::new();
        sums.iter().for_each(|(place, sum)| places.entry(place).or_default().0 = *sum);
        totals.iter().for_each(|(place, total)| places.entry(place).or_default().1 = *total);
        for ((limit, dimension, start), (sum, total)) in places {
            self.laws.check("L11", sum == total, || {
                format!("{limit} {dimension}: the total of {start} is {total}, not {sum}")
            });
        }
        Ok(totals)
    }

    /// Memory has booked what the ledger has, by the last reading and by the ledger's own account.
    fn memory(&mut self, log: &Log, totals: &Sums) {
        let usage = log.readings.last().map_or(&[][..], |reading| &reading.usage);
        for (rule, counter) in self.places.counters(usage) {
            let rule = &self.document.rules[rule];
            if rule.dimension == Dimension::InFlight {
                continue;
            }
            let start = counter.window.start;
            let limit = LimitId::new(&rule.limit).ok();
            let total = limit.and_then(|limit| totals.get(&(limit, rule.dimension, start)));
            let total = total.copied().unwrap_or(0);
            self.laws.check("L10", i128::from(counter.settled) == total, || {
                let (name, settled) = (rule.name(), counter.settled);
                format!("{name} has {settled} in the window of {start}, the ledger {total}")
            });
        }
        match &self.kept.closed.reconciled {
            Ok(reconciled) => {
                let agrees = reconciled.quiet && reconciled.drifts.is_empty();
                self.laws.check("L10", agrees, || format!("reconciling found {reconciled:?}"));
            }
            Err(why) => self.laws.check("L10", false, || format!("reconciling: {why}")),
        }
    }
}

/// What the record of a request has to say.
fn recorded(course: &Course) -> (Outcome, Usage) {
    match (course.ending, &course.admission.what) {
        (Ending::Settled { used, .. } | Ending::Charged { used, .. }, _) => {
            (Outcome::Completed, *used)
        }
        (Ending::Uncertain, What::Admitted { estimate }) => (Outcome::Uncertain, *estimate),
        _ => (Outcome::Unbilled, Usage::default()),
    }
}
