//! Clocks that step back, stand still, or are at either end of time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollkeeper::{
    Budget, Clock, Concurrency, Dimension, Engine, EventKind, Lasts, RateLimit, Retry, Timestamp,
    UnknownOwner,
};

use crate::kit::*;

/// L13: a clock that steps back into a window that is over acts in the one in force.
#[test]
fn a_clock_that_steps_back_reopens_nothing() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.bump(&["key:k"], &tokens(10));
    kit.advance(minute());
    kit.bump(&["key:k"], &tokens(9));
    assert_eq!(kit.closed("rate"), [10]);
    let window = kit.read("rate").window;
    kit.set("2026-02-01T00:00:00Z");
    let counter = kit.read("rate");
    assert_eq!((counter.settled, counter.generation, counter.window), (9, 1, window));
    let held = kit.admit(&["key:k"], &tokens(1));
    let denied = kit.deny(&["key:k"], &tokens(1));
    assert_eq!(denied.retry(), Retry::At(window.end));
    let _ = held.settle(&tokens(1));
    assert_eq!(kit.engine.reset_expired().rolled, 0);
    assert_eq!(kit.counts("rate"), (10, 0));
    assert!(kit.happened().iter().all(|event| matches!(event.what, EventKind::Exhausted { .. })));
    kit.clock.set(window.end);
    assert!(kit.admits(&["key:k"], &tokens(10)));
    assert_eq!(kit.closed("rate"), [10]);
}

/// L13: an operator's reset on a clock that is behind begins a window after the one it ends.
#[test]
fn a_reset_on_a_clock_that_is_behind_still_goes_forward() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    let window = kit.read("budget").window;
    kit.bump(&["key:k"], &cost(4));
    kit.set("1999-01-01T00:00:00Z");
    kit.engine.reset(&id("budget"), None).unwrap();
    let next = kit.read("budget").window;
    assert_eq!(next.start, window.start.saturating_add(a_nano()));
    assert_eq!(next.end, window.end);
    assert_eq!(kit.closed("budget"), [4]);
}

/// L13: nothing panics at either end of time, and nothing is admitted twice.
#[test]
fn both_ends_of_time_are_instants_like_others() {
    for start in [0, 1, u64::MAX - 1, u64::MAX] {
        let kit = kit_with(Timestamp::from_nanos(start), UnknownOwner::Deny);
        let periods = ["1ms", "1s", "1M", "1Y", "1d@UTC", "1w@Europe/Berlin", "1Q@UTC", "never"];
        for (n, period) in periods.into_iter().enumerate() {
            let rate = RateLimit::new().tokens(10, per(period)).requests(1, per(period));
            kit.limit("key:k", &format!("rate{n}"), rate);
        }
        kit.limit("key:k", "flight", Concurrency::new(1));
        for now in [0, u64::MAX, u64::MAX - 1, start, 1, 0, u64::MAX] {
            kit.clock.set(Timestamp::from_nanos(now));
            let first = kit.engine.reserve(&kit.route(&["key:k"]), &tokens(10)).into_result();
            assert!(!kit.admits(&["key:k"], &tokens(10)), "{start} {now}");
            if let Ok(reservation) = first {
                let _ = reservation.settle(&tokens(10));
                assert!(!kit.admits(&["key:k"], &tokens(1)), "{start} {now}");
            }
            kit.engine.reset_expired();
            for n in 0..periods.len() {
                let limit = id(&format!("rate{n}"));
                kit.engine.reset(&limit, None).unwrap();
                let (dimension, lasts) = (Dimension::Tokens, Lasts::Windows(2.try_into().unwrap()));
                kit.engine.override_limit(&limit, dimension, 10, lasts).unwrap();
                kit.engine.clear_override(&limit, dimension).unwrap();
            }
            let state = kit.engine.export();
            kit.engine.import(&state).unwrap();
        }
        let inverted = |event: &tollkeeper::Event| match event.what {
            EventKind::WindowClosed { window, .. } => window.end < window.start,
            _ => false,
        };
        assert!(!kit.happened().iter().any(inverted), "no window ends before it begins");
    }
}

/// The last window has no successor: what is denied in it is never admitted, not "at its start".
#[test]
fn a_denial_in_the_last_window_of_all_is_never() {
    let kit = kit_with(Timestamp::from_nanos(u64::MAX - 5), UnknownOwner::Deny);
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.bump(&["key:k"], &tokens(10));
    assert_eq!(kit.read("rate").window.end, Timestamp::MAX);
    assert_eq!(kit.deny(&["key:k"], &tokens(1)).retry(), Retry::Never);
    kit.clock.set(Timestamp::MAX);
    assert_eq!(kit.deny(&["key:k"], &tokens(1)).retry(), Retry::Never);
    let lasts = Lasts::Windows(1.try_into().unwrap());
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 5, lasts).unwrap();
    assert_eq!(kit.deny(&["key:k"], &tokens(6)).retry(), Retry::Never);
}

/// L8, L13: a settle on a clock that has stepped back is booked where the hold is.
#[test]
fn a_settle_on_a_clock_that_stepped_back_is_in_time() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.advance(minute());
    let reservation = kit.admit(&["key:k"], &cost(5));
    kit.set(START);
    let settlement = reservation.settle(&cost(3));
    assert!(!settlement.is_late());
    assert_eq!((kit.counts("budget"), kit.read("budget").generation), ((3, 0), 1));
}

