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

/// What is imported of a window that has not begun here yet counts in the one that has, and is
/// charged as that.
#[test]
fn an_import_of_a_window_to_come_counts_in_the_one_in_force() {
    let mut scene = scene();
    let mut document = scene.kit.engine.export();
    let rate = document.limits.iter_mut().find(|limit| limit.limit == id("rate")).unwrap();
    let tokens = rate.counters.iter_mut().find(|counter| counter.dimension == TOKENS).unwrap();
    let here = tokens.start;
    (tokens.start, tokens.end, tokens.settled) = (tokens.end, tokens.end + minute(), 5);
    assert_eq!(scene.kit.engine.import(&document).unwrap().restored, 4);
    assert_eq!(scene.memory()[1], 5);
    for expected in [1, 2] {
        let settling = scene.charge(&usage(0, 1)).settle(&usage(0, 1));
        scene.written(settling);
        let totals = scene.ledger.totals(&id("rate")).unwrap();
        let windows = totals.iter().filter(|total| total.dimension == TOKENS);
        let windows: Vec<_> = windows.map(|total| total.window).collect();
        assert_eq!(windows.len(), expected);
        let window = windows[expected - 1];
        // Where its lattice says, not a little later.
        let lattice = here + minute() * u32::try_from(expected - 1).unwrap();
        assert_eq!(window.end, lattice + minute());
        assert_eq!(window.start, lattice);
        scene.kit.advance(minute());
    }
}
