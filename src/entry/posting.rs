//! What a bill does to one counter of an entry: it books in one window, whichever it named.
//!
//! It was decided before what is booked where, and has been written down since. So what comes too
//! late for its window is not booked in another one: the total of a window that is over does not
//! change any more.

use super::{At, Entry, Hold, Posted};
use crate::counter::{Change, Counts, Elsewhere, Missed, SETTLED_MAX};
use crate::snapshot::Snapshot;
use crate::sync::Loaded;

impl Entry {
    /// What is in force at `at.now`, after every window that has ended is rolled.
    pub(crate) fn in_force(&self, at: &At) -> Loaded<Snapshot> {
        self.current(at)
    }

    /// Replaces what `hold` holds in the window of `generation` by `amount`. `None` if that window
    /// is over: what was held is in its total. A counter that the limit does not have any more
    /// gives back and books nothing.
    pub(crate) fn post(
        &self,
        counter: usize,
        hold: Hold,
        generation: u64,
        amount: u64,
        at: &At,
    ) -> Option<Posted> {
        let amount = if self.cell.load().plan.counters[counter].is_some() { amount } else { 0 };
        let (snapshot, done) = self.change_in(generation, counter, at, |counts| {
            counts.give_back(hold.amount).map(|counts| counts.book(amount))
        })?;
        let terms = snapshot.terms(counter);
        Some(self.noted(counter, &terms, &done, (hold.amount, amount), at))
    }

    /// Gives back what `hold` holds. If its window is over, it stays in the total of that.
    pub(crate) fn give_back(&self, counter: usize, hold: Hold, at: &At) {
        if hold.amount > 0 {
            let now = self.cell.load().windows[counter].generation;
            self.change_in(hold.generation(now), counter, at, |counts| {
                counts.give_back(hold.amount)
            });
        }
    }

    /// Changes what is booked in the window of `generation`, not below zero. False if that window
    /// is over.
    pub(crate) fn adjust(&self, counter: usize, generation: u64, by: i64, at: &At) -> bool {
        let changed = self.change_in(generation, counter, at, |counts| {
            let settled = counts.settled.saturating_add_signed(by).min(SETTLED_MAX);
            Some(Counts { settled, ..counts })
        });
        let Some((snapshot, Change { after, .. })) = changed else { return false };
        if let Some(plan) = &snapshot.plan.counters[counter] {
            self.sound(plan, counter, &snapshot.terms(counter), after, at);
        }
        true
    }

    /// Changes a counter in the window of `generation` and in no other. `None` if that is over.
    fn change_in(
        &self,
        generation: u64,
        counter: usize,
        at: &At,
        change: impl Fn(Counts) -> Option<Counts>,
    ) -> Option<(Loaded<Snapshot>, Change)> {
        loop {
            let snapshot = self.current(at);
            if snapshot.windows[counter].generation != generation {
                return None;
            }
            let word = &self.counters[counter];
            match word.update(generation, |counts| change(counts).ok_or(())) {
                Ok(done) => return Some((snapshot, done)),
                Err(Missed::Elsewhere(Elsewhere::Behind)) => self.catch_up(&snapshot, at),
                Err(Missed::Elsewhere(Elsewhere::Moved)) => {}
                Err(Missed::Refused(..)) => {
                    debug_assert!(false, "a hold is given back once");
                    return None;
                }
            }
        }
    }
}
