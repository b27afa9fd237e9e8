//! A key as it stands in a store.

use super::key::{Fingerprint, Scope};
use crate::ledger::RecordId;
use crate::sync::Arc;
use crate::time::Timestamp;

/// What a store keeps of a key. Stores read and write it whole; what becomes of it is decided by
/// [`transition`](super::transition()) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Whose key.
    pub scope: Scope,
    /// What the request asks.
    pub fingerprint: Fingerprint,
    /// Who claimed it last.
    pub holder: Holder,
    /// When it was claimed first.
    pub born: Timestamp,
    /// The record id under which the ledger charges it: one from its first claim on, over all
    /// takeovers and retries, until it expires.
    pub charge: RecordId,
    /// How it stands.
    pub status: KeyStatus,
}

/// Which claim it is that holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// 1 for the first claim, and one more for each that takes over.
    pub fence: u64,
    /// Drawn once for each claim and kept by every attempt to write it. By this a keeper
    /// recognises its own claim whose acknowledgement was lost; and the holder of a record that
    /// has long expired is not mistaken for that of the record that came after it.
    pub attempt: u64,
}

/// How a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// It is being executed, or its holder has crashed.
    InProgress {
        /// From this instant on another claim may take over.
        lease_until: Timestamp,
    },
    /// It was executed.
    Completed {
        /// What is replayed. `None`: it was too large to be kept.
        result: Option<Arc<[u8]>>,
        /// From this instant on it is as good as absent.
        expires_at: Timestamp,
    },
    /// It failed, and may be tried again.
    Failed {
        /// From this instant on it is as good as absent.
        expires_at: Timestamp,
    },
}

impl KeyStatus {
    /// When it expires. What is in progress never does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match *self {
            KeyStatus::InProgress { .. } => None,
            KeyStatus::Completed { expires_at, .. } | KeyStatus::Failed { expires_at } => {
                Some(expires_at)
            }
        }
    }

    /// The name in stores and texts: `in_progress`, `completed`, `failed`.
    pub const fn name(&self) -> &'static str {
        match self {
            KeyStatus::InProgress { .. } => "in_progress",
            KeyStatus::Completed { .. } => "completed",
            KeyStatus::Failed { .. } => "failed",
        }
    }
}
