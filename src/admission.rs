//! One request against several limits: held on all of them, or on none.
//!
//! # Proof
//!
//! - **L5** Each limit admits its own hold in one swap (`entry`), so none that is hard is passed at
//!   any moment. Which requests pass one that is not hard is decided by the same swap: those that
//!   are reported are exactly those that a hard limit of the same counts would have denied.
//! - **L6** Holds are taken in the order of the route. At the first refusal, those taken are taken
//!   back by the thread that took them. A user's clock that panics in between leaves a reservation
//!   that is dropped, which takes back what it holds. A request that comes in the meantime may be
//!   refused because of a hold that is then taken back: allowed, because the answer to a race for
//!   the last unit is "not now" for one of the two at least, and both would have been refused had
//!   the first one stayed.
//! - **L7** A reservation ends by value, and its holds know which of them are ended: what is ended
//!   is past before anything that may panic is asked, so whoever comes after ends the rest.
//!
//! A window that closes between a hold and its withdrawal has the hold in its total, which is
//! final. The withdrawal then gives the notice [`Notice::Withdrawn`], so that totals less
//! withdrawals are exactly what was admitted.
//!
//! # Models
//!
//! `tests/loom_admission.rs`, `tests/loom_settle.rs`, `tests/loom_both.rs`.
//!
//! [`Notice::Withdrawn`]: crate::entry::Notice::Withdrawn

use smallvec::SmallVec;

use crate::entry::{At, Entry, Hold, Notice, Posted, Refused};
use crate::holds::{Alike, Holds, Measures, Taken};
use crate::measure::{Amounts, KNOWN, Measure, Scales};
use crate::plan::COUNTERS;
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::{Dimension, Money, Usage};

/// The counters on a request's way, in the order in which they are held.
///
/// A few are kept in place: a request that comes by its owner's name finds each thing that it needs
/// behind one pointer less.
#[derive(Default, PartialEq)]
pub(crate) struct Stops {
    each: SmallVec<[Stop; 4]>,
    scales: Scales,
}

/// One counter of a limit, with what it counts and measures requests by. That is of the route's
/// resolution, so that a reservation ends by what it began by.
pub(crate) struct Stop {
    pub(crate) entry: Arc<Entry>,
    measure: Measure,
    counter: u8,
    pub(crate) dimension: Dimension,
}

const _: () = assert!(COUNTERS <= u8::MAX as usize);

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

/// The counter that refused: its place in the route, its answer, and when.
pub(crate) struct RefusedBy {
    pub(crate) place: usize,
    pub(crate) refused: Box<Refused>,
    pub(crate) now: Timestamp,
}

/// The notices of limits that a request passed, with their places on the route.
type Passed = SmallVec<[(usize, Notice); 2]>;

impl Stops {
    /// Adds the counters of a limit.
    pub(crate) fn add(&mut self, entry: &Arc<Entry>) {
        let plan = Arc::clone(&entry.snapshot().plan);
        for (counter, plan) in (0..).zip(&plan.counters) {
            let Some(plan) = plan else { continue };
            let (entry, measure) = (Arc::clone(entry), self.scales.measure(plan));
            self.each.push(Stop { entry, measure, counter, dimension: plan.dimension });
        }
    }

    /// Gives back the room for more.
    pub(crate) fn shrink(&mut self) {
        self.each.shrink_to_fit();
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
    pub(crate) fn counter(&self) -> usize {
        self.counter.into()
    }

    /// The amount of a request on this counter.
    #[inline(always)]
    pub(crate) fn amount(&self, amounts: &Amounts) -> u64 {
        amounts.of(self.measure)
    }
}

#[cfg(feature = "ledger")]
impl Stop {
    /// What is held on it in the window that it was last held in: it is at `place` of its route.
    pub(crate) fn held(&self, holds: &Holds, place: usize) -> Hold {
        holds.held(place, self.measure).hold
    }
}

/// Holds an estimate on all limits or on none. `holds` has none before, and none after a refusal.
#[inline]
pub(crate) fn reserve<'a>(
    stops: &Stops,
    holds: &mut Holds,
    usage: &Usage,
    soon: Timestamp,
    at: impl FnOnce() -> At<'a>,
) -> Result<(), RefusedBy> {
    let estimate = stops.estimate(usage);
    let counters = stops.each.len();
    holds.prepare(counters, &estimate);
    if let Some(alike) = holds.alike() {
        hold_by_gates(&stops.each, alike, soon);
    }
    if holds.len() == counters {
        return Ok(());
    }
    reserve_rest(stops, holds, &estimate, &at())
}

