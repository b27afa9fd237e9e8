//! The state machine of a key: one pure function, applied by every store.

use std::time::Duration;

use super::key::{Fingerprint, Scope};
use super::record::{Holder, KeyRecord, KeyStatus};
use crate::ledger::RecordId;
use crate::sync::Arc;
use crate::time::Timestamp;

/// What is to be done to which key. Times are intervals: the store's clock makes instants of them,
/// so that clocks of several machines need not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOp {
    /// Which key.
    pub scope: Scope,
    /// What is to be done.
    pub act: KeyAct,
}

/// What may be done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAct {
    /// To hold it, if nobody does.
    Claim {
        /// What the request asks.
        fingerprint: Fingerprint,
        /// The number of this claim ([`Holder::attempt`]).
        attempt: u64,
        /// For so long from now.
        lease: Duration,
    },
    /// To hold it for longer.
    Heartbeat {
        /// Who holds it.
        holder: Holder,
        /// For so long from now.
        lease: Duration,
    },
    /// To end it with a result.
    Complete {
        /// Who holds it.
        holder: Holder,
        /// What is replayed. `None`: it is too large to be kept.
        result: Option<Arc<[u8]>>,
        /// How long it is remembered from now on, more than zero.
        ttl: Duration,
    },
    /// To end it without one, so that it may be tried again.
    Fail {
        /// Who holds it.
        holder: Holder,
        /// How long it is remembered from now on. Zero: as if it had never been claimed.
        ttl: Duration,
    },
    /// To see what a claim would meet, and change nothing.
    Peek {
        /// What the request asks.
        fingerprint: Fingerprint,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The claim holds the key.
    Owned {
        /// See [`Holder::fence`]. More than 1: there were attempts before.
        fence: u64,
        /// See [`KeyRecord::charge`].
        charge: RecordId,
    },
    /// Somebody holds it.
    InFlight {
        /// Of the one who holds it.
        fence: u64,
        /// How long at least, if it is not prolonged.
        lease_left: Duration,
    },
    /// It was executed.
    Replay {
        /// Its result. `None`: it was too large to be kept.
        result: Option<Arc<[u8]>>,
        /// See [`KeyRecord::charge`].
        charge: RecordId,
    },
    /// The key was used for a request with another fingerprint. Nothing is told of that.
    Mismatch,
    /// The holder holds it no more: its lease ran out and another claim took over.
    Lost,
    /// The holder's change is made.
    Done,
    /// Only for [`KeyAct::Peek`]: a claim would hold it.
    Free,
    /// Only from a store that is bounded, for a claim: there is no room for another key.
    Full,
}

/// What an operation makes of a key: the record to write, if it changes, and the answer.
///
/// A store calls it with the record that it has, in a transaction in which nobody else changes that
/// key, and writes what it returns. See the state machine at the head of this room.
pub fn transition(
    stored: Option<&KeyRecord>,
    op: &KeyOp,
    now: Timestamp,
) -> (Option<KeyRecord>, KeyAnswer) {
    let alive = |record: &&KeyRecord| record.status.expires_at().is_none_or(|end| now < end);
    let record = stored.filter(alive);
    match &op.act {
        KeyAct::Claim { fingerprint, attempt, lease } => {
            let status = KeyStatus::InProgress { lease_until: now.saturating_add(*lease) };
            let Some(record) = record else {
                return own(begun(&op.scope, *fingerprint, *attempt, status, now));
            };
            let is_its_own = record.holder.attempt == *attempt && is_in_progress(record);
            let holder = match meet(record, fingerprint, now) {
                // The acknowledgement of this very claim was lost.
                KeyAnswer::InFlight { .. } | KeyAnswer::Free if is_its_own => record.holder,
                KeyAnswer::Free => {
                    Holder { fence: record.holder.fence.saturating_add(1), attempt: *attempt }
                }
                answer => return (None, answer),
            };
            own(KeyRecord { holder, status, ..record.clone() })
        }
        KeyAct::Heartbeat { holder, lease } => by_holder(
            record,
            *holder,
            KeyStatus::InProgress { lease_until: now.saturating_add(*lease) },
        ),
        KeyAct::Complete { holder, result, ttl } => {
            let expires_at = now.saturating_add(*ttl);
            by_holder(record, *holder, KeyStatus::Completed { result: result.clone(), expires_at })
        }
        KeyAct::Fail { holder, ttl } => {
            by_holder(record, *holder, KeyStatus::Failed { expires_at: now.saturating_add(*ttl) })
        }
        KeyAct::Peek { fingerprint } => {
            (None, record.map_or(KeyAnswer::Free, |record| meet(record, fingerprint, now)))
        }
    }
}

/// What a request meets at a record that has not expired. `Free`: it may hold the key.
fn meet(record: &KeyRecord, fingerprint: &Fingerprint, now: Timestamp) -> KeyAnswer {
    if record.fingerprint != *fingerprint {
        return KeyAnswer::Mismatch;
    }
    match &record.status {
        KeyStatus::InProgress { lease_until } if now < *lease_until => KeyAnswer::InFlight {
            fence: record.holder.fence,
            lease_left: lease_until.saturating_since(now),
        },
        KeyStatus::InProgress { .. } | KeyStatus::Failed { .. } => KeyAnswer::Free,
        KeyStatus::Completed { result, .. } => {
            KeyAnswer::Replay { result: result.clone(), charge: record.charge }
        }
    }
}

/// The first claim of a key that is absent.
fn begun(
    scope: &Scope,
    fingerprint: Fingerprint,
    attempt: u64,
    status: KeyStatus,
    now: Timestamp,
) -> KeyRecord {
    let mut origin = [0; 40];
    origin[..32].copy_from_slice(&scope.digest(b"tollkeeper charge"));
    origin[32..].copy_from_slice(&now.as_nanos().to_be_bytes());
    KeyRecord {
        scope: scope.clone(),
        fingerprint,
        holder: Holder { fence: 1, attempt },
        born: now,
        charge: RecordId::derived(&origin),
        status,
    }
}

fn own(record: KeyRecord) -> (Option<KeyRecord>, KeyAnswer) {
    let answer = KeyAnswer::Owned { fence: record.holder.fence, charge: record.charge };
    (Some(record), answer)
}

/// What the holder makes of its key: of one in progress anything, of one that it has ended nothing
/// else any more.
fn by_holder(
    record: Option<&KeyRecord>,
    holder: Holder,
    to: KeyStatus,
) -> (Option<KeyRecord>, KeyAnswer) {
    let Some(record) = record.filter(|record| record.holder == holder) else {
        return (None, KeyAnswer::Lost);
    };
    match (&record.status, &to) {
        (KeyStatus::InProgress { .. }, _) => {
            (Some(KeyRecord { status: to, ..record.clone() }), KeyAnswer::Done)
        }
        // The acknowledgement of this very change was lost.
        (KeyStatus::Completed { result, .. }, KeyStatus::Completed { result: same, .. })
            if result == same =>
        {
            (None, KeyAnswer::Done)
        }
        (KeyStatus::Failed { .. }, KeyStatus::Failed { .. }) => (None, KeyAnswer::Done),
        _ => (None, KeyAnswer::Lost),
    }
}

fn is_in_progress(record: &KeyRecord) -> bool {
    matches!(record.status, KeyStatus::InProgress { .. })
}
