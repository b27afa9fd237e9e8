//! The life of a key, in a store.

use std::time::Duration;

use tollkeeper::{Holder, KeyAct, KeyAnswer, KeyOp, Scope};

use crate::kit::*;

pub fn a_completed_key_is_replayed<P: Place>(place: &mut P) {
    let store = place.open();
    let (fence, charge) = owned(ask(place, &*store, claim("a", 7, HOUR)));
    assert_eq!(fence, 1);
    assert_eq!(ask(place, &*store, complete(1, 7, b"{\"answer\":42}")), KeyAnswer::Done);
    let replay = (Some(b"{\"answer\":42}".to_vec()), charge);
    assert_eq!(replayed(ask(place, &*store, claim("a", 8, HOUR))), replay);
    // Whoever opens it again, if it is still there then.
    if P::DURABLE {
        drop(store);
        let store = place.open();
        assert_eq!(replayed(ask(place, &*store, claim("a", 9, HOUR))), replay);
    }
}

pub fn one_of_two_claims_owns<P: Place>(place: &mut P) {
    let (one, two) = (place.open(), place.open());
    owned(ask(place, &*one, claim("a", 1, HOUR)));
    let (fence, left) = in_flight(ask(place, &*two, claim("a", 2, HOUR)));
    assert!(fence == 1 && left <= HOUR && left > HOUR / 2, "{left:?}");
}

pub fn who_does_not_hold_a_key_cannot_end_it<P: Place>(place: &mut P) {
    let store = place.open();
    for act in [complete(1, 1, b"42"), fail(1, 1, HOUR), beat(1, 1, HOUR)] {
        assert_eq!(ask(place, &*store, act), KeyAnswer::Lost, "there is none");
    }
    owned(ask(place, &*store, claim("a", 1, HOUR)));
    for (fence, attempt) in [(1, 2), (2, 1), (0, 1)] {
        for act in [
            complete(fence, attempt, b"42"),
            fail(fence, attempt, HOUR),
            beat(fence, attempt, HOUR),
        ] {
            assert_eq!(ask(place, &*store, act), KeyAnswer::Lost);
        }
    }
    in_flight(ask(place, &*store, peek("a")));
    assert_eq!(ask(place, &*store, fail(1, 1, HOUR)), KeyAnswer::Done);
    assert_eq!(ask(place, &*store, complete(1, 1, b"42")), KeyAnswer::Lost, "it has ended");
    assert_eq!(ask(place, &*store, fail(1, 1, HOUR)), KeyAnswer::Done, "it was just that");
    assert_eq!(owned(ask(place, &*store, claim("a", 3, HOUR))).0, 2);
}

pub fn a_failed_key_is_tried_again_under_its_charge<P: Place>(place: &mut P) {
    let store = place.open();
    let (_, charge) = owned(ask(place, &*store, claim("a", 1, HOUR)));
    for attempt in 1..10 {
        assert_eq!(ask(place, &*store, fail(attempt, attempt, HOUR)), KeyAnswer::Done);
        let again = owned(ask(place, &*store, claim("a", attempt + 1, HOUR)));
        assert_eq!(again, (attempt + 1, charge));
    }
    let (_, other) = owned(ask_of(place, &*store, "l", claim("a", 1, HOUR)));
    assert_ne!(other, charge);
}

pub fn a_lease_that_is_over_is_taken_over_once<P: Place>(place: &mut P) {
    let store = place.open();
    let (_, charge) = owned(ask(place, &*store, claim("a", 1, SHORT)));
    in_flight(ask(place, &*store, claim("a", 2, HOUR)));
    place.pass(SHORT);
    assert_eq!(owned(ask(place, &*store, claim("a", 2, HOUR))), (2, charge));
    assert_eq!(in_flight(ask(place, &*store, claim("a", 3, HOUR))).0, 2);
    assert_eq!(ask(place, &*store, complete(1, 1, b"late")), KeyAnswer::Lost);
    assert_eq!(ask(place, &*store, beat(1, 1, HOUR)), KeyAnswer::Lost);
    assert_eq!(ask(place, &*store, complete(2, 2, b"42")), KeyAnswer::Done);
    // A lease of nothing is over at once.
    owned(ask_of(place, &*store, "l", claim("a", 1, Duration::ZERO)));
    assert_eq!(owned(ask_of(place, &*store, "l", claim("a", 2, HOUR))).0, 2);
    in_flight(ask_of(place, &*store, "l", claim("a", 3, HOUR)));
}

