//! What operators do: reset windows, sweep, top up, override.

use std::num::NonZeroU16;

use thiserror::Error;

use crate::counter::SETTLED_MAX;
use crate::engine::Engine;
use crate::entry::{Entry, Reset};
use crate::id::LimitId;
use crate::plan::{COUNTERS, LimitKind};
use crate::snapshot::{Grant, Snapshot, Window};
use crate::sync::Arc;
use crate::time::{Span, Timestamp};
use crate::units::{Dimension, Money};

/// What a reset did to one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetOutcome {
    /// The window ended, by this call.
    Reset {
        /// The counter.
        dimension: Dimension,
        /// The final total of the window that ended: booked, and held when it closed.
        total: u64,
        /// The window that began.
        window: Span,
        /// Its generation.
        generation: u64,
    },
    /// The window had ended already, at its boundary or by another reset. Nothing was changed.
    Lost {
        /// The counter.
        dimension: Dimension,
        /// The window in force.
        window: Span,
        /// Its generation.
        generation: u64,
    },
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Limits looked at.
    pub visited: usize,
    /// Limits with a window that had ended and was rolled.
    pub rolled: usize,
}

/// How long an override lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Until it is cleared or replaced.
    UntilCleared,
    /// For this many windows, the current one being the first, by their boundaries as they are now.
    Windows(NonZeroU16),
}

/// Why an operation on a limit was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The limit does not exist.
    #[error("there is no limit {limit}")]
    UnknownLimit {
        /// The limit.
        limit: LimitId,
    },
    /// The limit has no counter of that dimension.
    #[error("the limit {limit} does not count {dimension}")]
    NotCounted {
        /// The limit.
        limit: LimitId,
        /// The dimension.
        dimension: Dimension,
    },
    /// Requests in flight have no window.
    #[error("the limit {limit} counts requests in flight: there is no window to reset")]
    NoWindow {
        /// The limit.
        limit: LimitId,
    },
    /// Only a prepaid budget is topped up.
    #[error("the limit {limit} is no prepaid budget: override its limit instead of topping it up")]
    NotPrepaid {
        /// The limit.
        limit: LimitId,
    },
    /// The limit would be more than a counter can count.
    #[error("the limit {limit} would be more than {SETTLED_MAX}, the most that can be counted")]
    TooLarge {
        /// The limit.
        limit: LimitId,
    },
}

impl Engine {
    /// Ends the current window now: of one counter of a limit, or of all it has.
    ///
    /// Of several threads that reset the same window one succeeds; the others are told
    /// [`ResetOutcome::Lost`]. What was held stays booked in the window that ended. The window that
    /// begins ends at the boundary at which the other would have.
    ///
    /// # Errors
    ///
    /// The limit is unknown, does not count the dimension, or counts requests in flight.
    pub fn reset(
        &self,
        limit: &LimitId,
        dimension: Option<Dimension>,
    ) -> Result<Vec<ResetOutcome>, OperatorError> {
        let entry = self.find(limit)?;
        let counters = match dimension {
            Some(dimension) => vec![resettable(&entry, dimension)?],
            None if entry.snapshot().plan.kind == LimitKind::Concurrency => {
                return Err(OperatorError::NoWindow { limit: limit.clone() });
            }
            None => (0..COUNTERS).collect(),
        };
        Ok(counters.into_iter().filter_map(|c| self.reset_counter(&entry, c, None)).collect())
    }

    /// Ends the window of one generation, if it is still the current one: for whoever decided on
    /// the strength of a reading. A newer window is not touched, however stale the reading; but a
    /// limit that was removed and created again, and one of a new process, count anew from zero.
    ///
    /// # Errors
    ///
    /// The limit is unknown, does not count the dimension, or counts requests in flight.
    pub fn reset_window(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        generation: u64,
    ) -> Result<ResetOutcome, OperatorError> {
        let entry = self.find(limit)?;
        let counter = resettable(&entry, dimension)?;
        self.reset_counter(&entry, counter, Some(generation))
            .ok_or_else(|| OperatorError::NotCounted { limit: limit.clone(), dimension })
    }

    /// Rolls every window that has ended, so that events of their closing come soon. Nothing
    /// depends on it: whoever comes to a window that has ended rolls it.
    pub fn reset_expired(&self) -> Sweep {
        let limits = self.shared.store.limits();
        let at = self.shared.desk.at();
        let rolled = limits.iter().filter(|entry| entry.roll(&at)).count();
        Sweep { visited: limits.len(), rolled }
    }

    /// Adds credit to a prepaid budget and returns what it admits from then on.
    ///
    /// # Errors
    ///
    /// The limit is unknown, no prepaid budget, or would be more than can be counted.
    pub fn top_up(&self, limit: &LimitId, credit: Money) -> Result<Money, OperatorError> {
        let entry = self.find(limit)?;
        let granted = self.grant(&entry, 0, |seen| topped_up(limit, seen, credit).ok());
        let Some(granted) = granted else {
            topped_up(limit, &entry.snapshot(), credit)?;
            return Err(OperatorError::NotPrepaid { limit: limit.clone() });
        };
        Ok(Money::from_nanos(granted.windows[0].limit).unwrap_or(Money::MAX))
    }

