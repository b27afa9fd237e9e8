//! Corrections: what an uncertain request really used, once somebody knows.

use std::collections::BTreeMap;

use thiserror::Error;

use super::desk::{posting, signed};
use super::front::Ledger;
use super::outbox::Due;
use super::record::{Outcome, Posting, RecordId, UsageRecord};
use super::settling::Settling;
use super::store::{StoreError, Stored};
use crate::engine::Line;
use crate::id::LimitId;
use crate::units::{Dimension, Usage};

/// Why a record is not resolved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such record, or it is not written yet.
    #[error("there is no record {id}")]
    Unknown {
        /// The id.
        id: RecordId,
    },
    /// It is not uncertain.
    #[error("the record {id} is {outcome}; accepted: an uncertain one")]
    NotUncertain {
        /// The record.
        id: RecordId,
        /// How its request ended.
        outcome: Outcome,
    },
    /// It was resolved before.
    #[error("the record {id} was resolved before, by the record {}", .by.record.id)]
    AlreadyResolved {
        /// The record.
        id: RecordId,
        /// The correction, by what it says was used.
        by: Box<Stored>,
    },
    /// The store does not answer.
    #[error("resolving the record {id}: {source}")]
    Store {
        /// The record.
        id: RecordId,
        /// The store's error.
        source: StoreError,
    },
}

impl Ledger {
    /// Says what an uncertain request really used: its record stays, and a correction is recorded
    /// that names it. There is one correction of a record at most; of two that are made at the same
    /// time, the receipt of one says [`Fate::Duplicate`](super::Fate::Duplicate).
    ///
    /// Of each limit, what was held is charged already. In a window that is still in force the
    /// charge becomes what was used. A window that is over keeps what was held, and only what was
    /// used beyond that is charged to the window in force (L8). A limit that is gone, or that was
    /// removed with its owner and created again, keeps what was held. So does each that has another
    /// anchor than it had, as after a restart of a gateway that gives no anchors, if the record's
    /// key or upstream is removed or being removed: what else was removed with it, nobody knows.
    /// Where anchors are given, one that was created again is not told from the one before: give it
    /// another id.
    ///
    /// Blocks while it reads the record; writing is waited for by what is returned.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    pub fn resolve(&self, id: RecordId, used: &Usage) -> Result<Settling, ResolveError> {
        let desk = self.desk();
        // Before the reading: an owner that is deleted in between counts as deleted after it.
        let (slot, since) = (desk.outbox.slot_in_any_case(), desk.books.deletions());
        let read = |of| self.get(of).map_err(|source| ResolveError::Store { id, source });
        let Stored { record, nulled, postings } = read(id)?.ok_or(ResolveError::Unknown { id })?;
        if record.outcome != Outcome::Uncertain {
            return Err(ResolveError::NotUncertain { id, outcome: record.outcome });
        }
        let correction = correction_id(id);
        if let Some(by) = read(correction)? {
            return Err(ResolveError::AlreadyResolved { id, by: Box::new(by) });
        }
        // A reference that was there when it was written and is not there any more: deleted.
        let deleted = (record.api_key.is_none() && !nulled.api_key)
            || (record.upstream.is_none() && !nulled.upstream);
        let admitted_at = record.admitted_at;
        let record = UsageRecord {
            id: correction,
            outcome: Outcome::Correction,
            usage: *used,
            settled_at: desk.engine.now(),
            corrects: Some(id),
            ..record
        };
        let in_force = |limit: &LimitId, dimension| desk.engine.bill_of(limit, dimension, used);
        let owners = desk.books.owners.lock();
        let is_other = |line: &Line| {
            // What this process deleted and created again after the request was admitted.
            deleted || (owners.is_gone(line.owner(), 0) && line.anchor() > admitted_at)
        };
        let postings = differences(&postings, is_other, in_force);
        drop(owners);
        Ok(desk.send(Some(record), postings, Due::Correction, since, slot))
    }
}

/// The record id that the correction of a record has.
fn correction_id(corrected: RecordId) -> RecordId {
    RecordId::derived(format!("correction of {corrected}").as_bytes())
}

/// What is charged on top of what was posted, so that it comes to what `in_force` says is used on
/// each counter, in its window in force. A limit of another beginning may be
/// another one of the same id, which `is_other` says; or the same one on another node, where
/// windows of the calendar are the same.
fn differences(
    posted: &[Posting],
    is_other: impl Fn(&Line) -> bool,
    in_force: impl Fn(&LimitId, Dimension) -> Option<Line>,
) -> Vec<Posting> {
    let mut counters: BTreeMap<(&LimitId, Dimension), Vec<&Posting>> = BTreeMap::new();
    for posting in posted {
        counters.entry((&posting.limit, posting.dimension)).or_default().push(posting);
    }
    let difference = |((limit, dimension), posted): (_, Vec<&Posting>)| {
        // A limit that is gone keeps what was held.
        let line = in_force(limit, dimension)?;
        let in_it = |posting: &&&Posting| posting.window.start == line.window().start;
        let other = |posting: &&Posting| {
            let began = posting.anchor != line.anchor();
            (began && is_other(&line)) || posting.owner != *line.owner()
        };
        if posted.iter().any(other) {
            return None;
        }
        let sum = |postings: &mut dyn Iterator<Item = &&Posting>| {
            postings.fold(0_i64, |sum, posting| sum.saturating_add(posting.amount))
        };
        let here = sum(&mut posted.iter().filter(in_it));
        let there = sum(&mut posted.iter()).saturating_sub(here);
        let amount = signed(line.amount()).saturating_sub(there).max(0).saturating_sub(here);
        (amount != 0).then(|| posting(&line, amount))
    };
    counters.into_iter().filter_map(difference).collect()
}
