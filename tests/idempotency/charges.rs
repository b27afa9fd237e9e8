//! One key, one charge (L12): what reaches the ledger under a key's charge, however its attempts
//! end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use tollkeeper::{
    Budget, Dimension, Draft, Engine, Entry, Fate, Idempotency, Ledger, LedgerStore, LimitId,
    MemoryKeys, MemoryLedger, Outcome, OwnerId, Posting, Ran, RecordId, Span, Timestamp, Usage,
    UsageRecord,
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

/// From the call to the ledger and the engine, with threads.
#[test]
fn fifty_identical_calls_make_one_call_and_one_charge() {
    let (owner, store): (OwnerId, _) = ("key:k".parse().expect("an owner"), Arc::default());
    let (engine, ledger, limit) = charged_in_threads(&store);
    let keys = Idempotency::builder(in_a_thread).start(MemoryKeys::new(10)).expect("it starts");
    let (calls, start) = (Arc::new(AtomicUsize::new(0)), Barrier::new(50));
    let call = || {
        let (calls, ledger, owner) = (calls.clone(), ledger.clone(), owner.clone());
        start.wait();
        let run = keys.run(&scope("k"), body("b"), secs(60), |attempt| async move {
            calls.fetch_add(1, Ordering::SeqCst);
            let (route, draft) =
                (ledger.engine().route(&[owner]), Draft::new().id(attempt.charge()));
            let cost = "$0.1".parse().expect("money");
            let used = Usage { requests: 1, cost, ..Usage::default() };
            let charge = ledger.reserve(&route, &used, draft).expect("there is enough");
            thread::sleep(ms(40));
            charge.settle(&used).await.map(|_| *b"42").map_err(|error| error.to_string())
        });
        block_on(run).expect("it succeeds")
    };
    let ran: Vec<Ran> = thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let result = |ran: &Ran| match ran {
        Ran::Fresh(result) | Ran::Replayed(result) => result.to_vec(),
    };
    assert!(ran.iter().all(|ran| result(ran) == b"42"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let booked = engine.usage(&limit).expect("a limit").counters[0].settled;
    let written: i64 = store.totals(&limit).expect("totals").iter().map(|t| t.settled).sum();
    assert_eq!((i128::from(booked), written), (100_000_000, 100_000_000), "in nano-units");
}

/// An attempt that broke off leaves an uncertain record under the key's charge. Where there was no
/// estimate it charges nothing, and what the retry used would be free if it were not told.
#[test]
fn what_a_retry_used_resolves_what_an_attempt_before_it_left_uncertain() {
    let (engine, ledger, limit) = charged_in_threads(&Arc::default());
    let id = RecordId::derived(b"k");
    let reserve = || {
        let route = ledger.engine().route(&["key:k".parse().expect("an owner")]);
        let charge = ledger.reserve(&route, &Usage::default(), Draft::new().id(id));
        let mut charge = charge.expect("there is enough");
        charge.mark_dispatched();
        charge
    };
    let booked = || engine.usage(&limit).expect("a limit").counters[0].settled;
    drop(reserve());
    let cost = "$0.1".parse().expect("money");
    let used = Usage { requests: 1, cost, ..Usage::default() };
    let receipt = reserve().settle(&used).wait().expect("it is answered");
    assert_eq!((receipt.fate, booked()), (Fate::Duplicate, 0));
    let resolved = ledger.resolve(id, &used).expect("it is uncertain").wait();
    assert_eq!((resolved.expect("it is written").fate, booked()), (Fate::Now, 100_000_000));
    // Of two retries one does so.
    assert!(ledger.resolve(id, &used).is_err());
    assert_eq!(booked(), 100_000_000);
}

/// A ledger in its thread, and a limit of `key:k`.
fn charged_in_threads(store: &Arc<MemoryLedger>) -> (Engine, Ledger, LimitId) {
    let engine = Engine::new();
    let (owner, limit): (OwnerId, _) =
        ("key:k".parse().expect("an owner"), LimitId::new("k").expect("an id"));
    engine.upsert_owner(&owner, &[]).expect("an owner");
    let budget = Budget::new("$5".parse().expect("money"), "1M".parse().expect("a period"));
    engine.upsert_limit(&owner, &limit, budget).expect("a limit");
    let ledger = Ledger::builder(&engine).start(store.clone()).expect("it starts");
    (engine, ledger, limit)
}
