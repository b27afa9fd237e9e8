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
//! - **L7** A reservation ends by value and is marked as ended before [`settle`] takes back its first
//!   hold (`engine/reservation.rs`), so whoever comes after finds nothing to do.
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
use crate::measure::{Amounts, Measure, Scales};
use crate::plan::COUNTERS;
use crate::sync::Arc;
use crate::units::{Dimension, Usage};

/// The counters on a request's way, in the order in which they are held.
#[derive(Default, PartialEq)]
pub(crate) struct Stops {
    each: Vec<Stop>,
    scales: Scales,
}

/// One counter of a limit, with what it counts and measures requests by. That is of the route's
/// resolution, so that a reservation ends by what it began by.
pub(crate) struct Stop {
    pub(crate) entry: Arc<Entry>,
    pub(crate) counter: usize,
    pub(crate) dimension: Dimension,
    measure: Measure,
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

impl Stops {
    /// Adds the counters of a limit.
    pub(crate) fn add(&mut self, entry: &Arc<Entry>) {
        let plan = Arc::clone(&entry.snapshot().plan);
        for counter in 0..COUNTERS {
            let Some(plan) = &plan.counters[counter] else { continue };
            self.each.push(Stop {
                entry: Arc::clone(entry),
                counter,
                dimension: plan.dimension,
                measure: self.scales.measure(plan),
            });
        }
    }

    pub(crate) fn as_slice(&self) -> &[Stop] {
        &self.each
    }

    /// What a request of this estimate holds.
    #[inline]
    pub(crate) fn estimate<'a>(&'a self, usage: &'a Usage) -> Amounts<'a> {
        self.scales.estimate(usage)
    }

    /// What a request of this usage is booked for.
    #[inline]
    pub(crate) fn actual<'a>(&'a self, usage: &'a Usage) -> Amounts<'a> {
        self.scales.actual(usage)
    }
}

impl PartialEq for Stop {
    fn eq(&self, other: &Stop) -> bool {
        let what = |stop: &Stop| (stop.counter, stop.dimension, stop.measure);
        Arc::ptr_eq(&self.entry, &other.entry) && what(self) == what(other)
    }
}

impl Stop {
    /// The amount of a request on this counter.
    #[inline(always)]
    pub(crate) fn amount(&self, amounts: &Amounts) -> u64 {
        amounts.of(self.measure)
    }
}

impl Holds {
    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    /// The windows of the holds, in their order.
    #[cfg(test)]
    pub(crate) fn generations(&self) -> Vec<u64> {
        self.now.iter().map(|hold| hold.generation).collect()
    }
}

/// Holds an estimate on all limits or on none. `holds` has none before; after a refusal it has some
/// that were taken back, and is good for nothing.
#[inline]
pub(crate) fn reserve(
    stops: &Stops,
    holds: &mut Holds,
    usage: &Usage,
    at: &At,
) -> Result<(), RefusedBy> {
    let estimate = stops.estimate(usage);
    for (place, stop) in stops.each.iter().enumerate() {
        let amount = stop.amount(&estimate);
        // In two steps, so that the usual one has no refusal to carry.
        let hold = match stop.entry.hold_by_gate(stop.counter, amount, at) {
            Some(hold) => hold,
            None => match stop.entry.hold_by_snapshot(stop.counter, amount, at) {
                Ok(hold) => hold,
                Err(refused) => {
                    withdraw(stops, &holds.now, at);
                    return Err(RefusedBy { place, refused });
                }
            },
        };
        holds.now.push(hold);
    }
    Ok(())
}

/// Holds more on all limits of a reservation or on none. If a window has ended since, what was held
/// in it stays booked there, and the extension is held in the one in force.
pub(crate) fn extend(
    stops: &Stops,
    holds: &mut Holds,
    more: &Usage,
    at: &At,
) -> Result<(), RefusedBy> {
    let more = stops.actual(more);
    let mut added = SmallVec::<[Hold; 16]>::new();
    for (place, stop) in stops.each.iter().enumerate() {
        let amount = stop.amount(&more);
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
#[inline]
pub(crate) fn settle(
    stops: &Stops,
    holds: &Holds,
    actual: Actual,
    at: &At,
    mut report: impl FnMut(&Stop, u64, Posted),
) {
    match actual {
        Actual::Used(usage) if holds.earlier.is_empty() => {
            let used = stops.actual(usage);
            for (stop, hold) in stops.each.iter().zip(&holds.now) {
                if let Some(posted) = stop.entry.settle(stop.counter, *hold, stop.amount(&used), at)
                {
                    report(stop, posted.with_what_stays(hold.amount, 0), posted);
                }
            }
        }
        _ => settle_otherwise(stops, holds, actual, at, report),
    }
}

/// The same for what is seldom: a reservation that was extended over the end of a window, or one
/// that ends otherwise than by what was used.
#[cold]
fn settle_otherwise(
    stops: &Stops,
    holds: &Holds,
    actual: Actual,
    at: &At,
    mut report: impl FnMut(&Stop, u64, Posted),
) {
    for (place, (stop, hold)) in stops.each.iter().zip(&holds.now).enumerate() {
        let earlier = holds.earlier.get(place).copied().unwrap_or(0);
        let held = hold.amount.saturating_add(earlier);
        let amount = match actual {
            Actual::Used(usage) => stop.amount(&stops.actual(usage)),
            Actual::AsHeld if stop.dimension != Dimension::InFlight => held,
            Actual::AsHeld | Actual::Nothing => 0,
        };
        let rest = amount.saturating_sub(earlier);
        let posted = stop.entry.settle(stop.counter, *hold, rest, at);
        let posted = posted.unwrap_or(Posted::plain(hold.generation, rest));
        let booked = posted.with_what_stays(hold.amount, earlier);
        report(stop, booked, Posted { late: posted.late || earlier > 0, ..posted });
    }
}

/// Books what was used on all limits, unconditionally, and reports as [`settle`].
#[inline]
pub(crate) fn bump(stops: &Stops, used: &Usage, at: &At, mut report: impl FnMut(&Stop, Posted)) {
    let used = stops.actual(used);
    for stop in &stops.each {
        match stop.amount(&used) {
            0 => stop.entry.pass(stop.counter, at),
            amount => {
                if let Some(posted) = stop.entry.bump(stop.counter, amount, at) {
                    report(stop, posted);
                }
            }
        }
    }
}

#[cold]
fn withdraw(stops: &Stops, holds: &[Hold], at: &At) {
    for (stop, hold) in stops.each.iter().zip(holds) {
        stop.entry.withdraw(stop.counter, stop.dimension, *hold, at);
    }
}