/// L13: a limit created on a clock that is ahead keeps its first window when that is set right.
#[test]
fn a_limit_created_in_the_future_waits_in_its_first_window() {
    let kit = kit_at("2030-01-01T00:00:00Z");
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.set("2026-01-01T00:00:00Z");
    kit.bump(&["key:k"], &tokens(10));
    kit.advance(Duration::from_secs(3600));
    let retry = kit.deny(&["key:k"], &tokens(1)).retry();
    assert_eq!(retry, Retry::At(instant("2030-01-01T00:01:00Z")));
    // A new period is laid around the anchor, which a rolling lattice begins at.
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1h")));
    assert_eq!(kit.read("rate").window.start, instant("2030-01-01T00:00:00Z"));
    assert_eq!(kit.counts("rate"), (10, 0));
}

/// L8: windows are told apart by more than what fits into a counter's word, which repeats after
/// 16,384 of them: a hold of the first is not given back from what another holds in that one.
#[test]
fn a_hold_is_not_mistaken_for_one_of_a_window_that_looks_alike() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(100, per("1ms")));
    let route = kit.route(&["key:k"]);
    let old = kit.admit(&["key:k"], &tokens(5));
    for _ in 0..32_768 {
        kit.clock.advance(Duration::from_millis(1));
        let _ = kit.engine.bump(&route, &tokens(1));
    }
    assert_eq!(kit.read("rate").generation, 32_768);
    let new = kit.admit(&["key:k"], &tokens(5));
    assert!(old.settle(&nothing()).is_late());
    assert_eq!(kit.counts("rate"), (1, 5), "the hold of the newer window was given back");
    new.void();
    assert_eq!(kit.counts("rate"), (1, 0));
}

/// A clock that breaks once, when told to.
#[derive(Default)]
struct Breaking(AtomicBool);

impl Clock for Breaking {
    fn now(&self) -> Timestamp {
        // Relaxed: one thread.
        assert!(!self.0.swap(false, Ordering::Relaxed), "the clock is broken");
        instant(START)
    }
}

/// L6, L7: a clock of a user's that panics while a reservation ends does not leave it held: it ends
/// as one that is dropped.
#[test]
fn a_clock_that_panics_leaves_nothing_held() {
    let clock = Arc::new(Breaking::default());
    let engine = Engine::builder().clock(Arc::clone(&clock)).build();
    engine.upsert_owner(&owner("key:k"), &[]).unwrap();
    let budget = Budget::new(nanos(10), per("1m"));
    engine.upsert_limit(&owner("key:k"), &id("budget"), budget).unwrap();
    let route = engine.route(&[owner("key:k")]);
    for (dispatched, settled) in [(false, 0), (true, 4)] {
        let mut held = engine.reserve(&route, &cost(4)).into_result().unwrap();
        if dispatched {
            held.mark_dispatched();
        }
        // Relaxed: one thread.
        clock.0.store(true, Ordering::Relaxed);
        catch_unwind(AssertUnwindSafe(|| held.settle(&cost(3)))).unwrap_err();
        let counter = engine.usage(&id("budget")).unwrap().counters[0];
        assert_eq!((counter.settled, counter.held), (settled, 0));
    }
}

/// A clock of a user's that panics while something is removed leaves it where it was, wholly.
#[test]
fn a_clock_that_panics_removes_nothing() {
    let clock = Arc::new(Breaking::default());
    let engine = Engine::builder().clock(Arc::clone(&clock)).build();
    engine.upsert_owner(&owner("key:k"), &[]).unwrap();
    let budget = Budget::new(nanos(10), per("1m"));
    engine.upsert_limit(&owner("key:k"), &id("budget"), budget).unwrap();
    let remove_limit = || drop(engine.remove_limit(&id("budget")));
    let remove_owner = || drop(engine.remove_owner(&owner("key:k")));
    for remove in [&remove_limit as &dyn Fn(), &remove_owner] {
        // Relaxed: one thread.
        clock.0.store(true, Ordering::Relaxed);
        catch_unwind(AssertUnwindSafe(remove)).unwrap_err();
        assert!(engine.usage(&id("budget")).is_some());
    }
}

/// L13: another period on a clock that is behind lays no window before the one in force, which
/// would be over at once when the clock is right again.
#[test]
fn another_period_on_a_clock_that_is_behind_reopens_nothing() {
    let kit = kit_at("2026-03-01T12:00:00Z");
    let alignment = tollkeeper::Alignment::new();
    let daily = tollkeeper::Period::calendar("1d", &alignment).expect("a day");
    kit.limit("key:k", "budget", Budget::new(nanos(10), daily));
    kit.set("2026-03-03T12:00:00Z");
    kit.bump(&["key:k"], &cost(10));
    kit.set("2026-03-02T22:30:00Z");
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1h")));
    kit.set("2026-03-03T00:00:01Z");
    let denied = kit.deny(&["key:k"], &cost(1));
    assert_eq!(only(&denied).settled, 10, "what was spent on the 3rd is counted on the 3rd");
}

/// Whoever comes to one counter of a limit rolls every window of the limit that has ended, even one
/// of a counter that the request was not admitted to.
#[test]
fn whoever_comes_to_a_limit_rolls_all_of_it() {
    let kit = kit();
    let tokens_an_hour = RateLimit::new().tokens(10, per("1h"));
    kit.limit("key:k", "rate", tokens_an_hour.clone());
    let old = kit.admit(&["key:k"], &tokens(1));
    kit.limit("key:k", "rate", tokens_an_hour.requests(10, per("1s")));
    kit.bump(&["key:k"], &tokens(1));
    kit.advance(second());
    old.void();
    let closed = |event: &tollkeeper::Event| {
        event.dimension == Dimension::Requests
            && matches!(event.what, EventKind::WindowClosed { total: 1, .. })
    };
    assert!(kit.happened().iter().any(closed), "the window of requests was left open");
}
