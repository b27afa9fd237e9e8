//! Rows, read back.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::FromSql;

use super::error::failed;
use crate::engine::OverrideState;
use crate::ledger::columns;
use crate::ledger::{Granted, Nulled, Outcome, Posting, RecordId, StoreError, Total, UsageRecord};
use crate::time::{Span, Timestamp};
use crate::units::{Money, Usage};

/// A row, and what it is read for.
pub(super) struct Read<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) doing: &'static str,
}

/// What is in the file and cannot be.
pub(super) fn malformed(
    doing: &'static str,
    what: &'static str,
    found: impl Display,
) -> StoreError {
    StoreError::Malformed { doing, what, found: found.to_string() }
}

impl Read<'_> {
    pub(super) fn get<T: FromSql>(&self, column: usize) -> Result<T, StoreError> {
        self.row.get(column).map_err(|error| match error {
            error @ rusqlite::Error::SqliteFailure(..) => failed(self.doing)(error),
            error => malformed(self.doing, "a column", error),
        })
    }

    fn text<T: FromStr<Err: Display>>(
        &self,
        column: usize,
        what: &'static str,
    ) -> Result<T, StoreError> {
        let text = self.row.get_ref(column).map_err(failed(self.doing))?;
        let text = text.as_str().map_err(|error| malformed(self.doing, what, error))?;
        text.parse().map_err(|error| malformed(self.doing, what, error))
    }

    /// A number that `read` knows.
    fn number<T>(
        &self,
        column: usize,
        what: &'static str,
        read: impl Fn(i64) -> Option<T>,
    ) -> Result<T, StoreError> {
        let found: i64 = self.get(column)?;
        read(found).ok_or_else(|| malformed(self.doing, what, found))
    }

    fn instant(&self, column: usize) -> Result<Timestamp, StoreError> {
        self.number(column, "an instant", columns::to_instant)
    }

    fn count(&self, column: usize) -> Result<u64, StoreError> {
        self.number(column, "a number of tokens or requests", |found| u64::try_from(found).ok())
    }

    fn optional<T: FromStr<Err: Display>>(
        &self,
        column: usize,
        what: &'static str,
    ) -> Result<Option<T>, StoreError> {
        match self.row.get_ref(column).map_err(failed(self.doing))? {
            rusqlite::types::ValueRef::Null => Ok(None),
            _ => self.text(column, what).map(Some),
        }
    }

    /// The columns of `RECORD_COLUMNS`.
    pub(super) fn record(&self) -> Result<(i64, UsageRecord, Nulled), StoreError> {
        let id = |bytes: [u8; 16]| RecordId::from_u128(u128::from_be_bytes(bytes));
        let outcome: String = self.get(5)?;
        let cost = |nanos| Money::from_nanos(u64::try_from(nanos).ok()?).ok();
        let record = UsageRecord {
            id: id(self.get(1)?),
            api_key: self.optional(2, "records.api_key")?,
            upstream: self.optional(3, "records.upstream")?,
            model: self.get(4)?,
            outcome: Outcome::from_name(&outcome)
                .ok_or_else(|| malformed(self.doing, "records.outcome", &outcome))?,
            reason: self.get(6)?,
            usage: Usage {
                input_tokens: self.count(7)?,
                output_tokens: self.count(8)?,
                cached_tokens: self.count(9)?,
                cache_write_tokens: self.count(10)?,
                requests: self.count(11)?,
                cost: self.number(12, "records.cost", cost)?,
            },
            admitted_at: self.instant(13)?,
            settled_at: self.instant(14)?,
            corrects: self.get::<Option<[u8; 16]>>(15)?.map(id),
        };
        let nulled = self.number(16, "records.nulled", columns::to_nulled)?;
        Ok((self.get(0)?, record, nulled))
    }

    /// The columns of `WINDOW_COLUMNS`, and behind them the sum.
    pub(super) fn total(&self) -> Result<Total, StoreError> {
        Ok(Total {
            limit: self.text(0, "windows.limit_id")?,
            owner: self.text(5, "windows.owner")?,
            dimension: self.number(1, "windows.dimension", columns::to_dimension)?,
            window: Span { start: self.instant(2)?, end: self.instant(3)? },
            anchor: self.instant(4)?,
            settled: self.get(6)?,
        })
    }

    /// The columns of `GRANTS`.
    pub(super) fn granted(&self) -> Result<Granted, StoreError> {
        let amount = |found| u64::try_from(found).ok();
        let instead = match self.get::<Option<i64>>(4)? {
            None => None,
            Some(_) => Some(OverrideState {
                limit: self.number(4, "grants.instead", amount)?,
                until: self.instant(5)?,
            }),
        };
        Ok(Granted {
            limit: self.text(0, "grants.limit_id")?,
            owner: self.text(2, "grants.owner")?,
            dimension: self.number(1, "grants.dimension", columns::to_any_dimension)?,
            credit: self.number(3, "grants.credit", amount)?,
            instead,
        })
    }

    /// The columns of `WINDOW_COLUMNS`, and behind them the amount.
    pub(super) fn posting(&self) -> Result<Posting, StoreError> {
        let Total { limit, owner, dimension, window, anchor, settled: amount } = self.total()?;
        Ok(Posting { limit, owner, dimension, window, anchor, amount })
    }
}
