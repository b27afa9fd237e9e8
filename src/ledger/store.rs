//! Where a ledger is kept: one trait, for memory, SQLite and PostgreSQL.

use std::error::Error;
use std::fmt;

use thiserror::Error;

use super::entry::{Entry, Nulled, Written};
use super::grant::{Credited, Granted, TopUp};
use super::record::{Outcome, Posting, RecordId, UsageRecord};
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::sync::Arc;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// Where a ledger is kept. All calls block; several threads may call at the same time. One that
/// panics while it writes ends the ledger: nothing is admitted any more.
///
/// # What every store guarantees
///
/// - [`write`](Self::write) is one transaction: when it returns `Ok`, all of the group is durable;
///   when it returns an error, all of it is or none of it (an acknowledgement may be lost), and
///   calling it again with the same entries writes what is missing and nothing twice.
/// - An entry whose record id is there already changes nothing. It is [`Fate::Before`] if the
///   attempt is the same, and [`Fate::Duplicate`] otherwise. This holds within one group too. A
///   second correction of the same record is a [`Fate::Duplicate`] as well. Of a `Before` the
///   references that were NULL when it was written are told, of a `Duplicate` none.
/// - An entry without a record is written each time: its postings are of amount zero, so that
///   changes nothing but which window is the last.
/// - A record whose api key or upstream is not registered (or was deleted) is written with that
///   reference NULL and without the postings on that owner ([`Entry::kept`]); the rest of the
///   group lands. Both may be. Any other violated constraint is [`StoreError::Rejected`], after one
///   attempt, and nothing of the group is written.
/// - Totals are the sums of the postings, changed in the same transaction. Of a window's end,
///   anchor and owner, those of the posting written last stand. A total never goes below zero by
///   postings that memory would book; what is written is written exactly.
/// - What does not fit into columns of 64 bits with a sign is [`StoreError::Rejected`], never cut:
///   more than 2^63 - 1 tokens, requests, or nano-units in a total; instants after the year 2262;
///   texts with a NUL. The end of a window is the exception: one after 2262 never comes, so it is
///   kept as [`Timestamp::MAX`].
///
/// [`Fate::Before`]: super::Fate::Before
/// [`Fate::Duplicate`]: super::Fate::Duplicate
pub trait LedgerStore: Send + Sync + 'static {
    /// Writes a group of entries, and says what became of each, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. For [`StoreError::Rejected`] nothing of the group is written.
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError>;

    /// Registers owners that records may refer to. One that is there already stays. Its totals
    /// need no registration: what is charged to an owner that is no reference is written always.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then none is registered, or all (an acknowledgement may be lost).
    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError>;

    /// Sets at most `at_most` references to an owner, as api key or as upstream, to NULL in the
    /// records that are there, in one transaction, and says how many: fewer than that only when no
    /// record refers to it any more. Nothing else is changed: the owner stays registered, and
    /// records that refer to it may still be written. Called before [`delete`](Self::delete) until
    /// it says fewer, it leaves to that one, which everybody waits for, only a few records.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: then none of these is NULL, or all (an acknowledgement may be lost); those
    /// of the calls before stay so.
    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError>;

    /// Deletes an owner: references to it become NULL, and the totals of its limits (and of pairs
    /// with it) are deleted, and so is what was granted on them, so that what is created under its
    /// name later begins at zero. Records and postings stay. Says whether it was registered. One
    /// transaction, however many records refer to it: [`unlink`](Self::unlink) them first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing is changed. Only if it is [`StoreError::Unavailable`], nothing
    /// or all: an acknowledgement may be lost. Then nothing is written any more until the same call
    /// was answered, so say [`StoreError::Undone`] where it is certain.
    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError>;

    /// Adds to what a prepaid budget was topped up by, once for each id, in one transaction that is
    /// durable when it returns. Says what became of it, and the sum from then on. Ids are kept for
    /// good. What was granted while the limit was another owner's is forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: [`StoreError::Rejected`] if the sum is more than 2^63 - 1. After any other
    /// it is added or not; the same call again says which.
    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError>;

    /// Sets what a counter admits in place of its limit, or takes that away, durably. What it was
    /// topped up by stays. What was granted while the limit was another owner's is forgotten, or
    /// left as it is where nothing is to be set.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: [`StoreError::Rejected`] if the limit is more than 2^63 - 1. After any other
    /// it is set or not.
    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError>;

    /// What is granted, in the order of limits and dimensions: of every counter that was ever
    /// topped up or overridden, those too whose override was taken away again. `each` may not call
    /// the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError>;

    /// The totals that a restart at `now` begins with, unless its clock is behind: for each (limit,
    /// dimension) the window that began last, if it has not ended (a window that ends at
    /// [`Timestamp::MAX`] never does). Reads no history: its cost is that of the (limit,
    /// dimension)s there are. In the order of limits and dimensions. `each` may not call the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError>;

    /// The totals of one limit, in all windows that are kept, by dimension and the window's start.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError>;

    /// The total of a counter whose window began last before an instant, whether it has ended or
    /// not. `None` if there is none. Found by an index: a restart whose clock is behind asks for it
    /// where the last window is none that has begun there.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError>;

    /// A record with its postings. `None` if there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError>;

    /// At most `at_most` records that the filter lets through, in the order of their ids, from
    /// behind `after` on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// Deletes at most `at_most` records that were settled before an instant, with their postings,
    /// those settled first before the others, and says how many. Totals stay. What is deleted is
    /// not known any more: the same record would be written again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError>;
}