    /// Puts another limit in the place of a counter's own, in its unit, from now on. Usage stays.
    /// An override outlives changes of the definition.
    ///
    /// # Errors
    ///
    /// The limit is unknown, does not count the dimension, or would be more than can be counted.
    pub fn override_limit(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        instead: u64,
        lasts: Lasts,
    ) -> Result<(), OperatorError> {
        let entry = self.find(limit)?;
        let counter = counter_of(&entry, dimension)?;
        if instead > SETTLED_MAX {
            return Err(OperatorError::TooLarge { limit: limit.clone() });
        }
        self.grant(&entry, counter, |seen| {
            let until = until(seen, counter, lasts)?;
            Some(Grant { instead: Some((instead, until)), ..seen.grant(counter) })
        })
        .map(|_| ())
        .ok_or_else(|| OperatorError::NotCounted { limit: limit.clone(), dimension })
    }

    /// Takes an override away. Without one, nothing changes.
    ///
    /// # Errors
    ///
    /// The limit is unknown or does not count the dimension.
    pub fn clear_override(
        &self,
        limit: &LimitId,
        dimension: Dimension,
    ) -> Result<(), OperatorError> {
        let entry = self.find(limit)?;
        let counter = counter_of(&entry, dimension)?;
        self.grant(&entry, counter, |seen| Some(Grant { instead: None, ..seen.grant(counter) }));
        Ok(())
    }

    pub(super) fn find(&self, limit: &LimitId) -> Result<Arc<Entry>, OperatorError> {
        self.shared
            .store
            .limit(limit.as_str())
            .ok_or_else(|| OperatorError::UnknownLimit { limit: limit.clone() })
    }

    pub(super) fn grant(
        &self,
        entry: &Entry,
        counter: usize,
        change: impl Fn(&Snapshot) -> Option<Grant>,
    ) -> Option<Arc<Snapshot>> {
        entry.grant(counter, &self.shared.desk.at(), change)
    }

    fn reset_counter(
        &self,
        entry: &Entry,
        counter: usize,
        generation: Option<u64>,
    ) -> Option<ResetOutcome> {
        let dimension = entry.snapshot().dimension(counter)?;
        let reset = entry.reset(counter, generation, &self.shared.desk.at());
        match reset {
            Reset::Done { total, window: Window { span: window, generation, .. } } => {
                Some(ResetOutcome::Reset { dimension, total, window, generation })
            }
            Reset::Lost { window: Window { span: window, generation, .. } } => {
                Some(ResetOutcome::Lost { dimension, window, generation })
            }
            Reset::Gone => None,
        }
    }
}

pub(super) fn counter_of(entry: &Entry, dimension: Dimension) -> Result<usize, OperatorError> {
    let snapshot = entry.snapshot();
    (0..COUNTERS)
        .find(|&counter| snapshot.dimension(counter) == Some(dimension))
        .ok_or_else(|| OperatorError::NotCounted { limit: entry.id.clone(), dimension })
}

fn resettable(entry: &Entry, dimension: Dimension) -> Result<usize, OperatorError> {
    let counter = counter_of(entry, dimension)?;
    match dimension {
        Dimension::InFlight => Err(OperatorError::NoWindow { limit: entry.id.clone() }),
        _ => Ok(counter),
    }
}

/// What is granted on a prepaid budget once this credit is added.
pub(super) fn topped_up(
    limit: &LimitId,
    seen: &Snapshot,
    credit: Money,
) -> Result<Grant, OperatorError> {
    let plan = seen.plan.counters[0].as_ref();
    let prepaid = plan.filter(|p| p.dimension == Dimension::Money && p.period.is_never());
    let plan = prepaid.ok_or_else(|| OperatorError::NotPrepaid { limit: limit.clone() })?;
    let grant = seen.grant(0);
    let credit = grant.credit.saturating_add(credit.as_nanos());
    if plan.limit.saturating_add(credit) > SETTLED_MAX {
        return Err(OperatorError::TooLarge { limit: limit.clone() });
    }
    Ok(Grant { credit, ..grant })
}

/// The instant before which windows must begin to be among those that an override lasts for.
pub(super) fn until(seen: &Snapshot, counter: usize, lasts: Lasts) -> Option<Timestamp> {
    let plan = seen.plan.counters[counter].as_ref()?;
    let Lasts::Windows(count) = lasts else { return Some(Timestamp::MAX) };
    let first = seen.windows[counter].span.end;
    Some((1..count.get()).fold(first, |end, _| plan.period.window_at(seen.anchor, end).end))
}
