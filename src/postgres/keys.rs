//! Idempotency keys, by the server's clock.
//!
//! # One winner, no deadlocks
//!
//! A transaction locks the rows of its keys, in the order of the keys, before it looks at them. A
//! key without a row cannot be locked: its row is inserted last, and if somebody else has inserted
//! it meanwhile, nothing of the transaction stays, and it begins again with that row. Rows are
//! inserted in the order of keys as well. So whoever waits for a locked row holds locks of smaller
//! keys only and has inserted nothing; whoever waits for a row being inserted waits for one that
//! does so too, for a larger key. Neither ever ends in a circle. The purge waits for nobody.

use std::collections::BTreeMap;

use ::postgres::types::Type;
use ::postgres::{Client, Row, Transaction};
use uuid::Uuid;

use super::Postgres;
use super::error::Failure;
use super::rows::{Param, uuid};
use crate::idempotency::columns::{ASKING, KeyRow, PURGING, holder, parts};
use crate::idempotency::{KeyAct, KeyAnswer, KeyOp, KeyRecord, KeyStore, Scope, transition};
use crate::ledger::StoreError;
use crate::ledger::columns::instant;
use crate::time::Timestamp;

/// How often a group begins again because somebody else inserted one of its keys. Each time one
/// more of them is there.
const TRIES: usize = 20;

impl KeyStore for Postgres {
    fn apply(&self, ops: &[KeyOp], _: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        self.keys.call(ASKING, |client| {
            for _ in 0..TRIES {
                if let Some(answers) = attempted(client, ops)? {
                    return Ok(answers);
                }
            }
            let source = "others inserted the same keys again and again".into();
            Err(StoreError::Unavailable { doing: ASKING, source }.into())
        })
    }

    fn purge(&self, _: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        self.keys.call(PURGING, |client| {
            let purged = client.query_typed(PURGE, &[(&at_most, Type::INT8)])?;
            Ok(u64::try_from(purged.len()).unwrap_or(u64::MAX))
        })
    }
}

/// One try. `None`: somebody else has inserted one of the keys meanwhile.
fn attempted(client: &mut Client, ops: &[KeyOp]) -> Result<Option<Vec<KeyAnswer>>, Failure> {
    let mut transaction = client.transaction()?;
    let mut keys = locked(&mut transaction, ops)?;
    let now = now(&mut transaction)?;
    let mut changes: BTreeMap<&Scope, KeyRecord> = BTreeMap::new();
    let mut answers = Vec::with_capacity(ops.len());
    for op in ops {
        let stored = changes.get(&op.scope).or_else(|| keys.get(&op.scope));
        let (changed, answer) = transition(stored, op, now);
        changes.extend(changed.map(|record| (&op.scope, record)));
        answers.push(answer);
    }
    keys.retain(|scope, _| changes.contains_key(scope));
    let (old, new): (Vec<KeyRecord>, Vec<KeyRecord>) =
        changes.into_values().partition(|record| keys.contains_key(&record.scope));
    if !old.is_empty() {
        write(&mut transaction, UPDATE, &old)?;
    }
    if !new.is_empty() && write(&mut transaction, INSERT, &new)? < new.len() {
        transaction.rollback()?;
        return Ok(None);
    }
    transaction.commit()?;
    Ok(Some(answers))
}

