//! Reservations: an estimate held until it is settled, voided, or dropped.

use std::fmt;

use crate::admission::{self, Actual, Stop};
use crate::engine::decision::{self, Denied};
use crate::engine::route::Resolved;
use crate::entry::{Entry, Posted};
use crate::holds::Holds;
use crate::id::{LimitId, OwnerId};
use crate::sync::Arc;
use crate::units::{Dimension, Usage};

/// An estimate that is held on every limit of a route, or on none any more.
///
/// It ends exactly once: [`settle`](Self::settle) and [`void`](Self::void) consume it, and whoever
/// lets it go without either has it ended by `Drop`:
///
/// | dropped | because of | then |
/// |---|---|---|
/// | before [dispatch](Self::mark_dispatched) | an error, a panic, a client gone | it is voided |
/// | after it | the same, but we may be billed | what was held is booked, as uncertain |
///
/// ```compile_fail
/// # use tollkeeper::{Reservation, Usage};
/// fn twice(reservation: Reservation, used: &Usage) {
///     reservation.settle(used);
///     reservation.settle(used); // error: use of moved value
/// }
/// ```
///
/// What was admitted together is booked together: the limits are those of the moment of admission,
/// whatever happens to owners, parents and limits meanwhile.
#[must_use = "a reservation that is dropped gives its hold back"]
pub struct Reservation {
    route: Arc<Resolved>,
    holds: Holds,
    dispatched: bool,
}

// It is moved at every turn of a request's way: less than three cache lines, see `holds`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Reservation>() <= 168);

/// What settling a reservation, or a bump, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Settlement {
    overshoots: Vec<Overshoot>,
    late: bool,
}

/// A counter that a booking took above its limit, or could not be counted on in full.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overshoot {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// The counter.
    pub dimension: Dimension,
    /// How much of what was booked beyond the hold is above the limit, in the dimension's unit.
    pub amount: u64,
    /// How much was used and not counted, because the counter is at the most it can count. Zero
    /// for any amount that is not absurd.
    pub uncounted: u64,
}

impl Settlement {
    /// The counters that went above their limits, in the order of the route. Empty if what was
    /// used is not more than what was held.
    pub fn overshoots(&self) -> &[Overshoot] {
        &self.overshoots
    }

    /// Whether a window that the hold was in had ended. What was held there stays booked there;
    /// what was used beyond it is booked in the current window.
    pub fn is_late(&self) -> bool {
        self.late
    }

    pub(crate) fn add(&mut self, stop: &Stop, posted: Posted) {
        self.add_on(&stop.entry, stop.dimension, posted);
    }

    pub(crate) fn add_on(&mut self, entry: &Entry, dimension: Dimension, posted: Posted) {
        self.late |= posted.late;
        if posted.overshoot == 0 && posted.uncounted == 0 {
            return;
        }
        self.overshoots.push(Overshoot {
            limit: entry.id.clone(),
            owner: entry.owner.clone(),
            dimension,
            amount: posted.overshoot,
            uncounted: posted.uncounted,
        });
    }

    /// Holds end in the order opposite to that of the route.
    pub(crate) fn reverse(&mut self) {
        self.overshoots.reverse();
    }
}

impl Reservation {
    /// One that holds nothing yet.
    #[inline]
    pub(crate) fn new(route: Arc<Resolved>) -> Self {
        Self { route, holds: Holds::default(), dispatched: false }
    }

    /// Holds an estimate on all limits or on none.
    #[inline]
    pub(crate) fn begin(&mut self, estimate: &Usage) -> Result<(), Denied> {
        let Resolved { stops, desk, .. } = &*self.route;
        admission::reserve(stops, &mut self.holds, estimate, desk.soon(), || desk.at())
            .map_err(|by| decision::refused(stops, &by, &stops.estimate(estimate), |_| true))
    }

    /// Holds more, on all limits or on none: for an answer that outgrows its estimate.
    ///
    /// An amount of zero asks nothing of a limit, not even an exhausted one. If a window has ended
    /// since admission, what was held in it stays booked there and the extension is held in the
    /// current one.
    ///
    /// # Errors
    ///
    /// The denial. The reservation is then as it was.
    pub fn extend(&mut self, more: &Usage) -> Result<(), Denied> {
        let (stops, at) = (&self.route.stops, self.route.desk.at());
        admission::extend(stops, &mut self.holds, more, &at)
            .map_err(|by| decision::refused(stops, &by, &stops.actual(more), |amount| amount > 0))
    }

    /// Says that the upstream is about to be called. From here on it may bill us, so a reservation
    /// that is dropped is booked as it was held, never given back.
    pub fn mark_dispatched(&mut self) {
        self.dispatched = true;
    }

    /// Whether the upstream may have been called.
    pub fn is_dispatched(&self) -> bool {
        self.dispatched
    }

    /// Replaces the hold by what was used. That may be more than was held, and more than a limit
    /// admits: the bill is a fact. The excess is reported.
    ///
    /// # Consistency
    ///
    /// Each counter changes in one step; a reader may see some of the route's counters settled and
    /// others still held.
    ///
    /// # Cost
    ///
    /// As of [`Engine::reserve`](crate::Engine::reserve). No allocation unless a limit is
    /// overshot, a window has ended, or a limit gives its first notice.
    pub fn settle(mut self, used: &Usage) -> Settlement {
        self.end(Actual::Used(used))
    }

    /// Gives the hold back: nothing was used. What was held in a window that has ended stays booked
    /// there.
    pub fn void(mut self) {
        let _ = self.end(Actual::Nothing);
    }

    /// Ends what is still held. If a user's clock panics on the way, `Drop` ends the rest.
    #[inline]
    fn end(&mut self, actual: Actual) -> Settlement {
        let mut settlement = Settlement::default();
        let Self { route, holds, dispatched } = self;
        let Resolved { stops, desk, .. } = &**route;
        let soon = || desk.soon();
        let at = || {
            // Some of what was used may be booked by now: then nothing of the rest is given back.
            *dispatched |= matches!(actual, Actual::Used(_));
            desk.at()
        };
        admission::settle(stops, holds, actual, soon, at, |stop, booked, posted, now| {
            settlement.add(stop, posted);
            if matches!(actual, Actual::AsHeld) {
                desk.events.uncertain(stop, posted.generation, booked, now);
            }
        });
        settlement.reverse();
        settlement
    }
}

/// What `bill` needs of it.
#[cfg(feature = "ledger")]
impl Reservation {
    pub(crate) fn route(&self) -> Arc<Resolved> {
        Arc::clone(&self.route)
    }

    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    pub(crate) fn holds_mut(&mut self) -> &mut Holds {
        &mut self.holds
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.holds.len() > 0 {
            Dropped(self).end();
        }
    }
}

/// A reservation that is being dropped. If a user's clock panics on the way, the rest is ended on
/// the way out: nobody comes after who could.
struct Dropped<'a>(&'a mut Reservation);

impl Dropped<'_> {
    fn end(&mut self) {
        let _ = self.0.end(if self.0.dispatched { Actual::AsHeld } else { Actual::Nothing });
    }
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if self.0.holds.len() > 0 {
            self.end();
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("counters", &self.route.stops.as_slice().len())
            .field("dispatched", &self.dispatched)
            .finish_non_exhaustive()
    }
}
