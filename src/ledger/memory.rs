//! A ledger in memory: for tests, simulations, and gateways that may forget.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;

use super::columns;
use super::entry::{Entry, Fate, Nulled, Written, involves};
use super::grant::{Credited, Granted, TopUp};
use super::record::{Outcome, Posting, RecordId};
use super::store::{Filter, LedgerStore, StoreError, Stored, Total};
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::time::Timestamp;
use crate::units::Dimension;

/// A ledger that is gone with the process. In everything else it does what the durable ones do,
/// under one lock: transactions, references, totals.
///
/// Writing costs a few map insertions; deleting an owner,
/// unlinking it and purging look at every record.
///
/// ```
/// use tollkeeper::{LedgerStore, MemoryLedger, RecordId};
///
/// let store = MemoryLedger::default();
/// store.register(&["key:k1".parse()?])?;
/// assert_eq!(store.record(RecordId::derived(b"none"))?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryLedger {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    owners: HashSet<OwnerId>,
    records: BTreeMap<RecordId, Row>,
    /// Which correction there is of which record.
    corrections: HashMap<RecordId, RecordId>,
    totals: BTreeMap<(LimitId, Dimension), BTreeMap<Timestamp, Total>>,
    grants: BTreeMap<(LimitId, Dimension), Granted>,
    top_ups: HashMap<RecordId, TopUp>,
}

#[derive(Debug)]
struct Row {
    stored: Stored,
    attempt: u64,
}

/// What a group has changed so far, to be taken back when one of its entries is refused.
#[derive(Default)]
struct Undo {
    records: Vec<RecordId>,
    /// The totals as they were before the group.
    totals: HashMap<(LimitId, Dimension, Timestamp), Option<Total>>,
}

