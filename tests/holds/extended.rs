//! Reservations that outgrow their estimate: in their window, over its end, and on counters that
//! their limit gets or loses meanwhile.

use tollkeeper::{Budget, Dimension, EventKind, RateLimit, Reservation, Usage};

use crate::kit::*;

/// A limit of tokens a minute, one of tokens an hour and a budget of an hour; and in the longer
/// form so many budgets behind them that what is held is listed counter by counter.
fn scene(long: bool) -> Kit {
    let kit = kit();
    kit.limit("key:k", "minute", RateLimit::new().tokens(100, per("1m")));
    kit.limit("key:k", "hour", RateLimit::new().tokens(100, per("1h")));
    kit.limit("key:k", "budget", Budget::new(nanos(100), per("1h")));
    if long {
        for n in 0..30 {
            kit.limit("key:k", &format!("more{n}"), Budget::new(nanos(100), per("1h")));
        }
    }
    kit
}

fn usage(input_tokens: u64, cost: u64) -> Usage {
    Usage { input_tokens, requests: 1, cost: nanos(cost), ..Usage::default() }
}

/// How a reservation ends, what its limit of a minute then has in the current window, and what it
/// is uncertain about there.
type End = (fn(Reservation) -> bool, u64, &'static [u64]);

/// L8: held over the ends of windows, what was held in each stays booked in it; what was used
/// beyond that is booked in the current one.
#[test]
fn an_extension_over_the_ends_of_windows_is_booked_once() {
    let dispatched = |mut held: Reservation| {
        held.mark_dispatched();
        drop(held);
        true
    };
    // 5 and 3 in windows that are over, 2 in the current one.
    let ends: [End; 7] = [
        (|held| held.settle(&usage(12, 12)).is_late(), 4, &[]),
        (|held| held.settle(&usage(10, 10)).is_late(), 2, &[]),
        (|held| held.settle(&usage(9, 9)).is_late(), 1, &[]),
        (|held| held.settle(&usage(8, 8)).is_late(), 0, &[]),
        (|held| held.settle(&usage(1, 1)).is_late(), 0, &[]),
        (
            |held| {
                held.void();
                true
            },
            0,
            &[],
        ),
        (dispatched, 2, &[10]),
    ];
    for (n, (end, current, uncertain)) in ends.into_iter().enumerate() {
        for long in [false, true] {
            let kit = scene(long);
            let mut held = kit.admit(&["key:k"], &usage(5, 5));
            kit.advance(minute());
            held.extend(&usage(3, 3)).unwrap();
            assert_eq!((kit.counts("minute"), kit.counts("hour")), ((0, 3), (0, 8)), "{n} {long}");
            kit.advance(minute());
            held.extend(&usage(2, 2)).unwrap();
            assert_eq!((kit.counts("minute"), kit.counts("hour")), ((0, 2), (0, 10)), "{n} {long}");
            assert!(end(held), "{n} {long}");
            assert_eq!(kit.counts("minute"), (current, 0), "{n} {long}");
            let whole = [12, 10, 9, 8, 1, 0, 10][n];
            assert_eq!(kit.counts("hour"), (whole, 0), "{n} {long}");
            assert_eq!(kit.counts("budget"), (whole, 0), "{n} {long}");
            if long {
                assert_eq!(kit.counts("more29"), (whole, 0), "{n}");
            }
            let happened = kit.happened();
            let of_minute = |what: &dyn Fn(&EventKind) -> Option<u64>| -> Vec<u64> {
                let of = happened.iter().filter(|event| event.limit == id("minute"));
                of.filter_map(|event| what(&event.what)).collect()
            };
            let closed = of_minute(&|what| match what {
                EventKind::WindowClosed { total, .. } => Some(*total),
                _ => None,
            });
            let booked = of_minute(&|what| match what {
                EventKind::Uncertain { amount } => Some(*amount),
                _ => None,
            });
            assert_eq!((closed.as_slice(), booked.as_slice()), (&[5, 3][..], uncertain), "{n}");
        }
    }
}

/// An extension that is refused in the next window leaves the hold where it is, in the one before.
#[test]
fn a_refused_extension_over_the_end_of_a_window_changes_nothing() {
    for long in [false, true] {
        let kit = scene(long);
        let mut held = kit.admit(&["key:k"], &usage(5, 5));
        kit.advance(minute());
        assert!(held.extend(&usage(96, 0)).is_err(), "100 an hour, of which 5 are held");
        assert_eq!((kit.counts("minute"), kit.counts("hour")), ((0, 0), (0, 5)));
        held.extend(&usage(95, 0)).unwrap();
        assert_eq!((kit.counts("minute"), kit.counts("hour")), ((0, 95), (0, 100)));
        assert!(held.settle(&usage(100, 5)).is_late());
        assert_eq!((kit.counts("minute"), kit.counts("hour")), ((95, 0), (100, 0)));
        assert_eq!(kit.closed("minute"), [5]);
    }
}

/// An extension that asks nothing of a limit still notices that its window has ended.
#[test]
fn an_extension_of_nothing_rolls_what_has_ended() {
    for long in [false, true] {
        let kit = scene(long);
        let mut held = kit.admit(&["key:k"], &usage(5, 5));
        kit.advance(minute());
        held.extend(&usage(0, 3)).unwrap();
        assert_eq!(kit.closed("minute"), [5]);
        assert_eq!((kit.counts("minute"), kit.counts("budget")), ((0, 0), (0, 8)));
        held.void();
        assert_eq!((kit.counts("minute"), kit.counts("budget")), ((0, 0), (0, 0)));
    }
}

/// What was estimated at nothing is held where it is extended, and nowhere before.
#[test]
fn a_dimension_that_was_estimated_at_nothing_is_extended_in_any_window() {
    for long in [false, true] {
        for later in [false, true] {
            for used in [0, 3, 4, 6] {
                let kit = scene(long);
                let mut held = kit.admit(&["key:k"], &usage(0, 5));
                if later {
                    kit.advance(minute());
                }
                held.extend(&usage(4, 0)).unwrap();
                assert_eq!((kit.counts("minute"), kit.counts("hour")), ((0, 4), (0, 4)));
                assert_eq!(kit.counts("budget"), (0, 5));
                let settlement = held.settle(&usage(used, 5));
                assert!(!settlement.is_late(), "nothing was held in the window that ended");
                assert_eq!((kit.counts("minute"), kit.counts("hour")), ((used, 0), (used, 0)));
                assert_eq!(kit.counts("budget"), (5, 0));
                let closed: &[u64] = if later { &[0] } else { &[] };
                assert_eq!(kit.closed("minute"), closed);
            }
        }
    }
}

fn tokens_and_requests() -> RateLimit {
    requests_only().tokens(100, per("1h"))
}

fn requests_only() -> RateLimit {
    RateLimit::new().requests(100, per("1h"))
}

fn requests(kit: &Kit) -> (u64, u64) {
    let counter = kit.counter("rate", Dimension::Requests);
    (counter.settled, counter.held)
}

/// A rate limit is given tokens, loses them, and is given them again, under three reservations: one
/// of before, and two of when it had them.
#[test]
fn a_counter_comes_and_goes_under_reservations_that_are_extended() {
    let kit = kit();
    kit.limit("key:k", "rate", requests_only());
    let mut before = kit.admit(&["key:k"], &tokens(5));
    kit.limit("key:k", "rate", tokens_and_requests());
    let mut during = kit.admit(&["key:k"], &tokens(7));
    let settled = kit.admit(&["key:k"], &tokens(9));
    before.extend(&tokens(50)).unwrap();
    assert_eq!((kit.counts("rate"), requests(&kit)), ((0, 16), (0, 4)), "not on its way");

    kit.limit("key:k", "rate", requests_only());
    during.extend(&tokens(30)).unwrap();
    assert_eq!(requests(&kit), (0, 5));

    kit.limit("key:k", "rate", tokens_and_requests());
    assert_eq!(kit.counts("rate"), (0, 0), "given up with its usage");
    during.extend(&tokens(2)).unwrap();
    assert_eq!((kit.counts("rate"), requests(&kit)), ((0, 2), (0, 6)));
    // 7 were held in the window that was given up, 2 in the new one; 3 more are booked there.
    let _ = during.settle(&tokens(12));
    assert_eq!((kit.counts("rate"), requests(&kit)), ((5, 0), (1, 3)));
    // Extended in no window but its first: 9 were held there.
    let _ = settled.settle(&tokens(10));
    assert_eq!((kit.counts("rate"), requests(&kit)), ((6, 0), (2, 2)));
    before.void();
    assert_eq!((kit.counts("rate"), requests(&kit)), ((6, 0), (2, 0)));
}

/// The same where it ends while the limit does not have the counter: nothing is booked on it.
#[test]
fn a_reservation_ends_while_its_counter_is_gone() {
    let ends: [(fn(Reservation), u64); 4] = [
        (|held| drop(held.settle(&tokens(9))), 1),
        (|held| held.void(), 0),
        (drop, 0),
        (
            |mut held| {
                held.mark_dispatched();
                drop(held);
            },
            2,
        ),
    ];
    for (end, booked) in ends {
        let kit = kit();
        kit.limit("key:k", "rate", tokens_and_requests());
        kit.limit("key:k", "other", RateLimit::new().tokens(100, per("1h")));
        let mut held = kit.admit(&["key:k"], &tokens(7));
        kit.limit("key:k", "rate", requests_only());
        held.extend(&tokens(2)).unwrap();
        assert_eq!((requests(&kit), kit.counts("other")), ((0, 2), (0, 9)));
        end(held);
        assert_eq!(requests(&kit), (booked, 0));
        assert_eq!(kit.counts("other"), ([0, 9, 9][booked as usize], 0));
        kit.limit("key:k", "rate", tokens_and_requests());
        assert_eq!(kit.counts("rate"), (0, 0));
        assert_eq!(kit.closed("rate"), [0], "nothing was booked where there was no counter");
    }
}
