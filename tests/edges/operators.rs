//! What operators do, to limits that are there and to limits that are not.

use std::num::NonZeroU16;

use tollkeeper::{
    Budget, Concurrency, Dimension, EventKind, Lasts, Money, OperatorError, RateLimit,
    ResetOutcome, Retry, StateError, Sweep, TopologyError, Upserted,
};

use crate::kit::*;

/// Every operator's call answers for a limit that does not exist.
#[test]
fn an_unknown_limit_is_an_error_in_every_call() {
    let kit = kit();
    let gone = id("gone");
    let unknown = OperatorError::UnknownLimit { limit: gone.clone() };
    assert_eq!(kit.engine.reset(&gone, None), Err(unknown.clone()));
    assert_eq!(kit.engine.reset(&gone, Some(Dimension::Tokens)), Err(unknown.clone()));
    assert_eq!(kit.engine.reset_window(&gone, Dimension::Tokens, 0), Err(unknown.clone()));
    assert_eq!(kit.engine.top_up(&gone, nanos(1)), Err(unknown.clone()));
    let overridden = kit.engine.override_limit(&gone, Dimension::Money, 1, Lasts::UntilCleared);
    assert_eq!(overridden, Err(unknown.clone()));
    assert_eq!(kit.engine.clear_override(&gone, Dimension::Money), Err(unknown));
    assert_eq!(kit.engine.usage(&gone), None);
    let removed = kit.engine.remove_limit(&gone);
    assert_eq!(removed, Err(TopologyError::UnknownLimit { limit: gone }));
    assert_eq!(kit.engine.reset_expired(), Sweep::default());
}

/// A dimension that the limit does not count, a kind that has no window, credit where none is.
#[test]
fn what_a_limit_does_not_have_is_an_error_and_changes_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.limit("key:k", "flight", Concurrency::new(1));
    kit.limit("key:k", "requests", RateLimit::new().requests(1, per("1m")));
    let before: Vec<_> = kit.engine.route_usage(&kit.route(&["key:k"]));
    let not = |limit: &str, dimension| OperatorError::NotCounted { limit: id(limit), dimension };
    let reset = |limit, dimension| kit.engine.reset(&id(limit), Some(dimension)).unwrap_err();
    assert_eq!(reset("budget", Dimension::Tokens), not("budget", Dimension::Tokens));
    assert_eq!(reset("requests", Dimension::Tokens), not("requests", Dimension::Tokens));
    let no_window = OperatorError::NoWindow { limit: id("flight") };
    assert_eq!(reset("flight", Dimension::InFlight), no_window);
    assert_eq!(kit.engine.reset(&id("flight"), None), Err(no_window.clone()));
    assert_eq!(kit.engine.reset_window(&id("flight"), Dimension::InFlight, 0), Err(no_window));
    let not_prepaid = OperatorError::NotPrepaid { limit: id("budget") };
    assert_eq!(kit.engine.top_up(&id("budget"), nanos(1)), Err(not_prepaid));
    let not_prepaid = OperatorError::NotPrepaid { limit: id("flight") };
    assert_eq!(kit.engine.top_up(&id("flight"), nanos(1)), Err(not_prepaid));
    let instead = |limit, dimension, instead| {
        kit.engine.override_limit(&id(limit), dimension, instead, Lasts::UntilCleared)
    };
    assert_eq!(instead("budget", Dimension::Requests, 1), Err(not("budget", Dimension::Requests)));
    let too_large = OperatorError::TooLarge { limit: id("budget") };
    assert_eq!(instead("budget", Dimension::Money, SETTLED_MAX + 1), Err(too_large));
    assert_eq!(kit.engine.route_usage(&kit.route(&["key:k"])), before);
    assert_eq!(kit.happened(), []);
}

/// L9: lowering denies until the window ends, raising admits at once, and usage is what it was.
#[test]
fn a_limit_lowered_below_its_usage_denies_until_its_window_ends() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(100, per("1m")));
    let held = kit.admit(&["key:k"], &tokens(20));
    kit.bump(&["key:k"], &tokens(40));
    assert_eq!(
        kit.limit("key:k", "rate", RateLimit::new().tokens(50, per("1m"))),
        Upserted::Changed
    );
    let counter = kit.read("rate");
    assert_eq!((counter.settled, counter.held, counter.generation), (40, 20, 0));
    assert_eq!((counter.limit, counter.remaining()), (Some(50), Some(0)));
    let boundary = Retry::At(instant("2026-03-01T00:01:00Z"));
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(1))).retry, boundary);
    assert_eq!(held.settle(&tokens(20)).overshoots(), [], "it was within its hold");
    kit.limit("key:k", "rate", RateLimit::new().tokens(61, per("1m")));
    let _raised = kit.admit(&["key:k"], &tokens(1));
    assert!(!kit.admits(&["key:k"], &tokens(1)));
    kit.limit("key:k", "rate", RateLimit::new().tokens(50, per("1m")));
    kit.advance(minute());
    assert!(kit.admits(&["key:k"], &tokens(50)));
    assert_eq!(kit.closed("rate"), [61]);
}

