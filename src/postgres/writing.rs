//! One group of entries, in one transaction.
//!
//! It is tried with all references as they are. A reference to an owner that is not registered
//! violates a foreign key, and which one the server says; PostgreSQL then has given up the whole
//! transaction. In the next the owners of that column are looked up *and locked* first, so what is
//! found stays until the commit, and what is not becomes NULL. So each of the two columns fails
//! once at most, and the third try is the last.
//!
//! # No ghosts
//!
//! A foreign key's check locks the owner (`FOR KEY SHARE`) until the commit, and a deletion waits
//! for that. So a deletion sees the totals of every group that refers to the owner and was checked
//! before; a group that is checked later waits for the deletion, and finds the owner gone.
//!
//! # No deadlocks
//!
//! Groups lock totals in one order, that of their primary key, as deletions do.

use std::collections::{BTreeMap, HashMap, HashSet};

use ::postgres::types::Type;
use ::postgres::{Client, Transaction};
use uuid::Uuid;

use super::error::Failure;
use super::reading;
use super::rows::{Charges, Records, uuid};
use crate::ledger::columns::{WRITING, attempt, total_too_large};
use crate::ledger::{Entry, Fate, Nulled, Posting, StoreError, UsageRecord, Written};

/// Schema and name of the table of records.
const TABLE: (&str, &str) = ("tollkeeper", "records");

/// The columns of records that refer to owners, by the names of their foreign keys.
const REFERENCES: [(&str, Column); 2] =
    [("records_api_key_fkey", Column::ApiKey), ("records_upstream_fkey", Column::Upstream)];

const GONE: &str = "a record that was there already was purged at the same moment";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    ApiKey,
    Upstream,
}

/// Writes a group, and says what became of each entry.
pub(super) fn write(client: &mut Client, group: &[Entry]) -> Result<Vec<Written>, Failure> {
    let mut violated = Vec::new();
    loop {
        let mut transaction = client.transaction()?;
        // A key that someone made deferred is checked by the commit.
        let done = attempted(&mut transaction, group, &violated)
            .and_then(|written| Ok(transaction.commit().map(|()| written)?));
        let failure = match done {
            Ok(written) => return Ok(written),
            Err(failure) => failure,
        };
        let name = failure.foreign_key_of(TABLE);
        match REFERENCES.iter().find(|(key, _)| name == Some(key)) {
            Some((_, column)) if !violated.contains(column) => violated.push(*column),
            _ => return Err(failure),
        }
    }
}

/// One try. The columns in `violated` are checked first.
fn attempted(
    transaction: &mut Transaction<'_>,
    group: &[Entry],
    violated: &[Column],
) -> Result<Vec<Written>, Failure> {
    let nulled = nulled(transaction, group, violated)?;
    let written = write_records(transaction, group, &nulled)?;
    let mut charges = Charges::default();
    let mut sums: BTreeMap<_, (&Posting, i64)> = BTreeMap::new();
    for (entry, written) in group.iter().zip(&written) {
        if written.fate != Fate::Now {
            continue;
        }
        for posting in entry.kept(written.nulled) {
            if let Some(record) = &entry.record {
                charges.push_of(record.id, posting);
            }
            let key = (&posting.limit, posting.dimension, posting.window.start);
            let (last, sum) = sums.entry(key).or_insert((posting, 0));
            *last = posting;
            let added = sum.checked_add(posting.amount);
            *sum = added.ok_or_else(|| total_too_large(posting))?;
        }
    }
    if !charges.is_empty() {
        transaction.query_typed(Charges::INSERT, &charges.with_records())?;
    }
    if !sums.is_empty() {
        let mut totals = Charges::default();
        sums.values().for_each(|(posting, sum)| totals.push(posting, *sum));
        transaction.query_typed(Charges::ADD, &totals.without_records())?;
    }
    Ok(written)
}

