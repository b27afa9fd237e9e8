//! Waiting for one in flight: woken here, polled elsewhere, taken over, given up.

use tollkeeper::Claim;

use crate::kit::*;

#[test]
fn who_waits_gets_the_answer_as_soon_as_there_is_one() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    let lease = node.own("k", "b");
    let mut waiting: Vec<_> = (0..50).map(|_| node.ask("k", "b", secs(60))).collect();
    let (asked, _) = store.claims();
    node.pass(LEASE - ms(1));
    assert_eq!(store.claims().0, asked, "nobody asks the store for what is held here");
    assert!(waiting.iter_mut().all(|waiting| now_or_never(waiting).is_none()));
    node.complete(lease, "42");
    for waiting in &mut waiting {
        assert_eq!(replayed(answered(waiting)).as_deref(), Some("42"));
    }
    assert_eq!(store.claims().0, asked + 1, "one asks for all");
}

#[test]
fn a_key_that_ends_elsewhere_is_noticed_with_fewer_and_fewer_questions() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let lease = here.own("k", "b");
    let mut waiting = there.ask("k", "b", secs(600));
    for _ in 0..300 {
        here.pass(secs(1));
        there.pass(secs(1));
    }
    let (asked, _) = store.claims();
    assert!((300..900).contains(&asked), "{asked} questions in 300 s: more than every 10 ms");
    assert!(now_or_never(&mut waiting).is_none());
    here.complete(lease, "42");
    there.pass(secs(1));
    assert_eq!(replayed(answered(&mut waiting)).as_deref(), Some("42"));
}

#[test]
fn who_waits_takes_over_when_the_lease_runs_out() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let stale = here.own("k", "b");
    let mut first = there.ask("k", "b", secs(60));
    let mut second = there.ask("k", "b", secs(60));
    there.pass(LEASE - ms(1));
    assert!(now_or_never(&mut first).is_none() && now_or_never(&mut second).is_none());
    there.pass(ms(10));
    let lease = owned(answered(&mut first));
    assert_eq!((lease.fence(), lease.charge()), (2, stale.charge()));
    assert!(now_or_never(&mut second).is_none(), "one takes over");
    there.complete(lease, "42");
    assert_eq!(replayed(answered(&mut second)).as_deref(), Some("42"));
}

#[test]
fn who_waits_takes_over_when_the_holder_fails() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let charge = lease.charge();
    let mut waiting: Vec<_> = (0..3).map(|_| node.ask("k", "b", secs(60))).collect();
    node.fail(lease);
    let lease = owned(answered(&mut waiting[0]));
    assert_eq!((lease.fence(), lease.charge()), (2, charge));
    assert!(waiting[1..].iter_mut().all(|waiting| now_or_never(waiting).is_none()));
    // The next fails by being dropped.
    drop(lease);
    node.turn();
    let lease = owned(answered(&mut waiting[1]));
    assert_eq!(lease.fence(), 3);
    node.complete(lease, "42");
    assert_eq!(replayed(answered(&mut waiting[2])).as_deref(), Some("42"));
}

#[test]
fn who_waits_for_a_holder_elsewhere_takes_over_when_it_fails() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let lease = here.own("k", "b");
    let mut waiting = there.ask("k", "b", secs(60));
    here.fail(lease);
    there.pass(secs(1));
    assert_eq!(owned(answered(&mut waiting)).fence(), 2);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    assert_eq!(in_flight(node.claim("k", "b")), LEASE);
    let mut short = node.ask("k", "b", secs(5));
    let mut long = node.ask("k", "b", secs(50));
    node.pass(secs(5) - ms(1));
    assert!(now_or_never(&mut short).is_none());
    node.pass(ms(1));
    assert!(in_flight(answered(&mut short)) > AT_ONCE);
    node.pass(secs(45) - ms(1));
    assert!(now_or_never(&mut long).is_none());
    node.pass(ms(1));
    in_flight(answered(&mut long));
    node.complete(lease, "42");
}

#[test]
fn waiters_that_leave_break_nothing() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let mut waiting: Vec<_> = (0..5).map(|_| node.ask("k", "b", secs(60))).collect();
    // The first two and the last have gone; the third takes over.
    drop(waiting.drain(..2));
    drop(waiting.pop());
    node.fail(lease);
    let lease = owned(answered(&mut waiting[0]));
    node.complete(lease, "42");
    assert_eq!(replayed(answered(&mut waiting[1])).as_deref(), Some("42"));
}

#[test]
fn who_would_wait_with_another_body_is_told_at_once() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let mut same = node.ask("k", "b", secs(60));
    let mut other = node.ask("k", "other", secs(60));
    assert!(is_mismatch(answered(&mut other)));
    assert!(now_or_never(&mut same).is_none());
    node.complete(lease, "42");
    assert_eq!(replayed(answered(&mut same)).as_deref(), Some("42"));
}

#[test]
fn a_mismatch_is_told_on_all_four_paths() {
    let store = Shaky::new(10);
    let (mut here, mut there) = (Node::new(&store), Node::of(&store, 2, |b| b));
    let stale = here.own("k", "b");
    assert!(is_mismatch(there.claim("k", "other")), "in flight");
    there.pass(LEASE + secs(1));
    assert!(is_mismatch(there.claim("k", "other")), "the lease is over");
    let lease = there.own("k", "b");
    there.fail(lease);
    assert!(is_mismatch(there.claim("k", "other")), "failed");
    let lease = there.own("k", "b");
    there.complete(lease, "42");
    assert!(is_mismatch(there.claim("k", "other")), "completed");
    drop(stale);
}

#[test]
fn different_keys_and_bodies_do_not_wait_for_each_other() {
    let mut node = Node::new(&Shaky::new(10));
    let mut claims: Vec<_> =
        ["k", "l", "m"].map(|key| node.keys.claim(&scope(key), body("b"), AT_ONCE)).into();
    node.turn();
    for claim in &mut claims {
        assert!(matches!(answered(claim), Ok(Claim::Owned(_))));
    }
}

#[test]
fn a_shorter_wait_than_those_before_it_ends_first() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let mut long = node.ask("k", "b", secs(9));
    let mut short = node.ask("k", "b", secs(5));
    node.pass(secs(5));
    in_flight(answered(&mut short));
    assert!(now_or_never(&mut long).is_none());
    node.pass(secs(4));
    in_flight(answered(&mut long));
    node.complete(lease, "42");
}

/// A client can send a request as often as it likes: that must not keep the keeper from prolonging
/// the leases of others. If each arrival looked at all who wait, this would take a minute.
#[test]
fn many_who_wait_for_one_key_cost_as_much_each_as_a_few() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    let claim = || node.keys.claim(&scope("k"), body("b"), secs(60));
    let waiting: Vec<_> = (0..40_000).map(|_| claim()).collect();
    let begun = std::time::Instant::now();
    node.turn();
    assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
    node.complete(lease, "42");
    for mut waiting in waiting {
        assert_eq!(replayed(answered(&mut waiting)).as_deref(), Some("42"));
    }
}
