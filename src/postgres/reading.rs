//! Rows, read back.

use std::collections::HashMap;
use std::fmt::Display;

use ::postgres::types::{FromSql, Type};
use ::postgres::{Client, IsolationLevel, Row, Transaction};
use uuid::Uuid;

use super::error::Failure;
use super::rows::Param;
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{instant, to_any_dimension, to_dimension, to_instant, to_nulled};
use crate::ledger::{
    Granted, Nulled, Outcome, Posting, RecordId, StoreError, Stored, Total, UsageRecord,
};
use crate::time::{Span, Timestamp};
use crate::units::{Money, Usage};

pub(super) const READING_TOTALS: &str = "reading totals";

/// So many counters are read by one statement, which is then over long before the server would end
/// it, also if it waits for a slow disk at each of them.
pub(super) const PIECE: i32 = 2_000;

/// The columns of a record, in the order in which [`stored`] reads them.
pub(super) const RECORD: &str = "id, api_key, upstream, model, outcome, reason, input_tokens, \
    output_tokens, cached_tokens, cache_write_tokens, requests, cost, admitted_at, settled_at, \
    corrects, nulled";

/// The columns of a total, in the order in which [`total`] reads them.
pub(super) const TOTAL: &str =
    "limit_id, dimension, window_start, window_end, anchor, owner, settled";

const POSTINGS: &str = "
    SELECT limit_id, dimension, window_start, window_end, anchor, owner, amount, record
    FROM tollkeeper.postings WHERE record = ANY($1)
    ORDER BY record, limit_id, dimension, window_start";

/// The columns of a row, and what is said when one is malformed.
struct Columns<'a> {
    row: &'a Row,
    doing: &'static str,
}

impl Columns<'_> {
    fn get<'a, T: FromSql<'a>>(&'a self, at: usize) -> Result<T, Failure> {
        Ok(self.row.try_get(at)?)
    }

    fn malformed(&self, what: &'static str, found: impl Display) -> Failure {
        let found = found.to_string();
        StoreError::Malformed { doing: self.doing, what, found }.into()
    }

    fn count(&self, at: usize, what: &'static str) -> Result<u64, Failure> {
        let found: i64 = self.get(at)?;
        u64::try_from(found).map_err(|_| self.malformed(what, found))
    }

    fn instant(&self, at: usize, what: &'static str) -> Result<Timestamp, Failure> {
        let found: i64 = self.get(at)?;
        to_instant(found).ok_or_else(|| self.malformed(what, found))
    }

    fn owner(&self, at: usize, what: &'static str) -> Result<Option<OwnerId>, Failure> {
        let found: Option<&str> = self.get(at)?;
        found.map(str::parse).transpose().map_err(|e| self.malformed(what, e))
    }

    fn record(&self) -> Result<Stored, Failure> {
        let cost = self.count(11, "a record's cost")?;
        let usage = Usage {
            input_tokens: self.count(6, "a record's input tokens")?,
            output_tokens: self.count(7, "a record's output tokens")?,
            cached_tokens: self.count(8, "a record's cached tokens")?,
            cache_write_tokens: self.count(9, "a record's cache write tokens")?,
            requests: self.count(10, "a record's requests")?,
            cost: Money::from_nanos(cost).map_err(|e| self.malformed("a record's cost", e))?,
        };
        let outcome: &str = self.get(4)?;
        let record = UsageRecord {
            id: record_id(self.get(0)?),
            api_key: self.owner(1, "a record's api key")?,
            upstream: self.owner(2, "a record's upstream")?,
            model: self.get(3)?,
            outcome: Outcome::from_name(outcome)
                .ok_or_else(|| self.malformed("a record's outcome", outcome))?,
            reason: self.get(5)?,
            usage,
            admitted_at: self.instant(12, "a record's admission")?,
            settled_at: self.instant(13, "a record's settlement")?,
            corrects: self.get::<Option<Uuid>>(14)?.map(record_id),
        };
        Ok(Stored { record, nulled: nulled(self.row, 15, self.doing)?, postings: Vec::new() })
    }

    fn total(&self) -> Result<Total, Failure> {
        let dimension: i16 = self.get(1)?;
        let limit: &str = self.get(0)?;
        let start = self.instant(2, "a window's start")?;
        let end = self.instant(3, "a window's end")?;
        let owner = self.owner(5, "a limit's owner")?;
        Ok(Total {
            limit: LimitId::new(limit).map_err(|e| self.malformed("a limit's id", e))?,
            owner: owner.ok_or_else(|| self.malformed("a limit's owner", "NULL"))?,
            dimension: to_dimension(dimension.into())
                .ok_or_else(|| self.malformed("a dimension", dimension))?,
            window: Span { start, end },
            anchor: self.instant(4, "an anchor")?,
            settled: self.get(6)?,
        })
    }
}

/// What its statements read is of one instant, that of the first. It ends when it is dropped.
pub(super) fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Failure> {
    let builder = client.build_transaction().read_only(true);
    Ok(builder.isolation_level(IsolationLevel::RepeatableRead).start()?)
}

