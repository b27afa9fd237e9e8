//! Rows as arrays, one for each column: a statement takes any number of rows at the price of one.

use ::postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::ledger::columns::{self, attempt, dimension, instant, number};
use crate::ledger::{Entry, Nulled, Posting, RecordId, UsageRecord};

/// A parameter and its type, as the driver wants them.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Rows of `tollkeeper.records`.
#[derive(Default)]
pub(super) struct Records<'a> {
    id: Vec<Uuid>,
    api_key: Vec<Option<&'a str>>,
    upstream: Vec<Option<&'a str>>,
    model: Vec<Option<&'a str>>,
    outcome: Vec<&'static str>,
    reason: Vec<Option<&'a str>>,
    usage: [Vec<i64>; 6],
    admitted_at: Vec<i64>,
    settled_at: Vec<i64>,
    corrects: Vec<Option<Uuid>>,
    nulled: Vec<i16>,
    attempt: Vec<i64>,
}

impl<'a> Records<'a> {
    /// In the order of [`params`](Self::params).
    pub(super) const INSERT: &'static str = "
        INSERT INTO tollkeeper.records
            (id, api_key, upstream, model, outcome, reason,
             input_tokens, output_tokens, cached_tokens, cache_write_tokens, requests, cost,
             admitted_at, settled_at, corrects, nulled, attempt)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                             $16, $17)
        ON CONFLICT DO NOTHING
        RETURNING id, attempt";

    pub(super) fn push(&mut self, entry: &'a Entry, record: &'a UsageRecord, nulled: Nulled) {
        let usage = &record.usage;
        self.id.push(uuid(record.id));
        let api_key = record.api_key.as_ref().filter(|_| !nulled.api_key);
        self.api_key.push(api_key.map(|owner| owner.as_str()));
        let upstream = record.upstream.as_ref().filter(|_| !nulled.upstream);
        self.upstream.push(upstream.map(|owner| owner.as_str()));
        self.model.push(record.model.as_deref());
        self.outcome.push(record.outcome.name());
        self.reason.push(record.reason.as_deref());
        let amounts = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.requests,
            usage.cost.as_nanos(),
        ];
        for (column, amount) in self.usage.iter_mut().zip(amounts) {
            column.push(number(amount));
        }
        self.admitted_at.push(instant(record.admitted_at));
        self.settled_at.push(instant(record.settled_at));
        self.corrects.push(record.corrects.map(uuid));
        self.nulled.push(small(columns::nulled(nulled)));
        self.attempt.push(attempt(entry.attempt));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![
            (&self.id, Type::UUID_ARRAY),
            (&self.api_key, Type::TEXT_ARRAY),
            (&self.upstream, Type::TEXT_ARRAY),
            (&self.model, Type::TEXT_ARRAY),
            (&self.outcome, Type::TEXT_ARRAY),
            (&self.reason, Type::TEXT_ARRAY),
        ];
        params.extend(self.usage.iter().map(|column| -> Param<'_> { (column, Type::INT8_ARRAY) }));
        let rest: [Param<'_>; 5] = [
            (&self.admitted_at, Type::INT8_ARRAY),
            (&self.settled_at, Type::INT8_ARRAY),
            (&self.corrects, Type::UUID_ARRAY),
            (&self.nulled, Type::INT2_ARRAY),
            (&self.attempt, Type::INT8_ARRAY),
        ];
        params.extend(rest);
        params
    }
}

/// Rows of `tollkeeper.totals`; with records, rows of `tollkeeper.postings`.
#[derive(Default)]
pub(super) struct Charges<'a> {
    record: Vec<Uuid>,
    limit: Vec<&'a str>,
    dimension: Vec<i16>,
    window_start: Vec<i64>,
    window_end: Vec<i64>,
    anchor: Vec<i64>,
    owner: Vec<&'a str>,
    amount: Vec<i64>,
}

impl<'a> Charges<'a> {
    /// In the order of [`with_records`](Self::with_records).
    pub(super) const INSERT: &'static str = "
        INSERT INTO tollkeeper.postings
            (record, limit_id, dimension, window_start, window_end, anchor, owner, amount)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)";

    /// In the order of [`without_records`](Self::without_records). Rows are locked one after the
    /// other, in the order in which they are given.
    pub(super) const ADD: &'static str = "
        INSERT INTO tollkeeper.totals AS total
            (limit_id, dimension, window_start, window_end, anchor, owner, settled)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (limit_id, dimension, window_start) DO UPDATE SET
            window_end = excluded.window_end, anchor = excluded.anchor, owner = excluded.owner,
            settled = total.settled + excluded.settled";

    /// A posting of a record.
    pub(super) fn push_of(&mut self, record: RecordId, posting: &'a Posting) {
        self.record.push(uuid(record));
        self.push(posting, posting.amount);
    }

    /// What postings to one total come to. Window, anchor and owner are those of this one.
    pub(super) fn push(&mut self, posting: &'a Posting, amount: i64) {
        self.limit.push(posting.limit.as_str());
        self.dimension.push(small(dimension(posting.dimension)));
        self.window_start.push(instant(posting.window.start));
        self.window_end.push(instant(posting.window.end));
        self.anchor.push(instant(posting.anchor));
        self.owner.push(posting.owner.as_str());
        self.amount.push(amount);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.limit.is_empty()
    }

    pub(super) fn with_records(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![(&self.record, Type::UUID_ARRAY)];
        params.extend(self.without_records());
        params
    }

    pub(super) fn without_records(&self) -> [Param<'_>; 7] {
        [
            (&self.limit, Type::TEXT_ARRAY),
            (&self.dimension, Type::INT2_ARRAY),
            (&self.window_start, Type::INT8_ARRAY),
            (&self.window_end, Type::INT8_ARRAY),
            (&self.anchor, Type::INT8_ARRAY),
            (&self.owner, Type::TEXT_ARRAY),
            (&self.amount, Type::INT8_ARRAY),
        ]
    }
}

/// A number of one digit.
pub(super) fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// A record's id as the database has it. Both are ordered alike.
pub(super) fn uuid(id: RecordId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}
