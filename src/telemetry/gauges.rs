//! What has a value: the ledger's, the barrier's, and that of the fullest limits.
//!
//! Metrics are floats. No amount comes back from here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use metrics::{Label, counter, gauge};

use super::names;
use crate::barrier::BarrierCounts;
use crate::engine::{CounterUsage, LimitUsage};
use crate::id::{LimitId, OwnerId};
use crate::ledger::Health;
use crate::units::Dimension;

/// Nano-units in a unit of the currency.
const NANOS: f64 = 1e9;

pub(super) fn ledger(health: &Health) {
    let values = [
        (names::LEDGER_OPEN, health.open_charges),
        (names::LEDGER_QUEUED, health.queued),
        (names::LEDGER_TAKEN, health.taken),
        (names::LEDGER_SLOTS, health.capacity),
        (names::LEDGER_UNPERSISTED, health.unpersisted.entries),
        (names::LEDGER_REJECTED, health.rejected),
        (names::LEDGER_FAILURES, health.failures),
    ];
    for (name, value) in values {
        gauge!(name).set(value as f64);
    }
    gauge!(names::LEDGER_UNPERSISTED_COST).set(health.unpersisted.money as f64 / NANOS);
    let totals = [
        (names::LEDGER_WRITTEN, health.written),
        (names::LEDGER_DUPLICATES, health.duplicates),
        (names::LEDGER_NULLED, health.nulled),
        (names::LEDGER_GROUPS, health.groups),
        (names::LEDGER_ATTEMPTS, health.attempts),
    ];
    for (name, total) in totals {
        counter!(name).absolute(total);
    }
}

pub(super) fn barrier(counts: &BarrierCounts) {
    let values = [
        (names::BARRIER_USERS, counts.users),
        (names::BARRIER_WAITING, counts.waiting),
        (names::BARRIER_HOLDING, counts.holding),
    ];
    for (name, value) in values {
        gauge!(name).set(value as f64);
    }
    let totals = [
        (names::BARRIER_TIMEOUTS, counts.timeouts),
        (names::BARRIER_REFUSED, counts.refused),
        (names::BARRIER_LOST, counts.lost),
    ];
    for (name, total) in totals {
        counter!(name).absolute(total);
    }
}

/// The limits that have gauges of their own.
pub(super) struct Labelled {
    pub(super) at_most: usize,
    /// Those that were set at the last look, and are to be set away when they are not among the
    /// fullest any more.
    shown: BTreeSet<Series>,
}

/// One counter of one limit: what the labels say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    limit: LimitId,
    owner: OwnerId,
    enforcement: &'static str,
    dimension: &'static str,
}

impl Labelled {
    pub(super) fn new(at_most: usize) -> Self {
        Self { at_most, shown: BTreeSet::new() }
    }

    /// Looks at every limit once, and keeps in mind as many as are shown.
    pub(super) fn look(&mut self, limits: impl Iterator<Item = LimitUsage>) {
        let mut fullest = BTreeMap::new();
        let mut counts = Counts::default();
        for usage in limits {
            counts.add(&usage);
            let Some(fullness) = usage.counters.iter().filter_map(fullness).max() else { continue };
            // Of limits that are as full, always the same are shown.
            fullest.insert((Reverse(fullness), usage.limit.clone()), usage);
            if fullest.len() > self.at_most {
                fullest.pop_last();
            }
        }
        counts.show();
        let mut shown = BTreeSet::new();
        for usage in fullest.into_values() {
            for counter in &usage.counters {
                let Some(limit) = counter.limit else { continue };
                let series = Series {
                    limit: usage.limit.clone(),
                    owner: usage.owner.clone(),
                    enforcement: usage.enforcement.name(),
                    dimension: counter.dimension.name(),
                };
                series.set(counter, limit);
                shown.insert(series);
            }
        }
        self.shown.difference(&shown).for_each(Series::set_away);
        self.shown = shown;
    }
}

impl Series {
    fn set(&self, counter: &CounterUsage, limit: u64) {
        let amount = |amount: u64| match counter.dimension {
            Dimension::Money => amount as f64 / NANOS,
            _ => amount as f64,
        };
        // A limit of zero is always full, and cannot be overshot by any share of it.
        let share = if limit == 0 { 1.0 } else { counter.committed() as f64 / limit as f64 };
        self.gauge(names::LIMIT_USED, share);
        self.gauge(names::LIMIT_SETTLED, amount(counter.settled));
        self.gauge(names::LIMIT_HELD, amount(counter.held));
        self.gauge(names::LIMIT_ALLOWED, amount(limit));
    }

    /// The facade cannot take a gauge back. What is not a number is in no sum and no alert, and
    /// recorders remove gauges that are not set any more.
    fn set_away(&self) {
        for name in
            [names::LIMIT_USED, names::LIMIT_SETTLED, names::LIMIT_HELD, names::LIMIT_ALLOWED]
        {
            self.gauge(name, f64::NAN);
        }
    }

    fn gauge(&self, name: &'static str, value: f64) {
        let labels = vec![
            Label::new("limit", self.limit.to_string()),
            Label::new("owner", self.owner.to_string()),
            Label::from_static_parts("enforcement", self.enforcement),
            Label::from_static_parts("dimension", self.dimension),
        ];
        gauge!(name, labels).set(value);
    }
}

/// How full a counter is, in millionths. `None` if it never denies.
fn fullness(counter: &CounterUsage) -> Option<u64> {
    let limit = counter.limit?;
    let millionths = u128::from(counter.committed()) * 1_000_000 / u128::from(limit.max(1));
    let millionths = u64::try_from(millionths).unwrap_or(u64::MAX);
    Some(if limit == 0 { millionths.max(1_000_000) } else { millionths })
}

/// How many counters there are of each dimension, and how many are full.
#[derive(Default)]
struct Counts([(u64, u64); Dimension::ALL.len()]);

impl Counts {
    fn add(&mut self, usage: &LimitUsage) {
        for (dimension, (all, full)) in Dimension::ALL.into_iter().zip(&mut self.0) {
            let remaining = usage.counter(dimension).and_then(CounterUsage::remaining);
            *all += u64::from(remaining.is_some());
            *full += u64::from(remaining == Some(0));
        }
    }

    fn show(&self) {
        for (dimension, (all, full)) in Dimension::ALL.into_iter().zip(self.0) {
            gauge!(names::LIMITS, "dimension" => dimension.name()).set(all as f64);
            gauge!(names::LIMITS_FULL, "dimension" => dimension.name()).set(full as f64);
        }
    }
}
