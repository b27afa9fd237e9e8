//! One key, one charge (L12): what reaches the ledger under a key's charge, however its attempts
//! end.

use std::sync::Arc;

use tollkeeper::{
    Dimension, Entry, Fate, LedgerStore, LimitId, MemoryLedger, Outcome, Posting, RecordId, Span,
    Timestamp, Usage, UsageRecord,
};

use crate::kit::*;

const EACH: i64 = 7;

/// Charges a request, as the one who holds its key does.
fn charge(ledger: &dyn LedgerStore, id: RecordId, attempt: u64) -> Fate {
    let at = Timestamp::from_secs(1_000);
    let record = UsageRecord {
        id,
        api_key: None,
        upstream: None,
        model: None,
        outcome: Outcome::Completed,
        reason: None,
        usage: Usage::default(),
        admitted_at: at,
        settled_at: at,
        corrects: None,
    };
    let posting = Posting {
        limit: LimitId::new("l").expect("an id"),
        owner: "team:t".parse().expect("an owner"),
        dimension: Dimension::Tokens,
        window: Span { start: at, end: Timestamp::MAX },
        anchor: at,
        amount: EACH,
    };
    let entry = Entry { record: Some(record), postings: vec![posting], attempt };
    ledger.write(&[entry]).expect("it is written")[0].fate
}

fn charged(ledger: &dyn LedgerStore) -> i64 {
    let limit = LimitId::new("l").expect("an id");
    ledger.totals(&limit).expect("totals can be read").iter().map(|total| total.settled).sum()
}

#[test]
fn a_crash_between_the_charge_and_the_completion_charges_once() {
    let (store, ledger) = (Shaky::new(10), MemoryLedger::default());
    let mut here = Node::new(&store);
    let lease = here.own("k", "b");
    assert_eq!(charge(&ledger, lease.charge(), 1), Fate::Now);
    let mut there = Node::of(&store, 2, |builder| builder);
    drop(here);
    drop(lease);
    there.pass(LEASE);
    let lease = there.own("k", "b");
    assert!(lease.is_takeover());
    assert_eq!(charge(&ledger, lease.charge(), 2), Fate::Duplicate);
    there.complete(lease, "42");
    assert_eq!(charged(&ledger), EACH);
}

#[test]
fn two_holders_at_once_charge_once() {
    let (store, ledger) = (Shaky::new(10), MemoryLedger::default());
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |builder| builder));
    let stale = here.own("k", "b");
    there.pass(LEASE);
    let lease = there.own("k", "b");
    assert_eq!(charge(&ledger, lease.charge(), 2), Fate::Now);
    assert_eq!(charge(&ledger, stale.charge(), 1), Fate::Duplicate);
    there.complete(lease, "42");
    drop(stale.complete(*b"43"));
    here.turn();
    assert_eq!(charged(&ledger), EACH);
}

#[test]
fn retries_of_a_failed_request_charge_once_and_a_new_request_anew() {
    let (store, ledger) = (Shaky::new(10), Arc::new(MemoryLedger::default()));
    let mut node = Node::of(&store, 1, |builder| builder.ttl(secs(3_600)));
    for attempt in 1..5 {
        let lease = node.own("k", "b");
        charge(&*ledger, lease.charge(), attempt);
        node.fail(lease);
        // Each failure is remembered for as long again.
        node.pass(secs(3_000));
    }
    assert_eq!(charged(&*ledger), EACH);
    let lease = node.own("other", "b");
    charge(&*ledger, lease.charge(), 9);
    node.complete(lease, "42");
    node.pass(secs(3_600));
    let lease = node.own("other", "b");
    assert_eq!(charge(&*ledger, lease.charge(), 10), Fate::Now, "it was forgotten");
    node.complete(lease, "42");
    assert_eq!(charged(&*ledger), 3 * EACH);
}
