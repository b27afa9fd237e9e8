//! What requests do to one counter of an entry: hold, settle, give back, bump.
//!
//! Each goes by the gate first, which follows no pointer, and by the snapshot if the gate is
//! closed, the window has ended, the answer is no, or there may be something to say of it.

use std::convert::Infallible;

use super::{At, Entry, Notice};
use crate::counter::{Change, Counts, Missed, SETTLED_MAX};
use crate::gate::Terms;
use crate::plan::UNLIMITED;
use crate::snapshot::{Snapshot, Window};
use crate::sync::{Arc, Loaded, keep};
use crate::time::Timestamp;
use crate::units::Dimension;

/// What is held on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The window it was admitted to: the lower half of its generation, see `holds`.
    pub(crate) window: u32,
    /// Held in that window.
    pub(crate) amount: u64,
}

impl Hold {
    /// Nothing held, which is the same in every window: of a counter that its limit does not have
    /// any more.
    pub(crate) const NONE: Hold = Hold { window: 0, amount: 0 };

    #[inline(always)]
    fn new(generation: u64, amount: u64) -> Hold {
        Hold { window: lower_half(generation), amount }
    }

    /// Whether it was admitted to the window of `generation`.
    #[inline(always)]
    pub(crate) fn is_in(self, generation: u64) -> bool {
        self.window == lower_half(generation)
    }

    /// The whole generation, of which `now` is the same or a later one.
    pub(crate) fn generation(self, now: u64) -> u64 {
        now.wrapping_sub(u64::from(lower_half(now).wrapping_sub(self.window)))
    }

    /// The counts after the hold has been replaced by `actual`.
    #[inline(always)]
    fn end(self, counts: Counts, actual: u64) -> Result<Counts, ()> {
        counts.give_back(self.amount).map(|counts| counts.book(actual)).ok_or(())
    }
}

#[allow(clippy::cast_possible_truncation)] // It is what is meant.
#[inline(always)]
fn lower_half(generation: u64) -> u32 {
    generation as u32
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
}

/// The counts with `amount` held, if that is admitted (L5). An exhausted limit admits nothing, not
/// even a request that is estimated at nothing.
pub(crate) fn admit(limit: u64, counts: Counts, amount: u64) -> Result<Counts, Refusal> {
    if !fits(limit, counts, amount) {
        return Err(Refusal::Full);
    }
    counts.hold(amount).ok_or(Refusal::HeldFull)
}

/// The counts after a booking of `amount`, of which `held` was held, if there is nothing to say of
/// it: the total is short of all notices and of what can be counted, or has not risen, and the
/// limit is not passed by what was not held.
#[inline(always)]
fn unremarkable(after: Counts, held: u64, amount: u64, terms: &Terms) -> Result<Counts, ()> {
    let short = after.settled < terms.alarm().min(SETTLED_MAX);
    let passes = amount > held && after.committed() > terms.limit;
    if (short || amount == 0) && !passes { Ok(after) } else { Err(()) }
}

fn fits(limit: u64, counts: Counts, amount: u64) -> bool {
    // What is UNLIMITED is the largest number there is, so that a sum that stops there fits.
    const { assert!(UNLIMITED == u64::MAX) };
    counts.committed().saturating_add(amount.max(1)) <= limit
}

impl Entry {
    /// Holds an amount on one counter. If it does not fit and the limit is not hard, `passed` takes
    /// the notice of that: to be given when the whole request is admitted.
    pub(crate) fn hold(
        &self,
        counter: usize,
        amount: u64,
        at: &At,
        passed: impl FnOnce(Notice),
    ) -> Result<Hold, Refused> {
        if let Some(hold) = self.hold_by_gate(counter, amount, at.now) {
            return Ok(hold);
        }
        let (hold, notice) = self.hold_by_snapshot(counter, amount, at)?;
        if let Some(notice) = notice {
            passed(notice);
        }
        Ok(hold)
    }

    /// Holds an amount, the usual way. `None` if the gate is closed, the window has ended, or it
    /// does not fit: then nothing is done, and [`Self::hold_by_snapshot`] knows more.
    #[inline(always)]
    pub(crate) fn hold_by_gate(&self, counter: usize, amount: u64, now: Timestamp) -> Option<Hold> {
        let Terms { generation, limit, .. } = self.gate.read(counter, now)?;
        let held = self.counters[counter].update(generation, |counts| admit(limit, counts, amount));
        held.is_ok().then_some(Hold::new(generation, amount))
    }

    /// Replaces what `hold` holds by `actual`, the usual way. False if the gate is closed, a window
    /// has ended, or there may be something to say of it: then nothing is done, and
    /// [`Self::settle_by_snapshot`] does it.
    #[inline(always)]
    pub(crate) fn settle_by_gate(
        &self,
        counter: usize,
        hold: Hold,
        actual: u64,
        now: Timestamp,
    ) -> bool {
        let Some(terms) = self.gate.read(counter, now) else { return false };
        let word = &self.counters[counter];
        let settle =
            |counts: Counts| unremarkable(hold.end(counts, actual)?, hold.amount, actual, &terms);
        hold.is_in(terms.generation) && word.update(terms.generation, settle).is_ok()
    }

