//! The public face: what gateways and operators call.

use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use super::builder::LedgerBuilder;
use super::charge::{Charge, Unreserved};
use super::closed::Closed;
use super::desk::{Desk, posting};
use super::draft::Draft;
use super::health::{Health, Rejected};
use super::outbox::{Due, Message, NoSlot, Queued};
use super::reconcile::Seen;
use super::record::{Outcome, RecordId};
use super::restore::Restored;
use super::settling::Settling;
use super::store::{Filter, StoreError, Stored, Total};
use crate::engine::{
    Decision, Engine, LimitUsage, OperatorError, ResetOutcome, Route, Settlement, TopologyError,
};
use crate::id::{LimitId, OwnerId};
use crate::promise::promise;
use crate::sync::Arc;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::units::{Dimension, Usage};

/// A ledger of what an engine's requests used.
///
/// A cheap handle: clones share one ledger. When the last of them and the last
/// [`Charge`] are gone, its writer writes what is queued and ends; [`close`](Self::close) waits for
/// that and says what could not be written.
///
/// ```
/// use tollkeeper::{Budget, Draft, Engine, Ledger, LimitId, MemoryLedger, OwnerId, Usage};
///
/// let engine = Engine::new();
/// let key: OwnerId = "key:k1".parse()?;
/// engine.upsert_owner(&key, &[])?;
/// engine.upsert_limit(&key, &LimitId::new("k1")?, Budget::new("$5".parse()?, "1M".parse()?))?;
///
/// let ledger = Ledger::builder(&engine).start(MemoryLedger::default())?;
/// let route = engine.route(&[key.clone()]);
/// let estimate = Usage { cost: "$0.02".parse()?, requests: 1, ..Usage::default() };
/// let mut charge = ledger.reserve(&route, &estimate, Draft::new().api_key(&key).model("m"))?;
/// charge.mark_dispatched();
/// // … the upstream answers …
/// let used = Usage { cost: "$0.013".parse()?, ..estimate };
/// let receipt = charge.settle(&used).wait()?; // in a task: .await?
/// assert!(receipt.is_written());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ledger {
    front: Arc<Front>,
}

/// What the handles of a ledger share.
pub(crate) struct Front {
    pub(crate) desk: Arc<Desk>,
    restored: Restored,
    by_hand: bool,
    pub(crate) seen: Mutex<Seen>,
}

/// Why an owner was not removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The engine does not remove it. Nothing was changed, unless it gained a child meanwhile: then
    /// references to it may be NULL already.
    #[error(transparent)]
    Engine(#[from] TopologyError),
    /// The store did not say that it has deleted it. References to it may be NULL already in some
    /// records. If the error is [`StoreError::Unavailable`], the store may have deleted it all the
    /// same: then it is asked again before anything more is written, and the owner is gone.
    /// Otherwise nothing else was changed.
    #[error("removing {owner}: {source}")]
    Store {
        /// The owner.
        owner: OwnerId,
        /// The store's error.
        source: StoreError,
    },
}

impl Front {
    pub(crate) fn new(desk: Arc<Desk>, restored: Restored, by_hand: bool) -> Self {
        Self { desk, restored, by_hand, seen: Mutex::default() }
    }
}

impl Ledger {
    /// Opens a ledger for an engine. An engine should have one ledger.
    pub fn builder(engine: &Engine) -> LedgerBuilder {
        LedgerBuilder::new(engine)
    }

    pub(crate) fn new(front: Front) -> Self {
        Self { front: Arc::new(front) }
    }

    pub(crate) fn front(&self) -> &Front {
        &self.front
    }

