//! What is left when a ledger is closed.

use super::entry::Entry;
use super::health::Rejected;
use super::store::StoreError;

/// What a ledger left when it was closed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Closed {
    /// What was settled and is written nowhere. It is booked in memory, which ends with the
    /// process.
    pub unwritten: Vec<Entry>,
    /// What the store would not take, and why.
    pub rejected: Vec<Rejected>,
    /// Charges that were still open. Those that end now are not recorded. One that ended while the
    /// ledger was closed may be counted here and be in a list too, or be written.
    pub open_charges: u64,
    /// Whether the store still had not answered at the deadline. Then `unwritten` is empty, though
    /// nobody knows what becomes of what is being written, and what waits behind it is lost:
    /// [`Health::queued`](super::Health::queued) says how many both are.
    pub stalled: bool,
    /// Why windows that a change of their limits has moved were not looked for, if the store could
    /// not be read: a restart goes by what the store knows of their ends.
    pub unread: Option<StoreError>,
}

impl Closed {
    /// Whether everything was written and the store knows where every window ends.
    pub fn is_clean(&self) -> bool {
        let Closed { unwritten, rejected, open_charges, stalled, unread } = self;
        let kept = unwritten.is_empty() && rejected.is_empty() && unread.is_none();
        kept && *open_charges == 0 && !stalled
    }
}
