//! Charges: reservations whose end is recorded.

use std::fmt;

use thiserror::Error;

use super::desk::Desk;
use super::draft::Draft;
use super::outbox::{Due, Open, Slot};
use super::record::Outcome;
use super::settling::Settling;
use crate::engine::{Admitted, Denied, Reservation, Route, Settlement};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::{Money, Usage};

/// Why nothing was reserved. Nothing is held.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Unreserved {
    /// A limit does not admit it.
    #[error("{0}")]
    Denied(Denied),
    /// So much waits for the store that no more is admitted.
    #[error(
        "the ledger's outbox is full: all {capacity} slots are taken by requests in flight and \
         records that wait for the store"
    )]
    OutboxFull {
        /// The slots that there are.
        capacity: u64,
    },
    /// The ledger is closed, or its store has panicked:
    /// [`Health::last_error`](crate::Health::last_error) says so.
    #[error("the ledger is closed")]
    Closed,
}

/// A reservation whose end is recorded in the ledger.
///
/// It ends exactly once, and what it ends as is what the record says:
///
/// | | charged | recorded as |
/// |---|---|---|
/// | [`settle`](Self::settle) | what was used | completed |
/// | [`settle_partial`](Self::settle_partial) | tokens and money, no request | partial |
/// | [`settle_failed`](Self::settle_failed) | tokens and money, no request | failed |
/// | [`unbilled`](Self::unbilled) | nothing | unbilled |
/// | [`void`](Self::void) | nothing | – |
/// | [`uncertain`](Self::uncertain) | what was held | uncertain |
/// | dropped before [dispatch](Self::mark_dispatched) | nothing | – |
/// | dropped after it | what was held | uncertain |
///
/// Until the record is committed the estimate stays held, so no limit is passed meanwhile.
#[must_use = "a charge that is dropped gives its hold back"]
pub struct Charge {
    open: Option<InFlight>,
}

/// What a charge has until it ends.
struct InFlight {
    desk: Arc<Desk>,
    reservation: Reservation,
    admitted: Admitted,
    route: Route,
    estimate: Usage,
    draft: Draft,
    since: u64,
    admitted_at: Timestamp,
    slot: Slot,
    /// Counts it as open while it is.
    _open: Open,
}

impl Charge {
    pub(crate) fn new(
        desk: &Arc<Desk>,
        (slot, since): (Slot, u64),
        reservation: Reservation,
        (route, estimate): (&Route, &Usage),
        draft: Draft,
    ) -> Self {
        Self {
            open: Some(InFlight {
                admitted: reservation.admitted(),
                desk: Arc::clone(desk),
                reservation,
                route: route.clone(),
                estimate: *estimate,
                draft,
                since,
                admitted_at: desk.engine.now(),
                slot,
                _open: desk.outbox.open(),
            }),
        }
    }

    fn in_flight(&mut self) -> &mut InFlight {
        self.open.as_mut().expect("only what consumes a charge takes it")
    }

    fn take(mut self) -> InFlight {
        self.open.take().expect("only what consumes a charge takes it")
    }

    /// Holds more, on all limits or on none: for an answer that outgrows its estimate. As
    /// [`Reservation::extend`].
    ///
    /// # Errors
    ///
    /// The denial. The charge is then as it was.
    pub fn extend(&mut self, more: &Usage) -> Result<(), Denied> {
        let charge = self.in_flight();
        charge.reservation.extend(more)?;
        charge.reservation.admitted_again(&mut charge.admitted);
        charge.estimate = sum(&charge.estimate, more);
        Ok(())
    }

    /// Says that the upstream is about to be called. From here on it may bill us, so a charge that
    /// is dropped is recorded as uncertain, never given back.
    pub fn mark_dispatched(&mut self) {
        self.in_flight().reservation.mark_dispatched();
    }

    /// Whether the upstream may have been called.
    pub fn is_dispatched(&self) -> bool {
        self.open.as_ref().is_some_and(|charge| charge.reservation.is_dispatched())
    }

