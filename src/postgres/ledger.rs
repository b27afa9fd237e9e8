//! The ledger's calls, each in one transaction or one statement. What reads several statements sees
//! the database as of one instant.

use ::postgres::Client;
use ::postgres::types::Type;

use super::error::Failure;
use super::{Postgres, grants, reading, writing};
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{
    self, GRANTING, READING_GRANTS, WRITING, check, check_override, check_top_up, instant,
};
use crate::ledger::{
    Credited, Entry, Filter, Granted, LedgerStore, RecordId, StoreError, Stored, TopUp, Total,
    Written,
};
use crate::time::Timestamp;
use crate::units::Dimension;

const READING_RECORDS: &str = "reading records";

/// Of a table: what is an owner's and what is of the pairs with it. No owner's text begins or ends
/// with `&`, and `'` is the character behind it, so the first half of pairs is a range of the
/// index.
const OF_OWNER: &str = "owner = $1 OR (owner > $1 || '&' AND owner < $1 || '''')
        OR (split_part(owner, '&', 2) = $1 AND split_part(owner, '&', 2) <> '')";

/// Deletes from a table with that primary key what is an owner's. Rows are locked in the order of
/// the key, as by those who write them.
fn delete_from((table, key): (&str, &[&str])) -> String {
    let of = |row: &str| key.iter().map(|of| format!("{row}.{of}")).collect::<Vec<_>>().join(", ");
    format!(
        "WITH locked AS MATERIALIZED (
            SELECT {key} FROM tollkeeper.{table} WHERE {OF_OWNER} ORDER BY {key} FOR UPDATE
        )
        DELETE FROM tollkeeper.{table} AS gone USING locked WHERE ({}) = ({})",
        of("gone"),
        of("locked"),
        key = key.join(", "),
    )
}

/// The planner may believe, of an owner that most records refer to, that it soon finds enough of
/// them by reading the table from its beginning. Each piece would read further than the one before.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

/// Sets references in a column to NULL, and counts them. Rows are locked as the index has those of
/// one owner, in the order in which they lie in the table; so two that unlink do not wait for each
/// other in a circle.
fn unlink_from(column: &str) -> String {
    format!(
        "WITH unlinked AS (
            UPDATE tollkeeper.records SET {column} = NULL WHERE id = ANY(ARRAY(
                SELECT id FROM tollkeeper.records WHERE {column} = $1 LIMIT $2
                FOR NO KEY UPDATE
            )) RETURNING id
        )
        SELECT count(*) FROM unlinked"
    )
}