    /// Books what was used on one counter, the usual way. False as for [`Self::settle_by_gate`].
    #[inline(always)]
    pub(crate) fn bump_by_gate(&self, counter: usize, amount: u64, now: Timestamp) -> bool {
        let Some(terms) = self.gate.read(counter, now) else { return false };
        let word = &self.counters[counter];
        let bump = |counts: Counts| unremarkable(counts.book(amount), 0, amount, &terms);
        // Nothing is asked of the counter by nothing; that its window has not ended is known.
        amount == 0 || word.update(terms.generation, bump).is_ok()
    }

    /// Holds an amount by the snapshot. Every refusal is from here, and has its whole reason; and
    /// whatever passes a limit that is not hard passes it here.
    #[cold]
    fn hold_by_snapshot(
        &self,
        counter: usize,
        amount: u64,
        at: &At,
    ) -> Result<(Hold, Option<Notice>), Refused> {
        let mut snapshot = self.current(at);
        if snapshot.plan.counters[counter].is_none() {
            return Ok((Hold::NONE, None));
        }
        let held = self.update(&mut snapshot, counter, at, |snapshot, counts| {
            admit(snapshot.plan.denies_above(snapshot.windows[counter].limit), counts, amount)
        });
        let window = snapshot.windows[counter];
        match held {
            Ok(done) => {
                let passed = self.full(&snapshot, counter, amount, done.before, at);
                Ok((Hold::new(window.generation, amount), passed))
            }
            // Given up while the request was on its way: there is no limit here to refuse it.
            Err(_) if snapshot.plan.counters[counter].is_none() => Ok((Hold::NONE, None)),
            Err((counts, why)) => {
                self.full(&snapshot, counter, amount, counts, at);
                let (snapshot, requested) = (keep(snapshot), amount);
                Err(Refused { snapshot, counter, requested, window, counts, why })
            }
        }
    }

    /// What comes after an amount that did not fit under the limit: the first one in a window that
    /// could fit into an empty one is the notice that the limit is exhausted. Returns the notice
    /// that it passed, for when it does. Nothing if it fits.
    fn full(
        &self,
        snapshot: &Snapshot,
        counter: usize,
        requested: u64,
        counts: Counts,
        at: &At,
    ) -> Option<Notice> {
        let plan = snapshot.plan.counters[counter].as_ref()?;
        let terms = snapshot.terms(counter);
        let Terms { generation, limit, .. } = terms;
        if fits(limit, counts, requested) {
            return None;
        }
        if fits(limit, Counts::default(), requested) {
            self.exhausted(plan, counter, &terms, counts, at);
        }
        Some(Notice::Passed { generation, limit, requested, counts })
    }

    /// Takes `hold` back, for a request that is not admitted after all. If its window is over, the
    /// total of that has counted it or will, and a notice says so: of `dimension`, because by then
    /// the limit may not have the counter any more.
    pub(crate) fn withdraw(&self, counter: usize, dimension: Dimension, hold: Hold, at: &At) {
        if hold.amount == 0 {
            return;
        }
        let now = self.cell.load().windows[counter].generation;
        let generation = hold.generation(now);
        // The generation first: a later window's tag may be the same.
        if generation == now {
            let word = &self.counters[counter];
            match word.update(generation, |counts| hold.end(counts, 0)) {
                Ok(_) => return,
                Err(Missed::Refused(..)) => debug_assert!(false, "a hold is given back once"),
                // The word was in this generation when it was held, so it is past it now.
                Err(Missed::Elsewhere(_)) => {}
            }
        }
        let notice = Notice::Withdrawn { generation, amount: hold.amount };
        at.notices.notice(self, dimension, notice, at.now);
    }

    /// Replaces what `hold` holds by `actual`. What it held in a window that is over stays booked
    /// there, and only the excess is booked in the current one (L8).
    #[cold]
    pub(crate) fn settle_by_snapshot(
        &self,
        counter: usize,
        hold: Hold,
        actual: u64,
        at: &At,
    ) -> Posted {
        let mut snapshot = self.current(at);
        let terms = snapshot.terms(counter);
        if hold.is_in(terms.generation) {
            // A counter that the limit does not have any more gives back and books nothing.
            let counted = snapshot.plan.counters[counter].is_some();
            let actual = if counted { actual } else { 0 };
            let word = &self.counters[counter];
            match word.update(terms.generation, |counts| hold.end(counts, actual)) {
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
        if self.gate.read(counter, at.now).is_none() {
            self.current(at);
        }
    }

    /// Books what was used on one counter, unconditionally.
    #[cold]
    pub(crate) fn bump_by_snapshot(&self, counter: usize, amount: u64, at: &At) -> Posted {
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
        let book = |_: &Snapshot, counts: Counts| Ok::<_, Infallible>(counts.book(amount));
        match self.update(snapshot, counter, at, book) {
            Ok(done) => self.noted(counter, &snapshot.terms(counter), &done, (0, amount), at),
            Err((_, never)) => match never {},
        }
    }

    /// What comes after a booking of `amount`, of which `held` was held: its notices, and how far
    /// what was not held went above the limit.
    pub(super) fn noted(
        &self,
        counter: usize,
        terms: &Terms,
        done: &Change,
        (held, amount): (u64, u64),
        at: &At,
    ) -> Posted {
        // A total that has not risen calls for nothing, by the gate as well.
        if amount > 0 && done.after.settled >= terms.alarm() {
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
}
