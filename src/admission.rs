//! One request against several limits: held on all of them, or on none.
//!
//! # Proof
//!
//! - **L5** Each limit admits its own hold in one swap (`entry`), so none is passed at any moment.
//! - **L6** Holds are taken in the order of the route. At the first refusal, those taken are taken
//!   back by the thread that took them; nothing in between can panic or run code of a user. A
//!   request that comes in the meantime may be refused because of a hold that is then taken back:
//!   allowed, because the answer to a race for the last unit is "not now" for one of the two at
//!   least, and both would have been refused had the first one stayed.
//! - **L7** [`settle`] consumes the holds.
//!
//! A window that closes between a hold and its withdrawal has the hold in its total, which is
//! final. The withdrawal then gives the notice [`Notice::Withdrawn`], so that totals less
//! withdrawals are exactly what was admitted.
//!
//! # Models
//!
//! `tests/loom_admission.rs`.
//!
//! [`Notice::Withdrawn`]: crate::entry::Notice::Withdrawn

use smallvec::SmallVec;

use crate::entry::{At, Entry, Hold, Posted, Refused};
use crate::plan::{CounterPlan, Plan};
use crate::sync::Arc;
use crate::units::{Dimension, Usage};

/// A limit on a route, with the plan by which requests are admitted and settled: the one of the
/// route's resolution, so that a reservation ends by what it began by.
pub(crate) struct Stop {
    pub(crate) entry: Arc<Entry>,
    pub(crate) plan: Arc<Plan>,
}

/// What a reservation holds.
#[derive(Default)]
pub(crate) struct Holds {
    /// One for each counter of each stop, in their order. As many as a route of five owners with a
    /// budget and a rate limit each needs are kept without an allocation.
    now: SmallVec<[Hold; 16]>,
    /// What was held before in windows that ended meanwhile, for those that were extended since.
    /// Empty if none was.
    earlier: Vec<u64>,
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

/// The limit that refused: its place in the route, and its answer.
pub(crate) struct RefusedBy {
    pub(crate) place: usize,
    pub(crate) refused: Refused,
}

impl Stop {
    pub(crate) fn new(entry: &Arc<Entry>) -> Self {
        Self { entry: Arc::clone(entry), plan: Arc::clone(&entry.snapshot().plan) }
    }

    /// The counters of its plan, by their places.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (usize, &CounterPlan)> {
        let counters = self.plan.counters.iter().enumerate();
        counters.filter_map(|(counter, plan)| plan.as_ref().map(|plan| (counter, plan)))
    }
}

impl Holds {
    pub(crate) fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    /// The windows of the holds, in their order.
    #[cfg(test)]
    pub(crate) fn generations(&self) -> Vec<u64> {
        self.now.iter().map(|hold| hold.generation).collect()
    }
}

impl Actual<'_> {
    fn amount(self, plan: &CounterPlan, held: u64) -> u64 {
        match self {
            Actual::Used(usage) => plan.actual(usage),
            Actual::AsHeld if plan.dimension != Dimension::InFlight => held,
            Actual::AsHeld | Actual::Nothing => 0,
        }
    }
}

/// Holds an estimate on all limits or on none.
pub(crate) fn reserve(stops: &[Stop], usage: &Usage, at: &At) -> Result<Holds, RefusedBy> {
    let mut holds = Holds::default();
    for (place, stop) in stops.iter().enumerate() {
        for (counter, plan) in stop.counters() {
            match stop.entry.hold(counter, plan.estimate(usage), at) {
                Ok(hold) => holds.now.push(hold),
                Err(refused) => {
                    withdraw(stops, &holds.now, at);
                    return Err(RefusedBy { place, refused });
                }
            }
        }
    }
    Ok(holds)
}

/// Holds more on all limits of a reservation or on none. If a window has ended since, what was held
/// in it stays booked there, and the extension is held in the one in force.
pub(crate) fn extend(
    stops: &[Stop],
    holds: &mut Holds,
    more: &Usage,
    at: &At,
) -> Result<(), RefusedBy> {
    let mut added = SmallVec::<[Hold; 16]>::new();
    for (place, stop) in stops.iter().enumerate() {
        for (counter, plan) in stop.counters() {
            let amount = plan.actual(more);
            if amount == 0 {
                stop.entry.pass(counter, at);
                added.push(Hold::NONE);
                continue;
            }
            match stop.entry.hold(counter, amount, at) {
                Ok(hold) => added.push(hold),
                Err(refused) => {
                    withdraw(stops, &added, at);
                    return Err(RefusedBy { place, refused });
                }
            }
        }
    }
    for (index, more) in added.into_iter().enumerate() {
        holds.add(index, more);
    }
    Ok(())
}

impl Holds {
    fn add(&mut self, index: usize, more: Hold) {
        let hold = &mut self.now[index];
        if more.amount == 0 {
            return;
        }
        if hold.generation == more.generation {
            hold.amount += more.amount;
        } else {
            let over = std::mem::replace(hold, more);
            self.earlier.resize(self.now.len(), 0);
            self.earlier[index] = self.earlier[index].saturating_add(over.amount);
        }
    }
}

/// Ends a reservation on all limits, and reports what each booking came to: the limit, the plan of
/// the counter, what is booked for the request in all windows, and what was done now.
pub(crate) fn settle(
    stops: &[Stop],
    holds: &Holds,
    actual: Actual,
    at: &At,
    mut report: impl FnMut(&Entry, &CounterPlan, u64, Posted),
) {
    let mut index = 0;
    for stop in stops {
        for (counter, plan) in stop.counters() {
            let hold = holds.now[index];
            let earlier = holds.earlier.get(index).copied().unwrap_or(0);
            let held = hold.amount.saturating_add(earlier);
            let rest = actual.amount(plan, held).saturating_sub(earlier);
            let posted = stop.entry.settle(counter, hold, rest, at);
            // Where a window is over, what was held in it stays booked.
            let stays = if posted.late { held } else { earlier };
            let booked = posted.amount.saturating_add(stays);
            let late = posted.late || earlier > 0;
            report(&stop.entry, plan, booked, Posted { late, ..posted });
            index += 1;
        }
    }
}

/// Books what was used on all limits, unconditionally.
pub(crate) fn bump(
    stops: &[Stop],
    used: &Usage,
    at: &At,
    mut report: impl FnMut(&Entry, &CounterPlan, Posted),
) {
    for stop in stops {
        for (counter, plan) in stop.counters() {
            match plan.actual(used) {
                0 => stop.entry.pass(counter, at),
                amount => {
                    let posted = stop.entry.bump(counter, amount, at);
                    report(&stop.entry, plan, posted);
                }
            }
        }
    }
}

fn withdraw(stops: &[Stop], holds: &[Hold], at: &At) {
    let counters = stops.iter().flat_map(|stop| stop.counters().map(move |(c, _)| (stop, c)));
    for ((stop, counter), hold) in counters.zip(holds) {
        stop.entry.withdraw(counter, *hold, at);
    }
}