pub fn a_heartbeat_prolongs_from_now<P: Place>(place: &mut P) {
    let store = place.open();
    owned(ask(place, &*store, claim("a", 1, SHORT)));
    assert_eq!(ask(place, &*store, beat(1, 1, HOUR)), KeyAnswer::Done);
    place.pass(SHORT);
    in_flight(ask(place, &*store, claim("a", 2, HOUR)));
    // It counts from now: a short one makes it shorter.
    assert_eq!(ask(place, &*store, beat(1, 1, SHORT)), KeyAnswer::Done);
    assert!(in_flight(ask(place, &*store, peek("a"))).1 <= SHORT);
    place.pass(SHORT);
    // Late, but nobody has taken over.
    assert_eq!(ask(place, &*store, beat(1, 1, HOUR)), KeyAnswer::Done);
    in_flight(ask(place, &*store, claim("a", 2, HOUR)));
}

pub fn another_fingerprint_is_a_mismatch_on_every_path<P: Place>(place: &mut P) {
    let store = place.open();
    let mismatch = |place: &P, path: &str| {
        for act in [claim("b", 9, HOUR), peek("b"), claim("b", 1, HOUR)] {
            assert_eq!(ask(place, &*store, act), KeyAnswer::Mismatch, "{path}");
        }
    };
    owned(ask(place, &*store, claim("a", 1, SHORT)));
    mismatch(place, "in flight");
    place.pass(SHORT);
    mismatch(place, "the lease is over");
    owned(ask(place, &*store, claim("a", 2, HOUR)));
    assert_eq!(ask(place, &*store, fail(2, 2, HOUR)), KeyAnswer::Done);
    mismatch(place, "failed");
    owned(ask(place, &*store, claim("a", 3, HOUR)));
    assert_eq!(ask(place, &*store, complete(3, 3, b"42")), KeyAnswer::Done);
    mismatch(place, "completed");
}

pub fn results_come_back_byte_for_byte<P: Place>(place: &mut P) {
    let store = place.open();
    let every: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every.iter().copied().cycle().take(1 << 20).collect();
    let results = [Some(Vec::new()), Some(every), Some(large), Some(b"null".to_vec()), None];
    for (n, result) in results.into_iter().enumerate() {
        let key = format!("k{n}");
        let (_, charge) = owned(ask_of(place, &*store, &key, claim("a", 1, HOUR)));
        let holder = Holder { fence: 1, attempt: 1 };
        let kept = result.clone().map(Into::into);
        let act = KeyAct::Complete { holder, result: kept, ttl: HOUR };
        assert_eq!(ask_of(place, &*store, &key, act.clone()), KeyAnswer::Done);
        assert_eq!(ask_of(place, &*store, &key, act), KeyAnswer::Done, "once more is the same");
        let act = complete(1, 1, b"other");
        assert_eq!(ask_of(place, &*store, &key, act), KeyAnswer::Lost, "another is not");
        let again = replayed(ask_of(place, &*store, &key, peek("a")));
        assert_eq!(again, (result, charge), "{key}");
    }
}

pub fn the_time_to_live_counts_from_the_end<P: Place>(place: &mut P) {
    let store = place.open();
    let (_, charge) = owned(ask(place, &*store, claim("a", 1, Duration::ZERO)));
    place.pass(SHORT);
    let holder = Holder { fence: 1, attempt: 1 };
    let act = KeyAct::Complete { holder, result: Some(b"42"[..].into()), ttl: SHORT };
    assert_eq!(ask(place, &*store, act), KeyAnswer::Done);
    assert_eq!(replayed(ask(place, &*store, claim("a", 2, HOUR))).1, charge);
    place.pass(SHORT);
    assert_eq!(ask(place, &*store, peek("a")), KeyAnswer::Free);
    assert_eq!(ask(place, &*store, peek("b")), KeyAnswer::Free, "what was asked is forgotten");
    let (fence, anew) = owned(ask(place, &*store, claim("b", 2, HOUR)));
    assert!(fence == 1 && anew != charge, "a new request");
    assert_eq!(ask(place, &*store, complete(1, 1, b"old")), KeyAnswer::Lost);
    // A failure is forgotten as well.
    assert_eq!(ask(place, &*store, fail(1, 2, SHORT)), KeyAnswer::Done);
    place.pass(SHORT);
    assert_eq!(owned(ask(place, &*store, claim("a", 3, HOUR))).0, 1);
}

pub fn the_largest_values_come_back<P: Place>(place: &mut P) {
    let store = place.open();
    let (most, key) = (u64::MAX, "~".repeat(255));
    let scope = Scope::new(&"t".repeat(256), &"ö".repeat(128), &key).expect("a scope");
    let ask = |act| {
        let op = KeyOp { scope: scope.clone(), act };
        store.apply(&[op], place.now()).expect("the store answers").remove(0)
    };
    let (_, charge) = owned(ask(claim("a", most, Duration::MAX)));
    assert_eq!(owned(ask(claim("a", most, Duration::MAX))), (1, charge), "its own");
    in_flight(ask(claim("a", most - 1, HOUR)));
    let holder = Holder { fence: 1, attempt: most };
    let act = KeyAct::Complete { holder, result: None, ttl: Duration::MAX };
    assert_eq!(ask(act), KeyAnswer::Done);
    assert_eq!(replayed(ask(claim("a", 0, HOUR))), (None, charge));
    assert_eq!(store.purge(place.now(), 10).expect("it purges"), 0);
}