/// What is lowered below its usage is exhausted, and somebody should know: by definition, by
/// override, and by what is imported.
#[test]
fn passing_a_threshold_without_spending_gives_notice_too() {
    let notices = |kit: &Kit| -> Vec<(u64, EventKind)> {
        let news =
            |event: &tollkeeper::Event| !matches!(event.what, EventKind::WindowClosed { .. });
        let events = kit.happened().into_iter().filter(news);
        events.map(|event| (event.generation, event.what)).collect()
    };
    let budget = |limit| Budget::new(nanos(limit), per("1m")).thresholds(&[80]);
    let reached = |limit| {
        [
            EventKind::Threshold { percent: 80, settled: 30, limit },
            EventKind::Exhausted { settled: 30, held: 0, limit },
        ]
    };
    let kit = kit();
    for limit in ["defined", "overridden", "imported"] {
        kit.limit("key:k", limit, budget(100));
    }
    kit.bump(&["key:k"], &cost(30));
    let state = kit.engine.export();
    assert_eq!(notices(&kit), []);
    kit.limit("key:k", "defined", budget(30));
    assert_eq!(notices(&kit), reached(30).map(|what| (0, what)));
    let lasts = Lasts::UntilCleared;
    kit.engine.override_limit(&id("overridden"), Dimension::Money, 20, lasts).unwrap();
    assert_eq!(notices(&kit), reached(20).map(|what| (0, what)));
    kit.engine.reset(&id("imported"), None).unwrap();
    kit.limit("key:k", "imported", budget(25));
    kit.happened();
    let mut state = state;
    state.limits.retain(|limit| limit.limit == id("imported"));
    kit.engine.import(&state).unwrap();
    assert_eq!(notices(&kit), reached(25).map(|what| (2, what)));
}

/// Thresholds are remembered by their percentage: a new one in front of an old one is new, and the
/// old one is old.
#[test]
fn a_threshold_that_was_reached_is_not_reached_again_in_another_place() {
    let kit = kit();
    let budget = |thresholds: &[u8]| Budget::new(nanos(100), per("1m")).thresholds(thresholds);
    let fired = |kit: &Kit| -> Vec<u8> {
        let percent = |event: tollkeeper::Event| match event.what {
            EventKind::Threshold { percent, .. } => Some(percent),
            _ => None,
        };
        kit.happened().into_iter().filter_map(percent).collect()
    };
    kit.limit("key:k", "budget", budget(&[80]));
    kit.bump(&["key:k"], &cost(85));
    assert_eq!(fired(&kit), [80]);
    kit.limit("key:k", "budget", budget(&[50, 80]));
    assert_eq!(fired(&kit), [50]);
    kit.limit("key:k", "budget", budget(&[60]));
    assert_eq!(fired(&kit), [60]);
    kit.limit("key:k", "budget", budget(&[80]));
    kit.bump(&["key:k"], &cost(1));
    assert_eq!(fired(&kit), [0; 0]);
    kit.advance(minute());
    kit.bump(&["key:k"], &cost(85));
    assert_eq!(fired(&kit), [80], "once in each window");
}

/// L2, L3: a reset that names a window ends that one or none.
#[test]
fn a_reset_of_a_window_that_is_over_is_told_that_it_lost() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.bump(&["key:k"], &cost(4));
    let _held = kit.admit(&["key:k"], &cost(3));
    let limit = id("budget");
    let stale = kit.read("budget").generation;
    kit.advance(second());
    let reset = || kit.engine.reset_window(&limit, Dimension::Money, stale).unwrap();
    let ResetOutcome::Reset { total, window, generation, .. } = reset() else { panic!() };
    assert_eq!((total, generation), (7, 1));
    assert_eq!(window.start, instant("2026-03-01T00:00:01Z"));
    assert_eq!(window.end, instant("2026-03-01T00:01:00Z"), "the boundary stays");
    kit.bump(&["key:k"], &cost(2));
    let ResetOutcome::Lost { generation, .. } = reset() else { panic!() };
    assert_eq!((generation, kit.counts("budget")), (1, (2, 0)));
    let future = kit.engine.reset_window(&limit, Dimension::Money, 7).unwrap();
    assert!(matches!(future, ResetOutcome::Lost { generation: 1, .. }), "nor one to come");
    assert_eq!(kit.counts("budget"), (2, 0));
}

