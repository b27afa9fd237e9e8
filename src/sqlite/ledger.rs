//! The ledger in the file.

use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, params};

use super::error::failed;
use super::grants::{self, DELETE_GRANTS};
use super::group::Group;
use super::row::Read;
use super::{Sqlite, Writer};
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{self, GRANTING, WRITING, instant};
use crate::ledger::{
    Credited, Entry, Filter, Granted, LedgerStore, Posting, RecordId, StoreError, Stored, TopUp,
    Total, Written,
};
use crate::time::Timestamp;
use crate::units::Dimension;

const REGISTERING: &str = "registering owners";
const UNLINKING: &str = "unlinking an owner";
const DELETING: &str = "deleting an owner";
const PURGING: &str = "purging records";
const READING_TOTALS: &str = "reading totals";
const READING_RECORDS: &str = "reading records";

impl LedgerStore for Sqlite {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        columns::check(group)?;
        let mut writer = self.writer.lock();
        let Writer { connection, windows } = &mut *writer;
        let written = in_transaction(connection, WRITING, |transaction| {
            Group::new(transaction, windows).map_err(failed(WRITING))?.write(group)
        });
        if written.is_err() {
            writer.windows.forget();
        }
        written
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        in_transaction(&mut self.writer.lock().connection, REGISTERING, |transaction| {
            let insert = || {
                let mut insert = transaction.prepare_cached(REGISTER)?;
                owners.iter().try_for_each(|owner| insert.execute([owner.as_str()]).map(drop))
            };
            insert().map_err(failed(REGISTERING))
        })
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        let owner = owner.as_str();
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        in_transaction(&mut self.writer.lock().connection, UNLINKING, |transaction| {
            let unlink = || {
                let mut unlinked = 0;
                for unlink in [UNLINK_API_KEY, UNLINK_UPSTREAM] {
                    let left = at_most.saturating_sub_unsigned(unlinked);
                    let mut unlink = transaction.prepare_cached(unlink)?;
                    unlinked += unlink.execute(params![owner, left])? as u64;
                }
                Ok(unlinked)
            };
            unlink().map_err(failed(UNLINKING))
        })
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        in_transaction(&mut self.writer.lock().connection, DELETING, |transaction| {
            delete(transaction, owner).map_err(failed(DELETING))
        })
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        columns::check_top_up(top_up)?;
        in_transaction(&mut self.writer.lock().connection, GRANTING, |transaction| {
            grants::top_up(transaction, top_up).map_err(grants::not_granted)
        })
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        columns::check_override(limit, instead)?;
        in_transaction(&mut self.writer.lock().connection, GRANTING, |transaction| {
            grants::set_override(transaction, limit, owner, dimension, instead)
                .map_err(grants::not_granted)
        })
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        grants::read(&self.reader.lock(), each)
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        let query = open_totals_query();
        let reader = self.reader.lock();
        read_totals(&reader, &query, params![instant(now), i64::MAX], each)
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        let query = format!(
            "{TOTALS} WHERE standing > 0 AND limit_id = ?1 \
             ORDER BY dimension, window_start"
        );
        let mut totals = Vec::new();
        let reader = self.reader.lock();
        read_totals(&reader, &query, params![limit.as_str()], &mut |total| totals.push(total))?;
        Ok(totals)
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        let (query, mut last) = (total_before_query(), None);
        let parameters = params![limit.as_str(), columns::dimension(dimension), instant(before)];
        let reader = self.reader.lock();
        read_totals(&reader, &query, parameters, &mut |total| last = Some(total))?;
        Ok(last)
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        let query = format!("{RECORDS} WHERE id = ?1");
        let mut found = self.read_records(&query, params![id.as_u128().to_be_bytes()])?;
        Ok(found.pop())
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let query = query(filter);
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        // Every id is behind the empty one.
        let after = after.map_or(Vec::new(), |id| id.as_u128().to_be_bytes().to_vec());
        let (owner, limit) = (filter.owner.as_ref(), filter.limit.as_ref());
        let parameters = params![
            after,
            at_most,
            filter.outcome.map(|outcome| outcome.name()),
            owner.map(OwnerId::as_str),
            limit.map(LimitId::as_str),
            filter.window_start.map(instant),
        ];
        self.read_records(&query, parameters)
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let oldest = params![instant(before), at_most];
        in_transaction(&mut self.writer.lock().connection, PURGING, |transaction| {
            let purge = || {
                transaction.prepare_cached(PURGE_POSTINGS)?.execute(oldest)?;
                transaction.prepare_cached(PURGE_RECORDS)?.execute(oldest)
            };
            purge().map(|purged| purged as u64).map_err(failed(PURGING))
        })
    }
}