/// The same from the first counter on that it did not work for, as of a moment that is exact.
#[cold]
fn reserve_rest(
    stops: &Stops,
    holds: &mut Holds,
    estimate: &Amounts,
    at: &At,
) -> Result<(), RefusedBy> {
    let mut passed = Passed::new();
    loop {
        if let Some(alike) = holds.alike() {
            hold_by_gates(&stops.each, alike, at.now);
        }
        let place = holds.len();
        let Some(stop) = stops.each.get(place) else { break };
        let amount = stop.amount(estimate);
        match stop.entry.hold(stop.counter(), amount, at, |notice| passed.push((place, notice))) {
            Ok(Hold { amount: 0, .. }) if amount > 0 => holds.add_nothing(),
            Ok(hold) => holds.add(hold),
            Err(refused) => {
                let taken = stops.each[..place].iter().enumerate();
                withdraw(stops, taken.map(|(i, stop)| holds.held(i, stop.measure).hold), at);
                holds.end_all();
                return Err(RefusedBy { place, refused: Box::new(refused), now: at.now });
            }
        }
    }
    report(stops, &passed, at);
    Ok(())
}

/// Gives notice of the limits that an admitted request passed: one that is refused after all by
/// another limit passed none.
fn report(stops: &Stops, passed: &Passed, at: &At) {
    for &(place, notice) in passed {
        let Stop { entry, dimension, .. } = &stops.each[place];
        at.notices.notice(entry, *dimension, notice, at.now);
    }
}

/// Holds on further counters, as long as it goes the usual way: by gates.
///
/// This loop, and the two like it below, are what a request costs. They stand alone so that what
/// they keep at hand fits into registers: whatever is written to the stack has to arrive in memory
/// before the next compare-and-swap.
#[inline(never)]
fn hold_by_gates(stops: &[Stop], holds: &mut Alike, now: Timestamp) {
    let hold = |stop: &Stop, amount| stop.entry.hold_by_gate(stop.counter(), amount, now);
    holds.begin(stops, |stop| stop.measure, hold);
}

/// Settles on the last counters that are held on, as [`hold_by_gates`] holds.
#[inline(never)]
fn settle_by_gates(stops: &[Stop], holds: &mut Alike, used: &[u64; KNOWN], now: Timestamp) {
    let settle =
        |stop: &Stop, hold, used| stop.entry.settle_by_gate(stop.counter(), hold, used, now);
    holds.end(stops, used, |stop| stop.measure, settle);
}

/// Books on the counters from `place` on, as [`hold_by_gates`] holds. Returns the place of the
/// first that it did not work for.
#[inline(never)]
fn bump_by_gates(stops: &[Stop], mut place: usize, used: &[u64; KNOWN], now: Timestamp) -> usize {
    for stop in &stops[place..] {
        let Some(&used) = used.get(stop.measure.place()) else { break };
        if !stop.entry.bump_by_gate(stop.counter(), used, now) {
            break;
        }
        place += 1;
    }
    place
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
    let (mut taken, mut passed) = (Taken::new(), Passed::new());
    for (place, stop) in stops.each.iter().enumerate() {
        let amount = stop.amount(&more);
        if amount == 0 {
            stop.entry.pass(stop.counter(), at);
            taken.push(Hold::NONE);
            continue;
        }
        match stop.entry.hold(stop.counter(), amount, at, |notice| passed.push((place, notice))) {
            Ok(hold) => taken.push(hold),
            Err(refused) => {
                withdraw(stops, taken.into_iter(), at);
                return Err(RefusedBy { place, refused: Box::new(refused), now: at.now });
            }
        }
    }
    let measures: Measures = stops.each.iter().map(|stop| stop.measure).collect();
    holds.extend(&measures, &more, &taken);
    report(stops, &passed, at);
    Ok(())
}

