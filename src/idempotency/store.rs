//! Where keys are kept: one trait, for memory, SQLite and PostgreSQL.

use super::transition::{KeyAnswer, KeyOp};
use crate::ledger::StoreError;
use crate::sync::Arc;
use crate::time::Timestamp;

/// Where keys are kept. All calls block; several threads and processes may call at the same time.
///
/// # What every store guarantees
///
/// - [`apply`](Self::apply) is one transaction, in which nobody else changes the keys that it
///   names: each operation, in the order given, meets the record as the one before it left it, and
///   [`transition`](super::transition()) says what becomes of it. When it returns `Ok`, all of the
///   group is durable; when it returns an error, all of it is or none of it (an acknowledgement
///   may be lost), and calling it again does no harm.
/// - Nothing is ever removed but records that have expired.
pub trait KeyStore: Send + Sync + 'static {
    /// Does a group of operations, and says what came of each, in their order.
    ///
    /// `now` is the caller's clock, for stores that have none of their own. A store that several
    /// machines share goes by its own clock, read while it holds the keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. For [`StoreError::Rejected`] nothing of the group is done.
    fn apply(&self, ops: &[KeyOp], now: Timestamp) -> Result<Vec<KeyAnswer>, StoreError>;

    /// Removes at most `at_most` records that have expired, and says how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn purge(&self, now: Timestamp, at_most: usize) -> Result<u64, StoreError>;
}

impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn apply(&self, ops: &[KeyOp], now: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        (**self).apply(ops, now)
    }

    fn purge(&self, now: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        (**self).purge(now, at_most)
    }
}
