//! What requests do to an entry: hold, settle, give back, bump.

use std::convert::Infallible;

use super::{At, Entry, Notice};
use crate::counter::{Change, Counts, Missed};
use crate::plan::{COUNTERS, CounterPlan, UNLIMITED};
use crate::snapshot::{Snapshot, Window};
use crate::sync::{Arc, Loaded, keep};
use crate::units::{Dimension, Usage};

/// What a reservation holds on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The place of its limit in the route.
    pub(crate) place: u32,
    pub(crate) counter: u32,
    /// The window it was admitted to.
    pub(crate) generation: u64,
    /// Held in that window.
    pub(crate) amount: u64,
    /// Held before, in windows that closed meanwhile: it stays booked there.
    pub(crate) earlier: u64,
}

/// What a reservation comes to when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actual<'a> {
    /// This was used.
    Used(&'a Usage),
    /// Nothing was used: the hold is given back.
    Nothing,
    /// Nobody knows: what was held is booked.
    AsHeld,
}

impl Actual<'_> {
    fn amount(self, plan: &CounterPlan, hold: Hold) -> u64 {
        match self {
            Actual::Used(usage) => plan.actual(usage),
            Actual::AsHeld if plan.dimension != Dimension::InFlight => {
                hold.amount.saturating_add(hold.earlier)
            }
            Actual::AsHeld | Actual::Nothing => 0,
        }
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

/// What is to be booked on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) counter: usize,
    /// Charge in the window in force.
    pub(crate) amount: u64,
    /// Stays booked in windows that have closed.
    pub(crate) earlier: u64,
    /// Beyond what was held; for a bump, all of it.
    pub(crate) excess: u64,
}

/// What a booking came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) charge: Charge,
    /// How much of the excess is above the limit.
    pub(crate) overshoot: u64,
    /// What the word could not count.
    pub(crate) uncounted: u64,
}

/// The counts with `amount` held, if that is admitted (L5). An exhausted limit admits nothing, not
/// even a request that is estimated at nothing.
pub(crate) fn admit(window: &Window, counts: Counts, amount: u64) -> Result<Counts, Refusal> {
    if !fits(window.limit, counts, amount) {
        return Err(Refusal::Full);
    }
    counts.hold(amount).ok_or(Refusal::HeldFull)
}

fn fits(limit: u64, counts: Counts, amount: u64) -> bool {
    limit == UNLIMITED
        || counts.committed().checked_add(amount.max(1)).is_some_and(|total| total <= limit)
}