pub fn operations_of_a_group_meet_those_before_them<P: Place>(place: &mut P) {
    let store = place.open();
    let group = [
        op("k", claim("a", 1, HOUR)),
        op("l", claim("a", 2, HOUR)),
        op("k", claim("a", 3, HOUR)),
        op("k", fail(1, 1, HOUR)),
        op("k", claim("a", 4, HOUR)),
        op("l", claim("b", 5, HOUR)),
        op("k", complete(2, 4, b"42")),
        op("k", peek("a")),
        op("m", peek("a")),
        op("l", complete(1, 1, b"42")),
    ];
    let answers = store.apply(&group, place.now()).expect("the store answers");
    let said: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            KeyAnswer::Owned { fence, .. } => format!("owned {fence}"),
            KeyAnswer::InFlight { fence, .. } => format!("in flight {fence}"),
            KeyAnswer::Replay { result, .. } => format!("replay {result:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    let replay = "replay Some([52, 50])";
    assert_eq!(
        said,
        [
            "owned 1",
            "owned 1",
            "in flight 1",
            "Done",
            "owned 2",
            "Mismatch",
            "Done",
            replay,
            "Free",
            "Lost",
        ]
    );
    replayed(ask(place, &*store, claim("a", 9, HOUR)));
    in_flight(ask_of(place, &*store, "l", claim("a", 9, HOUR)));
}

pub fn a_group_of_nothing_is_nothing<P: Place>(place: &mut P) {
    assert_eq!(place.open().apply(&[], place.now()).expect("the store answers"), []);
}

pub fn peeking_changes_nothing<P: Place>(place: &mut P) {
    let store = place.open();
    assert_eq!(ask(place, &*store, peek("a")), KeyAnswer::Free);
    assert_eq!(owned(ask(place, &*store, claim("a", 1, SHORT))).0, 1);
    in_flight(ask(place, &*store, peek("a")));
    place.pass(SHORT);
    assert_eq!(ask(place, &*store, peek("a")), KeyAnswer::Free, "it may be taken over");
    assert_eq!(ask(place, &*store, complete(1, 1, b"42")), KeyAnswer::Done);
}

pub fn keys_of_any_accepted_text_are_kept_apart<P: Place>(place: &mut P) {
    let store = place.open();
    let texts = ["a", "A", "a ", "ab", "'", "\"", "%", "_", "\\", "$1", "NULL", "{}"];
    let tenants = ["t", "T", "é", "e\u{301}", "t "];
    let scopes = tenants.iter().flat_map(|tenant| {
        let scope = |key| Scope::new(tenant, "o", key).expect("a scope");
        texts.map(scope)
    });
    let ops = scopes.map(|scope| KeyOp { scope, act: claim("a", 1, HOUR) });
    let ops: Vec<KeyOp> = ops.collect();
    let answers = store.apply(&ops, place.now()).expect("the store answers");
    let mut charges: Vec<_> = answers.into_iter().map(|answer| owned(answer).1).collect();
    charges.sort_unstable();
    charges.dedup();
    assert_eq!(charges.len(), ops.len());
}

pub fn purging_is_bounded_and_takes_what_has_expired<P: Place>(place: &mut P) {
    let store = place.open();
    for n in 0..10 {
        let key = format!("k{n}");
        owned(ask_of(place, &*store, &key, claim("a", 1, Duration::ZERO)));
        let ttl = if n < 7 { SHORT } else { HOUR };
        assert_eq!(ask_of(place, &*store, &key, fail(1, 1, ttl)), KeyAnswer::Done);
    }
    // In progress, and nobody has given a sign of life.
    owned(ask_of(place, &*store, "running", claim("a", 1, Duration::ZERO)));
    assert_eq!(store.purge(place.now(), 100).expect("it purges"), 0);
    place.pass(SHORT);
    let purge = |at_most| store.purge(place.now(), at_most).expect("it purges");
    assert_eq!((purge(5), purge(5), purge(5)), (5, 2, 0));
    assert_eq!(owned(ask_of(place, &*store, "k0", claim("a", 2, HOUR))).0, 1);
    assert_eq!(owned(ask_of(place, &*store, "k9", claim("a", 2, HOUR))).0, 2);
    assert_eq!(owned(ask_of(place, &*store, "running", claim("a", 2, HOUR))).0, 2);
}
