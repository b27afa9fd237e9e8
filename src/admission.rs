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
//! - **L7** A reservation ends by value and takes its holds out before it hands them to [`settle`]
//!   (`engine/reservation.rs`), so whoever comes after finds none.
//!
//! A window that closes between a hold and its withdrawal has the hold in its total, which is
//! final. The withdrawal then gives the notice [`Notice::Withdrawn`], so that totals less
//! withdrawals are exactly what was admitted.
//!
//! # Models
//!
//! `tests/loom_admission.rs`, `tests/loom_settle.rs`.
//!
//! [`Notice::Withdrawn`]: crate::entry::Notice::Withdrawn

use smallvec::SmallVec;

use crate::entry::{At, Entry, Hold, Posted, Refused};
use crate::plan::{COUNTERS, CounterPlan};
use crate::sync::Arc;
use crate::units::{Dimension, Usage};

/// One counter of a limit on a route, with the plan by which requests are admitted and settled: the
/// one of the route's resolution, so that a reservation ends by what it began by.
pub(crate) struct Stop {
    pub(crate) entry: Arc<Entry>,
    pub(crate) counter: usize,
    pub(crate) plan: Arc<CounterPlan>,
}

/// What a reservation holds.
#[derive(Default)]
pub(crate) struct Holds {
    /// One for each stop, in their order. As many as a route of five owners with a budget and a
    /// rate limit each needs are kept without an allocation.
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
    /// The counters of a limit.
    pub(crate) fn of(entry: &Arc<Entry>) -> impl Iterator<Item = Stop> + use<> {
        let plan = Arc::clone(&entry.snapshot().plan);
        let entry = Arc::clone(entry);
        (0..COUNTERS).filter_map(move |counter| {
            let plan = Arc::clone(plan.counters[counter].as_ref()?);
            Some(Stop { entry: Arc::clone(&entry), counter, plan })
        })
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
        match stop.entry.hold(stop.counter, stop.plan.estimate(usage), at) {
            Ok(hold) => holds.now.push(hold),
            Err(refused) => {
                withdraw(stops, &holds.now, at);
                return Err(RefusedBy { place, refused });
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
        let amount = stop.plan.actual(more);
        if amount == 0 {
            stop.entry.pass(stop.counter, at);
            added.push(Hold::NONE);
            continue;
        }
        match stop.entry.hold(stop.counter, amount, at) {
            Ok(hold) => added.push(hold),
            Err(refused) => {
                withdraw(stops, &added, at);
                return Err(RefusedBy { place, refused });
            }
        }
    }
    for (place, more) in added.into_iter().enumerate() {
        holds.add(place, more);
    }
    Ok(())
}

impl Holds {
    fn add(&mut self, place: usize, more: Hold) {
        let hold = &mut self.now[place];
        if more.amount == 0 {
            return;
        }
        if hold.generation == more.generation {
            hold.amount += more.amount;
        } else {
            let over = std::mem::replace(hold, more);
            self.earlier.resize(self.now.len(), 0);
            self.earlier[place] = self.earlier[place].saturating_add(over.amount);
        }
    }
}

/// Ends a reservation on all limits, and reports the bookings that there is something to say of:
/// what is booked for the request in all windows, and what was done now.
pub(crate) fn settle(
    stops: &[Stop],
    holds: &Holds,
    actual: Actual,
    at: &At,
    mut report: impl FnMut(&Stop, u64, Posted),
) {
    for (place, (stop, hold)) in stops.iter().zip(&holds.now).enumerate() {
        // Empty but for reservations that were extended over the end of a window.
        let earlier = holds.earlier.get(place).copied().unwrap_or(0);
        let held = hold.amount.saturating_add(earlier);
        let rest = actual.amount(&stop.plan, held).saturating_sub(earlier);
        let posted = stop.entry.settle(stop.counter, *hold, rest, at);
        if earlier == 0 && posted.is_plain() && !matches!(actual, Actual::AsHeld) {
            continue;
        }
        // Where a window is over, what was held in it stays booked.
        let stays = if posted.late { held } else { earlier };
        let booked = posted.amount.saturating_add(stays);
        let late = posted.late || earlier > 0;
        report(stop, booked, Posted { late, ..posted });
    }
}

/// Books what was used on all limits, unconditionally, and reports as [`settle`].
pub(crate) fn bump(stops: &[Stop], used: &Usage, at: &At, mut report: impl FnMut(&Stop, Posted)) {
    for stop in stops {
        match stop.plan.actual(used) {
            0 => stop.entry.pass(stop.counter, at),
            amount => {
                let posted = stop.entry.bump(stop.counter, amount, at);
                if !posted.is_plain() {
                    report(stop, posted);
                }
            }
        }
    }
}

fn withdraw(stops: &[Stop], holds: &[Hold], at: &At) {
    for (stop, hold) in stops.iter().zip(holds) {
        stop.entry.withdraw(stop.counter, stop.plan.dimension, *hold, at);
    }
}