/// Resets of one instant begin windows that ascend, and each is closed once.
#[test]
fn resets_at_the_same_instant_begin_windows_a_nanosecond_apart() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    for n in 1..=3 {
        kit.bump(&["key:k"], &cost(n));
        kit.engine.reset(&id("budget"), None).unwrap();
    }
    assert_eq!(kit.read("budget").window.start, instant("2026-03-01T00:00:00.000000003Z"));
    assert_eq!(kit.closed("budget"), [1, 2, 3]);
    // At the very end of a window there is no room left, and the last instant serves again.
    kit.set("2026-03-01T00:00:59.999999999Z");
    kit.engine.reset(&id("budget"), None).unwrap();
    kit.engine.reset(&id("budget"), None).unwrap();
    let window = kit.read("budget").window;
    assert_eq!(window.length(), a_nano());
    assert_eq!(window.end, instant("2026-03-01T00:01:00Z"));
}

/// Credit adds up, survives a change of the definition, and never wraps.
#[test]
fn a_prepaid_budget_is_topped_up_and_never_resets_by_itself() {
    let kit = kit();
    kit.limit("key:k", "credit", Budget::prepaid(nanos(10)));
    kit.bump(&["key:k"], &cost(10));
    kit.advance(minute() * 60 * 24 * 365 * 40);
    let denied = only(&kit.deny(&["key:k"], &cost(1)));
    assert_eq!((denied.retry, denied.settled), (Retry::OnTopUp, 10));
    assert_eq!(kit.engine.top_up(&id("credit"), nanos(5)), Ok(nanos(15)));
    assert_eq!(kit.engine.top_up(&id("credit"), Money::ZERO), Ok(nanos(15)));
    let _held = kit.admit(&["key:k"], &cost(5));
    kit.limit("key:k", "credit", Budget::prepaid(nanos(20)));
    assert_eq!(kit.read("credit").limit, Some(25));
    let too_large = OperatorError::TooLarge { limit: id("credit") };
    assert_eq!(kit.engine.top_up(&id("credit"), Money::MAX), Err(too_large));
    assert_eq!(kit.engine.top_up(&id("credit"), nanos(SETTLED_MAX - 25)), Ok(Money::MAX));
    assert_eq!(kit.counts("credit"), (10, 5));
}

/// An override lasts for its windows, by boundaries, and not a nanosecond longer.
#[test]
fn an_override_of_two_windows_ends_with_the_second() {
    let kit = kit_at("2026-03-01T00:00:30Z");
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    let two = Lasts::Windows(NonZeroU16::new(2).unwrap());
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 30, two).unwrap();
    assert_eq!(kit.read("rate").limit, Some(30));
    // A reset does not use a window up: the boundary stays where it was.
    kit.engine.reset(&id("rate"), None).unwrap();
    kit.set("2026-03-01T00:02:29.999999999Z");
    let _raised = kit.admit(&["key:k"], &tokens(30));
    kit.set("2026-03-01T00:02:30Z");
    assert_eq!(kit.read("rate").limit, Some(10));
    assert!(!kit.admits(&["key:k"], &tokens(11)));
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 0, Lasts::UntilCleared).unwrap();
    kit.limit("key:k", "rate", RateLimit::new().tokens(20, per("1m")));
    kit.advance(minute() * 1000);
    assert_eq!(kit.read("rate").limit, Some(0), "it outlives windows and definitions");
    kit.engine.clear_override(&id("rate"), Dimension::Tokens).unwrap();
    kit.engine.clear_override(&id("rate"), Dimension::Tokens).unwrap();
    assert_eq!(kit.read("rate").limit, Some(20));
}

/// The same definition again changes nothing and says so.
#[test]
fn an_upsert_of_what_is_there_already_is_unchanged() {
    let kit = kit();
    let budget = || Budget::new(nanos(10), per("24h")).thresholds(&[80, 50]);
    assert_eq!(kit.limit("key:k", "budget", budget()), Upserted::Created);
    kit.bump(&["key:k"], &cost(3));
    assert_eq!(kit.limit("key:k", "budget", budget()), Upserted::Unchanged);
    // The same in other words.
    let same = Budget::new(nanos(10), per("1d")).thresholds(&[50, 80, 50]);
    assert_eq!(kit.limit("key:k", "budget", same), Upserted::Unchanged);
    assert_eq!(kit.counts("budget"), (3, 0));
    assert_eq!(kit.owner("key:k", &[]), Upserted::Unchanged);
}

