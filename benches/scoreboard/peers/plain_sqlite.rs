//! SQLite, written to by plain statements.

use super::plain::{self, Plain};
use crate::settlers::{KEYS, MODEL, UPSTREAM, key};
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tollkeeper::Sqlite;

pub struct PlainSqlite {
    connection: Connection,
    /// The numbers of the windows, in their order.
    windows: Vec<i64>,
    written: usize,
}

impl PlainSqlite {
    /// A new file with the ledger's tables, as durable as the ledger's.
    pub fn open(path: &Path) -> PlainSqlite {
        drop(Sqlite::open(path).expect("a file can be made"));
        let connection = Connection::open(path).expect("a file can be opened");
        connection.pragma_update(None, "synchronous", "FULL").expect("a setting");
        connection.pragma_update(None, "foreign_keys", true).expect("a setting");
        connection.set_prepared_statement_cache_capacity(64);
        for owner in (0..KEYS).map(key).chain([UPSTREAM.to_owned()]) {
            connection.execute("INSERT INTO owners VALUES (?1)", [owner]).expect("an owner");
        }
        let (start, end) = plain::span();
        let window = |(limit, owner, place): (String, String, i16)| {
            let columns = params![limit, place, start, end, start, owner];
            connection.execute(WINDOW, columns).expect("a window");
            connection.last_insert_rowid()
        };
        let windows = plain::windows().into_iter().map(window).collect();
        PlainSqlite { connection, windows, written: 0 }
    }

    fn group(&mut self, records: usize) -> rusqlite::Result<()> {
        let (usage, amounts) = (plain::usage(), plain::amounts());
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut record = transaction.prepare_cached(RECORD)?;
            let mut posting = transaction.prepare_cached(POSTING)?;
            let mut add = transaction.prepare_cached(ADD)?;
            let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
            for number in 0..records {
                let now = plain::now();
                let [input, output, cached, cache_write, requests, cost] = usage;
                record.execute(params![
                    plain::id().to_be_bytes(),
                    key(number % KEYS),
                    UPSTREAM,
                    MODEL,
                    "completed",
                    None::<&str>,
                    input,
                    output,
                    cached,
                    cache_write,
                    requests,
                    cost,
                    now,
                    now,
                    None::<&[u8]>,
                    0,
                    now,
                ])?;
                let seq = transaction.last_insert_rowid();
                for (place, dimension) in plain::charged(number) {
                    let (window, amount) = (self.windows[place], amounts[dimension]);
                    posting.execute([seq, window, amount])?;
                    *sums.entry(window).or_default() += amount;
                }
            }
            for (window, sum) in sums {
                add.execute([window, sum])?;
            }
        }
        transaction.commit()
    }
}

impl Plain for PlainSqlite {
    fn write(&mut self, groups: usize, records: usize) -> Duration {
        let began = Instant::now();
        for _ in 0..groups {
            self.group(records).expect("SQLite takes it");
        }
        self.written += groups * records;
        began.elapsed()
    }

    fn check(&mut self) {
        let [cost, ..] = plain::amounts();
        let team = self.windows[3 * KEYS];
        let sum = "SELECT settled FROM windows WHERE id = ?1";
        let sum: i64 = self.connection.query_row(sum, [team], |row| row.get(0)).expect("a sum");
        assert_eq!(sum, cost * i64::try_from(self.written).expect("a small number"));
    }
}

const WINDOW: &str = "INSERT INTO windows \
    (limit_id, dimension, window_start, window_end, anchor, owner, standing, settled) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 2, 0)";

const RECORD: &str = "INSERT INTO records \
    (id, api_key, upstream, model, outcome, reason, input_tokens, output_tokens, cached_tokens, \
    cache_write_tokens, requests, cost, admitted_at, settled_at, corrects, nulled, attempt) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

const POSTING: &str = "INSERT INTO postings (record, window_id, amount) VALUES (?1, ?2, ?3)";

const ADD: &str = "UPDATE windows SET settled = settled + ?2 WHERE id = ?1";
