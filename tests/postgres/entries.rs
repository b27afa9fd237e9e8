//! Short ways to say what is written.

use tollkeeper::{
    Dimension, Entry, LedgerStore, LimitId, Outcome, OwnerId, Postgres, Posting, RecordId, Span,
    Timestamp, Usage, UsageRecord, Written,
};

pub const KEY: &str = "key:k";
pub const UPSTREAM: &str = "provider:p";
pub const TEAM: &str = "team:t";

pub fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner")
}

pub fn limit(of: &str) -> LimitId {
    LimitId::new(of).expect("a limit id")
}

/// A record of [`KEY`] on [`UPSTREAM`] that charges 5 requests each to key, upstream and team.
pub fn entry(name: &str) -> Entry {
    let id = RecordId::derived(name.as_bytes());
    let postings = [KEY, UPSTREAM, TEAM].map(|owner| posting(owner, 5));
    let record = UsageRecord {
        id,
        api_key: Some(owner(KEY)),
        upstream: Some(owner(UPSTREAM)),
        model: None,
        outcome: Outcome::Completed,
        reason: None,
        usage: Usage { requests: 5, ..Usage::default() },
        admitted_at: Timestamp::from_secs(10),
        settled_at: Timestamp::from_secs(11),
        corrects: None,
    };
    Entry { record: Some(record), postings: postings.into(), attempt: 1 }
}

/// A charge to the limit that is named as its owner, in a window that does not end.
pub fn posting(of: &str, amount: i64) -> Posting {
    let start = Timestamp::from_secs(1);
    Posting {
        limit: limit(of),
        owner: owner(of),
        dimension: Dimension::Requests,
        window: Span { start, end: Timestamp::MAX },
        anchor: start,
        amount,
    }
}

pub fn register(store: &Postgres) {
    store.register(&[owner(KEY), owner(UPSTREAM)]).expect("owners are registered");
}

pub fn write_one(store: &Postgres, entry: &Entry) -> Written {
    let written = store.write(std::slice::from_ref(entry)).expect("it is written");
    assert_eq!(written.len(), 1);
    written[0]
}

/// What the limit of an owner came to. `None`: it has no total.
pub fn total(store: &Postgres, of: &str) -> Option<i64> {
    let totals = store.totals(&limit(of)).expect("totals are read");
    assert!(totals.len() <= 1, "{totals:?}");
    totals.first().map(|total| total.settled)
}