/// Which references of each entry are NULL. Without a violation, none.
fn nulled(
    transaction: &mut Transaction<'_>,
    group: &[Entry],
    violated: &[Column],
) -> Result<Vec<Nulled>, Failure> {
    if violated.is_empty() {
        return Ok(vec![Nulled::default(); group.len()]);
    }
    let records = group.iter().filter_map(|entry| entry.record.as_ref());
    let named = records.flat_map(|record| violated.iter().filter_map(|of| of.name_in(record)));
    let mut named: Vec<&str> = named.collect();
    named.sort_unstable();
    named.dedup();
    let query = "SELECT id FROM tollkeeper.owners WHERE id = ANY($1) ORDER BY id FOR KEY SHARE";
    let rows = transaction.query_typed(query, &[(&named, Type::TEXT_ARRAY)])?;
    let found = rows.iter().map(|row| row.try_get::<_, &str>(0));
    let found: HashSet<&str> = found.collect::<Result<_, _>>()?;
    let gone = |record: &UsageRecord, column: Column| {
        violated.contains(&column) && column.name_in(record).is_some_and(|id| !found.contains(id))
    };
    let of = |entry: &Entry| match &entry.record {
        None => Nulled::default(),
        Some(record) => Nulled {
            api_key: gone(record, Column::ApiKey),
            upstream: gone(record, Column::Upstream),
        },
    };
    Ok(group.iter().map(of).collect())
}

fn write_records(
    transaction: &mut Transaction<'_>,
    group: &[Entry],
    nulled: &[Nulled],
) -> Result<Vec<Written>, Failure> {
    let mut records = Records::default();
    for (entry, nulled) in group.iter().zip(nulled) {
        if let Some(record) = &entry.record {
            records.push(entry, record, *nulled);
        }
    }
    let mut fresh: HashSet<(Uuid, i64)> = HashSet::new();
    if !records.is_empty() {
        for row in transaction.query_typed(Records::INSERT, &records.params())? {
            fresh.insert((row.try_get(0)?, row.try_get(1)?));
        }
    }
    let mut known: Option<Known> = None;
    let mut written = Vec::with_capacity(group.len());
    for (entry, nulled) in group.iter().zip(nulled) {
        written.push(match &entry.record {
            None => Written { fate: Fate::Now, nulled: *nulled },
            Some(record) if fresh.remove(&(uuid(record.id), attempt(entry.attempt))) => {
                Written { fate: Fate::Now, nulled: *nulled }
            }
            Some(record) => {
                let known = match &mut known {
                    Some(known) => known,
                    none => none.insert(read_known(transaction, group)?),
                };
                fate(known, entry, record)?
            }
        });
    }
    Ok(written)
}

/// What is written under the ids of a group: attempt, and which references were NULL.
type Known = HashMap<Uuid, (i64, Nulled)>;

fn read_known(transaction: &mut Transaction<'_>, group: &[Entry]) -> Result<Known, Failure> {
    let records = group.iter().filter_map(|entry| entry.record.as_ref());
    let ids: Vec<Uuid> = records.map(|record| uuid(record.id)).collect();
    let query = "SELECT id, attempt, nulled FROM tollkeeper.records WHERE id = ANY($1)";
    let mut known = Known::new();
    for row in transaction.query_typed(query, &[(&ids, Type::UUID_ARRAY)])? {
        let nulled = reading::nulled(&row, 2, WRITING)?;
        known.insert(row.try_get(0)?, (row.try_get(1)?, nulled));
    }
    Ok(known)
}

/// What became of an entry whose record this call did not write.
fn fate(known: &Known, entry: &Entry, record: &UsageRecord) -> Result<Written, Failure> {
    let duplicate = Written { fate: Fate::Duplicate, nulled: Nulled::default() };
    match known.get(&uuid(record.id)) {
        Some((other, nulled)) if *other == attempt(entry.attempt) => {
            Ok(Written { fate: Fate::Before, nulled: *nulled })
        }
        Some(_) => Ok(duplicate),
        // Another one corrects the same record.
        None if record.corrects.is_some() => Ok(duplicate),
        None => Err(StoreError::Unavailable { doing: WRITING, source: GONE.into() }.into()),
    }
}

impl Column {
    /// The owner that a record names in this column.
    fn name_in(self, record: &UsageRecord) -> Option<&str> {
        let owner = match self {
            Column::ApiKey => &record.api_key,
            Column::Upstream => &record.upstream,
        };
        owner.as_ref().map(|owner| owner.as_str())
    }
}
