//! What operators do to an entry: reset a window, change the plan, grant, set a balance.
//!
//! Each builds the next snapshot from the one it saw and tries again if another came between, as
//! long as what it meant still stands.

use super::{At, Entry, Notice};
use crate::plan::{COUNTERS, Plan};
use crate::snapshot::{Balance, Grant, Snapshot, Window};
use crate::sync::Arc;
#[cfg(feature = "ledger")]
use crate::time::Span;
use crate::time::Timestamp;

/// What a reset did to one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// It ended the window it named: the final total of that one, and the one that follows.
    Done { total: u64, window: Window },
    /// That window was over already. This one is in force.
    Lost { window: Window },
    /// The limit does not have the counter any more: there is no window to end.
    Gone,
}

impl Entry {
    /// Ends the window of `counter` at `at.now`: the one of `generation`, or the one in force when
    /// the call begins.
    pub(crate) fn reset(&self, counter: usize, generation: Option<u64>, at: &At) -> Reset {
        let mut seen = self.steady(at);
        let generation = generation.unwrap_or(seen.windows[counter].generation);
        loop {
            if seen.plan.counters[counter].is_none() {
                return Reset::Gone;
            }
            let window = seen.windows[counter];
            if window.generation != generation {
                return Reset::Lost { window };
            }
            if let Some(next) = self.replace(&seen, seen.reset(counter, at.now, 0), at) {
                let window = next.windows[counter];
                self.notice(&next, counter, Notice::Reset { window }, at);
                return Reset::Done { total: next.closed_total(counter), window };
            }
            // Another change came between. If it ended this window, that was the winner.
            seen = self.steady(at);
        }
    }

    /// Puts another plan in force, and another anchor if there is one. Says whether anything
    /// differed from what was.
    pub(crate) fn replan(&self, plan: &Arc<Plan>, anchor: Option<Timestamp>, at: &At) -> bool {
        let next = self.steer(at, |seen| {
            let anchor = anchor.unwrap_or(seen.anchor);
            let differs = *seen.plan != **plan || seen.anchor != anchor;
            differs.then(|| seen.replanned(Arc::clone(plan), anchor, at.now))
        });
        next.is_some()
    }

    /// Changes what is granted on one counter on top of its plan. `None` leaves it as it is.
    pub(crate) fn grant(
        &self,
        counter: usize,
        at: &At,
        change: impl Fn(&Snapshot) -> Option<Grant>,
    ) -> Option<Arc<Snapshot>> {
        self.steer(at, |seen| Some(seen.granted(counter, change(seen)?)))
    }

    /// Sets the usage of the counters that have a balance, and the anchor of the lattice: ends
    /// their windows and begins new ones with the balance booked. What was held or booked before
    /// is in the totals of the windows that closed.
    pub(crate) fn set(&self, anchor: Timestamp, balances: &[Option<Balance>; COUNTERS], at: &At) {
        self.steer(at, |seen| Some(seen.balanced(anchor, at.now, balances)));
    }

    /// Ends the window of `generation` and begins one that another process has begun already, with
    /// what is settled there. False if that window is over.
    #[cfg(feature = "ledger")]
    pub(crate) fn adopt(
        &self,
        counter: usize,
        generation: u64,
        (span, settled): (Span, u64),
        at: &At,
    ) -> bool {
        let next = self.steer(at, |seen| {
            let is_it = seen.windows[counter].generation == generation;
            seen.plan.counters[counter].as_ref().filter(|_| is_it)?;
            let grant = seen.grant(counter);
            let mut balances = [None; COUNTERS];
            balances[counter] = Some(Balance { span, settled: Some(settled), grant });
            // A clock that is behind the window in force takes it for no earlier one (L13).
            let now = at.now.max(seen.windows[counter].span.start);
            Some(seen.balanced(seen.anchor, now, &balances))
        });
        next.is_some()
    }

    /// Replaces the snapshot by `next` of it until that succeeds or there is nothing to change.
    /// Usage stays, but may be past a threshold now that it was short of before.
    fn steer(
        &self,
        at: &At,
        next: impl Fn(&Snapshot) -> Option<Snapshot>,
    ) -> Option<Arc<Snapshot>> {
        loop {
            let seen = self.steady(at);
            let Some(done) = self.replace(&seen, next(&seen)?, at) else { continue };
            for (counter, word) in self.counters.iter().enumerate() {
                let terms = done.terms(counter);
                let Some(plan) = &done.plan.counters[counter] else { continue };
                if let Ok(counts) = word.read(terms.generation) {
                    self.sound(plan, counter, &terms, counts, at);
                }
            }
            return Some(done);
        }
    }
}
