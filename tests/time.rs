//! Time through the engine: a boundary is one instant for whatever comes to it.
//!
//! Where windows begin and end is `time_windows.rs`' and `time_zones.rs`' business. Here it is what
//! the engine makes of it.

#[path = "support/kit.rs"]
mod kit;

use std::time::Duration;

use kit::*;
use tollkeeper::{
    Budget, Dimension, EventKind, Peek, Period, RateLimit, Retry, Settlement, Span, Timestamp,
    UnknownOwner,
};

/// Ways to come to a boundary. Each says whether it found the window before it or the one after.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comer {
    Check,
    Peek,
    Reserve,
    Bump,
    Settle,
    Extend,
    Sweep,
    Reset,
    Redefine,
}

const COMERS: [Comer; 9] = [
    Comer::Check,
    Comer::Peek,
    Comer::Reserve,
    Comer::Bump,
    Comer::Settle,
    Comer::Extend,
    Comer::Sweep,
    Comer::Reset,
    Comer::Redefine,
];

/// Fills a budget of a period in the window around `start`, lets one come at `now`, and tells
/// whether the window was over for it.
fn is_over(comer: Comer, period: &Period, start: Timestamp, now: Timestamp) -> bool {
    let kit = kit_with(start, UnknownOwner::Deny);
    let budget = |limit| Budget::new(nanos(limit), period.clone());
    kit.limit("key:k", "budget", budget(10));
    kit.bump(&["key:k"], &cost(4));
    let mut reservation = kit.admit(&["key:k"], &cost(6));
    kit.happened();
    kit.clock.set(now);
    let route = kit.route(&["key:k"]);
    match comer {
        Comer::Check => {
            let counter = kit.read("budget");
            assert!(counter.window.contains(now));
            assert_eq!(kit.happened(), [], "a check closes nothing");
            return (counter.settled, counter.held, counter.generation) == (0, 0, 1);
        }
        Comer::Peek => return kit.engine.peek(&route, &cost(10)) == Peek::WouldAdmit,
        Comer::Reserve => {
            let admitted = kit.engine.reserve(&route, &cost(10)).is_admitted();
            assert_eq!(kit.read("budget").generation, u64::from(admitted));
        }
        Comer::Bump => {
            let overshot = !kit.engine.bump(&route, &cost(10)).overshoots().is_empty();
            assert_eq!(kit.counts("budget"), if overshot { (14, 6) } else { (10, 0) });
        }
        Comer::Settle => {
            let late = reservation.settle(&cost(8)).is_late();
            // All in one window, or only what was not held in the first.
            assert_eq!(kit.counts("budget"), if late { (2, 0) } else { (12, 0) });
            return closed(&kit, late.then_some(10));
        }
        Comer::Extend => {
            let extended = reservation.extend(&cost(3)).is_ok();
            assert_eq!(kit.counts("budget"), if extended { (0, 3) } else { (4, 6) });
        }
        Comer::Sweep => {
            let rolled = kit.engine.reset_expired().rolled;
            assert_eq!(kit.counts("budget"), if rolled == 1 { (0, 0) } else { (4, 6) });
        }
        Comer::Reset => {
            // It ends the window that it comes to: at the boundary, the one that begins there.
            kit.engine.reset(&id("budget"), None).unwrap();
            let totals = kit.closed("budget");
            assert!(totals == [10] || totals == [10, 0], "{totals:?}");
            return totals.len() == 2;
        }
        Comer::Redefine => {
            kit.limit("key:k", "budget", budget(20));
            assert_eq!(kit.read("budget").limit, Some(20));
        }
    }
    let over = kit.read("budget").generation == 1;
    closed(&kit, over.then_some(10))
}

/// Whether the window closed, which it did with this total if at all.
fn closed(kit: &Kit, total: Option<u64>) -> bool {
    assert_eq!(kit.closed("budget"), total.into_iter().collect::<Vec<_>>());
    total.is_some()
}

