//! The store of idempotency keys as the nodes see it. It goes by its own clock.

use std::sync::Arc;

use tollkeeper::{KeyAnswer, KeyOp, KeyStore, MemoryKeys, StoreError, Timestamp};

use crate::hub::Hub;
use crate::store::unavailable;

#[derive(Clone)]
pub struct NodeKeys {
    pub hub: Arc<Hub>,
    pub inner: Arc<MemoryKeys>,
}

impl KeyStore for NodeKeys {
    fn apply(&self, ops: &[KeyOp], _: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        let (hub, swarm) = (&self.hub, &self.hub.swarm);
        if hub.fault(swarm.store_slow) {
            hub.spend(hub.range(1, 1_000_000_000));
        }
        if hub.is_out() || hub.fault(swarm.keys_refuse) {
            return Err(unavailable("asking for keys", "refused"));
        }
        let now = Timestamp::from_nanos(hub.now());
        let answers = self.inner.apply(ops, now)?;
        hub.audit(|auditor| auditor.keys.applied(ops, &answers, now));
        if hub.fault(swarm.keys_forget_to_say) {
            return Err(unavailable("asking for keys", "the answer is lost"));
        }
        Ok(answers)
    }

    fn purge(&self, _: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.inner.purge(Timestamp::from_nanos(self.hub.now()), at_most)
    }
}