/// A store that others hold too.
impl<S: LedgerStore + ?Sized> LedgerStore for Arc<S> {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        (**self).write(group)
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        (**self).register(owners)
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        (**self).unlink(owner, at_most)
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        (**self).delete(owner)
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        (**self).top_up(top_up)
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        (**self).set_override(limit, owner, dimension, instead)
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        (**self).grants(each)
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        (**self).open_totals(now, each)
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        (**self).totals(limit)
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        (**self).total_before(limit, dimension, before)
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        (**self).record(id)
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        (**self).records(filter, after, at_most)
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        (**self).purge(before, at_most)
    }
}

/// A record as it stands in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record, with the references that it has now.
    pub record: UsageRecord,
    /// The references that were NULL when it was written.
    pub nulled: Nulled,
    /// Its postings, by limit, dimension and the window's start.
    pub postings: Vec<Posting>,
}

/// What one counter came to in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// The counter.
    pub dimension: Dimension,
    /// The window.
    pub window: Span,
    /// Where the lattice of the limit's rolling periods began.
    pub anchor: Timestamp,
    /// The sum of its postings.
    pub settled: i64,
}

/// Which records are asked for. The default asks for all. What is said of charges (`owner`,
/// `limit`, `window_start`) must be so of one and the same posting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that charge a limit of this owner.
    pub owner: Option<OwnerId>,
    /// Those that charge this limit.
    pub limit: Option<LimitId>,
    /// Those that charge a window which begins at this instant.
    pub window_start: Option<Timestamp>,
    /// Those of this outcome.
    pub outcome: Option<Outcome>,
    /// Only uncertain ones, of which those that no correction names.
    pub uncorrected: bool,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot at the moment: it is down, locked, full, read-only, or the connection broke. Worth
    /// trying again.
    #[error("{doing}: the store is unavailable: {source}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// The driver's error, unchanged.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It has said that it has not done it, and may do so another time: it took too long, or waited
    /// for a lock. [`Unavailable`](Self::Unavailable) leaves open whether it was done: of a
    /// [deletion](LedgerStore::delete) that makes a difference.
    #[error("{doing}: the store has not done it: {source}")]
    Undone {
        /// What was being done.
        doing: &'static str,
        /// The driver's error, unchanged.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It will not: a constraint that is none of the references, or data that it does not accept.
    #[error("{doing}: the store rejects it: {source}")]
    Rejected {
        /// What was being done.
        doing: &'static str,
        /// The name of the violated constraint, if the driver tells.
        constraint: Option<String>,
        /// The driver's error, unchanged.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Its tables are not those of this release.
    #[error("the store's schema is {found}; accepted: {accepted}")]
    Schema {
        /// What was found.
        found: String,
        /// What this release accepts, and what to do.
        accepted: String,
    },
    /// Something in it is not what this release writes.
    #[error("{doing}: {what} in the store is malformed: {found}")]
    Malformed {
        /// What was being done.
        doing: &'static str,
        /// What is malformed.
        what: &'static str,
        /// How.
        found: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. } | StoreError::Undone { .. })
    }
}

impl fmt::Display for Nulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.api_key, self.upstream) {
            (false, false) => "none",
            (true, false) => "api key",
            (false, true) => "upstream",
            (true, true) => "api key, upstream",
        })
    }
}
