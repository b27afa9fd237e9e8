//! How a key stands in a store's columns.

// It depends on the stores that are built.
#![cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]

use super::key::{Fingerprint, Scope};
use super::record::{Holder, KeyRecord, KeyStatus};
use crate::ledger::columns::{attempt, instant, number, to_instant};
use crate::ledger::{RecordId, StoreError};
use crate::sync::Arc;

/// What every store says it is doing.
pub(crate) const ASKING: &str = "asking for idempotency keys";
pub(crate) const PURGING: &str = "purging idempotency keys";

/// A row without its scope.
pub(crate) struct KeyRow {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) status: String,
    pub(crate) fence: i64,
    pub(crate) attempt: i64,
    pub(crate) born: i64,
    pub(crate) charge: u128,
    pub(crate) lease_until: Option<i64>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) result: Option<Vec<u8>>,
}

/// What of a status stands in columns of its own: lease's end, expiry and result.
pub(crate) fn parts(status: &KeyStatus) -> (Option<i64>, Option<i64>, Option<&[u8]>) {
    match status {
        KeyStatus::InProgress { lease_until } => (Some(instant(*lease_until)), None, None),
        KeyStatus::Completed { result, expires_at } => {
            (None, Some(instant(*expires_at)), result.as_deref())
        }
        KeyStatus::Failed { expires_at } => (None, Some(instant(*expires_at)), None),
    }
}

/// Fence and attempt.
pub(crate) fn holder(holder: Holder) -> (i64, i64) {
    (number(holder.fence), attempt(holder.attempt))
}

impl KeyRow {
    /// The record of a row.
    pub(crate) fn record(self, scope: &Scope) -> Result<KeyRecord, StoreError> {
        let wrong = |what, found| StoreError::Malformed { doing: ASKING, what, found };
        let wrong_status = || {
            let (lease_until, expires_at) = (self.lease_until, self.expires_at);
            let found = format!("{} until {lease_until:?}, expiring {expires_at:?}", self.status);
            wrong("a key's status", found)
        };
        let until = |column: Option<i64>| column.and_then(to_instant).ok_or_else(wrong_status);
        let status = match self.status.as_str() {
            "in_progress" => KeyStatus::InProgress { lease_until: until(self.lease_until)? },
            "completed" => KeyStatus::Completed {
                expires_at: until(self.expires_at)?,
                result: self.result.map(Arc::from),
            },
            "failed" => KeyStatus::Failed { expires_at: until(self.expires_at)? },
            _ => return Err(wrong_status()),
        };
        let fingerprint = <[u8; 32]>::try_from(self.fingerprint.as_slice())
            .map_err(|_| wrong("a fingerprint", format!("{} bytes", self.fingerprint.len())))?;
        let fence =
            u64::try_from(self.fence).map_err(|_| wrong("a fence", self.fence.to_string()))?;
        let born = to_instant(self.born).ok_or_else(|| wrong("a birth", self.born.to_string()))?;
        Ok(KeyRecord {
            scope: scope.clone(),
            fingerprint: Fingerprint::from_bytes(fingerprint),
            holder: Holder { fence, attempt: self.attempt.cast_unsigned() },
            born,
            charge: RecordId::from_u128(self.charge),
            status,
        })
    }
}
