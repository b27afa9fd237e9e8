//! What requests do to one counter of an entry: hold, settle, give back, bump.
//!
//! Each goes by the gate first, which is one cache line, and by the snapshot if the gate is closed,
//! the window has ended, or the answer is no.

use std::convert::Infallible;

use super::{At, Entry, Notice};
use crate::counter::{Change, Counts, Missed};
use crate::gate::Terms;
use crate::plan::UNLIMITED;
use crate::snapshot::{Snapshot, Window};
use crate::sync::{Arc, Loaded, keep};
use crate::units::Dimension;

/// What is held on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The window it was admitted to.
    pub(crate) generation: u64,
    /// Held in that window.
    pub(crate) amount: u64,
}

impl Hold {
    /// Nothing held in no window: of a counter that its limit does not have any more.
    pub(crate) const NONE: Hold = Hold { generation: u64::MAX, amount: 0 };

    /// The counts after the hold has been replaced by `actual`.
    fn end(self, counts: Counts, actual: u64) -> Result<Counts, ()> {
        counts.give_back(self.amount).map(|counts| counts.book(actual)).ok_or(())
    }
}

/// Why a counter refused a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not fit under the limit.
    Full,
    /// So much is held already that the word cannot count more.
    HeldFull,
}

/// A counter's refusal, with what it was decided from.
pub(crate) struct Refused {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) counter: usize,
    pub(crate) requested: u64,
    pub(crate) window: Window,
    pub(crate) counts: Counts,
    pub(crate) why: Refusal,
}

/// What a booking on one counter came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Posted {
    /// The window in force.
    pub(crate) generation: u64,
    /// Booked in the window in force.
    pub(crate) amount: u64,
    /// How much of what was not held is above the limit.
    pub(crate) overshoot: u64,
    /// What the word could not count.
    pub(crate) uncounted: u64,
    /// The window of the hold was over: what it held stays booked there.
    pub(crate) late: bool,
}

impl Posted {
    /// Booked in its window under the limit.
    pub(crate) fn plain(generation: u64, amount: u64) -> Posted {
        Posted { generation, amount, ..Posted::default() }
    }

    /// What is booked of a reservation in all windows, of which `held` was held in the last one and
    /// `earlier` before it: where a window is over, what was held in it stays booked.
    pub(crate) fn with_what_stays(&self, held: u64, earlier: u64) -> u64 {
        let stays = if self.late { held.saturating_add(earlier) } else { earlier };
        self.amount.saturating_add(stays)
    }
}

/// The counts with `amount` held, if that is admitted (L5). An exhausted limit admits nothing, not
/// even a request that is estimated at nothing.
pub(crate) fn admit(limit: u64, counts: Counts, amount: u64) -> Result<Counts, Refusal> {
    if !fits(limit, counts, amount) {
        return Err(Refusal::Full);
    }
    counts.hold(amount).ok_or(Refusal::HeldFull)
}

fn fits(limit: u64, counts: Counts, amount: u64) -> bool {
    // What is UNLIMITED is the largest number there is, so that a sum that stops there fits.
    const { assert!(UNLIMITED == u64::MAX) };
    counts.committed().saturating_add(amount.max(1)) <= limit
}

impl Entry {
    /// Holds an amount on one counter.
    pub(crate) fn hold(&self, counter: usize, amount: u64, at: &At) -> Result<Hold, Refused> {
        match self.hold_by_gate(counter, amount, at) {
            Some(hold) => Ok(hold),
            None => self.hold_by_snapshot(counter, amount, at),
        }
    }

    /// The usual way. `None` if the gate is closed, the window has ended, or it does not fit.
    #[inline(always)]
    pub(crate) fn hold_by_gate(&self, counter: usize, amount: u64, at: &At) -> Option<Hold> {
        let slot = self.slot(counter);
        let Terms { generation, limit, .. } = slot.gate.read(at.now)?;
        let held = slot.counter.update(generation, |counts| admit(limit, counts, amount));
        held.is_ok().then_some(Hold { generation, amount })
    }

