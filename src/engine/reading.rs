//! Readings: what limits have used.

use crate::engine::{Engine, Route};
use crate::entry::Entry;
use crate::id::{LimitId, OwnerId};
use crate::plan::{COUNTERS, Enforcement, LimitKind};
use crate::sync::Arc;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// What one limit has used at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUsage {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// Its kind.
    pub kind: LimitKind,
    /// What it does with requests that do not fit.
    pub enforcement: Enforcement,
    /// Its counters: one, or tokens and requests. Each is exact; the two are read one after the
    /// other.
    pub counters: Vec<CounterUsage>,
}

/// What one counter has used at an instant. Amounts are in the dimension's unit: nano-units of the
/// currency, weighted tokens, requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CounterUsage {
    /// What it counts.
    pub dimension: Dimension,
    /// What is booked in the window.
    pub settled: u64,
    /// What is held by requests under way.
    pub held: u64,
    /// What fits into the window, top-ups and overrides included; `None` if it only counts.
    pub limit: Option<u64>,
    /// The window.
    pub window: Span,
    /// Counts the windows of this counter; names the window to
    /// [`Engine::reset_window`].
    pub generation: u64,
}

impl CounterUsage {
    /// What admission compares with the limit: settled and held.
    pub fn committed(&self) -> u64 {
        self.settled.saturating_add(self.held)
    }

    /// What is left of the limit; zero where it is overshot; `None` if the counter only counts.
    pub fn remaining(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.committed()))
    }

    /// How much of the limit is committed, in percent, rounded down; more than 100 where it is
    /// overshot. A limit of zero is always full. `None` if it only
    /// counts.
    pub fn percent(&self) -> Option<u64> {
        let limit = self.limit?;
        let percent = u128::from(self.committed()) * 100 / u128::from(limit.max(1));
        let percent = u64::try_from(percent).unwrap_or(u64::MAX);
        Some(if limit == 0 { percent.max(100) } else { percent })
    }
}

impl LimitUsage {
    /// The counter of a dimension, if the limit has it.
    pub fn counter(&self, dimension: Dimension) -> Option<&CounterUsage> {
        self.counters.iter().find(|counter| counter.dimension == dimension)
    }
}

impl Engine {
    /// What a limit has used. `None` if there is no such limit.
    ///
    /// Changes nothing: a window that has ended reads as the empty one that follows it.
    pub fn usage(&self, limit: &LimitId) -> Option<LimitUsage> {
        Some(reading(&*self.shared.store.limit(limit.as_str())?, self.now()))
    }

    /// What the limits of a route have used, in its order.
    pub fn route_usage(&self, route: &Route) -> Vec<LimitUsage> {
        let now = self.now();
        let route = route.resolved(&self.shared);
        // The counters of a limit are beside each other.
        let limits = route.stops.as_slice().chunk_by(|a, b| Arc::ptr_eq(&a.entry, &b.entry));
        limits.map(|stops| reading(&stops[0].entry, now)).collect()
    }

    /// What every limit has used, at the instant of the call, in no particular order. Each limit is
    /// read when the iterator gets to it.
    ///
    /// # Cost
    ///
    /// One pointer for each limit at the call; nothing is locked while the iterator is used.
    pub fn usage_all(&self) -> impl Iterator<Item = LimitUsage> + use<> {
        let now = self.now();
        self.shared.store.limits().into_iter().map(move |entry| reading(&entry, now))
    }

    /// The window at this instant of a counter whose lattice has this anchor. `None` if there is no
    /// such counter.
    #[cfg(feature = "ledger")]
    pub(crate) fn window_of(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        anchor: Timestamp,
        now: Timestamp,
    ) -> Option<Span> {
        let entry = self.shared.store.limit(limit.as_str())?;
        let snapshot = entry.snapshot();
        let mut plans = snapshot.plan.counters.iter().flatten();
        let plan = plans.find(|plan| plan.dimension == dimension)?;
        Some(plan.period.window_at(anchor, now))
    }
}

pub(crate) fn reading(entry: &Entry, now: Timestamp) -> LimitUsage {
    let plan = Arc::clone(&entry.snapshot().plan);
    let counters = (0..COUNTERS).filter_map(|counter| {
        let dimension = plan.counters[counter].as_ref()?.dimension;
        let read = entry.read(counter, now);
        Some(CounterUsage {
            dimension,
            settled: read.counts.settled,
            held: read.counts.held,
            limit: read.window.limit(),
            window: read.window.span,
            generation: read.window.generation,
        })
    });
    LimitUsage {
        limit: entry.id.clone(),
        owner: entry.owner.clone(),
        kind: plan.kind,
        enforcement: plan.enforcement,
        counters: counters.collect(),
    }
}