impl LedgerStore for MemoryLedger {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        columns::check(group)?;
        let mut tables = self.tables.lock();
        let mut undo = Undo::default();
        let each = group.iter().map(|entry| tables.write(entry, &mut undo));
        let written: Result<Vec<Written>, StoreError> = each.collect();
        if written.is_err() {
            tables.take_back(undo);
        }
        written
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        self.tables.lock().owners.extend(owners.iter().cloned());
        Ok(())
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        let mut tables = self.tables.lock();
        let records = tables.records.values_mut().map(|row| &mut row.stored.record);
        let references = records.flat_map(|record| [&mut record.api_key, &mut record.upstream]);
        let unlinked = references.filter_map(|reference| reference.take_if(|of| of == owner));
        Ok(unlinked.take(at_most).count() as u64)
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        let mut tables = self.tables.lock();
        for row in tables.records.values_mut() {
            let record = &mut row.stored.record;
            for reference in [&mut record.api_key, &mut record.upstream] {
                reference.take_if(|reference| reference == owner);
            }
        }
        tables.totals.retain(|_, windows| {
            windows.retain(|_, total| !involves(&total.owner, owner));
            !windows.is_empty()
        });
        tables.grants.retain(|_, granted| !involves(&granted.owner, owner));
        Ok(tables.owners.remove(owner))
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        columns::check_top_up(top_up)?;
        let mut tables = self.tables.lock();
        let known = tables.top_ups.get(&top_up.id);
        let same = |known: &TopUp| known.limit == top_up.limit && known.amount == top_up.amount;
        let fate = known.map(|known| if same(known) { Fate::Before } else { Fate::Duplicate });
        let of = (top_up.limit.clone(), Dimension::Money);
        if let Some(fate) = fate {
            let granted = tables.grants.get(&of).filter(|known| known.owner == top_up.owner);
            return Ok(Credited { fate, credit: granted.map_or(0, |granted| granted.credit) });
        }
        let granted = tables.granted(&top_up.limit, &top_up.owner, Dimension::Money);
        let sum = granted.credit.checked_add(top_up.amount.as_nanos());
        let sum = sum.filter(|sum| i64::try_from(*sum).is_ok());
        let credit = sum.ok_or_else(|| columns::credit_too_large(top_up))?;
        tables.grants.insert(of, Granted { credit, ..granted });
        tables.top_ups.insert(top_up.id, top_up.clone());
        Ok(Credited { fate: Fate::Now, credit })
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        columns::check_override(limit, instead)?;
        let mut tables = self.tables.lock();
        let of = (limit.clone(), dimension);
        let is_known = tables.grants.get(&of).is_some_and(|known| known.owner == *owner);
        if is_known || instead.is_some() {
            let kept = |instead: OverrideState| OverrideState {
                until: columns::kept(instead.until),
                ..instead
            };
            let granted = tables.granted(limit, owner, dimension);
            tables.grants.insert(of, Granted { instead: instead.map(kept), ..granted });
        }
        Ok(())
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        self.tables.lock().grants.values().cloned().for_each(each);
        Ok(())
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        let tables = self.tables.lock();
        let last = tables.totals.values().filter_map(|windows| windows.values().next_back());
        last.filter(|total| is_open(total, now)).cloned().for_each(each);
        Ok(())
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        let tables = self.tables.lock();
        let windows = |dimension| tables.totals.get(&(limit.clone(), dimension));
        let kept = Dimension::ALL.into_iter().filter_map(windows);
        Ok(kept.flat_map(BTreeMap::values).cloned().collect())
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        let tables = self.tables.lock();
        let windows = tables.totals.get(&(limit.clone(), dimension));
        Ok(windows.and_then(|kept| Some(kept.range(..before).next_back()?.1.clone())))
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        Ok(self.tables.lock().records.get(&id).map(|row| row.stored.clone()))
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};

        let tables = self.tables.lock();
        let behind = tables.records.range((after.map_or(Unbounded, Excluded), Unbounded));
        let stored = behind.map(|(_, row)| &row.stored);
        Ok(stored.filter(|stored| tables.passes(filter, stored)).take(at_most).cloned().collect())
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        let mut tables = self.tables.lock();
        let settled = tables.records.values().map(|row| &row.stored.record);
        let mut old: Vec<_> = settled
            .filter(|record| record.settled_at < before)
            .map(|record| (record.settled_at, record.id))
            .collect();
        old.sort_unstable();
        old.truncate(at_most);
        for (_, id) in &old {
            tables.remove(*id);
        }
        Ok(old.len() as u64)
    }
}

/// Whether a window has not ended; one that ends at [`Timestamp::MAX`] never does.
fn is_open(total: &Total, now: Timestamp) -> bool {
    total.window.end > now || total.window.end == Timestamp::MAX
}

impl Tables {
    /// What is granted on a counter of an owner's limit.
    fn granted(&self, limit: &LimitId, owner: &OwnerId, dimension: Dimension) -> Granted {
        let known = self.grants.get(&(limit.clone(), dimension));
        known.filter(|known| known.owner == *owner).cloned().unwrap_or_else(|| Granted {
            limit: limit.clone(),
            owner: owner.clone(),
            dimension,
            credit: 0,
            instead: None,
        })
    }

    fn write(&mut self, entry: &Entry, undo: &mut Undo) -> Result<Written, StoreError> {
        let mut nulled = Nulled::default();
        if let Some(record) = &entry.record {
            if let Some(row) = self.records.get(&record.id) {
                return Ok(if row.attempt == entry.attempt {
                    Written { fate: Fate::Before, nulled: row.stored.nulled }
                } else {
                    Written { fate: Fate::Duplicate, nulled }
                });
            }
            if record.corrects.is_some_and(|corrected| self.corrections.contains_key(&corrected)) {
                return Ok(Written { fate: Fate::Duplicate, nulled });
            }
            let gone = |reference: &Option<OwnerId>| {
                reference.as_ref().is_some_and(|reference| !self.owners.contains(reference))
            };
            nulled = Nulled { api_key: gone(&record.api_key), upstream: gone(&record.upstream) };
            self.insert(entry, nulled);
            undo.records.push(record.id);
        }
        for posting in entry.kept(nulled) {
            self.post(posting, undo)?;
        }
        Ok(Written { fate: Fate::Now, nulled })
    }

