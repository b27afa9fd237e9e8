//! PostgreSQL, written to by plain prepared statements: one for all rows of a table, as arrays.

use super::plain::{self, Plain};
use crate::settlers::{KEYS, MODEL, UPSTREAM, key};
use postgres::{Client, NoTls, Statement};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tollkeeper::Postgres;
use uuid::Uuid;

pub struct PlainPostgres {
    client: Client,
    records: Statement,
    postings: Statement,
    totals: Statement,
    keys: Vec<String>,
    windows: Vec<(String, String, i16)>,
    start: i64,
    end: i64,
    written: usize,
}

impl PlainPostgres {
    /// A new database with the ledger's tables.
    pub fn connect(url: &str) -> PlainPostgres {
        drop(Postgres::connect(url).expect("the server is there"));
        let mut client = Client::connect(url, NoTls).expect("the server is there");
        let keys: Vec<String> = (0..KEYS).map(key).collect();
        let owners: Vec<&str> = keys.iter().map(String::as_str).chain([UPSTREAM]).collect();
        let insert = "INSERT INTO tollkeeper.owners SELECT unnest($1::text[])";
        client.execute(insert, &[&owners]).expect("owners");
        let mut prepare = |text| client.prepare(text).expect("a statement");
        let (records, postings, totals) = (prepare(RECORDS), prepare(POSTINGS), prepare(TOTALS));
        let (start, end) = plain::span();
        let windows = plain::windows();
        PlainPostgres { client, records, postings, totals, keys, windows, start, end, written: 0 }
    }

    fn group(&mut self, records: usize) -> Result<(), postgres::Error> {
        let amounts = plain::amounts();
        let mut of: Vec<Posting> = Vec::new();
        let mut sums: BTreeMap<usize, Posting> = BTreeMap::new();
        let ids: Vec<Uuid> = (0..records).map(|_| Uuid::from_u128(plain::id())).collect();
        for (number, id) in ids.iter().enumerate() {
            for (place, dimension) in plain::charged(number) {
                let posting = Posting { record: *id, place, amount: amounts[dimension] };
                sums.entry(place).and_modify(|sum| sum.amount += posting.amount).or_insert(posting);
                of.push(posting);
            }
        }
        let sums: Vec<Posting> = sums.into_values().collect();
        let keys: Vec<&str> = (0..records).map(|at| self.keys[at % KEYS].as_str()).collect();
        let all = |text: &'static str| vec![text; records];
        let (upstream, model, outcome) = (all(UPSTREAM), all(MODEL), all("completed"));
        let (reasons, corrects) = (vec![None::<&str>; records], vec![None::<Uuid>; records]);
        let usage = plain::usage().map(|amount| vec![amount; records]);
        let [input, output, cached, cache_write, requests, cost] = &usage;
        let (now, nulled) = (vec![plain::now(); records], vec![0_i16; records]);
        let mut transaction = self.client.transaction()?;
        transaction.execute(
            &self.records,
            &[
                &ids,
                &keys,
                &upstream,
                &model,
                &outcome,
                &reasons,
                input,
                output,
                cached,
                cache_write,
                requests,
                cost,
                &now,
                &now,
                &corrects,
                &nulled,
                &now,
            ],
        )?;
        for (postings, statement) in [(&of, &self.postings), (&sums, &self.totals)] {
            let windows: Vec<_> = postings.iter().map(|it| &self.windows[it.place]).collect();
            let limits: Vec<&str> = windows.iter().map(|it| it.0.as_str()).collect();
            let owners: Vec<&str> = windows.iter().map(|it| it.1.as_str()).collect();
            let dimensions: Vec<i16> = windows.iter().map(|it| it.2).collect();
            let starts = vec![self.start; postings.len()];
            let ends = vec![self.end; postings.len()];
            let amounts: Vec<i64> = postings.iter().map(|it| it.amount).collect();
            let records: Vec<Uuid> = postings.iter().map(|it| it.record).collect();
            transaction.execute(
                statement,
                &[&records, &limits, &dimensions, &starts, &ends, &starts, &owners, &amounts],
            )?;
        }
        transaction.commit()
    }
}

#[derive(Clone, Copy)]
struct Posting {
    record: Uuid,
    place: usize,
    amount: i64,
}

impl Plain for PlainPostgres {
    fn write(&mut self, groups: usize, records: usize) -> Duration {
        let began = Instant::now();
        for _ in 0..groups {
            self.group(records).expect("PostgreSQL takes it");
        }
        self.written += groups * records;
        began.elapsed()
    }

    fn check(&mut self) {
        let [cost, ..] = plain::amounts();
        let team = &self.windows[3 * KEYS].0;
        let sum = "SELECT settled FROM tollkeeper.totals WHERE limit_id = $1 AND dimension = 0";
        let sum: i64 = self.client.query_one(sum, &[team]).expect("a sum").get(0);
        assert_eq!(sum, cost * i64::try_from(self.written).expect("a small number"));
    }
}

const RECORDS: &str = "INSERT INTO tollkeeper.records \
    (id, api_key, upstream, model, outcome, reason, input_tokens, output_tokens, cached_tokens, \
    cache_write_tokens, requests, cost, admitted_at, settled_at, corrects, nulled, attempt) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], \
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], \
    $13::bigint[], $14::bigint[], $15::uuid[], $16::smallint[], $17::bigint[])";

const POSTINGS: &str = "INSERT INTO tollkeeper.postings \
    (record, limit_id, dimension, window_start, window_end, anchor, owner, amount) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], \
    $6::bigint[], $7::text[], $8::bigint[])";

const TOTALS: &str = "INSERT INTO tollkeeper.totals AS total \
    (limit_id, dimension, window_start, window_end, anchor, owner, settled) \
    SELECT limit_id, dimension, window_start, window_end, anchor, owner, amount \
    FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], \
    $7::text[], $8::bigint[]) \
    AS new (record, limit_id, dimension, window_start, window_end, anchor, owner, amount) \
    ON CONFLICT (limit_id, dimension, window_start) DO UPDATE SET \
    settled = total.settled + excluded.settled";