impl Entry {
    /// Holds an estimate on every counter of this limit, which is at `place` in its route. What was
    /// held before a refusal is the caller's to withdraw.
    pub(crate) fn hold(
        &self,
        place: u32,
        usage: &Usage,
        at: &At,
        mut holds: impl FnMut(Hold),
    ) -> Result<(), Refused> {
        let mut snapshot = self.current(at);
        for counter in 0..COUNTERS {
            let Some(plan) = &snapshot.plan.counters[counter] else { continue };
            let amount = plan.estimate(usage);
            let held = self
                .update(&mut snapshot, counter, at, |window, counts| admit(window, counts, amount));
            let window = snapshot.windows[counter];
            match held {
                Ok(_) => holds(Hold {
                    place,
                    counter: counter as u32,
                    generation: window.generation,
                    amount,
                    earlier: 0,
                }),
                Err((counts, why)) => {
                    let snapshot = keep(snapshot);
                    let requested = amount;
                    return Err(self.refuse(
                        Refused { snapshot, counter, requested, window, counts, why },
                        at,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Holds more for a reservation that has `hold`. If its window is over, what it held stays
    /// booked there and the extension is held in the one in force. Returns the hold as it is now,
    /// and how much was added.
    pub(crate) fn extend(&self, hold: Hold, more: &Usage, at: &At) -> Result<(Hold, u64), Refused> {
        let counter = hold.counter as usize;
        let mut snapshot = self.current(at);
        let plan = snapshot.plan.counters[counter].as_ref();
        let more = plan.map_or(0, |plan| plan.actual(more));
        if more == 0 {
            return Ok((hold, 0));
        }
        let held =
            self.update(&mut snapshot, counter, at, |window, counts| admit(window, counts, more));
        let window = snapshot.windows[counter];
        match held {
            Ok(_) if window.generation == hold.generation => {
                Ok((Hold { amount: hold.amount + more, ..hold }, more))
            }
            Ok(_) => {
                let earlier = hold.earlier.saturating_add(hold.amount);
                let generation = window.generation;
                Ok((Hold { generation, amount: more, earlier, ..hold }, more))
            }
            Err((counts, why)) => {
                let (snapshot, requested) = (keep(snapshot), more);
                let refused = Refused { snapshot, counter, requested, window, counts, why };
                Err(self.refuse(refused, at))
            }
        }
    }

    /// Takes `amount` of a hold back, for a request that is not admitted after all. If the window
    /// closed meanwhile, its total has counted it, and a notice says so.
    pub(crate) fn withdraw(&self, hold: &Hold, amount: u64, at: &At) {
        let (counter, generation) = (hold.counter as usize, hold.generation);
        if amount == 0 {
            return;
        }
        let word = &self.slots[counter].counter;
        match word.update(generation, |counts| counts.give_back(amount).ok_or(())) {
            Ok(_) => {}
            Err(Missed::Refused(..)) => debug_assert!(false, "a hold is given back once"),
            // The word was in this generation when it was held, so it is past it now.
            Err(Missed::Elsewhere(_)) => {
                let notice = Notice::Withdrawn { generation, amount };
                self.notice(&self.snapshot(), counter, notice, at);
            }
        }
    }

    /// Replaces what `hold` holds by the actual. What it held in a window that is over stays booked
    /// there, and only the excess is booked in the current one (L8).
    pub(crate) fn settle(&self, hold: Hold, actual: Actual, at: &At) -> Posted {
        let counter = hold.counter as usize;
        let mut snapshot = self.current(at);
        let plan = snapshot.plan.counters[counter].as_ref();
        let actual = plan.map_or(0, |plan| actual.amount(plan, hold));
        let rest = actual.saturating_sub(hold.earlier);
        let excess = rest.saturating_sub(hold.amount);
        if snapshot.windows[counter].generation == hold.generation {
            let word = &self.slots[counter].counter;
            let settled = word.update(hold.generation, |counts| {
                counts.give_back(hold.amount).map(|counts| counts.book(rest)).ok_or(())
            });
            match settled {
                Ok(done) => {
                    let charge = Charge { counter, amount: rest, earlier: hold.earlier, excess };
                    return self.posted(&snapshot, charge, done, at);
                }
                Err(Missed::Refused(..)) => debug_assert!(false, "a hold is settled once"),
                // The window ended between the two loads. It does not come back.
                Err(Missed::Elsewhere(_)) => snapshot = self.current(at),
            }
        }
        let earlier = hold.earlier.saturating_add(hold.amount);
        self.book(&mut snapshot, Charge { counter, amount: excess, earlier, excess }, at)
    }

    /// Books what was used, unconditionally, on every counter of this limit.
    pub(crate) fn bump(&self, usage: &Usage, at: &At, mut posted: impl FnMut(Posted)) {
        let mut snapshot = self.current(at);
        for counter in 0..COUNTERS {
            let Some(plan) = &snapshot.plan.counters[counter] else { continue };
            let amount = plan.actual(usage);
            let charge = Charge { counter, amount, earlier: 0, excess: amount };
            posted(self.book(&mut snapshot, charge, at));
        }
    }

    /// Adds to the settled total of the window in force.
    fn book(&self, snapshot: &mut Loaded<Snapshot>, charge: Charge, at: &At) -> Posted {
        if charge.amount == 0 || snapshot.plan.counters[charge.counter].is_none() {
            return Posted { charge, overshoot: 0, uncounted: 0 };
        }
        let done = self.update(snapshot, charge.counter, at, |_, counts| {
            Ok::<_, Infallible>(counts.book(charge.amount))
        });
        match done {
            Ok(done) => self.posted(snapshot, charge, done, at),
            Err((_, never)) => match never {},
        }
    }

    /// What comes after a booking: its notices, and how far it went above the limit.
    fn posted(&self, snapshot: &Snapshot, charge: Charge, done: Change, at: &At) -> Posted {
        self.sound(snapshot, charge.counter, done.after, at);
        let above = done.after.committed().saturating_sub(snapshot.windows[charge.counter].limit);
        Posted {
            overshoot: above.min(charge.excess),
            uncounted: charge.amount - (done.after.settled - done.before.settled),
            charge,
        }
    }

    /// What comes after a refusal: the first one in a window, of a request that could fit into an
    /// empty one, is the notice that the limit is exhausted.
    fn refuse(&self, refused: Refused, at: &At) -> Refused {
        if refused.why == Refusal::Full
            && fits(refused.window.limit, Counts::default(), refused.requested)
        {
            self.exhausted(&refused.snapshot, refused.counter, refused.counts, at);
        }
        refused
    }
}
