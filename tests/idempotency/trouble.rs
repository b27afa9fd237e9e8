//! A store that is down, loses acknowledgements, refuses, or is full; and what is forgotten when.

use tollkeeper::{ClaimError, EndError, KeyStore};

use crate::kit::Fault::*;
use crate::kit::*;

#[test]
fn a_store_that_is_down_is_tried_again_within_the_callers_time() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    store.fail(&[Down; 5]);
    let mut waiting = node.ask("k", "b", secs(5));
    assert!(now_or_never(&mut waiting).is_none());
    node.pass(secs(1));
    assert_eq!(owned(answered(&mut waiting)).fence(), 1);
    assert_eq!(store.claims().0, 6);
}

#[test]
fn a_claim_that_is_not_answered_in_time_is_an_error() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    store.fail(&[Down; 1_000]);
    let error = node.claim("k", "b").expect_err("at once");
    let text = "a key is not claimed: asking for keys: the store is unavailable: down";
    assert_eq!(error.to_string(), text);
    let mut waiting = node.ask("k", "b", secs(5));
    node.pass(secs(5) - ms(1));
    assert!(now_or_never(&mut waiting).is_none());
    node.pass(ms(1));
    assert!(
        matches!(answered(&mut waiting), Err(ClaimError::Store(error)) if error.is_transient())
    );
    let (asked, _) = store.claims();
    assert!(asked < 30, "{asked} tries in 5 s");
}

#[test]
fn a_claim_whose_acknowledgement_is_lost_is_recognised() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    store.fail(&[LostAck, LostAck, Down]);
    let mut waiting = node.ask("k", "b", secs(5));
    node.pass(secs(1));
    let lease = owned(answered(&mut waiting));
    assert_eq!(lease.fence(), 1, "it did not take itself over");
    store.fail(&[LostAck, Down]);
    let mut ending = lease.complete(*b"42");
    node.pass(secs(1));
    answered(&mut ending).expect("it is completed");
    assert_eq!(replayed(node.claim("k", "b")).as_deref(), Some("42"));

    let lease = node.own("l", "b");
    store.fail(&[LostAck]);
    let mut ending = lease.fail();
    node.pass(secs(1));
    answered(&mut ending).expect("it is failed");
}

#[test]
fn an_end_is_tried_for_as_long_as_a_lease() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    let lease = node.own("k", "b");
    store.fail(&[Down; 20]);
    let mut ending = lease.complete(*b"42");
    node.pass(secs(25));
    answered(&mut ending).expect("the store came back in time");

    let lease = node.own("l", "b");
    store.fail(&[Down; 1_000]);
    let mut ending = lease.complete(*b"42");
    node.pass(LEASE - ms(1));
    assert!(now_or_never(&mut ending).is_none());
    node.pass(secs(2));
    assert!(matches!(answered(&mut ending), Err(EndError::Store(_))));
    store.fail(&[]);
    node.pass(secs(2));
    assert_eq!(node.own("l", "b").fence(), 2, "its lease has run out");
}

#[test]
fn a_lease_that_cannot_be_prolonged_is_doubtful_until_it_can() {
    let store = Shaky::new(10);
    let mut node = Node::new(&store);
    let lease = node.own("k", "b");
    node.pass(LEASE / 3);
    store.fail(&[Down; 1_000]);
    node.pass(LEASE - ms(1));
    assert!(!lease.is_lost());
    node.pass(secs(1));
    assert!(lease.is_lost());
    store.fail(&[]);
    node.pass(secs(2));
    assert!(!lease.is_lost(), "nobody took it over meanwhile");
    node.complete(lease, "42");
}

#[test]
fn one_that_is_refused_does_not_hold_up_the_others() {
    let store = Shaky::new(2);
    let mut node = Node::new(&store);
    store.fail(&[RejectGroup]);
    let mut claims = ["k", "l", "m"].map(|key| node.keys.claim(&scope(key), body("b"), AT_ONCE));
    node.turn();
    let [one, two, three] = claims.each_mut().map(answered);
    let held = (owned(one), owned(two));
    assert!(matches!(three, Err(ClaimError::Full)), "{three:?}");
    drop(held);
}

#[test]
fn all_who_ask_at_once_share_a_transaction() {
    let store = Shaky::new(1_000);
    let mut node = Node::new(&store);
    let mut claims: Vec<_> =
        (0..300).map(|n| node.keys.claim(&scope(&format!("k{n}")), body("b"), AT_ONCE)).collect();
    node.turn();
    assert_eq!(store.claims(), (300, 2), "groups of at most 256");
    let leases: Vec<_> = claims.iter_mut().map(|claim| owned(answered(claim))).collect();
    let mut ends: Vec<_> = leases.into_iter().map(|lease| lease.complete(*b"42")).collect();
    node.turn();
    assert_eq!(store.claims().1, 4);
    ends.iter_mut().for_each(|ending| answered(ending).expect("it is completed"));
}

#[test]
fn a_full_store_refuses_and_forgets_nothing_that_may_be_asked_for() {
    let store = Shaky::new(2);
    let mut node = Node::of(&store, 1, |builder| builder.ttl(secs(100)));
    let running = node.own("running", "b");
    let lease = node.own("done", "b");
    node.complete(lease, "42");
    assert!(matches!(node.claim("k", "b"), Err(ClaimError::Full)));
    assert_eq!(replayed(node.claim("done", "b")).as_deref(), Some("42"));
    assert!(is_mismatch(node.claim("done", "other")));
    in_flight(node.claim("running", "b"));
    // The time to live counts from the end, not from the claim.
    node.pass(secs(99));
    assert!(matches!(node.claim("k", "b"), Err(ClaimError::Full)));
    node.pass(secs(1));
    let lease = node.own("k", "b");
    assert!(matches!(node.claim("done", "b"), Err(ClaimError::Full)));
    assert_eq!(store.keys.len(), 2);
    node.complete(running, "43");
    node.complete(lease, "44");
}

#[test]
fn what_has_expired_is_purged_by_itself_and_what_runs_is_not() {
    let store = Shaky::new(10_000);
    let mut node = Node::of(&store, 1, |builder| builder.ttl(secs(3_600)));
    let running = node.own("running", "b");
    for n in 0..1_500 {
        let lease = node.own(&format!("k{n}"), "b");
        match n % 2 {
            0 => node.complete(lease, "42"),
            _ => node.fail(lease),
        }
    }
    node.pass(secs(3_599));
    assert_eq!(store.keys.len(), 1_501);
    node.pass(secs(61));
    assert_eq!(store.keys.len(), 1, "1,000 at once, the rest right after");
    in_flight(node.claim("running", "b"));
    node.complete(running, "42");
    assert_eq!(store.purge(node.now, 10).expect("it purges"), 0);
}

#[test]
fn a_result_that_is_too_large_is_not_kept_and_says_so() {
    let store = Shaky::new(10);
    let mut node = Node::of(&store, 1, |builder| builder.max_result_bytes(4));
    let lease = node.own("fits", "b");
    node.complete(lease, "1234");
    let lease = node.own("large", "b");
    node.complete(lease, "12345");
    assert_eq!(replayed(node.claim("fits", "b")).as_deref(), Some("1234"));
    assert_eq!(replayed(node.claim("large", "b")), None);
}