impl Sqlite {
    fn read_records(
        &self,
        query: &str,
        parameters: &[&dyn ToSql],
    ) -> Result<Vec<Stored>, StoreError> {
        // Records and postings as of the same moment.
        let doing = READING_RECORDS;
        let mut reader = self.reader.lock();
        let transaction = reader.transaction().map_err(failed(doing))?;
        let mut records = transaction.prepare_cached(query).map_err(failed(doing))?;
        let mut postings = transaction.prepare_cached(POSTINGS).map_err(failed(doing))?;
        // Each statement has the parameters it names, at their places.
        let parameters = &parameters[..records.parameter_count()];
        let mut rows = records.query(parameters).map_err(failed(doing))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed(doing))? {
            let (seq, record, nulled) = Read { row, doing }.record()?;
            let mut charges: Vec<Posting> = Vec::new();
            let mut rows = postings.query([seq]).map_err(failed(doing))?;
            while let Some(row) = rows.next().map_err(failed(doing))? {
                charges.push(Read { row, doing }.posting()?);
            }
            found.push(Stored { record, nulled, postings: charges });
        }
        Ok(found)
    }
}

/// Does something in a transaction that nobody else writes beside, and commits it.
pub(super) fn in_transaction<T>(
    connection: &mut Connection,
    doing: &'static str,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let immediate = TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(immediate).map_err(failed(doing))?;
    let done = work(&transaction)?;
    transaction.commit().map_err(failed(doing))?;
    Ok(done)
}

fn delete(transaction: &Transaction<'_>, owner: &OwnerId) -> rusqlite::Result<bool> {
    let owner = owner.as_str();
    let deleted = transaction.prepare_cached(DELETE_OWNER)?.execute([owner])?;
    let mut last = transaction.prepare_cached(LAST_OF_OWNER)?;
    let counters = last.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let counters: Vec<(String, i64)> = counters.collect::<rusqlite::Result<_>>()?;
    transaction.prepare_cached(RETIRE)?.execute([owner])?;
    transaction.prepare_cached(DELETE_GRANTS)?.execute([owner])?;
    // A limit that had another owner before has windows left, of which one is the last now.
    let mut promote = transaction.prepare_cached(PROMOTE)?;
    for (limit, dimension) in counters {
        promote.execute(params![limit, dimension])?;
    }
    Ok(deleted > 0)
}

fn read_totals(
    connection: &Connection,
    query: &str,
    parameters: &[&dyn ToSql],
    each: &mut dyn FnMut(Total),
) -> Result<(), StoreError> {
    let doing = READING_TOTALS;
    let mut totals = connection.prepare_cached(query).map_err(failed(doing))?;
    let mut rows = totals.query(parameters).map_err(failed(doing))?;
    while let Some(row) = rows.next().map_err(failed(doing))? {
        each(Read { row, doing }.total()?);
    }
    Ok(())
}

/// Parameters: 1 now, 2 the end that never comes.
pub(super) fn open_totals_query() -> String {
    format!(
        "{TOTALS} WHERE standing = 2 AND (window_end > ?1 OR window_end = ?2) \
         ORDER BY limit_id, dimension"
    )
}

