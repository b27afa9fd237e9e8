//! What the models are played with: limits with windows of one millisecond from zero on, a log of
//! notices, and the sums that must come out.

use std::sync::Mutex;

use crate::admission::{self, Actual, RefusedBy, Stops};
use crate::entry::{At, Entry, Notice, Notices};
use crate::holds::Holds;
use crate::id::{LimitId, OwnerId};
use crate::plan::{CounterPlan, Enforcement, LimitKind, Plan};
use crate::snapshot::Beginnings;
use crate::sync::Arc;
use crate::sync::testing::Unmodelled;
use crate::time::{Period, Timestamp};
use crate::units::{Dimension, TokenWeights, Usage};

/// Where the two counters of a rate limit are.
pub(super) const TOKENS: usize = 0;
pub(super) const REQUESTS: usize = 1;

/// Instants of the first three windows.
pub(super) const FIRST: Timestamp = Timestamp::from_nanos(500_000);
pub(super) const SECOND: Timestamp = Timestamp::from_nanos(1_500_000);
pub(super) const THIRD: Timestamp = Timestamp::from_nanos(2_500_000);

/// Notices in the order in which they were given. A std lock: it is no part of what is modelled.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<(String, Dimension, Notice)>>);

impl Notices for Log {
    fn notice(&self, entry: &Entry, dimension: Dimension, notice: Notice, _: Timestamp) {
        self.0.lock().unwrap().push((entry.id.to_string(), dimension, notice));
    }
}

impl Log {
    pub(super) fn new() -> Unmodelled<Log> {
        Unmodelled::default()
    }

    pub(super) fn at(&self, now: Timestamp) -> At<'_> {
        At { now, notices: self }
    }

    /// The totals of windows of one counter that closed, oldest first, less what was withdrawn.
    pub(super) fn closed(&self, entry: &Entry, dimension: Dimension) -> Vec<u64> {
        let mut totals = std::collections::BTreeMap::<u64, i128>::new();
        for (id, of, notice) in self.0.lock().unwrap().iter() {
            if *id != entry.id.to_string() || *of != dimension {
                continue;
            }
            match *notice {
                Notice::Closed { generation, total, .. } => {
                    *totals.entry(generation).or_default() += i128::from(total);
                }
                Notice::Withdrawn { generation, amount } => {
                    *totals.entry(generation).or_default() -= i128::from(amount);
                }
                _ => {}
            }
        }
        totals
            .into_values()
            .map(|total| u64::try_from(total).expect("no total below zero"))
            .collect()
    }

    /// How many windows of one counter were reported closed.
    pub(super) fn closings(&self, entry: &Entry, dimension: Dimension) -> usize {
        let log = self.0.lock().unwrap();
        let closing = |(id, of, notice): &&(String, Dimension, Notice)| {
            *id == entry.id.to_string()
                && *of == dimension
                && matches!(notice, Notice::Closed { .. })
        };
        log.iter().filter(closing).count()
    }

    pub(super) fn count(&self, which: impl Fn(&Notice) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, _, notice)| which(notice)).count()
    }
}

/// A plan for a rate limit of tokens and requests in windows of a millisecond.
pub(super) fn rate_plan(tokens: u64, requests: u64) -> Arc<Plan> {
    let counter = |dimension, limit| {
        let period: Period = "1ms".parse().unwrap();
        CounterPlan::new(dimension, Some(limit), &period, TokenWeights::default(), &[]).unwrap()
    };
    Arc::new(Plan {
        kind: LimitKind::RateLimit,
        enforcement: Enforcement::Hard,
        counters: [
            Some(counter(Dimension::Tokens, tokens)),
            Some(counter(Dimension::Requests, requests)),
        ],
    })
}

/// A plan for a limit of tokens alone in windows of a millisecond.
pub(super) fn token_plan(tokens: u64) -> Arc<Plan> {
    let both = rate_plan(tokens, 1);
    Arc::new(Plan { counters: [both.counters[0].clone(), None], ..Plan::clone(&both) })
}

/// The same with a notice at a percentage.
pub(super) fn noticed_plan(tokens: u64, percent: u8) -> Arc<Plan> {
    let plan = token_plan(tokens);
    let counter = plan.counters[TOKENS].as_deref().expect("tokens are counted");
    let counter = CounterPlan { thresholds: [percent].into(), ..counter.clone() };
    Arc::new(Plan { counters: [Some(Arc::new(counter)), None], ..Plan::clone(&plan) })
}

/// The same that admits past itself.
pub(super) fn soft_plan(tokens: u64) -> Arc<Plan> {
    Arc::new(Plan { enforcement: Enforcement::Soft, ..Plan::clone(&token_plan(tokens)) })
}

pub(super) fn entry(id: &str, plan: Arc<Plan>) -> Arc<Entry> {
    let owner = OwnerId::new("team", "t").unwrap();
    let zero = Timestamp::UNIX_EPOCH;
    let first = Beginnings::at(zero, None).of(&plan, None);
    Arc::new(Entry::new(LimitId::new(id).unwrap(), owner, first))
}

pub(super) fn tokens(n: u64) -> Usage {
    Usage { input_tokens: n, requests: 1, ..Usage::default() }
}

/// Settled and held of a counter at an instant.
pub(super) fn counts(entry: &Entry, counter: usize, now: Timestamp) -> (u64, u64) {
    let read = entry.read(counter, now);
    (read.counts.settled, read.counts.held)
}

pub(super) fn route<const N: usize>(limits: [&Arc<Entry>; N]) -> Stops {
    let mut stops = Stops::default();
    limits.into_iter().for_each(|limit| stops.add(limit));
    stops
}

pub(super) fn reserve(stops: &Stops, usage: &Usage, at: &At) -> Result<Holds, RefusedBy> {
    let mut holds = Holds::default();
    admission::reserve(stops, &mut holds, usage, at.now, || *at).map(|()| holds)
}

pub(super) fn settle(stops: &Stops, holds: &mut Holds, actual: Actual, at: &At) {
    admission::settle(stops, holds, actual, || at.now, || *at, |_, _, _, _| {});
}

pub(super) fn bump(limit: &Arc<Entry>, used: &Usage, at: &At) {
    admission::bump(&route([limit]), used, at.now, || *at, |_, _| {});
}