/// The keys that there are of those named, locked in their order. Where nothing will be changed,
/// they are only read.
fn locked(
    transaction: &mut Transaction<'_>,
    ops: &[KeyOp],
) -> Result<BTreeMap<Scope, KeyRecord>, Failure> {
    let changes_none = ops.iter().all(|op| matches!(op.act, KeyAct::Peek { .. }));
    let query = if changes_none { READ.to_owned() } else { format!("{READ} FOR UPDATE OF key") };
    let mut scopes: Vec<&Scope> = ops.iter().map(|op| &op.scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let column = |part: fn(&Scope) -> &str| -> Vec<&str> {
        scopes.iter().map(|scope| part(scope)).collect()
    };
    let columns = [column(Scope::tenant), column(Scope::operation), column(Scope::client_key)];
    let params = columns.each_ref().map(|column| -> Param<'_> { (column, Type::TEXT_ARRAY) });
    let mut found = BTreeMap::new();
    for row in transaction.query_typed(&query, &params)? {
        let at = usize::try_from(row.try_get::<_, i64>(0)? - 1).ok();
        if let Some(scope) = at.and_then(|at| scopes.get(at)) {
            found.insert((*scope).clone(), read(&row)?.record(scope)?);
        }
    }
    Ok(found)
}

fn read(row: &Row) -> Result<KeyRow, Failure> {
    Ok(KeyRow {
        fingerprint: row.try_get(1)?,
        status: row.try_get(2)?,
        fence: row.try_get(3)?,
        attempt: row.try_get(4)?,
        born: row.try_get(5)?,
        charge: row.try_get::<_, Uuid>(6)?.as_u128(),
        lease_until: row.try_get(7)?,
        expires_at: row.try_get(8)?,
        result: row.try_get(9)?,
    })
}

/// The server's clock, read when the keys are locked.
fn now(transaction: &mut Transaction<'_>) -> Result<Timestamp, Failure> {
    let row = transaction.query_one(&format!("SELECT {NOW}"), &[])?;
    let nanos = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
    Ok(Timestamp::from_nanos(nanos))
}

/// Writes records, and says how many were written.
fn write(
    transaction: &mut Transaction<'_>,
    statement: &str,
    records: &[KeyRecord],
) -> Result<usize, Failure> {
    fn column<'a, T>(records: &'a [KeyRecord], of: impl Fn(&'a KeyRecord) -> T) -> Vec<T> {
        records.iter().map(of).collect()
    }
    let tenant = column(records, |record| record.scope.tenant());
    let operation = column(records, |record| record.scope.operation());
    let client_key = column(records, |record| record.scope.client_key());
    let fingerprint = column(records, |record| &record.fingerprint.as_bytes()[..]);
    let status = column(records, |record| record.status.name());
    let fence = column(records, |record| holder(record.holder).0);
    let attempt = column(records, |record| holder(record.holder).1);
    let born = column(records, |record| instant(record.born));
    let charge = column(records, |record| uuid(record.charge));
    let lease_until = column(records, |record| parts(&record.status).0);
    let expires_at = column(records, |record| parts(&record.status).1);
    let result = column(records, |record| parts(&record.status).2);
    let params: [Param<'_>; 12] = [
        (&tenant, Type::TEXT_ARRAY),
        (&operation, Type::TEXT_ARRAY),
        (&client_key, Type::TEXT_ARRAY),
        (&fingerprint, Type::BYTEA_ARRAY),
        (&status, Type::TEXT_ARRAY),
        (&fence, Type::INT8_ARRAY),
        (&attempt, Type::INT8_ARRAY),
        (&born, Type::INT8_ARRAY),
        (&charge, Type::UUID_ARRAY),
        (&lease_until, Type::INT8_ARRAY),
        (&expires_at, Type::INT8_ARRAY),
        (&result, Type::BYTEA_ARRAY),
    ];
    Ok(transaction.query_typed(statement, &params)?.len())
}

/// Nanoseconds since 1970. The server's clock has microseconds.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000";

const READ: &str = "
    SELECT wanted.at, key.fingerprint, key.status, key.fence, key.attempt, key.born, key.charge,
        key.lease_until, key.expires_at, key.result
    FROM unnest($1, $2, $3) WITH ORDINALITY AS wanted (tenant, operation, client_key, at)
    JOIN tollkeeper.keys AS key USING (tenant, operation, client_key)
    ORDER BY wanted.at";

const INSERT: &str = "
    INSERT INTO tollkeeper.keys
        (tenant, operation, client_key, fingerprint, status, fence, attempt, born, charge,
         lease_until, expires_at, result)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT DO NOTHING RETURNING 1";

const UPDATE: &str = "
    UPDATE tollkeeper.keys AS key SET fingerprint = new.fingerprint, status = new.status,
        fence = new.fence, attempt = new.attempt, born = new.born, charge = new.charge,
        lease_until = new.lease_until, expires_at = new.expires_at, result = new.result
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        AS new (tenant, operation, client_key, fingerprint, status, fence, attempt, born, charge,
                lease_until, expires_at, result)
    WHERE key.tenant = new.tenant AND key.operation = new.operation
        AND key.client_key = new.client_key
    RETURNING 1";

const PURGE: &str = "
    WITH expired AS MATERIALIZED (
        SELECT tenant, operation, client_key FROM tollkeeper.keys
        WHERE expires_at <= (SELECT (extract(epoch FROM now()) * 1000000)::bigint * 1000)
        ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM tollkeeper.keys AS key USING expired
    WHERE (key.tenant, key.operation, key.client_key)
        = (expired.tenant, expired.operation, expired.client_key)
    RETURNING 1";
