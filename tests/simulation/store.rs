//! The ledger's store as the nodes see it: one store for all, which fails them now and then.

use std::sync::Arc;

use tollkeeper::{
    Credited, Dimension, Engine, Entry, Filter, Granted, LedgerStore, LimitId, MemoryLedger,
    Nulled, OverrideState, OwnerId, RecordId, StoreError, Stored, Timestamp, TopUp, Total, Written,
};

use crate::auditor::standing;
use crate::hub::Hub;
use crate::planted::{Planted, is_planted};
use crate::tasks::Home;

/// The store of one node.
#[derive(Clone)]
pub struct NodeStore {
    pub hub: Arc<Hub>,
    /// That of the node, for the auditor.
    pub engine: Engine,
    pub home: Home,
    pub inner: Arc<MemoryLedger>,
}

/// How a call fares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    Done,
    Refused,
    /// It is done, but the answer is lost.
    Unsaid,
}

pub fn unavailable(doing: &'static str, why: &'static str) -> StoreError {
    StoreError::Unavailable { doing, source: why.into() }
}

impl NodeStore {
    fn luck(&self) -> Luck {
        let swarm = &self.hub.swarm;
        if self.hub.fault(swarm.store_slow) {
            self.hub.spend(self.hub.range(1, 2_000_000_000));
        }
        if self.hub.is_out() || self.hub.fault(swarm.store_refuses) {
            Luck::Refused
        } else if self.hub.fault(swarm.store_forgets_to_say) {
            Luck::Unsaid
        } else {
            Luck::Done
        }
    }

    /// A call that changes something.
    fn change<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.luck() {
            Luck::Refused => Err(unavailable(doing, "refused")),
            Luck::Done => call(),
            Luck::Unsaid => {
                call()?;
                Err(unavailable(doing, "the answer is lost"))
            }
        }
    }

    /// A call that changes nothing.
    fn look<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.luck() == Luck::Done { call() } else { Err(unavailable(doing, "refused")) }
    }

    /// Some entries the store does not accept, however often it is asked, until faults are over.
    fn is_cursed(&self, entry: &Entry) -> bool {
        let rate = self.hub.swarm.store_rejects;
        !self.hub.is_calm() && entry.record.is_some() && entry.attempt % 1_000 < rate
    }

    fn commit(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        let mut told = group.to_vec();
        if is_planted(Planted::NewId) {
            // The settlement is tried again under another id.
            for entry in &mut told {
                let tried = self.hub.audit(|auditor| Ok(auditor.was_tried(entry.attempt)));
                if let Some(record) = entry.record.as_mut().filter(|_| tried) {
                    record.id = RecordId::derived(record.id.to_string().as_bytes());
                }
            }
        }
        let mut written = self.inner.write(&told)?;
        self.hub.audit(|auditor| auditor.committed(&told, &written));
        if is_planted(Planted::AsAsked) {
            written.iter_mut().for_each(|written| written.nulled = Nulled::default());
        }
        Ok(written)
    }
}

impl LedgerStore for NodeStore {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        self.hub.audit(|auditor| auditor.asked(self.home, group));
        if group.iter().any(|entry| self.is_cursed(entry)) {
            let source = "no such column".into();
            self.hub.audit(|auditor| auditor.refused(self.home, group, false));
            return Err(StoreError::Rejected { doing: "writing", constraint: None, source });
        }
        let written = self.change("writing", || self.commit(group));
        match &written {
            Ok(_) => self.hub.audit(|auditor| auditor.acknowledged(self.home, group)),
            Err(_) => self.hub.audit(|auditor| auditor.refused(self.home, group, true)),
        }
        let how = written.as_ref().map_or_else(ToString::to_string, |written| {
            let fates: Vec<String> = written.iter().map(|w| format!("{:?}", w.fate)).collect();
            fates.join(" ")
        });
        let tags: Vec<String> = group.iter().map(crate::auditor::title).collect();
        self.hub.say(format!("node {} writes {}: {how}", self.home.node, tags.join(" ")));
        written
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        self.change("registering", || {
            self.inner.register(owners)?;
            self.hub.audit(|auditor| {
                auditor.books.register(owners);
                Ok(())
            });
            Ok(())
        })
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        self.change("unlinking", || {
            let unlinked = self.inner.unlink(owner, at_most)?;
            self.hub.audit(|auditor| {
                auditor.books.unlink(owner);
                Ok(())
            });
            Ok(unlinked)
        })
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        let deleted = self.change("deleting", || delete(&self.hub, &self.inner, owner));
        let how = deleted.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        self.hub.say(format!("node {} deletes {owner}: {how}", self.home.node));
        self.hub.audit(|auditor| {
            let Some(memory) = auditor.memory(self.home) else { return Ok(()) };
            match &deleted {
                Ok(_) => memory.owner_gone(owner),
                Err(_) => memory.doubts(owner),
            }
            Ok(())
        });
        deleted
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        self.change("topping up", || {
            let said = self.inner.top_up(top_up)?;
            self.hub.audit(|auditor| auditor.topped_up(top_up, said));
            Ok(said)
        })
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        self.change("overriding", || {
            self.inner.set_override(limit, owner, dimension, instead)?;
            self.hub.audit(|auditor| {
                let counter = (limit.clone(), dimension);
                auditor.books.grants.overrides(counter, owner, instead);
                auditor.counts.overridden += 1;
                Ok(())
            });
            Ok(())
        })
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        self.look("reading grants", || self.inner.grants(each))?;
        self.hub.audit(|auditor| {
            auditor.reads_grants(self.home);
            Ok(())
        });
        Ok(())
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        let standing = standing(&self.engine);
        self.look("reading totals", || {
            self.hub.audit(|auditor| {
                auditor.reads(self.home, standing, now, self.engine.now());
                Ok(())
            });
            self.inner.open_totals(now, each)
        })
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        self.look("reading totals", || self.inner.totals(limit))
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        self.look("reading totals", || {
            self.hub.audit(|auditor| {
                auditor.reads_before(self.home, limit, self.engine.now());
                Ok(())
            });
            self.inner.total_before(limit, dimension, before)
        })
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        self.look("reading a record", || self.inner.record(id))
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.look("reading records", || self.inner.records(filter, after, at_most))
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.change("purging", || self.inner.purge(before, at_most))
    }
}

/// Deletes an owner from the store, whoever asks for it.
pub fn delete(hub: &Hub, store: &MemoryLedger, owner: &OwnerId) -> Result<bool, StoreError> {
    let deleted = store.delete(owner)?;
    hub.audit(|auditor| auditor.deleted(owner, deleted));
    Ok(deleted)
}