    /// Gives the ledger as long as somebody else has it, and keeps nothing open.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) fn watched(&self) -> impl Fn() -> Option<Ledger> + Send + 'static {
        let front = Arc::downgrade(&self.front);
        move || front.upgrade().map(|front| Ledger { front })
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.front.desk
    }

    /// The engine that it records for. What is [reset](Engine::reset), [topped up](Engine::top_up),
    /// [overridden](Engine::override_limit) and [removed](Engine::remove_owner) there is known to
    /// no store: the ledger does the same for good.
    pub fn engine(&self) -> &Engine {
        &self.desk().engine
    }

    /// Holds an estimate on every limit of the route or on none, as [`Engine::reserve`] does, and
    /// takes a slot of the outbox for the record to come.
    ///
    /// # Errors
    ///
    /// [`Unreserved`]: the denial; or there is no slot, or no ledger any more. Nothing is held.
    ///
    /// # Cost
    ///
    /// That of [`Engine::reserve`], one more clock reading, and an allocation. It takes no lock
    /// that is held while the store is waited for: a store that stalls slows no decision.
    pub fn reserve(
        &self,
        route: &Route,
        estimate: &Usage,
        draft: Draft,
    ) -> Result<Charge, Unreserved> {
        let desk = &self.front.desk;
        let slot = desk.outbox.slot().map_err(|no| match no {
            NoSlot::Full(capacity) => Unreserved::OutboxFull { capacity },
            NoSlot::Closed => Unreserved::Closed,
        })?;
        // Before it is admitted: an owner that is deleted in between counts as deleted after it.
        let since = desk.books.deletions();
        match desk.engine.reserve(route, estimate) {
            Decision::Denied(denied) => Err(Unreserved::Denied(denied)),
            Decision::Admitted(reservation) => {
                Ok(Charge::new(desk, (slot, since), reservation, (route, estimate), draft))
            }
        }
    }

    /// Records what was used without having been reserved, and charges it. Limits may be passed. It
    /// has happened, so a full outbox takes it too.
    pub fn record(&self, route: &Route, used: &Usage, draft: Draft) -> Settling {
        let desk = self.desk();
        let (slot, since) = (desk.outbox.slot_in_any_case(), desk.books.deletions());
        let bill = desk.engine.bill(route, used);
        let postings = Desk::postings(&bill);
        let record = desk.record(draft, Outcome::Completed, *used, desk.engine.now());
        desk.send(Some(record), postings, Due::Used(bill), since, slot)
    }

    /// Ends the current window now, as [`Engine::reset`] does, and makes that known to the store:
    /// once the second result says so, a restart begins with the new window too.
    ///
    /// # Errors
    ///
    /// The limit is unknown, does not count the dimension, or counts requests in flight.
    pub fn reset(
        &self,
        limit: &LimitId,
        dimension: Option<Dimension>,
    ) -> Result<(Vec<ResetOutcome>, Settling), OperatorError> {
        let desk = self.desk();
        let (slot, since) = (desk.outbox.slot_in_any_case(), desk.books.deletions());
        let outcomes = desk.engine.reset(limit, dimension)?;
        let begun = outcomes.iter().filter_map(|outcome| match outcome {
            ResetOutcome::Reset { dimension, .. } => Some(*dimension),
            ResetOutcome::Lost { .. } => None,
        });
        let lines = begun.filter_map(|d| desk.engine.bill_of(limit, d, &Usage::default()));
        let opening = lines.map(|line| posting(&line, 0)).collect();
        let due = Due::Booked(Settlement::default());
        Ok((outcomes, desk.send(None, opening, due, since, slot)))
    }

    /// Removes an owner from the store and from the engine, with its limits: references to it
    /// become NULL, what was granted is gone, records stay. What is in flight is recorded without
    /// it. Created again, it begins at zero. Blocks until the store has done it; what is written
    /// meanwhile waits for the end of that only, however many records refer to the owner.
    ///
    /// It is the owner that this engine has now which is removed: also where another process has
    /// removed it already, and where it has been created again since. So where several processes
    /// have an owner, each removes it. One that has not done so yet may still charge it: if it
    /// charges it for the first time, or corrects a record from before, the store gets a new total.
    /// Its own removal takes that away; if it ends before that,
    /// [`LedgerStore::delete`](super::LedgerStore::delete) does. Until one of them has, an owner
    /// that is created again begins with that total, not at zero.
    ///
    /// # Errors
    ///
    /// [`RemoveError`]. The owner and its limits are as they were, but references to it may be NULL
    /// already in some records; and where the store's answer to the deletion itself is lost, the
    /// owner is removed as soon as anything is to be written. Calling it again goes on from there,
    /// and says what was removed.
    pub fn remove_owner(&self, owner: &OwnerId) -> Result<Vec<LimitUsage>, RemoveError> {
        let Desk { engine, books, .. } = self.desk();
        let failed = |source| RemoveError::Store { owner: owner.clone(), source };
        // Before anything is locked that others wait for.
        while engine.is_removable(owner) {
            if books.store.unlink(owner, UNLINKED).map_err(failed)? < UNLINKED as u64 {
                break;
            }
        }
        let _turn = books.granting.lock();
        let mut owners = books.owners.lock();
        let finished = owners.take_finished(owner);
        if !engine.is_removable(owner) {
            return match (engine.remove_owner(owner), finished) {
                // By whoever wrote since the store did not answer.
                (Err(TopologyError::UnknownOwner { .. }), Some(limits)) => Ok(limits),
                (removed, _) => Ok(removed?),
            };
        }
        Ok(books.delete(engine, &mut owners, owner).map_err(failed)??)
    }

    /// A record with its postings. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn get(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        self.desk().books.store.record(id)
    }

    /// At most `at_most` records that the filter lets through, in the order of their ids, from
    /// behind `after` on. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.desk().books.store.records(filter, after, at_most)
    }

    /// What the store has for a limit, in all windows. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        self.desk().books.store.totals(limit)
    }

    /// Deletes at most `at_most` records that were settled before an instant, and says how many.
    /// Totals stay. Blocks.
    ///
    /// A record that is gone does not stop a retry under its id from being charged again: keep
    /// records for as long as retries may come.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.desk().books.store.purge(before, at_most)
    }

    /// What was restored when it was opened.
    pub fn restored(&self) -> Restored {
        self.front.restored
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let outbox = &self.desk().outbox;
        let rejected = outbox.rejected.lock().len() as u64;
        Health { rejected, ..outbox.health() }
    }

    /// What the store would not take, oldest first. Each keeps its slot of the outbox until it is
    /// [retried](Self::retry_rejected) or [taken](Self::take_rejected).
    pub fn rejected(&self) -> Vec<Rejected> {
        self.desk().outbox.rejected.lock().iter().map(|(rejected, _)| rejected.clone()).collect()
    }

    /// Queues what was rejected once more, and says how many. Once the ledger is closed, none: they
    /// stay rejected.
    pub fn retry_rejected(&self) -> usize {
        let Desk { outbox, sender, books, .. } = self.desk();
        let _turn = books.turn.lock();
        let rejected = std::mem::take(&mut *outbox.rejected.lock());
        let mut count = 0;
        for (Rejected { entry, error, at }, pending) in rejected {
            match outbox.send(sender, Box::new(Queued { entry, pending })) {
                Ok(()) => count += 1,
                Err(back) => {
                    let Queued { entry, pending } = *back;
                    outbox.rejected.lock().push((Rejected { entry, error, at }, pending));
                }
            }
        }
        count
    }

    /// Takes what was rejected off the list: it is the caller's now. What it charges stays booked
    /// in memory, until [`reconcile`](Self::reconcile) finds that the store has not got it.
    pub fn take_rejected(&self) -> Vec<Rejected> {
        let Desk { outbox, books, .. } = self.desk();
        let _turn = books.turn.lock();
        let rejected = std::mem::take(&mut *outbox.rejected.lock());
        let mut health = outbox.health.lock();
        let each = rejected.into_iter().map(|(rejected, pending)| {
            pending.unpersisted.iter().for_each(|lost| health.unpersisted.take_off(lost));
            rejected
        });
        each.collect()
    }

    /// Closes it: nothing is reserved any more, and what is queued is written, for so long at most;
    /// then the store is told where windows end that a change of their limits has moved, which
    /// takes the time of reading the open totals.
    /// Says what could not be written, and how many charges are still open: those that end later
    /// are not recorded. Blocks. A ledger that is turned by hand is closed by
    /// [`Writer::close`](super::Writer::close).
    pub fn close(&self, at_most: Duration) -> Closed {
        let Desk { outbox, sender, .. } = self.desk();
        outbox.close();
        let (owed, mut closed) = promise();
        let deadline = SystemClock.now().saturating_add(at_most);
        let sent = !self.front.by_hand && sender.send(Message::Close(deadline, owed)).is_ok();
        // The writer sees the deadline as soon as the store answers.
        let answer = if sent { closed.wait(Some(at_most + GRACE)).ok() } else { None };
        answer.unwrap_or_else(|| Closed {
            rejected: self.rejected(),
            open_charges: outbox.open_charges(),
            stalled: sent,
            ..Closed::default()
        })
    }
}

/// So many references to an owner that is removed are made NULL at a time: in a few tenths of a
/// second, in which others who write to the store may have to wait.
const UNLINKED: usize = 5_000;

/// So much longer than the writer the one waits who closes it.
const GRACE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("health", &self.health()).finish_non_exhaustive()
    }
}