/// The totals of the windows that began last and are open, the last (limit, dimension) first.
pub(super) fn open_totals(client: &mut Client, now: Timestamp) -> Result<Vec<Total>, Failure> {
    // From the last (limit, dimension) to the one before it, by the primary key: so the first row
    // found of each is that of the window that began last. The last row of a piece says where the
    // next begins, whether it is open or not.
    let query = format!(
        "WITH RECURSIVE newest AS (
            (SELECT {TOTAL}, 1 AS place FROM tollkeeper.totals
             WHERE $2 IS NULL OR (limit_id, dimension) < ($2, $3)
             ORDER BY limit_id DESC, dimension DESC, window_start DESC LIMIT 1)
            UNION ALL
            SELECT next.*, place + 1 FROM newest CROSS JOIN LATERAL (
                SELECT {TOTAL} FROM tollkeeper.totals AS before
                WHERE (before.limit_id, before.dimension) < (newest.limit_id, newest.dimension)
                ORDER BY limit_id DESC, dimension DESC, window_start DESC LIMIT 1
            ) AS next WHERE place < $4
        )
        SELECT {TOTAL}, is_open, place
        FROM (SELECT *, window_end > $1 OR window_end = {never} AS is_open FROM newest) AS piece
        WHERE is_open OR place = $4 ORDER BY place",
        never = i64::MAX
    );
    let now = instant(now);
    let mut behind: (Option<String>, Option<i16>) = (None, None);
    let mut found = Vec::new();
    let mut snapshot = snapshot(client)?;
    loop {
        let params: [Param<'_>; 4] = [
            (&now, Type::INT8),
            (&behind.0, Type::TEXT),
            (&behind.1, Type::INT2),
            (&PIECE, Type::INT4),
        ];
        let rows = snapshot.query_typed(&query, &params)?;
        for row in &rows {
            if row.try_get(7)? {
                found.push(total(row, READING_TOTALS)?);
            }
        }
        let Some(last) = rows.last() else { return Ok(found) };
        if last.try_get::<_, i32>(8)? < PIECE {
            return Ok(found);
        }
        behind = (last.try_get(0)?, last.try_get(1)?);
    }
}

/// A row of [`TOTAL`].
pub(super) fn total(row: &Row, doing: &'static str) -> Result<Total, Failure> {
    Columns { row, doing }.total()
}

/// A row of `grants`: limit, dimension, owner, credit, override and its end.
pub(super) fn granted(row: &Row, doing: &'static str) -> Result<Granted, Failure> {
    let columns = Columns { row, doing };
    let limit: &str = columns.get(0)?;
    let dimension: i16 = columns.get(1)?;
    let owner = columns.owner(2, "a limit's owner")?;
    let instead = match columns.get::<Option<i64>>(4)? {
        None => None,
        Some(_) => Some(OverrideState {
            limit: columns.count(4, "an override")?,
            until: columns.instant(5, "the end of an override")?,
        }),
    };
    Ok(Granted {
        limit: LimitId::new(limit).map_err(|e| columns.malformed("a limit's id", e))?,
        owner: owner.ok_or_else(|| columns.malformed("a limit's owner", "NULL"))?,
        dimension: to_any_dimension(dimension.into())
            .ok_or_else(|| columns.malformed("a dimension", dimension))?,
        credit: columns.count(3, "a credit")?,
        instead,
    })
}

/// A row of a credit alone.
pub(super) fn credit(row: &Row, doing: &'static str) -> Result<u64, Failure> {
    Columns { row, doing }.count(0, "a credit")
}

/// Which references were NULL when a record was written.
pub(super) fn nulled(row: &Row, at: usize, doing: &'static str) -> Result<Nulled, Failure> {
    let found: i16 = row.try_get(at)?;
    let malformed = || Columns { row, doing }.malformed("what was NULL in a record", found);
    to_nulled(found.into()).ok_or_else(malformed)
}

/// Rows of [`RECORD`], with their postings.
pub(super) fn stored(
    snapshot: &mut Transaction<'_>,
    rows: &[Row],
    doing: &'static str,
) -> Result<Vec<Stored>, Failure> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut postings: HashMap<RecordId, Vec<Posting>> = HashMap::new();
    for row in snapshot.query_typed(POSTINGS, &[(&ids, Type::UUID_ARRAY)])? {
        // The same columns, the amount in place of the sum.
        let Total { limit, owner, dimension, window, anchor, settled } = total(&row, doing)?;
        let posting = Posting { limit, owner, dimension, window, anchor, amount: settled };
        postings.entry(record_id(row.try_get(7)?)).or_default().push(posting);
    }
    let with_postings = |row| {
        let mut stored = Columns { row, doing }.record()?;
        stored.postings = postings.remove(&stored.record.id).unwrap_or_default();
        Ok(stored)
    };
    rows.iter().map(with_postings).collect()
}

fn record_id(id: Uuid) -> RecordId {
    RecordId::from_u128(id.as_u128())
}