    /// Records what was used, and charges it. More than was held is accepted: the bill is a fact.
    ///
    /// # Cost
    ///
    /// Works out the bill and queues it: it waits for nothing. What is returned is waited for.
    pub fn settle(self, used: &Usage) -> Settling {
        self.take().charge(Outcome::Completed, used)
    }

    /// Records what was used until it broke off: tokens and money are charged, and no request.
    pub fn settle_partial(self, used: &Usage) -> Settling {
        self.take().charge(Outcome::Partial, &Usage { requests: 0, ..*used })
    }

    /// Records what was used by a request that failed: tokens and money are charged, and no
    /// request. One that used nothing is [unbilled](Self::unbilled).
    pub fn settle_failed(self, used: &Usage) -> Settling {
        let used = Usage { requests: 0, ..*used };
        if used == Usage::default() {
            return self.unbilled("it failed and used nothing");
        }
        self.take().charge(Outcome::Failed, &used)
    }

    /// Records that nobody knows what was used, and charges what was held. A charge that is dropped
    /// after [dispatch](Self::mark_dispatched) ends the same way; this is for who waits until it is
    /// booked, such as the holder of a [`Permit`](crate::Permit).
    pub fn uncertain(self) -> Settling {
        self.take().uncertain()
    }

    /// Gives the hold back at once and records why. The record has an id of its own, whatever the
    /// [draft](Draft::id) says: so a retry under that id is charged.
    pub fn unbilled(self, reason: impl Into<String>) -> Settling {
        let InFlight { desk, reservation, draft, since, admitted_at, slot, .. } = self.take();
        reservation.void();
        let draft = Draft { id: None, ..draft };
        let mut record = desk.record(draft, Outcome::Unbilled, Usage::default(), admitted_at);
        record.reason = Some(reason.into());
        desk.send(Some(record), Vec::new(), Due::Booked(Settlement::default()), since, slot)
    }

    /// Gives the hold back. Nothing is recorded.
    pub fn void(self) {
        self.take().reservation.void();
    }
}

impl InFlight {
    fn charge(mut self, outcome: Outcome, used: &Usage) -> Settling {
        let bill = self.reservation.bill(&self.admitted, Some(used));
        let postings = Desk::postings(&bill);
        let Self { desk, reservation, draft, since, admitted_at, slot, .. } = self;
        let record = desk.record(draft, outcome, *used, admitted_at);
        desk.send(Some(record), postings, Due::Held(reservation, bill), since, slot)
    }

    /// Records what was held. Counters on which nothing was held are named with a posting of zero:
    /// what is known later may charge them.
    fn uncertain(mut self) -> Settling {
        let bill = self.reservation.bill(&self.admitted, None);
        let mut postings = Desk::postings(&bill);
        self.desk.add_empty(&self.route, &mut postings);
        let Self { desk, reservation, draft, since, admitted_at, estimate, slot, .. } = self;
        let record = desk.record(draft, Outcome::Uncertain, estimate, admitted_at);
        desk.send(Some(record), postings, Due::Held(reservation, bill), since, slot)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(charge) = self.open.take_if(|charge| charge.reservation.is_dispatched()) {
            charge.uncertain().forget();
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge").field("dispatched", &self.is_dispatched()).finish_non_exhaustive()
    }
}

fn sum(a: &Usage, b: &Usage) -> Usage {
    let cost = a.cost.as_nanos().saturating_add(b.cost.as_nanos());
    Usage {
        input_tokens: a.input_tokens.saturating_add(b.input_tokens),
        output_tokens: a.output_tokens.saturating_add(b.output_tokens),
        cached_tokens: a.cached_tokens.saturating_add(b.cached_tokens),
        cache_write_tokens: a.cache_write_tokens.saturating_add(b.cache_write_tokens),
        requests: a.requests.saturating_add(b.requests),
        cost: Money::from_nanos(cost).unwrap_or(Money::MAX),
    }
}
