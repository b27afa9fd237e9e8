//! How a ledger is: what waits, what failed, what was written.

use super::entry::Entry;
use super::record::RecordId;
use super::store::StoreError;
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::Dimension;

/// How a ledger is at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Charges that are not settled yet.
    pub open_charges: u64,
    /// Entries that are settled and not written yet, without the rejected ones.
    pub queued: u64,
    /// Slots that are taken: by open charges, queued and rejected entries.
    pub taken: u64,
    /// Slots that there are.
    pub capacity: u64,
    /// Booked in memory and in no store: what a crash would lose. Rejected entries are among it.
    pub unpersisted: Unpersisted,
    /// Entries that the store would not take. [`Ledger::rejected`](super::Ledger::rejected) lists
    /// them.
    pub rejected: u64,
    /// Entries written.
    pub written: u64,
    /// Entries not written because another one has their record id.
    pub duplicates: u64,
    /// Entries written with a reference that was NULL.
    pub nulled: u64,
    /// Groups written.
    pub groups: u64,
    /// Groups that were tried, those that failed included.
    pub attempts: u64,
    /// Attempts that failed since the last one that did not.
    pub failures: u64,
    /// What the last failure said. It stays when writing works again.
    pub last_error: Option<String>,
    /// When the store is asked again. `None` while it works.
    pub retry_at: Option<Timestamp>,
}

/// What is booked in memory and written nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpersisted {
    /// So many entries.
    pub entries: u64,
    /// The sum of what they charge in money, in nano-units: of every posting, so a request that is
    /// charged to a key and its team counts twice.
    pub money: i128,
    /// The same in weighted tokens.
    pub tokens: i128,
    /// The same in requests.
    pub requests: i128,
}

impl Unpersisted {
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut sums = Unpersisted { entries: 1, ..Unpersisted::default() };
        for posting in &entry.postings {
            let sum = match posting.dimension {
                Dimension::Money => &mut sums.money,
                Dimension::Tokens => &mut sums.tokens,
                Dimension::Requests => &mut sums.requests,
                Dimension::InFlight => continue,
            };
            *sum += i128::from(posting.amount);
        }
        sums
    }

    pub(crate) fn add(&mut self, more: &Unpersisted) {
        self.entries += more.entries;
        self.money += more.money;
        self.tokens += more.tokens;
        self.requests += more.requests;
    }

    pub(crate) fn take_off(&mut self, less: &Unpersisted) {
        self.entries = self.entries.saturating_sub(less.entries);
        self.money -= less.money;
        self.tokens -= less.tokens;
        self.requests -= less.requests;
    }
}

/// An entry that the store would not take. What it charges is booked in memory; what a correction
/// changes is not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// The entry.
    pub entry: Entry,
    /// The store's error.
    pub error: Arc<StoreError>,
    /// When.
    pub at: Timestamp,
}

impl Rejected {
    /// The record's id. `None` of a reset.
    pub fn id(&self) -> Option<RecordId> {
        self.entry.record.as_ref().map(|record| record.id)
    }
}
