//! Leases: kept alive, lost, dropped, taken over.

use std::sync::Arc;

use tollkeeper::EndError;

use crate::kit::*;

#[test]
fn a_job_of_ten_leases_stays_the_only_one() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let lease = here.own("k", "b");
    for _ in 0..100 {
        here.pass(LEASE / 10);
        there.now = here.now;
        let left = in_flight(there.claim("k", "b"));
        assert!(left > LEASE / 2, "{left:?}");
        assert!(!lease.is_lost());
    }
    assert_eq!(store.heartbeats(), 30, "one each third of a lease");
    here.complete(lease, "42");
    assert_eq!(replayed(there.claim("k", "b")).as_deref(), Some("42"));
    here.pass(LEASE);
    assert_eq!(store.heartbeats(), 30, "none for what has ended");
}

#[test]
fn a_lost_lease_is_an_outcome_and_changes_nothing() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let stale = here.own("k", "b");
    assert!(!stale.is_takeover());
    // This process stands still for longer than its lease.
    there.pass(LEASE);
    let lease = there.own("k", "b");
    assert_eq!((lease.fence(), lease.is_takeover()), (2, true));
    assert_eq!(lease.charge(), stale.charge());
    here.now = there.now;
    assert!(!stale.is_lost(), "it cannot know");
    here.turn();
    assert!(stale.is_lost(), "its heartbeat told");

    let mut ended = stale.complete(*b"stale");
    here.turn();
    assert!(matches!(answered(&mut ended), Err(EndError::LostLease)));
    assert!(!lease.is_lost());
    there.complete(lease, "42");
    assert_eq!(replayed(here.claim("k", "b")).as_deref(), Some("42"));
}

#[test]
fn a_failing_holder_that_has_lost_its_lease_does_not_end_its_successor() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let stale = here.own("k", "b");
    there.pass(LEASE);
    let lease = there.own("k", "b");
    let mut ended = stale.fail();
    here.now = there.now;
    here.turn();
    assert!(matches!(answered(&mut ended), Err(EndError::LostLease)));
    in_flight(here.claim("k", "b"));
    there.complete(lease, "42");
}

#[test]
fn a_dropped_lease_is_failed_at_once() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let charge = lease.charge();
    drop(lease);
    node.turn();
    let lease = node.own("k", "b");
    assert_eq!((lease.fence(), lease.charge()), (2, charge));
}

/// Nothing has come of it, so the next request with it may be any.
#[test]
fn a_key_that_is_given_back_is_free_for_another_request() {
    let store = Shaky::new(1);
    let mut node = Node::new(&store);
    for (key, text) in [("k", "b"), ("k", "c"), ("l", "b")] {
        let lease = node.own(key, text);
        assert_eq!(lease.fence(), 1);
        node.pass(ms(1));
        let mut ended = lease.give_back();
        node.turn();
        answered(&mut ended).expect("it was held");
    }
}

/// Those before it may have been charged, under the id that the next one has to have too.
#[test]
fn a_key_that_was_tried_before_is_failed_when_it_is_given_back() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let charge = lease.charge();
    drop(lease);
    node.turn();
    let mut ended = node.own("k", "b").give_back();
    node.turn();
    answered(&mut ended).expect("it was held");
    let lease = node.own("k", "b");
    assert_eq!((lease.fence(), lease.charge()), (3, charge));
}

#[test]
fn a_claim_that_nobody_waits_for_is_withdrawn() {
    let mut node = Node::new(&Shaky::new(10));
    // Before it was made, and after.
    drop(node.keys.claim(&scope("k"), body("b"), AT_ONCE));
    node.turn();
    drop(node.ask("l", "b", AT_ONCE));
    node.turn();
    assert_eq!(node.own("k", "b").fence(), 1);
    assert_eq!(node.own("l", "b").fence(), 2);
}

#[test]
fn a_lease_may_be_taken_over_when_its_process_is_gone() {
    let store = Shaky::new(10);
    let mut here = Node::new(&store);
    let lease = here.own("k", "b");
    let charge = lease.charge();
    let mut there = Node::of(&store, 2, |b| b);
    // The process is gone, and with it whoever could end the lease.
    drop(here);
    drop(lease);
    there.pass(LEASE - ms(1));
    assert_eq!(in_flight(there.claim("k", "b")), ms(1));
    there.pass(ms(1));
    let lease = there.own("k", "b");
    assert_eq!((lease.fence(), lease.charge()), (2, charge));
}

#[test]
fn a_lease_whose_keeper_has_ended_says_so() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    let lease = node.own("k", "b");
    let keys = node.keys.clone();
    assert!(!lease.is_lost());
    drop(node);
    assert!(lease.is_lost(), "nobody prolongs it any more");
    assert!(matches!(lease.complete(*b"42").wait(), Err(EndError::Stopped)));
    let claim = keys.claim(&scope("k"), body("b"), secs(9)).wait();
    assert!(matches!(claim, Err(tollkeeper::ClaimError::Stopped)));
}

#[test]
fn a_clock_that_steps_back_does_not_stop_the_heartbeats() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    let lease = node.own("k", "b");
    node.pass(LEASE);
    let before = store.heartbeats();
    node.now = node.now.saturating_sub(secs(3_600));
    node.pass(LEASE);
    assert!(store.heartbeats() >= before + 3, "{} after {before}", store.heartbeats());
    assert!(!lease.is_lost());
    node.complete(lease, "42");
    assert_eq!(Arc::strong_count(&store), 2);
}
