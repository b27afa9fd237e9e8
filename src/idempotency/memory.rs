//! Keys in memory: for one process, and gone with it.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::key::Scope;
use super::record::KeyRecord;
use super::store::KeyStore;
use super::transition::{KeyAct, KeyAnswer, KeyOp, transition};
use crate::ledger::StoreError;
use crate::time::Timestamp;

/// Keys in memory, of one process and gone with it.
///
/// It keeps so many keys at most. When it is full of keys that have not expired, a claim of another
/// one is refused ([`KeyAnswer::Full`]): nothing that a client may still ask for is forgotten.
#[derive(Debug)]
pub struct MemoryKeys {
    keys_max: usize,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    records: HashMap<Scope, KeyRecord>,
    /// Those that expire, by when.
    expiring: BTreeSet<(Timestamp, Scope)>,
}

impl MemoryKeys {
    /// A store of so many keys at most.
    pub fn new(keys_max: usize) -> MemoryKeys {
        MemoryKeys { keys_max, keys: Mutex::default() }
    }

    /// How many keys it has, those included that have expired and are not purged.
    pub fn len(&self) -> usize {
        self.keys.lock().records.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyStore for MemoryKeys {
    fn apply(&self, ops: &[KeyOp], now: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        let mut keys = self.keys.lock();
        Ok(ops.iter().map(|op| keys.apply(op, now, self.keys_max)).collect())
    }

    fn purge(&self, now: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        Ok(self.keys.lock().purge(now, at_most))
    }
}

impl Keys {
    fn apply(&mut self, op: &KeyOp, now: Timestamp, keys_max: usize) -> KeyAnswer {
        let stored = self.records.get(&op.scope);
        let is_new = stored.is_none() && matches!(op.act, KeyAct::Claim { .. });
        let (changed, answer) = transition(stored, op, now);
        if is_new && self.records.len() >= keys_max && self.purge(now, 1) == 0 {
            return KeyAnswer::Full;
        }
        if let Some(record) = changed {
            self.put(record);
        }
        answer
    }

    fn put(&mut self, record: KeyRecord) {
        let scope = record.scope.clone();
        let expires_at = record.status.expires_at();
        let before = self.records.insert(scope.clone(), record);
        if let Some(at) = before.and_then(|before| before.status.expires_at()) {
            self.expiring.remove(&(at, scope.clone()));
        }
        if let Some(at) = expires_at {
            self.expiring.insert((at, scope));
        }
    }

    fn purge(&mut self, now: Timestamp, at_most: usize) -> u64 {
        let mut purged = 0;
        while purged < at_most {
            match self.expiring.first() {
                Some((at, _)) if *at <= now => {}
                _ => break,
            }
            if let Some((_, scope)) = self.expiring.pop_first() {
                self.records.remove(&scope);
                purged += 1;
            }
        }
        u64::try_from(purged).unwrap_or(u64::MAX)
    }
}