/// A document that is wrong in itself or does not fit is refused whole.
#[test]
fn a_wrong_document_changes_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.bump(&["key:k"], &cost(3));
    let state = kit.engine.export();
    kit.engine.reset(&id("budget"), None).unwrap();
    let before = kit.engine.usage(&id("budget"));
    let refused = |change: &dyn Fn(&mut tollkeeper::State)| {
        let mut state = state.clone();
        change(&mut state);
        let refused = kit.engine.import(&state).unwrap_err();
        assert_eq!(kit.engine.usage(&id("budget")), before, "{refused}");
        refused
    };
    let version = refused(&|state| state.version = 2);
    assert_eq!(version, StateError::Version { found: 2 });
    assert_eq!(version.to_string(), "version: 2 is not supported; this release reads version 1");
    let twice = refused(&|state| state.limits.push(state.limits[0].clone()));
    assert_eq!(twice, StateError::Duplicate { index: 2, limit: id("budget") });
    let other = refused(&|state| state.limits[1].owner = owner("key:other"));
    assert_eq!(
        other.to_string(),
        "limits[1].owner: rate belongs to key:k in the engine, not to key:other"
    );
    let kind = refused(&|state| {
        state.limits[1].kind = tollkeeper::LimitKind::Budget;
        state.limits[1].counters.clear();
    });
    assert!(matches!(kind, StateError::Kind { index: 1, .. }));
    let twice = refused(&|state| {
        let again = state.limits[1].counters[0].clone();
        state.limits[1].counters.push(again);
    });
    assert!(matches!(twice, StateError::DuplicateCounter { index: 1, counter: 1, .. }));
    let foreign = refused(&|state| state.limits[1].counters[0].dimension = Dimension::InFlight);
    assert!(matches!(foreign, StateError::Counter { index: 1, counter: 0, .. }));
    let amount = refused(&|state| state.limits[1].counters[0].settled = SETTLED_MAX + 1);
    assert!(matches!(amount, StateError::Amount { index: 1, counter: 0, .. }), "{amount}");
    let empty = refused(&|state| state.limits[1].counters[0].end = state.limits[1].anchor);
    assert!(matches!(empty, StateError::Window { index: 1, counter: 0, .. }), "{empty}");
}

/// Importing sets and never adds, however often; what the engine does not know is listed.
#[test]
fn importing_twice_is_importing_once() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.limit("key:k", "gone", Budget::new(nanos(10), per("1m")));
    kit.bump(&["key:k"], &cost(3));
    let state = kit.engine.export();
    kit.engine.remove_limit(&id("gone")).unwrap();
    kit.bump(&["key:k"], &cost(4));
    for _ in 0..2 {
        let imported = kit.engine.import(&state).unwrap();
        assert_eq!(
            (imported.restored, imported.ended, &imported.unknown[..]),
            (1, 0, &[id("gone")][..])
        );
        assert_eq!(kit.counts("budget"), (3, 0));
    }
    kit.advance(minute());
    kit.bump(&["key:k"], &cost(1));
    let imported = kit.engine.import(&state).unwrap();
    assert_eq!((imported.restored, imported.ended), (0, 1));
    assert_eq!(kit.counts("budget"), (1, 0), "the document's window is over");
}

/// A restart: windows are those of the document's lattice, even where nothing was left in them.
#[test]
fn an_import_restores_the_lattice_for_windows_that_have_ended_too() {
    let before = kit_at("2026-03-01T12:00:00Z");
    before.limit("key:k", "hourly", Budget::new(nanos(10), per("1h")));
    before.bump(&["key:k"], &cost(10));
    let state = before.engine.export();
    let after = kit_at("2026-03-01T14:10:00Z");
    after.limit("key:k", "hourly", Budget::new(nanos(10), per("1h")));
    after.engine.import(&state).unwrap();
    before.set("2026-03-01T14:10:00Z");
    let window = after.read("hourly").window;
    assert_eq!(window, before.read("hourly").window, "both nodes agree");
    assert_eq!(window.start, instant("2026-03-01T14:00:00Z"));
}

/// Credit is a prepaid budget's. One that becomes periodic admits its limit and no more, in every
/// window; prepaid again, it has its credit again.
#[test]
fn credit_counts_while_a_budget_is_prepaid() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::prepaid(nanos(10)));
    kit.engine.top_up(&id("budget"), nanos(5)).expect("it is prepaid");
    assert_eq!(kit.read("budget").limit, Some(15));
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1M")));
    assert_eq!(kit.read("budget").limit, Some(10));
    kit.limit("key:k", "budget", Budget::prepaid(nanos(10)));
    assert_eq!(kit.read("budget").limit, Some(15));
}

/// A counter that a limit gets later begins its first window, and closes none before it.
#[test]
fn a_counter_that_is_new_closes_no_window() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")).requests(5, per("1h")));
    assert_eq!(kit.happened(), []);
    kit.bump(&["key:k"], &tokens(1));
    assert_eq!(kit.counter("rate", Dimension::Requests).settled, 1);
}