    /// The same by the snapshot. Every refusal is from here, so that it has its whole reason.
    #[cold]
    pub(crate) fn hold_by_snapshot(&self, counter: usize, amount: u64, at: &At) -> Result<Hold, Refused> {
        let mut snapshot = self.current(at);
        if snapshot.plan.counters[counter].is_none() {
            return Ok(Hold::NONE);
        }
        let held = self.update(&mut snapshot, counter, at, |window, counts| {
            admit(window.limit, counts, amount)
        });
        let window = snapshot.windows[counter];
        match held {
            Ok(_) => Ok(Hold { generation: window.generation, amount }),
            // Given up while the request was on its way: there is no limit here to refuse it.
            Err(_) if snapshot.plan.counters[counter].is_none() => Ok(Hold::NONE),
            Err((counts, why)) => {
                let (snapshot, requested) = (keep(snapshot), amount);
                let refused = Refused { snapshot, counter, requested, window, counts, why };
                self.refused(&refused, at);
                Err(refused)
            }
        }
    }

    /// Takes `hold` back, for a request that is not admitted after all. If its window is over, the
    /// total of that has counted it or will, and a notice says so: of `dimension`, because by then
    /// the limit may not have the counter any more.
    pub(crate) fn withdraw(&self, counter: usize, dimension: Dimension, hold: Hold, at: &At) {
        let Hold { generation, amount } = hold;
        if amount == 0 {
            return;
        }
        // The whole generation first: a later window's tag may be the same.
        if self.cell.load().windows[counter].generation == generation {
            let word = &self.slot(counter).counter;
            match word.update(generation, |counts| hold.end(counts, 0)) {
                Ok(_) => return,
                Err(Missed::Refused(..)) => debug_assert!(false, "a hold is given back once"),
                // The word was in this generation when it was held, so it is past it now.
                Err(Missed::Elsewhere(_)) => {}
            }
        }
        at.notices.notice(self, dimension, Notice::Withdrawn { generation, amount }, at.now);
    }

    /// Replaces what `hold` holds by `actual`. What it held in a window that is over stays booked
    /// there, and only the excess is booked in the current one (L8). `None`: it is booked in the
    /// window of the hold, and nothing is to be said of it.
    #[inline(always)]
    pub(crate) fn settle(&self, counter: usize, hold: Hold, actual: u64, at: &At) -> Option<Posted> {
        let slot = self.slot(counter);
        let terms = slot.gate.read(at.now);
        if let Some(terms) = terms.filter(|terms| terms.generation == hold.generation) {
            let settled = slot.counter.update(hold.generation, |counts| hold.end(counts, actual));
            if let Ok(done) = settled {
                return self.posted(counter, &terms, &done, (hold.amount, actual), at);
            }
        }
        Some(self.settle_by_snapshot(counter, hold, actual, at))
    }

    /// The same by the snapshot.
    #[cold]
    fn settle_by_snapshot(&self, counter: usize, hold: Hold, actual: u64, at: &At) -> Posted {
        let mut snapshot = self.current(at);
        let terms = snapshot.terms(counter);
        if terms.generation == hold.generation {
            // A counter that the limit does not have any more gives back and books nothing.
            let counted = snapshot.plan.counters[counter].is_some();
            let actual = if counted { actual } else { 0 };
            let word = &self.slot(counter).counter;
            match word.update(hold.generation, |counts| hold.end(counts, actual)) {
                Ok(done) => return self.noted(counter, &terms, &done, (hold.amount, actual), at),
                Err(Missed::Refused(..)) => debug_assert!(false, "a hold is settled once"),
                // The window ended between the two loads. It does not come back.
                Err(Missed::Elsewhere(_)) => snapshot = self.current(at),
            }
        }
        let excess = actual.saturating_sub(hold.amount);
        let posted = self.book(&mut snapshot, counter, excess, at);
        Posted { late: hold.amount > 0, ..posted }
    }