    fn insert(&mut self, entry: &Entry, nulled: Nulled) {
        let Some(mut record) = entry.record.clone() else { return };
        record.api_key.take_if(|_| nulled.api_key);
        record.upstream.take_if(|_| nulled.upstream);
        let mut postings: Vec<Posting> = entry.kept(nulled).map(as_kept).collect();
        postings.sort_by(|a, b| key(a).cmp(&key(b)));
        if let Some(corrected) = record.corrects {
            self.corrections.insert(corrected, record.id);
        }
        let stored = Stored { record, nulled, postings };
        self.records.insert(stored.record.id, Row { stored, attempt: entry.attempt });
    }

    fn post(&mut self, posting: &Posting, undo: &mut Undo) -> Result<(), StoreError> {
        let counter = (posting.limit.clone(), posting.dimension);
        let windows = self.totals.entry(counter).or_default();
        let start = posting.window.start;
        let before = windows.get(&start);
        let sum = before.map_or(0, |total| total.settled).checked_add(posting.amount);
        let undone = undo.totals.entry((posting.limit.clone(), posting.dimension, start));
        if let Slot::Vacant(slot) = undone {
            slot.insert(before.cloned());
        }
        let Posting { limit, owner, dimension, window, anchor, .. } = as_kept(posting);
        let settled = sum.ok_or_else(|| columns::total_too_large(posting))?;
        windows.insert(start, Total { limit, owner, dimension, window, anchor, settled });
        Ok(())
    }

    fn take_back(&mut self, undo: Undo) {
        for id in undo.records {
            self.remove(id);
        }
        for ((limit, dimension, start), before) in undo.totals {
            let counter = (limit, dimension);
            let windows = self.totals.entry(counter.clone()).or_default();
            match before {
                Some(total) => windows.insert(start, total),
                None => windows.remove(&start),
            };
            if windows.is_empty() {
                self.totals.remove(&counter);
            }
        }
    }

    fn remove(&mut self, id: RecordId) {
        let corrected = self.records.remove(&id).and_then(|row| row.stored.record.corrects);
        if let Some(corrected) = corrected {
            self.corrections.remove(&corrected);
        }
    }

    fn passes(&self, filter: &Filter, stored: &Stored) -> bool {
        let record = &stored.record;
        let uncorrected =
            record.outcome == Outcome::Uncertain && !self.corrections.contains_key(&record.id);
        filter.outcome.is_none_or(|outcome| record.outcome == outcome)
            && (!filter.uncorrected || uncorrected)
            && (!asks_for_charges(filter)
                || stored.postings.iter().any(|posting| is_asked_for(filter, posting)))
    }
}

fn asks_for_charges(filter: &Filter) -> bool {
    filter.owner.is_some() || filter.limit.is_some() || filter.window_start.is_some()
}

fn is_asked_for(filter: &Filter, posting: &Posting) -> bool {
    filter.owner.as_ref().is_none_or(|owner| posting.owner == *owner)
        && filter.limit.as_ref().is_none_or(|limit| posting.limit == *limit)
        && filter.window_start.is_none_or(|start| posting.window.start == start)
}

/// A posting as a store keeps it: an end that columns cannot hold is one that never comes.
fn as_kept(posting: &Posting) -> Posting {
    let mut kept = posting.clone();
    kept.window.end = columns::kept(kept.window.end);
    kept
}

/// The order of postings in a record.
fn key(posting: &Posting) -> (&LimitId, Dimension, Timestamp) {
    (&posting.limit, posting.dimension, posting.window.start)
}
