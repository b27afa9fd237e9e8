//! What operators have granted, in the file.

use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};

use super::error::failed;
use super::row::Read;
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{self, GRANTING, READING_GRANTS, instant, number};
use crate::ledger::{Credited, Fate, Granted, StoreError, TopUp};
use crate::units::Dimension;

/// Adds a top-up, unless its id is there.
pub(super) fn top_up(transaction: &Transaction<'_>, top_up: &TopUp) -> Result<Credited> {
    let (limit, owner) = (top_up.limit.as_str(), top_up.owner.as_str());
    let (id, amount) = (top_up.id.as_u128().to_be_bytes(), number(top_up.amount.as_nanos()));
    let mut insert = transaction.prepare_cached(TOP_UP)?;
    let added = insert.execute(params![id, limit, amount, instant(top_up.at)])? == 1;
    let fate = if added {
        transaction.prepare_cached(CREDIT)?.execute(params![limit, owner, amount])?;
        Fate::Now
    } else {
        let mut same = transaction.prepare_cached(SAME_TOP_UP)?;
        let same = same.exists(params![id, limit, amount])?;
        if same { Fate::Before } else { Fate::Duplicate }
    };
    let mut credit = transaction.prepare_cached(CREDIT_OF)?;
    let credit: Option<i64> = credit.query_row([limit, owner], |row| row.get(0)).optional()?;
    let credit = credit.and_then(|credit| u64::try_from(credit).ok()).unwrap_or(0);
    Ok(Credited { fate, credit })
}

/// Sets what a counter admits in place of its limit, or takes that away.
pub(super) fn set_override(
    transaction: &Transaction<'_>,
    limit: &LimitId,
    owner: &OwnerId,
    dimension: Dimension,
    instead: Option<OverrideState>,
) -> Result<()> {
    let (limit, owner, dimension) = (limit.as_str(), owner.as_str(), columns::dimension(dimension));
    match instead {
        Some(OverrideState { limit: instead, until }) => {
            let override_by = params![limit, dimension, owner, number(instead), instant(until)];
            transaction.prepare_cached(OVERRIDE)?.execute(override_by)?;
        }
        None => {
            let cleared = params![limit, dimension, owner];
            transaction.prepare_cached(CLEAR)?.execute(cleared)?;
        }
    }
    Ok(())
}

/// Reads all that is granted.
pub(super) fn read(
    connection: &Connection,
    each: &mut dyn FnMut(Granted),
) -> std::result::Result<(), StoreError> {
    let (doing, failed) = (READING_GRANTS, failed(READING_GRANTS));
    let mut grants = connection.prepare_cached(GRANTS).map_err(&failed)?;
    let mut rows = grants.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        each(Read { row, doing }.granted()?);
    }
    Ok(())
}

/// What an error of the driver is to one who was granting.
pub(super) fn not_granted(error: rusqlite::Error) -> StoreError {
    failed(GRANTING)(error)
}

const TOP_UP: &str = "INSERT INTO top_ups (id, limit_id, amount, at) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT DO NOTHING";

const SAME_TOP_UP: &str = "SELECT 1 FROM top_ups WHERE id = ?1 AND limit_id = ?2 AND amount = ?3";

/// What was granted to another owner's limit of the same id is gone with that one.
const CREDIT: &str = "INSERT INTO grants (limit_id, dimension, owner, credit) \
    VALUES (?1, 0, ?2, ?3) ON CONFLICT DO UPDATE SET owner = excluded.owner, \
    credit = iif(owner = excluded.owner, credit, 0) + excluded.credit, \
    instead = iif(owner = excluded.owner, instead, NULL), \
    until = iif(owner = excluded.owner, until, NULL)";

const CREDIT_OF: &str =
    "SELECT credit FROM grants WHERE limit_id = ?1 AND dimension = 0 AND owner = ?2";

const OVERRIDE: &str = "INSERT INTO grants (limit_id, dimension, owner, credit, instead, until) \
    VALUES (?1, ?2, ?3, 0, ?4, ?5) ON CONFLICT DO UPDATE SET owner = excluded.owner, \
    credit = iif(owner = excluded.owner, credit, 0), \
    instead = excluded.instead, until = excluded.until";

const CLEAR: &str = "UPDATE grants SET instead = NULL, until = NULL \
    WHERE limit_id = ?1 AND dimension = ?2 AND owner = ?3";

const GRANTS: &str = "SELECT limit_id, dimension, owner, credit, instead, until FROM grants \
    ORDER BY limit_id, dimension";

pub(super) const DELETE_GRANTS: &str =
    "DELETE FROM grants WHERE owner = ?1 OR pair_first = ?1 OR pair_second = ?1";
