//! What operators have granted, in the database.

use ::postgres::Client;
use ::postgres::types::Type;

use super::error::Failure;
use super::reading::{self, PIECE};
use super::rows::{Param, small, uuid};
use crate::engine::OverrideState;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{self, GRANTING, READING_GRANTS, instant, number};
use crate::ledger::{Credited, Fate, Granted, TopUp};
use crate::units::Dimension;

/// Of two that add the same id, the second waits for the first at this statement, and the ones
/// after it see what the first has done.
const TOP_UP: &str = "
    INSERT INTO tollkeeper.top_ups (id, limit_id, amount, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING id";

const SAME_TOP_UP: &str = "
    SELECT id FROM tollkeeper.top_ups WHERE id = $1 AND limit_id = $2 AND amount = $3";

/// What was granted to another owner's limit of the same id is gone with that one.
const CREDIT: &str = "
    INSERT INTO tollkeeper.grants AS known (limit_id, dimension, owner, credit)
    VALUES ($1, 0, $2, $3)
    ON CONFLICT (limit_id, dimension) DO UPDATE SET
        owner = excluded.owner,
        credit = CASE WHEN known.owner = excluded.owner THEN known.credit ELSE 0 END
            + excluded.credit,
        instead = CASE WHEN known.owner = excluded.owner THEN known.instead END,
        until = CASE WHEN known.owner = excluded.owner THEN known.until END";

const CREDIT_OF: &str = "
    SELECT credit FROM tollkeeper.grants WHERE limit_id = $1 AND dimension = 0 AND owner = $2";

const OVERRIDE: &str = "
    INSERT INTO tollkeeper.grants AS known (limit_id, dimension, owner, credit, instead, until)
    VALUES ($1, $2, $3, 0, $4, $5)
    ON CONFLICT (limit_id, dimension) DO UPDATE SET
        owner = excluded.owner,
        credit = CASE WHEN known.owner = excluded.owner THEN known.credit ELSE 0 END,
        instead = excluded.instead, until = excluded.until";

const CLEAR: &str = "
    UPDATE tollkeeper.grants SET instead = NULL, until = NULL
    WHERE limit_id = $1 AND dimension = $2 AND owner = $3";

const GRANTS: &str = "
    SELECT limit_id, dimension, owner, credit, instead, until FROM tollkeeper.grants
    WHERE (limit_id, dimension) > ($1, $2) ORDER BY limit_id, dimension LIMIT $3";

/// Adds a top-up, unless its id is there.
pub(super) fn top_up(client: &mut Client, top_up: &TopUp) -> Result<Credited, Failure> {
    let (id, amount, at) = (uuid(top_up.id), number(top_up.amount.as_nanos()), instant(top_up.at));
    let (limit, owner) = (top_up.limit.as_str(), top_up.owner.as_str());
    let mut transaction = client.transaction()?;
    let row: [Param<'_>; 4] =
        [(&id, Type::UUID), (&limit, Type::TEXT), (&amount, Type::INT8), (&at, Type::INT8)];
    let fate = if transaction.query_typed(TOP_UP, &row)?.is_empty() {
        let same = transaction.query_typed(SAME_TOP_UP, &row[..3])?;
        if same.is_empty() { Fate::Duplicate } else { Fate::Before }
    } else {
        let credit: [Param<'_>; 3] =
            [(&limit, Type::TEXT), (&owner, Type::TEXT), (&amount, Type::INT8)];
        transaction.query_typed(CREDIT, &credit)?;
        Fate::Now
    };
    let of: [Param<'_>; 2] = [(&limit, Type::TEXT), (&owner, Type::TEXT)];
    let rows = transaction.query_typed(CREDIT_OF, &of)?;
    let credit = match rows.first() {
        Some(row) => reading::credit(row, GRANTING)?,
        None => 0,
    };
    transaction.commit()?;
    Ok(Credited { fate, credit })
}

/// Sets what a counter admits in place of its limit, or takes that away.
pub(super) fn set_override(
    client: &mut Client,
    limit: &LimitId,
    owner: &OwnerId,
    dimension: Dimension,
    instead: Option<OverrideState>,
) -> Result<(), Failure> {
    let (limit, owner) = (limit.as_str(), owner.as_str());
    let dimension = small(columns::dimension(dimension));
    let key: [Param<'_>; 3] =
        [(&limit, Type::TEXT), (&dimension, Type::INT2), (&owner, Type::TEXT)];
    match instead {
        Some(OverrideState { limit: instead, until }) => {
            let (instead, until) = (number(instead), instant(until));
            let set: [Param<'_>; 2] = [(&instead, Type::INT8), (&until, Type::INT8)];
            client.query_typed(OVERRIDE, &[&key[..], &set[..]].concat())?;
        }
        None => drop(client.query_typed(CLEAR, &key)?),
    }
    Ok(())
}

/// Reads all that is granted, in pieces, as of one instant.
pub(super) fn read(client: &mut Client) -> Result<Vec<Granted>, Failure> {
    // No limit's id is empty.
    let mut behind = (String::new(), 0_i16);
    let mut found = Vec::new();
    let mut snapshot = reading::snapshot(client)?;
    loop {
        let params: [Param<'_>; 3] =
            [(&behind.0, Type::TEXT), (&behind.1, Type::INT2), (&i64::from(PIECE), Type::INT8)];
        let rows = snapshot.query_typed(GRANTS, &params)?;
        for row in &rows {
            found.push(reading::granted(row, READING_GRANTS)?);
        }
        let Some(last) = rows.last() else { return Ok(found) };
        behind = (last.try_get(0)?, last.try_get(1)?);
    }
}
