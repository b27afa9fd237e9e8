//! What the front of a ledger and its charges share: where entries are made and sent.

use std::collections::HashSet;

use crossbeam_channel::Sender;
use parking_lot::{Mutex, MutexGuard};

use super::draft::Draft;
use super::entry::{Entry, Nulled};
use super::ids::Ids;
use super::outbox::{Due, Message, Outbox, Pending, Queued, Slot};
use super::owners::Owners;
use super::record::{Outcome, Posting, UsageRecord};
use super::settling::Settling;
use super::store::{LedgerStore, StoreError};
use crate::engine::{Bill, Engine, LimitUsage, Line, Route, TopologyError};
use crate::id::OwnerId;
use crate::promise::promise;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Timestamp;
use crate::units::Usage;

/// Where entries are made and sent. The writer ends when all who hold it are gone.
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) books: Arc<Books>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) sender: Sender<Message>,
}

/// The store, and what is known of the owners in it.
pub(crate) struct Books {
    pub(crate) store: Arc<dyn LedgerStore>,
    /// Held while a group is written. Nothing that decides about a request takes it.
    pub(crate) owners: Mutex<Owners>,
    /// Held while what is granted is written, or read, and set; and while an owner is deleted.
    pub(crate) granting: Mutex<()>,
    /// Held by the writer for a whole turn, so that what is written is also booked for whoever
    /// holds it to compare the two. Taken before all others.
    pub(crate) turn: Mutex<()>,
    deletions: AtomicU64,
}

impl Books {
    pub(crate) fn new(store: Arc<dyn LedgerStore>) -> Self {
        let owners = Mutex::new(Owners::default());
        let (granting, turn) = (Mutex::new(()), Mutex::new(()));
        Self { store, owners, granting, turn, deletions: AtomicU64::new(0) }
    }

    /// So many owners have been deleted by this process.
    pub(crate) fn deletions(&self) -> u64 {
        // Acquire, pairs with the Release in `count_deletion`: who reads the number of a deletion
        // finds the engine without that owner.
        self.deletions.load(Ordering::Acquire)
    }

    /// Counts a deletion that is done, and says its number.
    pub(crate) fn count_deletion(&self) -> u64 {
        // AcqRel: see `deletions`.
        self.deletions.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The owners, to write a group: no deletion is in doubt.
    pub(crate) fn owners_to_write(
        &self,
        engine: &Engine,
    ) -> Result<MutexGuard<'_, Owners>, StoreError> {
        let owners = self.owners.lock();
        if owners.in_doubt().is_none() {
            return Ok(owners);
        }
        // In the order of the locks.
        drop(owners);
        let _granting = self.granting.lock();
        let mut owners = self.owners.lock();
        self.finish_deletions(engine, &mut owners)?;
        Ok(owners)
    }

    /// Asks the store once more for the deletions that may be done, so that they are.
    pub(crate) fn finish_deletions(
        &self,
        engine: &Engine,
        owners: &mut Owners,
    ) -> Result<(), StoreError> {
        while let Some((owner, born)) = owners.in_doubt() {
            // What has been created again since, or has a child by now, is not to be removed.
            if engine.owner_born(&owner) == Some(born) && engine.is_removable(&owner) {
                match self.delete(engine, owners, &owner) {
                    Ok(Ok(limits)) => owners.finished(owner.clone(), limits),
                    Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                    // It has gained a child at this moment, or the store has not done it; then it
                    // was not done before either, or it would have had nothing to do.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            owners.no_doubt(&owner);
        }
        Ok(())
    }

    /// Deletes an owner from the store, then from the engine: the second result is the engine's.
    /// `granting` is locked.
    pub(crate) fn delete(
        &self,
        engine: &Engine,
        owners: &mut Owners,
        owner: &OwnerId,
    ) -> Result<Result<Vec<LimitUsage>, TopologyError>, StoreError> {
        let born = engine.owner_born(owner);
        if let Err(error) = self.store.delete(owner) {
            let is_open = matches!(error, StoreError::Unavailable { .. });
            if let Some(born) = born.filter(|_| is_open) {
                owners.doubt(owner, born);
            }
            return Err(error);
        }
        let removed = engine.remove_owner(owner);
        owners.deleted(owner, self.count_deletion());
        Ok(removed)
    }
}

impl Desk {
    /// A record that is settled now.
    pub(crate) fn record(
        &self,
        draft: Draft,
        outcome: Outcome,
        usage: Usage,
        admitted_at: Timestamp,
    ) -> UsageRecord {
        let now = self.engine.now();
        let Draft { id, api_key, upstream, model } = draft;
        UsageRecord {
            id: id.unwrap_or_else(|| self.ids.record(now)),
            api_key,
            upstream,
            model,
            outcome,
            reason: None,
            usage,
            admitted_at,
            settled_at: now,
            corrects: None,
        }
    }

    /// What a bill charges.
    pub(crate) fn postings(bill: &Bill) -> Vec<Posting> {
        bill.lines().iter().map(|line| posting(line, signed(line.amount()))).collect()
    }

    /// Adds postings of zero for the counters of a route that have none.
    pub(crate) fn add_empty(&self, route: &Route, postings: &mut Vec<Posting>) {
        let key = |posting: &Posting| (posting.limit.clone(), posting.dimension);
        let named: HashSet<_> = postings.iter().map(key).collect();
        for usage in self.engine.route_usage(route) {
            for counter in usage.counters {
                let (limit, dimension) = (&usage.limit, counter.dimension);
                if named.contains(&(limit.clone(), dimension)) {
                    continue;
                }
                let line = self.engine.bill_of(limit, dimension, &Usage::default());
                postings.extend(line.map(|line| posting(&line, 0)));
            }
        }
    }

    /// Sends an entry to the writer.
    pub(crate) fn send(
        &self,
        record: Option<UsageRecord>,
        postings: Vec<Posting>,
        due: Due,
        since: u64,
        slot: Slot,
    ) -> Settling {
        let (owed, promise) = promise();
        let settling = Settling::new(record.as_ref().map(|record| record.id), promise);
        let entry = Entry { record, postings, attempt: self.ids.attempt() };
        let (owed, nulled) = (Some(owed), Nulled::default());
        let pending = Pending { due, owed, since, nulled, unpersisted: None, _slot: slot };
        // Nobody writes any more: that it is dropped is the answer.
        drop(self.outbox.send(&self.sender, Box::new(Queued { entry, pending })));
        settling
    }
}

/// What is charged to the counter and window of a line.
pub(crate) fn posting(line: &Line, amount: i64) -> Posting {
    Posting {
        limit: line.limit().clone(),
        owner: line.owner().clone(),
        dimension: line.dimension(),
        window: line.window(),
        anchor: line.anchor(),
        amount,
    }
}

/// An amount as the ledger has it: all that can be counted fits.
pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
