//! The ends that a request can come to, and what each charges and records.

use tollkeeper::{Outcome, Usage};

use crate::scene::{draft, record_id, scene, usage};

#[test]
fn a_request_that_broke_off_is_charged_but_not_as_a_request() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 10)).settle_partial(&usage(40, 4));
    let record = scene.written(settling).record.unwrap();
    assert_eq!((record.outcome, record.usage.requests), (Outcome::Partial, 0));
    scene.assert_even([40, 4, 0, 40]);
    let settling = scene.charge(&usage(100, 10)).settle_failed(&usage(1, 0));
    assert_eq!(scene.written(settling).record.unwrap().outcome, Outcome::Failed);
    scene.assert_even([41, 4, 0, 41]);
}

#[test]
fn one_that_failed_and_used_nothing_is_unbilled() {
    let mut scene = scene();
    let request = Usage { requests: 1, ..Usage::default() };
    let settling = scene.charge(&usage(100, 10)).settle_failed(&request);
    // Given back at once.
    assert_eq!(scene.held(), [0; 4]);
    let record = scene.written(settling).record.unwrap();
    assert_eq!(record.outcome, Outcome::Unbilled);
    assert!(record.reason.unwrap().contains("failed"));
    scene.assert_even([0; 4]);
}

#[test]
fn what_is_unbilled_is_recorded_and_a_retry_under_its_id_is_charged() {
    let mut scene = scene();
    let charge = scene.charge_as(&usage(100, 10), draft().id(record_id(9)));
    let settling = charge.unbilled("the upstream refused it");
    let record = scene.written(settling).record.unwrap();
    assert_ne!(record.id, record_id(9));
    assert_eq!(record.reason.as_deref(), Some("the upstream refused it"));
    assert_eq!(scene.ledger.get(record.id).unwrap().unwrap().postings, []);
    let retry = scene.charge_as(&usage(100, 10), draft().id(record_id(9))).settle(&usage(50, 5));
    scene.written(retry);
    scene.assert_even([50, 5, 1, 50]);
}

#[test]
fn what_is_voided_or_dropped_before_dispatch_leaves_nothing() {
    let mut scene = scene();
    scene.reserve(&usage(100, 10), draft()).unwrap().void();
    drop(scene.reserve(&usage(100, 10), draft()).unwrap());
    scene.charge(&usage(100, 10)).void();
    scene.drain();
    scene.assert_even([0; 4]);
    assert_eq!(scene.records(), []);
}

#[test]
fn what_is_dropped_after_dispatch_is_uncertain_and_charged_as_held() {
    let mut scene = scene();
    let mut charge = scene.charge(&usage(100, 0));
    charge.extend(&usage(20, 0)).unwrap();
    assert!(charge.is_dispatched());
    drop(charge);
    scene.drain();
    scene.assert_even([120, 0, 2, 120]);
    let stored = scene.records().remove(0);
    assert_eq!(stored.record.outcome, Outcome::Uncertain);
    assert_eq!(stored.record.usage, Usage { requests: 2, ..usage(120, 0) });
    // Tokens too, of which none were held: they may come to be known.
    assert_eq!(stored.postings.len(), 4);
}

#[test]
fn what_is_fired_and_forgotten_is_written_all_the_same() {
    let mut scene = scene();
    scene.charge(&usage(100, 10)).settle(&usage(50, 5)).forget();
    drop(scene.charge(&usage(100, 10)).settle(&usage(50, 5)));
    scene.drain();
    scene.assert_even([100, 10, 2, 100]);
}

#[test]
fn a_panic_after_dispatch_is_uncertain() {
    let mut scene = scene();
    let charge = scene.charge(&usage(100, 10));
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _charge = charge;
        panic!("the handler");
    }));
    assert!(unwound.is_err());
    scene.drain();
    scene.assert_even([100, 10, 1, 100]);
    assert_eq!(scene.outcomes(), [Outcome::Uncertain]);
}
