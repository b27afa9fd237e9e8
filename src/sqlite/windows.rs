//! The windows of counters in the file: their numbers, and their totals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, params};

use super::row::malformed;
use crate::id::{LimitId, OwnerId};
use crate::ledger::columns::{self, instant};
use crate::ledger::{Posting, StoreError};
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// How many numbers of windows are kept at hand; when there are more, all are forgotten.
const KNOWN_MAX: usize = 100_000;

/// The numbers of windows that were charged lately. A row of `windows` is never deleted, so a
/// number stays right whatever other processes do; what was written in a transaction that is rolled
/// back must be forgotten.
#[derive(Debug, Default)]
pub(super) struct Windows {
    known: HashMap<Description, Known>,
    /// Counts the groups.
    group: u64,
}

/// All of a posting but its amount.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    limit: LimitId,
    owner: OwnerId,
    dimension: Dimension,
    window: Span,
    anchor: Timestamp,
}

impl Hash for Description {
    /// By what nearly all are told apart by.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.limit, self.dimension, self.window.start).hash(state);
    }
}

#[derive(Debug)]
struct Known {
    number: i64,
    /// The last group that charges it, and the place of its sum there.
    group: u64,
    place: usize,
}

/// What a group adds to totals: written at its end, once for each window.
pub(super) struct Sums<'a> {
    windows: &'a mut Windows,
    find: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    sums: Vec<Sum<'a>>,
    added: usize,
}

struct Sum<'a> {
    number: i64,
    /// Wide enough for any group.
    amount: i128,
    /// Which addition of the group was its last: in this order windows are described.
    last: usize,
    /// The first and the last record of the group that charge it.
    records: Option<(i64, i64)>,
    posting: &'a Posting,
}

impl Windows {
    /// Forgets all of it: after a transaction that was rolled back.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl<'a> Sums<'a> {
    pub(super) fn new(connection: &'a Connection, windows: &'a mut Windows) -> Result<Self> {
        if windows.known.len() > KNOWN_MAX {
            windows.forget();
        }
        windows.group += 1;
        Ok(Self {
            windows,
            find: connection.prepare_cached(FIND)?,
            insert: connection.prepare_cached(INSERT)?,
            sums: Vec::new(),
            added: 0,
        })
    }

    /// Adds a posting of a record to its window's sum, and says the window's number.
    pub(super) fn add(&mut self, posting: &'a Posting, record: Option<i64>) -> Result<i64> {
        let place = self.place(posting)?;
        self.added += 1;
        let sum = &mut self.sums[place];
        sum.amount += i128::from(posting.amount);
        sum.last = self.added;
        if let Some(record) = record {
            // Records of a group are numbered in its order.
            sum.records = Some((sum.records.map_or(record, |(first, _)| first), record));
        }
        Ok(sum.number)
    }

    /// The place of the sum of a posting's window.
    fn place(&mut self, posting: &'a Posting) -> Result<usize> {
        let description = Description {
            limit: posting.limit.clone(),
            owner: posting.owner.clone(),
            dimension: posting.dimension,
            window: posting.window,
            anchor: posting.anchor,
        };
        let Windows { known, group } = &mut *self.windows;
        let known = match known.entry(description) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let number = number(&mut self.find, &mut self.insert, posting)?;
                new.insert(Known { number, group: 0, place: 0 })
            }
        };
        if known.group != *group {
            (known.group, known.place) = (*group, self.sums.len());
            let number = known.number;
            self.sums.push(Sum { number, amount: 0, last: 0, records: None, posting });
        }
        Ok(known.place)
    }

    /// Adds the sums to the totals.
    pub(super) fn write(
        mut self,
        connection: &Connection,
        failed: impl Fn(rusqlite::Error) -> StoreError,
    ) -> std::result::Result<(), StoreError> {
        self.sums.sort_unstable_by_key(|sum| sum.last);
        let mut add = connection.prepare_cached(ADD).map_err(&failed)?;
        for sum in self.sums {
            let id = sum.number;
            let too_large = |_| columns::total_too_large(sum.posting);
            let amount = i64::try_from(sum.amount).map_err(too_large)?;
            let (first, last) = sum.records.unzip();
            let mut changed = add.execute(params![id, amount, first, last]).map_err(&failed)?;
            if changed == 0 {
                stand(connection, id, sum.posting).map_err(&failed)?;
                changed = add.execute(params![id, amount, first, last]).map_err(&failed)?;
            }
            if changed == 0 {
                // Somebody else has deleted the row, or what is known of it is wrong.
                return Err(malformed(columns::WRITING, "windows", format_args!("no row {id}")));
            }
        }
        Ok(())
    }
}

/// The number of a posting's window, which is described if it was not yet.
fn number(
    find: &mut CachedStatement<'_>,
    insert: &mut CachedStatement<'_>,
    posting: &Posting,
) -> Result<i64> {
    let columns = params![
        posting.limit.as_str(),
        columns::dimension(posting.dimension),
        instant(posting.window.start),
        instant(posting.window.end),
        instant(posting.anchor),
        posting.owner.as_str(),
    ];
    match find.query_row(columns, |row| row.get(0)).optional()? {
        Some(number) => Ok(number),
        None => insert.insert(columns),
    }
}

/// Makes a row the one that has its window's total: what the row had that did so until now, or
/// zero.
fn stand(connection: &Connection, id: i64, posting: &Posting) -> Result<()> {
    let dimension = columns::dimension(posting.dimension);
    let start = instant(posting.window.start);
    let (mut replaced, mut later) = (None, false);
    let mut standing = connection.prepare_cached(STANDING_FROM)?;
    let mut rows = standing.query(params![posting.limit.as_str(), dimension, start])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? == start {
            replaced = Some((row.get(1)?, row.get(2)?, row.get(3)?));
        } else {
            later = true;
            break;
        }
    }
    let mut set = connection.prepare_cached(SET)?;
    let (stands, settled): (i64, i64) = match replaced {
        Some((other, stands, settled)) => {
            set.execute::<[i64; 3]>([other, 0, 0])?;
            (stands, settled)
        }
        None if later => (1, 0),
        None => {
            let last = params![posting.limit.as_str(), dimension];
            connection.prepare_cached(NOT_LAST)?.execute(last)?;
            (2, 0)
        }
    };
    set.execute([id, stands, settled])?;
    Ok(())
}

const FIND: &str = "SELECT id FROM windows WHERE limit_id = ?1 AND dimension = ?2 \
    AND window_start = ?3 AND window_end = ?4 AND anchor = ?5 AND owner = ?6";

const INSERT: &str = "INSERT INTO windows \
    (limit_id, dimension, window_start, window_end, anchor, owner, standing, settled) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)";

const ADD: &str = "UPDATE windows SET settled = settled + ?2, \
    first_record = coalesce(min(first_record, ?3), first_record, ?3), \
    last_record = coalesce(max(last_record, ?4), last_record, ?4) \
    WHERE id = ?1 AND standing > 0";

const STANDING_FROM: &str = "SELECT window_start, id, standing, settled FROM windows \
    WHERE limit_id = ?1 AND dimension = ?2 AND window_start >= ?3 AND standing > 0 \
    ORDER BY window_start";

const NOT_LAST: &str =
    "UPDATE windows SET standing = 1 WHERE limit_id = ?1 AND dimension = ?2 AND standing = 2";

const SET: &str = "UPDATE windows SET standing = ?2, settled = ?3 WHERE id = ?1";