/// Parameters: 1 limit, 2 dimension, 3 before.
pub(super) fn total_before_query() -> String {
    format!(
        "{TOTALS} WHERE standing > 0 AND limit_id = ?1 AND dimension = ?2 AND window_start < ?3 \
         ORDER BY window_start DESC LIMIT 1"
    )
}

/// The records of a filter. Parameters: 1 after, 2 at most, 3 outcome, 4 owner, 5 limit, 6 start.
pub(super) fn query(filter: &Filter) -> String {
    let mut query = format!("{RECORDS} WHERE id > ?1");
    let mut charges = Vec::new();
    if filter.outcome.is_some() {
        query += " AND outcome = ?3";
    }
    if filter.uncorrected {
        query += " AND outcome = 'uncertain' \
            AND NOT EXISTS (SELECT 1 FROM records AS c WHERE c.corrects = records.id)";
    }
    charges.extend(filter.owner.as_ref().map(|_| "w.owner = ?4"));
    charges.extend(filter.limit.as_ref().map(|_| "w.limit_id = ?5"));
    charges.extend(filter.window_start.map(|_| "w.window_start = ?6"));
    if !charges.is_empty() {
        query += " AND seq IN (SELECT p.record FROM windows AS w \
            CROSS JOIN postings AS p ON p.window_id = w.id \
            AND p.record BETWEEN w.first_record AND w.last_record WHERE ";
        query += &charges.join(" AND ");
        query += ")";
    }
    query + " ORDER BY id LIMIT ?2"
}

const REGISTER: &str = "INSERT INTO owners (id) VALUES (?1) ON CONFLICT DO NOTHING";

pub(super) const UNLINK_API_KEY: &str = "UPDATE records SET api_key = NULL WHERE seq IN \
    (SELECT seq FROM records WHERE api_key = ?1 LIMIT ?2)";

pub(super) const UNLINK_UPSTREAM: &str = "UPDATE records SET upstream = NULL WHERE seq IN \
    (SELECT seq FROM records WHERE upstream = ?1 LIMIT ?2)";

const DELETE_OWNER: &str = "DELETE FROM owners WHERE id = ?1";

pub(super) const LAST_OF_OWNER: &str = "SELECT limit_id, dimension FROM windows \
    WHERE standing = 2 AND (owner = ?1 OR pair_first = ?1 OR pair_second = ?1)";

pub(super) const RETIRE: &str = "UPDATE windows SET standing = 0, settled = 0 \
    WHERE standing > 0 AND (owner = ?1 OR pair_first = ?1 OR pair_second = ?1)";

pub(super) const PROMOTE: &str = "UPDATE windows SET standing = 2 WHERE id = \
    (SELECT id FROM windows WHERE limit_id = ?1 AND dimension = ?2 AND standing > 0 \
    ORDER BY window_start DESC LIMIT 1)";

pub(super) const PURGE_POSTINGS: &str = "DELETE FROM postings WHERE record IN \
    (SELECT seq FROM records WHERE settled_at < ?1 ORDER BY settled_at, seq LIMIT ?2)";

pub(super) const PURGE_RECORDS: &str = "DELETE FROM records WHERE seq IN \
    (SELECT seq FROM records WHERE settled_at < ?1 ORDER BY settled_at, seq LIMIT ?2)";

const TOTALS: &str = "SELECT limit_id, dimension, window_start, window_end, anchor, owner, settled \
    FROM windows";

const POSTINGS: &str = "SELECT \
    w.limit_id, w.dimension, w.window_start, w.window_end, w.anchor, w.owner, p.amount \
    FROM postings AS p JOIN windows AS w ON w.id = p.window_id WHERE p.record = ?1 \
    ORDER BY w.limit_id, w.dimension, w.window_start";

const RECORDS: &str = "SELECT seq, id, api_key, upstream, model, outcome, reason, \
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, requests, cost, \
    admitted_at, settled_at, corrects, nulled FROM records";
