//! What the store must have, worked out from what it was told.

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{
    Dimension, Entry, Fate, LimitId, Nulled, Outcome, OwnerId, Posting, RecordId, Timestamp, Total,
    Written,
};

use super::grants::Grants;
use super::{Counter, Tag, involves, tag_of};
use crate::hub::{Breach, Checked, breach};

/// A record that is in the store.
pub struct Kept {
    pub tag: Tag,
    attempt: u64,
    nulled: Nulled,
    pub postings: Vec<Posting>,
    /// How often the owner of each posting had been deleted by then.
    pub eras: Vec<u64>,
    /// The references that were not NULL, and how often each had been deleted.
    references: Vec<(OwnerId, u64)>,
    /// Whether a reference is NULL: the node had left it out, or it was unlinked since.
    is_unlinked: bool,
}

#[derive(Clone, Debug)]
pub struct Sum {
    pub owner: OwnerId,
    pub end: Timestamp,
    pub anchor: Timestamp,
    pub settled: i128,
}

/// The auditor's own ledger. It knows nothing of transactions: what it is told is committed.
#[derive(Default)]
pub struct Books {
    registered: BTreeSet<OwnerId>,
    deletions: BTreeMap<OwnerId, u64>,
    pub records: BTreeMap<RecordId, Kept>,
    corrected: BTreeSet<RecordId>,
    pub grants: Grants,
    sums: BTreeMap<Counter, BTreeMap<Timestamp, Sum>>,
    /// The record that each reservation ended as.
    ended: BTreeMap<Tag, RecordId>,
    /// Which reservations are charged under which key.
    charged: BTreeMap<RecordId, Tag>,
}

impl Books {
    pub fn register(&mut self, owners: &[OwnerId]) {
        self.registered.extend(owners.iter().cloned());
    }

    pub fn delete(&mut self, owner: &OwnerId) -> bool {
        *self.deletions.entry(owner.clone()).or_default() += 1;
        for windows in self.sums.values_mut() {
            windows.retain(|_, sum| !involves(&sum.owner, owner));
        }
        self.sums.retain(|_, windows| !windows.is_empty());
        self.grants.delete(owner);
        self.registered.remove(owner)
    }

    /// Takes note that what is written does not refer to an owner any more.
    pub fn unlink(&mut self, owner: &OwnerId) {
        for kept in self.records.values_mut() {
            kept.is_unlinked |= kept.references.iter().any(|(of, _)| of == owner);
        }
    }

    pub fn era(&self, owner: &OwnerId) -> u64 {
        let of = |owner: &OwnerId| self.deletions.get(owner).copied().unwrap_or(0);
        let members = owner.members().map_or(0, |(a, b)| of(&a) + of(&b));
        of(owner) + members
    }

    /// Takes a committed group in and says what a store must have answered. `charges` are the keys
    /// that reservations are charged under.
    pub fn write(
        &mut self,
        group: &[Entry],
        charges: &BTreeMap<Tag, RecordId>,
    ) -> Result<Vec<Written>, Breach> {
        group.iter().map(|entry| self.write_one(entry, charges)).collect()
    }

    fn write_one(
        &mut self,
        entry: &Entry,
        charges: &BTreeMap<Tag, RecordId>,
    ) -> Result<Written, Breach> {
        let mut nulled = Nulled::default();
        let now = |nulled| Written { fate: Fate::Now, nulled };
        let Some(record) = &entry.record else {
            entry.postings.iter().for_each(|posting| self.post(posting));
            return Ok(now(nulled));
        };
        if let Some(kept) = self.records.get(&record.id) {
            let before = Written { fate: Fate::Before, nulled: kept.nulled };
            let other = Written { fate: Fate::Duplicate, nulled };
            return Ok(if kept.attempt == entry.attempt { before } else { other });
        }
        if record.corrects.is_some_and(|corrected| !self.corrected.insert(corrected)) {
            return Ok(Written { fate: Fate::Duplicate, nulled });
        }
        let gone = |owner: &Option<OwnerId>| {
            owner.as_ref().is_some_and(|owner| !self.registered.contains(owner))
        };
        nulled = Nulled { api_key: gone(&record.api_key), upstream: gone(&record.upstream) };
        let postings: Vec<Posting> =
            entry.postings.iter().filter(|p| keeps(entry, nulled, &p.owner)).cloned().collect();
        postings.iter().for_each(|posting| self.post(posting));
        let tag = tag_of(record)?;
        if record.outcome != Outcome::Correction {
            self.ends(tag, record.id, record.outcome, charges)?;
        }
        let eras = postings.iter().map(|posting| self.era(&posting.owner)).collect();
        let references = [(&record.api_key, nulled.api_key), (&record.upstream, nulled.upstream)];
        let references = references.into_iter().filter(|(_, nulled)| !nulled);
        let references = references.filter_map(|(owner, _)| owner.clone());
        let references = references.map(|owner| (owner.clone(), self.era(&owner))).collect();
        let is_unlinked = record.api_key.is_none() || record.upstream.is_none();
        let attempt = entry.attempt;
        let kept = Kept { tag, attempt, nulled, postings, eras, references, is_unlinked };
        self.records.insert(record.id, kept);
        Ok(now(nulled))
    }