/// Ends a reservation on all limits, the last one first, and reports the bookings that there is
/// something to say of: what is booked for the request in all windows, and what was done now.
#[inline]
pub(crate) fn settle<'a>(
    stops: &Stops,
    holds: &mut Holds,
    actual: Actual,
    soon: impl FnOnce() -> Timestamp,
    at: impl FnOnce() -> At<'a>,
    report: impl FnMut(&Stop, u64, Posted, Timestamp),
) {
    let used = match actual {
        Actual::Used(usage) => stops.actual(usage),
        Actual::Nothing => stops.actual(&NOTHING),
        Actual::AsHeld => return settle_rest(stops, holds, None, &at(), report),
    };
    if let Some(alike) = holds.alike() {
        settle_by_gates(&stops.each, alike, used.first(), soon());
    }
    if holds.len() > 0 {
        settle_rest(stops, holds, Some(&used), &at(), report);
    }
}

/// What is used of a request that is given back.
static NOTHING: Usage = Usage {
    input_tokens: 0,
    output_tokens: 0,
    cached_tokens: 0,
    cache_write_tokens: 0,
    requests: 0,
    cost: Money::ZERO,
};

/// The same from the last counter on that it did not work for, as of a moment that is exact: by
/// what was used or, for `None`, as it was held.
#[cold]
fn settle_rest(
    stops: &Stops,
    holds: &mut Holds,
    used: Option<&Amounts>,
    at: &At,
    mut report: impl FnMut(&Stop, u64, Posted, Timestamp),
) {
    for (place, stop) in stops.each[..holds.len()].iter().enumerate().rev() {
        let held = holds.held(place, stop.measure);
        holds.end_last();
        let amount = match used {
            Some(used) => stop.amount(used),
            None if stop.dimension == Dimension::InFlight => 0,
            None => held.total(),
        };
        let rest = amount.saturating_sub(held.earlier);
        // Of what is booked as it was held, every booking is reported.
        let usual = used.is_some() && held.earlier == 0;
        if usual && stop.entry.settle_by_gate(stop.counter(), held.hold, rest, at.now) {
            continue;
        }
        let posted = stop.entry.settle_by_snapshot(stop.counter(), held.hold, rest, at);
        let late = posted.late || held.earlier > 0;
        report(stop, held.booked(&posted), Posted { late, ..posted }, at.now);
    }
}

/// Books what was used on all limits, unconditionally, and reports as [`settle`].
#[inline]
pub(crate) fn bump<'a>(
    stops: &Stops,
    used: &Usage,
    soon: Timestamp,
    at: impl FnOnce() -> At<'a>,
    report: impl FnMut(&Stop, Posted),
) {
    let used = stops.actual(used);
    let place = bump_by_gates(&stops.each, 0, used.first(), soon);
    if place < stops.each.len() {
        bump_rest(stops, place, &used, &at(), report);
    }
}

#[cold]
fn bump_rest(
    stops: &Stops,
    mut place: usize,
    used: &Amounts,
    at: &At,
    mut report: impl FnMut(&Stop, Posted),
) {
    loop {
        place = bump_by_gates(&stops.each, place, used.first(), at.now);
        let Some(stop) = stops.each.get(place) else { return };
        report(stop, stop.entry.bump_by_snapshot(stop.counter(), stop.amount(used), at));
        place += 1;
    }
}

#[cold]
fn withdraw(stops: &Stops, taken: impl Iterator<Item = Hold>, at: &At) {
    for (stop, hold) in stops.each.iter().zip(taken) {
        stop.entry.withdraw(stop.counter(), stop.dimension, hold, at);
    }
}