/// L13: at `t - 1ns` a window is in force and at `t` it is over, for every one who comes, in every
/// kind of period.
#[test]
fn a_boundary_is_the_same_instant_for_whoever_comes_to_it() {
    for (period, start, boundary) in [
        ("1s", "2026-03-01T00:00:00Z", "2026-03-01T00:00:01Z"),
        ("1h30m", "2026-03-01T00:00:00.25Z", "2026-03-01T01:30:00.25Z"),
        ("1M", "2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z"),
        ("1d@UTC", "2026-03-01T17:00:00Z", "2026-03-02T00:00:00Z"),
        ("1w@UTC", "2026-03-04T12:00:00Z", "2026-03-09T00:00:00Z"),
        ("1M@UTC", "2026-12-31T23:59:59.999999998Z", "2027-01-01T00:00:00Z"),
        ("1M@Europe/Berlin", "2026-03-15T00:00:00Z", "2026-03-31T22:00:00Z"),
        ("1d@America/New_York", "2026-11-01T12:00:00Z", "2026-11-02T05:00:00Z"),
        ("1Q@UTC,fiscal=2", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("1Y", "2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"),
    ] {
        let (start, boundary, parsed) = (instant(start), instant(boundary), per(period));
        for comer in COMERS {
            let before = boundary.saturating_sub(a_nano());
            assert!(!is_over(comer, &parsed, start, before), "{comer:?} before: {period}");
            assert!(is_over(comer, &parsed, start, boundary), "{comer:?} at: {period}");
            let next = parsed.window_at(start, boundary);
            let last = next.end.saturating_sub(a_nano());
            assert!(is_over(comer, &parsed, start, last), "{comer:?} after: {period}");
        }
    }
}

/// However many windows pass unnoticed, the next one is one reset and one event away.
#[test]
fn fourteen_thousand_four_hundred_idle_windows_are_one_reset() {
    for sweep in [true, false] {
        let kit = kit();
        kit.limit("key:k", "rate", RateLimit::new().requests(5, per("1m")));
        kit.bump(&["key:k"], &tokens(1));
        kit.advance(minute() * 14_400 + second());
        if sweep {
            assert_eq!(kit.engine.reset_expired().rolled, 1);
            assert_eq!(kit.engine.reset_expired().rolled, 0);
        } else {
            let _held = kit.admit(&["key:k"], &tokens(1));
        }
        let [event] = &kit.happened()[..] else { panic!("one event") };
        let first = Span { start: instant(START), end: instant("2026-03-01T00:01:00Z") };
        let what = EventKind::WindowClosed { window: first, total: 1, held: 0 };
        assert_eq!((event.what, event.generation), (what, 0));
        let counter = kit.read("rate");
        assert_eq!(counter.generation, 1, "the windows nobody saw have no number");
        let start = instant(START).saturating_add(minute() * 14_400);
        assert_eq!(counter.window, Span { start, end: start.saturating_add(minute()) });
    }
}

/// Walks through windows by the instants at which a full budget says to come back, spending all of
/// it in each, and returns those instants.
fn boundaries(period: &str, start: &str, count: usize) -> Vec<String> {
    let kit = kit_at(start);
    kit.limit("key:k", "budget", Budget::new(nanos(10), per(period)));
    let walk = (0..count).map(|n| {
        let _: Settlement = kit.admit(&["key:k"], &cost(10)).settle(&cost(10));
        assert_eq!(kit.closed("budget").len(), usize::from(n > 0));
        let Retry::At(next) = kit.deny(&["key:k"], &cost(1)).retry() else { panic!() };
        kit.clock.set(next.saturating_sub(a_nano()));
        assert!(!kit.admits(&["key:k"], &cost(1)), "before {next}");
        kit.clock.set(next);
        next.to_string()
    });
    walk.collect()
}

/// Months rolling from the 31st: the last day of the shorter ones, and the 31st again.
#[test]
fn months_from_the_31st_end_with_each_month() {
    assert_eq!(
        boundaries("1M", "2027-12-31T08:00:00Z", 5),
        [
            "2028-01-31T08:00:00Z",
            "2028-02-29T08:00:00Z",
            "2028-03-31T08:00:00Z",
            "2028-04-30T08:00:00Z",
            "2028-05-31T08:00:00Z",
        ]
    );
    assert_eq!(
        boundaries("1Y", "2028-02-29T08:00:00Z", 4),
        [
            "2029-02-28T08:00:00Z",
            "2030-02-28T08:00:00Z",
            "2031-02-28T08:00:00Z",
            "2032-02-29T08:00:00Z",
        ]
    );
}

/// Calendar months and years, over the months of 31 days, February and the leap day, end on their
/// firsts and at no other time.
#[test]
fn calendar_months_end_on_the_first_whatever_their_length() {
    assert_eq!(
        boundaries("1M@UTC", "2027-12-15T12:00:00Z", 4),
        [
            "2028-01-01T00:00:00Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
            "2028-04-01T00:00:00Z",
        ]
    );
    assert_eq!(
        boundaries("1d@UTC", "2028-02-28T12:00:00Z", 3),
        ["2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z", "2028-03-02T00:00:00Z"]
    );
    assert_eq!(
        boundaries("1Y@UTC", "2028-12-30T12:00:00Z", 2),
        ["2029-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]
    );
    // Weeks begin on Mondays, over the turn of a year too.
    assert_eq!(
        boundaries("1w@UTC", "2026-12-23T12:00:00Z", 2),
        ["2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"]
    );
}

/// Days of 23 and of 25 hours, on both sides of the Atlantic, in both directions.
#[test]
fn days_are_as_long_as_the_clocks_make_them() {
    assert_eq!(
        boundaries("1d@Europe/Berlin", "2026-03-28T12:00:00Z", 3),
        ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]
    );
    assert_eq!(
        boundaries("1d@Europe/Berlin", "2026-10-24T12:00:00Z", 3),
        ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"]
    );
    assert_eq!(
        boundaries("1d@America/New_York", "2026-03-07T12:00:00Z", 3),
        ["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", "2026-03-10T04:00:00Z"]
    );
    assert_eq!(
        boundaries("1d@America/New_York", "2026-10-31T12:00:00Z", 3),
        ["2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"]
    );
}

/// L13: two nodes whose sweeps run at other times, or never, book the same traffic into the same
/// windows.
#[test]
fn nodes_with_other_sweeps_agree_on_every_window() {
    let of = |sweeps_at: &dyn Fn(u64) -> bool| {
        let kit = kit_at("2026-03-28T22:59:00Z");
        kit.limit("key:k", "rolling", RateLimit::new().tokens(None, per("7s")));
        kit.limit("key:k", "daily", Budget::uncapped(per("1d@Europe/Berlin")));
        kit.limit("key:k", "monthly", Budget::uncapped(per("1M")));
        for step in 0..400_u64 {
            kit.advance(Duration::from_millis(step * step % 977));
            if sweeps_at(step) {
                kit.engine.reset_expired();
            }
            if step % 3 == 0 {
                let usage = tollkeeper::Usage { cost: nanos(step), ..tokens(step) };
                kit.bump(&["key:k"], &usage);
            }
        }
        kit.engine.reset_expired();
        let closed = |event: tollkeeper::Event| match event.what {
            // Idle windows that one node noticed and the other did not are empty.
            EventKind::WindowClosed { window, total, .. } if total > 0 => {
                Some((event.limit.to_string(), window, total))
            }
            _ => None,
        };
        let mut closed: Vec<_> = kit.happened().into_iter().filter_map(closed).collect();
        closed.sort_by_key(|(limit, window, _)| (limit.clone(), window.start));
        let mut now: Vec<_> = kit
            .engine
            .usage_all()
            .map(|usage| (usage.limit, usage.counters[0].window, usage.counters[0].settled))
            .collect();
        now.sort_by(|a, b| a.0.cmp(&b.0));
        (closed, now)
    };
    let never = of(&|_| false);
    assert!(never.0.len() > 20, "there were boundaries");
    assert_eq!(of(&|_| true), never);
    assert_eq!(of(&|step| step % 10 == 3), never);
    assert_eq!(of(&|step| step % 10 == 8), never);
}

/// L9: another zone, another alignment, another length: the window becomes the new one around now,
/// and what was used and is held stays used and held.
#[test]
fn switching_alignment_and_zone_keeps_usage() {
    let kit = kit_at("2026-03-15T23:30:00Z");
    let budget = |period: &str| Budget::new(nanos(100), per(period));
    kit.limit("key:k", "budget", budget("1d"));
    kit.bump(&["key:k"], &cost(30));
    let held = kit.admit(&["key:k"], &cost(20));
    for (period, start, end) in [
        ("1d@UTC", "2026-03-15T00:00:00Z", "2026-03-16T00:00:00Z"),
        ("1d@Europe/Berlin", "2026-03-15T23:00:00Z", "2026-03-16T23:00:00Z"),
        ("1d@America/New_York", "2026-03-15T04:00:00Z", "2026-03-16T04:00:00Z"),
        ("1M@UTC", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("1Q@UTC,fiscal=3", "2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z"),
        ("never", "2026-03-15T23:30:00Z", "2554-07-21T23:34:33.709551615Z"),
        ("1h", "2026-03-15T23:30:00Z", "2026-03-16T00:30:00Z"),
    ] {
        kit.limit("key:k", "budget", budget(period));
        let counter = kit.read("budget");
        assert_eq!((counter.settled, counter.held, counter.generation), (30, 20, 0), "{period}");
        let window = Span { start: instant(start), end: instant(end) };
        assert_eq!(counter.window, window, "{period}");
        assert!(!kit.admits(&["key:k"], &cost(51)), "{period}");
    }
    assert_eq!(kit.closed("budget"), [0; 0], "nothing ended");
    assert!(!held.settle(&cost(25)).is_late());
    assert_eq!(kit.counts("budget"), (55, 0));
    kit.set("2026-03-16T00:30:00Z");
    assert!(kit.admits(&["key:k"], &cost(100)));
    assert_eq!(kit.closed("budget"), [55]);
}

/// A change of the period comes after the windows that ended before it: it saves no usage of
/// theirs.
#[test]
fn a_window_that_is_over_is_closed_before_its_period_changes() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.bump(&["key:k"], &cost(10));
    kit.advance(minute());
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1M@UTC")));
    assert_eq!((kit.closed("budget"), kit.counts("budget")), (vec![10], (0, 0)));
    assert_eq!(kit.read("budget").window.start, instant("2026-03-01T00:00:00Z"));
}

/// Two windows of one resource on one owner: each ends by itself, and the tighter one binds.
#[test]
fn two_windows_of_one_resource_end_each_by_itself() {
    let kit = kit();
    kit.limit("key:k", "hourly", Budget::new(nanos(10), per("1h")));
    kit.limit("key:k", "daily", Budget::new(nanos(25), per("1d")));
    for hour in 0..2 {
        kit.bump(&["key:k"], &cost(10));
        let denied = kit.deny(&["key:k"], &cost(1));
        assert_eq!(named(&denied), [("hourly".into(), Dimension::Money)], "{hour}");
        kit.advance(minute() * 60);
    }
    assert!(!kit.admits(&["key:k"], &cost(6)));
    let _rest = kit.admit(&["key:k"], &cost(5));
    let denied = kit.deny(&["key:k"], &cost(1));
    assert_eq!(named(&denied), [("daily".into(), Dimension::Money)]);
    assert_eq!(denied.retry(), Retry::At(instant("2026-03-02T00:00:00Z")));
}