    /// A reservation has come to its end, once; and a key is charged once.
    fn ends(
        &mut self,
        tag: Tag,
        id: RecordId,
        outcome: Outcome,
        charges: &BTreeMap<Tag, RecordId>,
    ) -> Checked {
        if let Some(before) = self.ended.insert(tag, id) {
            return breach("I3", format!("q{tag} ended as record {before} and again as {id}"));
        }
        let Some(charge) = charges.get(&tag).filter(|_| outcome != Outcome::Unbilled) else {
            return Ok(());
        };
        if let Some(before) = self.charged.insert(*charge, tag) {
            let what =
                format!("the key of charge {charge} is charged for q{before} and for q{tag}");
            return breach("I4", what);
        }
        if id != *charge {
            return breach("I4", format!("q{tag} is recorded as {id}, not as its charge {charge}"));
        }
        Ok(())
    }

    fn post(&mut self, posting: &Posting) {
        let counter = (posting.limit.clone(), posting.dimension);
        let windows = self.sums.entry(counter).or_default();
        let owner = posting.owner.clone();
        let (end, anchor) = (posting.window.end, posting.anchor);
        let fresh = Sum { owner, end, anchor, settled: 0 };
        let sum = windows.entry(posting.window.start).or_insert(fresh);
        sum.settled += i128::from(posting.amount);
        (sum.end, sum.anchor) = (end, anchor);
        sum.owner = posting.owner.clone();
    }

    /// Whether something that a record referred to was deleted, or is being deleted: then its
    /// references are gone before it is.
    pub fn lost_a_reference(&self, kept: &Kept) -> bool {
        kept.is_unlinked || kept.references.iter().any(|(owner, era)| self.era(owner) != *era)
    }

    /// The record that a reservation ended as.
    pub fn end_of(&self, tag: Tag) -> Option<RecordId> {
        self.ended.get(&tag).copied()
    }

    /// The last window of a counter.
    pub fn last(&self, counter: &Counter) -> Option<(Timestamp, &Sum)> {
        let (start, sum) = self.sums.get(counter)?.last_key_value()?;
        Some((*start, sum))
    }

    /// What is in a window of a counter.
    pub fn sum(&self, counter: &Counter, start: Timestamp) -> Option<&Sum> {
        self.sums.get(counter)?.get(&start)
    }

    /// The window of a counter that is in force at this instant, for who asked at the other one for
    /// those that are open: the last, unless somebody whose clock is ahead has begun the one after
    /// it; and whether that is so. `end_of` an anchor is where the window ends that the instant is
    /// in; the anchor is that of the limit's first counter.
    pub fn in_force(
        &self,
        counter: &Counter,
        (asked, now): (Timestamp, Timestamp),
        end_of: impl Fn(Timestamp) -> Option<Timestamp>,
    ) -> (Option<Timestamp>, bool) {
        let is_open = |sum: &Sum, at| sum.end > at || sum.end == Timestamp::MAX;
        let both = asked.max(now);
        let last = self.last(counter).filter(|(_, sum)| is_open(sum, both));
        let lasts = Dimension::ALL.iter().filter_map(|d| self.last(&(counter.0.clone(), *d)));
        let first = lasts.map(|(_, sum)| sum).find(|sum| is_open(sum, asked));
        let (Some((last, sum)), Some(first)) = (last, first) else { return (None, false) };
        let end = end_of(first.anchor).filter(|end| last > now && last >= *end);
        let Some(end) = end else { return (Some(last), false) };
        let before = self.sums.get(counter).and_then(|windows| windows.range(..end).next_back());
        let before = before.filter(|(_, it)| is_open(it, now) && it.owner == sum.owner);
        (before.map(|(start, _)| *start), true)
    }

    /// All counters, limit by limit.
    pub fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.sums.keys()
    }

    /// Whose limits anything is counted on. A window that a reset began just before it was heard
    /// that its owner is gone is one of nothing.
    pub fn owners_with_sums(&self) -> BTreeSet<OwnerId> {
        let sums = self.sums.values().flat_map(BTreeMap::values).filter(|sum| sum.settled != 0);
        sums.map(|sum| sum.owner.clone()).collect()
    }

    /// The store's totals of a limit are the sums of its postings.
    pub fn check_totals(&self, limit: &LimitId, totals: &[Total]) -> Checked {
        let mut mine = BTreeMap::new();
        for dimension in Dimension::ALL {
            for (start, sum) in self.sums.get(&(limit.clone(), dimension)).into_iter().flatten() {
                mine.insert((dimension, *start), sum.settled);
            }
        }
        let key = |total: &Total| (total.dimension, total.window.start);
        let theirs: BTreeMap<_, _> =
            totals.iter().map(|total| (key(total), i128::from(total.settled))).collect();
        if mine == theirs {
            return Ok(());
        }
        breach("L10", format!("totals of {limit}: {theirs:?}, but the postings come to {mine:?}"))
    }
}

/// The auditor's own reading of what is written when references are NULL.
pub fn keeps(entry: &Entry, nulled: Nulled, owner: &OwnerId) -> bool {
    let Some(record) = &entry.record else { return true };
    let hit = |reference: &Option<OwnerId>, nulled: bool| {
        nulled && reference.as_ref().is_some_and(|gone| involves(owner, gone))
    };
    !hit(&record.api_key, nulled.api_key) && !hit(&record.upstream, nulled.upstream)
}
