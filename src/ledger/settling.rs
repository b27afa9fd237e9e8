//! What a gateway waits for after it has settled: that it is durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;

use super::entry::{Fate, Nulled};
use super::record::{RecordId, UsageRecord};
use super::store::StoreError;
use crate::engine::Settlement;
use crate::promise::{Owed, Promise, Unanswered};
use crate::sync::Arc;

/// What a ledger answers about an entry.
pub(crate) type Answer = Result<Receipt, SettleError>;
pub(crate) type Owing = Owed<Answer>;

/// What was written, and what memory booked by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The record, with `None` for a reference that was written as NULL. If the fate is
    /// [`Fate::Duplicate`], what would have been written, had there been no record of this id. Of a
    /// [reset](super::Ledger::reset) there is none.
    pub record: Option<UsageRecord>,
    /// Whether it was written.
    pub fate: Fate,
    /// The references that were written as NULL because what they refer to is deleted.
    pub nulled: Nulled,
    /// What was booked in memory. Nothing, if it was not written.
    pub settlement: Settlement,
}

impl Receipt {
    /// Whether it is written: by this call, or by an earlier one for the same entry.
    pub fn is_written(&self) -> bool {
        self.fate != Fate::Duplicate
    }
}

/// Why it is not known to be written.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The store will not take it. It is booked in memory, unless it is a correction, and listed in
    /// [`Ledger::rejected`](super::Ledger::rejected).
    #[error("the record {} is not written, see the ledger's list of rejected ones: {source}",
        name(*.id))]
    Rejected {
        /// The record. `None` of a reset.
        id: Option<RecordId>,
        /// The store's error, unchanged.
        source: Arc<StoreError>,
    },
    /// The ledger was closed before it could be written, or its store has panicked. It is in what
    /// [`Ledger::close`](super::Ledger::close) returns, unless it was settled after that.
    #[error("the ledger was closed before the record {} was written", name(*.id))]
    Closed {
        /// The record. `None` of a reset.
        id: Option<RecordId>,
    },
}

fn name(id: Option<RecordId>) -> String {
    id.map_or_else(|| "of a reset".to_owned(), |id| id.to_string())
}

/// An entry on its way to the store.
///
/// It is written whether or not somebody waits: a future for tasks, [`wait`](Self::wait) for
/// threads. To let it go is to fire and forget: the charge is booked and recorded all the same,
/// but a process that dies before the store has committed it forgets it.
#[must_use = "wait for it, or `forget` it: until it is written, a crash loses it"]
pub struct Settling {
    id: Option<RecordId>,
    promise: Promise<Answer>,
}

impl Settling {
    pub(crate) fn new(id: Option<RecordId>, promise: Promise<Answer>) -> Self {
        Self { id, promise }
    }

    /// The record's id. `None` of a reset.
    pub fn id(&self) -> Option<RecordId> {
        self.id
    }

    /// Blocks the thread until it is durable. Not for a thread that drives the writer by hand.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub fn wait(mut self) -> Result<Receipt, SettleError> {
        let answer = self.promise.wait(None);
        self.read(answer)
    }

    /// The same for a limited time: `None` if it is not durable by then. It may be asked again; a
    /// second answer there is not.
    pub fn wait_timeout(&mut self, at_most: Duration) -> Option<Result<Receipt, SettleError>> {
        match self.promise.wait(Some(at_most)) {
            Err(Unanswered::Late) => None,
            answer => Some(self.read(answer)),
        }
    }

    /// Fire and forget, said aloud.
    pub fn forget(self) {}

    fn read(&self, answer: Result<Answer, Unanswered>) -> Answer {
        answer.unwrap_or(Err(SettleError::Closed { id: self.id }))
    }
}

impl Future for Settling {
    type Output = Result<Receipt, SettleError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.promise).poll(context) {
            Poll::Ready(answer) => Poll::Ready(self.read(answer)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").field("id", &self.id).finish_non_exhaustive()
    }
}
