//! The window that a request was admitted to has ended by the time it is settled, or written (L8).

use tollkeeper::{Dimension, EventKind};

use crate::kit::{id, minute};
use crate::scene::{draft, scene, usage};

const TOKENS: Dimension = Dimension::Tokens;

#[test]
fn what_was_held_stays_in_its_window_and_the_excess_is_in_the_next() {
    let mut scene = scene();
    let charge = scene.charge(&usage(100, 30));
    scene.kit.advance(minute());
    let settling = charge.settle(&usage(100, 50));
    assert!(scene.written(settling).settlement.is_late());
    assert_eq!(scene.history("rate", TOKENS), [30, 20]);
    scene.assert_even([100, 20, 1, 100]);
}

#[test]
fn a_refund_does_not_leak_into_the_next_window() {
    let mut scene = scene();
    let charge = scene.charge(&usage(100, 30));
    scene.kit.advance(minute());
    scene.charge(&usage(0, 5)).settle(&usage(0, 5)).forget();
    let settling = charge.settle(&usage(100, 10));
    scene.written(settling);
    assert_eq!(scene.history("rate", TOKENS), [30, 5]);
    scene.assert_even([100, 5, 2, 100]);
}

#[test]
fn a_request_that_was_extended_over_a_boundary_is_charged_in_both_windows() {
    let mut scene = scene();
    let mut charge = scene.charge(&usage(100, 10));
    scene.kit.advance(minute());
    charge.extend(&usage(0, 10)).unwrap();
    let settling = charge.settle(&usage(100, 25));
    scene.written(settling);
    assert_eq!(scene.history("rate", TOKENS), [10, 15]);
    scene.assert_even([100, 15, 1, 100]);
}

#[test]
fn a_window_that_ends_between_the_bill_and_the_booking_is_charged_by_the_bill() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(100, 10));
    scene.kit.advance(minute());
    scene.written(settling);
    assert_eq!(scene.history("rate", TOKENS), [10]);
    scene.assert_even([100, 0, 1, 100]);
    // Memory had counted what was held when the window closed: that total is final.
    let closed = |what| matches!(what, EventKind::WindowClosed { total: 30, held: 30, .. });
    let rate = scene.kit.happened().into_iter().filter(|event| event.limit == id("rate"));
    assert_eq!(rate.filter(|event| closed(event.what)).count(), 1);
}

#[test]
fn an_excess_of_a_window_that_ends_before_the_booking_is_in_the_store_alone() {
    let mut scene = scene();
    let charge = scene.charge(&usage(100, 30));
    scene.kit.advance(minute());
    let settling = charge.settle(&usage(100, 50));
    scene.kit.advance(minute());
    scene.written(settling);
    assert_eq!(scene.history("rate", TOKENS), [30, 20]);
    scene.assert_even([100, 0, 1, 100]);
}

#[test]
fn what_was_recorded_after_the_fact_stays_in_the_window_of_its_bill() {
    let mut scene = scene();
    let route = scene.kit.route(&["key:k"]);
    let settling = scene.ledger.record(&route, &usage(100, 30), draft());
    scene.kit.advance(minute());
    scene.written(settling);
    assert_eq!(scene.history("rate", TOKENS), [30]);
    scene.assert_even([100, 0, 1, 100]);
}