impl LedgerStore for Postgres {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        check(group)?;
        if group.is_empty() {
            return Ok(Vec::new());
        }
        self.writing.call(WRITING, |client| writing::write(client, group))
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        let mut ids: Vec<&str> = owners.iter().map(OwnerId::as_str).collect();
        // In one order, so that two who register the same do not wait for each other in a circle.
        ids.sort_unstable();
        let insert = "INSERT INTO tollkeeper.owners SELECT unnest($1) ON CONFLICT DO NOTHING";
        self.writing.call("registering owners", |client| {
            client.query_typed(insert, &[(&ids, Type::TEXT_ARRAY)])?;
            Ok(())
        })
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        let owner = owner.as_str();
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        self.writing.call("unlinking an owner", |client| {
            let mut transaction = client.transaction()?;
            transaction.batch_execute(BY_INDEX)?;
            let mut unlinked = 0;
            for column in ["api_key", "upstream"] {
                let left = at_most.saturating_sub_unsigned(unlinked);
                let params: [super::rows::Param<'_>; 2] =
                    [(&owner, Type::TEXT), (&left, Type::INT8)];
                let rows = transaction.query_typed(&unlink_from(column), &params)?;
                let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
                unlinked += count.unsigned_abs();
            }
            transaction.commit()?;
            Ok(unlinked)
        })
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        const DELETING: &str = "deleting an owner";
        let id = owner.as_str();
        let delete = |client: &mut Client| -> Result<bool, Failure> {
            let mut transaction = client.transaction()?;
            // First, because it waits for those who write and refer to the owner. What they wrote
            // is seen by the next statement.
            let delete = "DELETE FROM tollkeeper.owners WHERE id = $1 RETURNING id";
            let was_there = !transaction.query_typed(delete, &[(&id, Type::TEXT)])?.is_empty();
            for table in [
                ("totals", &["limit_id", "dimension", "window_start"][..]),
                ("grants", &["limit_id", "dimension"]),
            ] {
                transaction.query_typed(&delete_from(table), &[(&id, Type::TEXT)])?;
            }
            transaction.commit()?;
            Ok(was_there)
        };
        self.writing
            .call(DELETING, |client| delete(client).map_err(|failure| failure.certain(DELETING)))
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        check_top_up(top_up)?;
        self.writing.call(GRANTING, |client| grants::top_up(client, top_up))
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        check_override(limit, instead)?;
        self.writing
            .call(GRANTING, |client| grants::set_override(client, limit, owner, dimension, instead))
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        let granted = self.reading.call(READING_GRANTS, grants::read)?;
        granted.into_iter().for_each(each);
        Ok(())
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        let found = self
            .reading
            .call(reading::READING_TOTALS, |client| reading::open_totals(client, now))?;
        found.into_iter().rev().for_each(each);
        Ok(())
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        let query = format!(
            "SELECT {} FROM tollkeeper.totals WHERE limit_id = $1 ORDER BY dimension, window_start",
            reading::TOTAL
        );
        let id = limit.as_str();
        self.reading.call(reading::READING_TOTALS, |client| {
            let rows = client.query_typed(&query, &[(&id, Type::TEXT)])?;
            rows.iter().map(|row| reading::total(row, reading::READING_TOTALS)).collect()
        })
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        let query = format!(
            "SELECT {} FROM tollkeeper.totals
            WHERE limit_id = $1 AND dimension = $2 AND window_start < $3
            ORDER BY window_start DESC LIMIT 1",
            reading::TOTAL
        );
        let (id, before) = (limit.as_str(), instant(before));
        let dimension = super::rows::small(columns::dimension(dimension));
        self.reading.call(reading::READING_TOTALS, |client| {
            let params: [super::rows::Param<'_>; 3] =
                [(&id, Type::TEXT), (&dimension, Type::INT2), (&before, Type::INT8)];
            let rows = client.query_typed(&query, &params)?;
            rows.first().map(|row| reading::total(row, reading::READING_TOTALS)).transpose()
        })
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        let query = format!("SELECT {} FROM tollkeeper.records WHERE id = $1", reading::RECORD);
        let id = super::rows::uuid(id);
        self.reading.call(READING_RECORDS, |client| {
            let mut snapshot = reading::snapshot(client)?;
            let rows = snapshot.query_typed(&query, &[(&id, Type::UUID)])?;
            Ok(reading::stored(&mut snapshot, &rows, READING_RECORDS)?.pop())
        })
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let query = format!(
            "SELECT {} FROM tollkeeper.records AS record
            WHERE ($1 IS NULL OR id > $1) AND ($2 IS NULL OR outcome = $2)
                AND (NOT $3 OR (outcome = 'uncertain' AND NOT EXISTS (
                    SELECT FROM tollkeeper.records AS other WHERE other.corrects = record.id)))
                AND (($4 IS NULL AND $5 IS NULL AND $6 IS NULL) OR EXISTS (
                    SELECT FROM tollkeeper.postings AS posting WHERE posting.record = record.id
                        AND ($4 IS NULL OR posting.owner = $4)
                        AND ($5 IS NULL OR posting.limit_id = $5)
                        AND ($6 IS NULL OR posting.window_start = $6)))
            ORDER BY id LIMIT $7",
            reading::RECORD
        );
        let after = after.map(super::rows::uuid);
        let outcome = filter.outcome.map(|outcome| outcome.name());
        let owner = filter.owner.as_ref().map(OwnerId::as_str);
        let limit = filter.limit.as_ref().map(LimitId::as_str);
        let window_start = filter.window_start.map(instant);
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        self.reading.call(READING_RECORDS, |client| {
            let params: [super::rows::Param<'_>; 7] = [
                (&after, Type::UUID),
                (&outcome, Type::TEXT),
                (&filter.uncorrected, Type::BOOL),
                (&owner, Type::TEXT),
                (&limit, Type::TEXT),
                (&window_start, Type::INT8),
                (&at_most, Type::INT8),
            ];
            let mut snapshot = reading::snapshot(client)?;
            let rows = snapshot.query_typed(&query, &params)?;
            reading::stored(&mut snapshot, &rows, READING_RECORDS)
        })
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        // What another purge or a deletion has locked is left to the next call.
        let purge = "
            WITH gone AS (
                DELETE FROM tollkeeper.records WHERE id IN (
                    SELECT id FROM tollkeeper.records WHERE settled_at < $1
                    ORDER BY settled_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
                ) RETURNING id
            ), charges AS (
                DELETE FROM tollkeeper.postings WHERE record IN (SELECT id FROM gone)
            )
            SELECT count(*) FROM gone";
        let before = instant(before);
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        self.writing.call("purging records", |client| {
            let params: [super::rows::Param<'_>; 2] =
                [(&before, Type::INT8), (&at_most, Type::INT8)];
            let rows = client.query_typed(purge, &params)?;
            let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }
}