    /// Asks nothing of a counter, but notices that a window has ended, as every operation does.
    #[inline]
    pub(crate) fn pass(&self, counter: usize, at: &At) {
        if self.slot(counter).gate.read(at.now).is_none() {
            self.current(at);
        }
    }

    /// Books what was used on one counter, unconditionally. `None`: nothing is to be said of it.
    #[inline(always)]
    pub(crate) fn bump(&self, counter: usize, amount: u64, at: &At) -> Option<Posted> {
        let slot = self.slot(counter);
        if let Some(terms) = slot.gate.read(at.now) {
            let book = |counts: Counts| Ok::<_, Infallible>(counts.book(amount));
            if let Ok(done) = slot.counter.update(terms.generation, book) {
                return self.posted(counter, &terms, &done, (0, amount), at);
            }
        }
        Some(self.bump_by_snapshot(counter, amount, at))
    }

    /// The same by the snapshot.
    #[cold]
    fn bump_by_snapshot(&self, counter: usize, amount: u64, at: &At) -> Posted {
        self.book(&mut self.current(at), counter, amount, at)
    }

    fn book(
        &self,
        snapshot: &mut Loaded<Snapshot>,
        counter: usize,
        amount: u64,
        at: &At,
    ) -> Posted {
        if amount == 0 || snapshot.plan.counters[counter].is_none() {
            return Posted::plain(snapshot.windows[counter].generation, 0);
        }
        let book = |_: &Window, counts: Counts| Ok::<_, Infallible>(counts.book(amount));
        match self.update(snapshot, counter, at, book) {
            Ok(done) => self.noted(counter, &snapshot.terms(counter), &done, (0, amount), at),
            Err((_, never)) => match never {},
        }
    }

    /// What comes after a booking of `amount`, of which `held` was held: nothing, unless there may
    /// be something to say of it.
    #[inline(always)]
    fn posted(
        &self,
        counter: usize,
        terms: &Terms,
        done: &Change,
        (held, amount): (u64, u64),
        at: &At,
    ) -> Option<Posted> {
        let after = done.after;
        if after.settled < terms.alarm() && (amount <= held || after.committed() <= terms.limit) {
            return None;
        }
        // Copies, so that what they are copied from need not be in memory for all who return above.
        let (terms, done) = (*terms, *done);
        Some(self.noted(counter, &terms, &done, (held, amount), at))
    }

    /// What comes after a booking that there may be something to say of: its notices, and how far
    /// what was not held went above the limit.
    #[cold]
    fn noted(
        &self,
        counter: usize,
        terms: &Terms,
        done: &Change,
        (held, amount): (u64, u64),
        at: &At,
    ) -> Posted {
        if done.after.settled >= terms.alarm() {
            // The thresholds are those of now, not those of the admission.
            if let Some(plan) = &self.cell.load().plan.counters[counter] {
                self.sound(plan, counter, terms, done.after, at);
            }
        }
        let above = done.after.committed().saturating_sub(terms.limit);
        Posted {
            generation: terms.generation,
            amount,
            overshoot: above.min(amount.saturating_sub(held)),
            uncounted: amount - (done.after.settled - done.before.settled),
            late: false,
        }
    }

    /// What comes after a refusal: the first one in a window, of a request that could fit into an
    /// empty one, is the notice that the limit is exhausted.
    fn refused(&self, refused: &Refused, at: &At) {
        let Refused { snapshot, counter, requested, window, counts, why } = refused;
        let Some(plan) = &snapshot.plan.counters[*counter] else { return };
        if *why == Refusal::Full && fits(window.limit, Counts::default(), *requested) {
            self.exhausted(plan, *counter, &snapshot.terms(*counter), *counts, at);
        }
    }
}
