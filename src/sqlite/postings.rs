//! The postings of a group, many by one statement.

use rusqlite::{Connection, Result, params_from_iter};

/// So many rows does a statement insert: as many as there are by the largest that fit.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// What the records of a group charge.
#[derive(Default)]
pub(super) struct Postings {
    /// Record, window, amount.
    rows: Vec<[i64; 3]>,
}

impl Postings {
    pub(super) fn add(&mut self, record: i64, window: i64, amount: i64) {
        self.rows.push([record, window, amount]);
    }

    pub(super) fn write(&self, connection: &Connection) -> Result<()> {
        let mut rows = &self.rows[..];
        for size in SIZES {
            if rows.len() < size {
                continue;
            }
            let mut insert = connection.prepare_cached(&insert(size))?;
            while let Some((some, others)) = rows.split_at_checked(size) {
                insert.execute(params_from_iter(some.as_flattened()))?;
                rows = others;
            }
        }
        Ok(())
    }
}

fn insert(rows: usize) -> String {
    let rows = vec!["(?, ?, ?)"; rows].join(", ");
    format!("INSERT INTO postings (record, window_id, amount) VALUES {rows}")
}
