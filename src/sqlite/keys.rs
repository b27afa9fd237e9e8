//! Idempotency keys in the file.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::Sqlite;
use super::error::failed;
use super::ledger::in_transaction;
use crate::idempotency::columns::{ASKING, KeyRow, PURGING, holder, parts};
use crate::idempotency::{KeyAnswer, KeyOp, KeyRecord, KeyStore, Scope, transition};
use crate::ledger::StoreError;
use crate::ledger::columns::instant;
use crate::time::Timestamp;

/// Processes that share a file are on one machine and have one clock: their own.
impl KeyStore for Sqlite {
    fn apply(&self, ops: &[KeyOp], now: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        in_transaction(&mut self.writer.lock().connection, ASKING, |transaction| {
            let answer = |op: &KeyOp| {
                let stored = read(transaction, &op.scope)?;
                let (changed, answer) = transition(stored.as_ref(), op, now);
                if let Some(record) = changed {
                    write(transaction, &record).map_err(failed(ASKING))?;
                }
                Ok(answer)
            };
            ops.iter().map(answer).collect()
        })
    }

    fn purge(&self, now: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        let expired = params![instant(now), i64::try_from(at_most).unwrap_or(i64::MAX)];
        in_transaction(&mut self.writer.lock().connection, PURGING, |transaction| {
            let purge = || transaction.prepare_cached(PURGE)?.execute(expired);
            purge().map(|purged| purged as u64).map_err(failed(PURGING))
        })
    }
}

fn read(transaction: &Transaction<'_>, scope: &Scope) -> Result<Option<KeyRecord>, StoreError> {
    let key = params![scope.tenant(), scope.operation(), scope.client_key()];
    let read = || transaction.prepare_cached(READ)?.query_row(key, row).optional();
    let found = read().map_err(failed(ASKING))?;
    found.map(|row| row.record(scope)).transpose()
}

fn row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        fingerprint: row.get(0)?,
        status: row.get(1)?,
        fence: row.get(2)?,
        attempt: row.get(3)?,
        born: row.get(4)?,
        charge: u128::from_be_bytes(row.get(5)?),
        lease_until: row.get(6)?,
        expires_at: row.get(7)?,
        result: row.get(8)?,
    })
}

fn write(transaction: &Transaction<'_>, record: &KeyRecord) -> rusqlite::Result<usize> {
    let scope = &record.scope;
    let (fence, attempt) = holder(record.holder);
    let (lease_until, expires_at, result) = parts(&record.status);
    transaction.prepare_cached(WRITE)?.execute(params![
        scope.tenant(),
        scope.operation(),
        scope.client_key(),
        record.fingerprint.as_bytes(),
        record.status.name(),
        fence,
        attempt,
        instant(record.born),
        record.charge.as_u128().to_be_bytes(),
        lease_until,
        expires_at,
        result,
    ])
}

const READ: &str = "SELECT fingerprint, status, fence, attempt, born, charge, \
    lease_until, expires_at, result \
    FROM keys WHERE tenant = ?1 AND operation = ?2 AND client_key = ?3";

const WRITE: &str = "INSERT INTO keys (tenant, operation, client_key, fingerprint, status, \
    fence, attempt, born, charge, lease_until, expires_at, result) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
    ON CONFLICT (tenant, operation, client_key) DO UPDATE SET \
    fingerprint = excluded.fingerprint, status = excluded.status, fence = excluded.fence, \
    attempt = excluded.attempt, born = excluded.born, charge = excluded.charge, \
    lease_until = excluded.lease_until, expires_at = excluded.expires_at, \
    result = excluded.result";

const PURGE: &str = "DELETE FROM keys WHERE rowid IN \
    (SELECT rowid FROM keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
