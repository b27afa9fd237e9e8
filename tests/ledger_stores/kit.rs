//! What the cases are made of.

use std::error::Error;

use tollkeeper::{
    Dimension, Entry, Fate, LedgerStore, LimitId, Money, Nulled, Outcome, OwnerId, Posting,
    RecordId, Span, StoreError, Timestamp, Total, Usage, UsageRecord, Written,
};

/// A store of its own for one case.
pub trait Place: Sized + Sync {
    /// Whether the store is there after [`reopen`](Self::reopen).
    const DURABLE: bool;

    /// Whether what the store needs is on this machine. If not, it has said so.
    fn is_here() -> bool {
        true
    }

    fn fresh() -> Self;

    fn store(&self) -> &dyn LedgerStore;

    /// Closes the store and opens what it left.
    fn reopen(&mut self);

    /// Adds a constraint named `no_forbidden_model`, or a trigger, that refuses records of the
    /// model `forbidden`, by other means than the store's.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn forbid_a_model(&self);
}

pub const NOW: Fate = Fate::Now;
pub const NONE: Nulled = Nulled { api_key: false, upstream: false };
pub const KEY: Nulled = Nulled { api_key: true, upstream: false };
pub const UPSTREAM: Nulled = Nulled { api_key: false, upstream: true };
pub const BOTH: Nulled = Nulled { api_key: true, upstream: true };

pub fn written(fate: Fate, nulled: Nulled) -> Written {
    Written { fate, nulled }
}

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner")
}

pub fn limit(text: &str) -> LimitId {
    LimitId::new(text).expect("a limit id")
}

pub fn id(number: u128) -> RecordId {
    RecordId::from_u128(number)
}

/// A completed record of nobody.
pub fn record(number: u128) -> UsageRecord {
    UsageRecord {
        id: id(number),
        api_key: None,
        upstream: None,
        model: None,
        outcome: Outcome::Completed,
        reason: None,
        usage: Usage { input_tokens: 5, requests: 1, cost: Money::ZERO, ..Usage::default() },
        admitted_at: at(1_000),
        settled_at: at(1_001),
        corrects: None,
    }
}

/// A posting of tokens in the window `[start, start + 60)`, in seconds.
pub fn posting(owner_text: &str, limit_text: &str, start: u64, amount: i64) -> Posting {
    Posting {
        limit: limit(limit_text),
        owner: owner(owner_text),
        dimension: Dimension::Tokens,
        window: Span { start: at(start), end: at(start + 60) },
        anchor: at(7),
        amount,
    }
}

pub fn entry(record: UsageRecord, postings: Vec<Posting>) -> Entry {
    Entry { record: Some(record), postings, attempt: 1 }
}

/// A record of a key and an upstream, which both are charged, and a team as well.
pub fn usual(number: u128, key: &str, upstream: &str, amount: i64) -> Entry {
    let (key_owner, upstream_owner) = (format!("key:{key}"), format!("provider:{upstream}"));
    let record = UsageRecord {
        api_key: Some(owner(&key_owner)),
        upstream: Some(owner(&upstream_owner)),
        ..record(number)
    };
    let postings = vec![
        posting(&key_owner, &format!("{key}-tokens"), 60, amount),
        posting(&upstream_owner, &format!("{upstream}-tokens"), 60, amount),
        posting("team:t", "t-tokens", 60, amount),
    ];
    entry(record, postings)
}

pub fn register(store: &dyn LedgerStore, owners: &[&str]) {
    let owners: Vec<OwnerId> = owners.iter().map(|text| owner(text)).collect();
    store.register(&owners).expect("owners can be registered");
}

pub fn write(store: &dyn LedgerStore, group: &[Entry]) -> Vec<Written> {
    store.write(group).expect("the group is written")
}

/// Writes what all must be written of, as given.
pub fn put(store: &dyn LedgerStore, group: &[Entry]) {
    assert_eq!(write(store, group), vec![written(NOW, NONE); group.len()]);
}

/// `(window's start in seconds, sum)` of the tokens of a limit.
pub fn sums(store: &dyn LedgerStore, limit_text: &str) -> Vec<(u64, i64)> {
    let totals = store.totals(&limit(limit_text)).expect("totals can be read");
    let seconds = |total: &Total| total.window.start.as_nanos() / 1_000_000_000;
    totals.iter().map(|total| (seconds(total), total.settled)).collect()
}

pub fn open(store: &dyn LedgerStore, now: Timestamp) -> Vec<Total> {
    let mut totals = Vec::new();
    store.open_totals(now, &mut |total| totals.push(total)).expect("open totals can be read");
    totals
}

/// The ids of all records.
pub fn ids(store: &dyn LedgerStore) -> Vec<u128> {
    found(store, &tollkeeper::Filter::default())
}

/// The ids of the records that a filter lets through.
pub fn found(store: &dyn LedgerStore, filter: &tollkeeper::Filter) -> Vec<u128> {
    let stored = store.records(filter, None, 1_000_000).expect("records can be read");
    stored.iter().map(|stored| stored.record.id.as_u128()).collect()
}

/// The text of a rejection with its whole chain, and the name of the constraint.
pub fn rejection<T: std::fmt::Debug>(result: Result<T, StoreError>) -> (String, Option<String>) {
    let error = result.expect_err("it is rejected");
    assert!(!error.is_transient());
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    match error {
        StoreError::Rejected { constraint, .. } => (text, constraint),
        other => panic!("{other:?} is no rejection"),
    }
}
