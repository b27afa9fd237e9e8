//! Limits that are soft or shadow: they count like hard ones, deny nothing, and report what passed.

use std::time::Duration;

use tollkeeper::{
    Budget, Concurrency, Dimension, Enforcement, Event, EventKind, Lasts, Limit, Peek, RateLimit,
    Retry, Upserted, Usage,
};

use crate::kit::*;

const NOT_HARD: [Enforcement; 2] = [Enforcement::Soft, Enforcement::Shadow];

fn of_each_kind(limit: u64, enforcement: Enforcement) -> [Limit; 5] {
    let rate = RateLimit::new().enforcement(enforcement);
    [
        Budget::new(nanos(limit), per("1m")).enforcement(enforcement).into(),
        Budget::prepaid(nanos(limit)).enforcement(enforcement).into(),
        rate.clone().tokens(limit, per("1m")).into(),
        rate.requests(limit, per("1m")).into(),
        Concurrency::new(limit).enforcement(enforcement).into(),
    ]
}

/// One request that uses one unit of everything.
fn a_unit() -> Usage {
    Usage { cost: nanos(1), ..tokens(1) }
}

/// What passed a limit: requested, settled, held and limit of each report, in order.
fn passed(events: &[Event], limit: &str) -> Vec<(u64, u64, u64, u64)> {
    let of = |event: &Event| match event.what {
        EventKind::Passed { requested, settled, held, limit: most } if event.limit == id(limit) => {
            Some((requested, settled, held, most))
        }
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn exhausted(events: &[Event]) -> usize {
    let is = |event: &&Event| matches!(event.what, EventKind::Exhausted { .. });
    events.iter().filter(is).count()
}

fn tokens_of(limit: u64, enforcement: Enforcement) -> RateLimit {
    RateLimit::new().tokens(limit, per("1m")).enforcement(enforcement)
}

/// The same requests on a limit that has room for all of them, and on one that has room for two.
#[test]
fn they_count_like_any_limit_and_report_each_request_that_passes() {
    for enforcement in NOT_HARD {
        let roomy = of_each_kind(100, Enforcement::Hard);
        for (definition, roomy) in of_each_kind(2, enforcement).into_iter().zip(roomy) {
            let kit = kit();
            kit.limit("key:k", "l", definition);
            kit.limit("key:roomy", "roomy", roomy);
            let play = |owner: &str| {
                let mut open: Vec<_> = (0..5).map(|_| kit.admit(&[owner], &a_unit())).collect();
                let _ = open.remove(0).settle(&a_unit());
                let _ = open.remove(0).settle(&Usage { cost: nanos(3), ..tokens(3) });
                open.remove(0).void();
                kit.bump(&[owner], &a_unit());
                open
            };
            let _open = (play("key:k"), play("key:roomy"));
            assert_eq!(kit.counts("l"), kit.counts("roomy"));
            let happened = kit.happened();
            assert_eq!(passed(&happened, "l"), [(1, 0, 2, 2), (1, 0, 3, 2), (1, 0, 4, 2)]);
            assert_eq!(passed(&happened, "roomy"), []);
            assert_eq!(exhausted(&happened), 1, "once, like that of a hard limit");
            let usage = kit.engine.usage(&id("l")).unwrap();
            assert_eq!(usage.enforcement, enforcement);
            assert!(usage.counters[0].percent().unwrap() > 100 || usage.counters[0].held == 2);
        }
    }
}

/// It is admitted by the same counts as a hard limit admits by: whatever fits is not reported.
#[test]
fn what_fits_is_not_reported_and_a_new_window_has_room_again() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Soft));
    let _full = kit.admit(&["key:k"], &tokens(10));
    assert_eq!(passed(&kit.happened(), "l"), []);
    let _over = kit.admit(&["key:k"], &tokens(1));
    assert_eq!(passed(&kit.happened(), "l"), [(1, 0, 10, 10)]);
    kit.advance(minute());
    let _fits = kit.admit(&["key:k"], &tokens(10));
    let happened = kit.happened();
    assert_eq!(passed(&happened, "l"), []);
    assert_eq!(kit.counts("l"), (0, 10));
    let total = |event: &Event| match event.what {
        EventKind::WindowClosed { total, held, .. } => Some((total, held)),
        _ => None,
    };
    assert_eq!(happened.iter().find_map(total), Some((11, 11)));
}

/// "Never" of a hard limit, and an estimate of nothing at an exhausted one.
#[test]
fn requests_larger_than_the_limit_and_requests_of_nothing_pass() {
    for enforcement in NOT_HARD {
        let kit = kit();
        kit.limit("key:k", "l", tokens_of(10, enforcement));
        let large = kit.admit(&["key:k"], &tokens(25));
        let happened = kit.happened();
        assert_eq!(passed(&happened, "l"), [(25, 0, 0, 10)]);
        assert_eq!(exhausted(&happened), 0, "an empty window has no room for it either");
        let _nothing = kit.admit(&["key:k"], &nothing());
        assert_eq!(passed(&kit.happened(), "l"), [(0, 0, 25, 10)]);
        assert!(large.settle(&tokens(25)).overshoots().is_empty(), "no more than was held");
        assert_eq!(kit.counts("l"), (25, 0));
        kit.limit("key:zero", "zero", tokens_of(0, enforcement));
        let _zero = kit.admit(&["key:zero"], &tokens(1));
        assert_eq!(passed(&kit.happened(), "zero"), [(1, 0, 0, 0)]);
    }
}

#[test]
fn a_settlement_above_its_hold_overshoots_as_on_any_limit() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Soft).thresholds(&[50, 100]));
    let over = kit.admit(&["key:k"], &tokens(12));
    let settlement = over.settle(&tokens(15));
    assert_eq!(settlement.overshoots()[0].amount, 3);
    let thresholds = |event: Event| match event.what {
        EventKind::Threshold { percent, settled, .. } => Some((percent, settled)),
        _ => None,
    };
    let given: Vec<_> = kit.happened().into_iter().filter_map(thresholds).collect();
    assert_eq!(given, [(50, 15), (100, 15)]);
}

/// Only a limit that is not hard is held on where it is zero. Nothing booked there is no notice,
/// neither on the usual way nor where a window of the other counter has ended.
#[test]
fn nothing_settled_on_a_limit_of_zero_calls_for_no_notice() {
    for waits in [false, true] {
        let kit = kit();
        let rate = RateLimit::new().tokens(0, per("1h")).requests(9, per("1m"));
        kit.limit("key:k", "l", rate.thresholds(&[50]).enforcement(Enforcement::Soft));
        let open = kit.admit(&["key:k"], &tokens(0));
        if waits {
            kit.advance(minute());
        }
        let _ = open.settle(&tokens(0));
        let happened = kit.happened();
        assert_eq!(passed(&happened, "l"), [(0, 0, 0, 0)]);
        let told = happened.iter().filter(|event| event.dimension == Dimension::Tokens);
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1, "{waits}: that it passed, and no more: {told:?}");
    }
}

#[test]
fn a_peek_foretells_it_and_reports_nothing() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Shadow));
    let route = kit.route(&["key:k"]);
    assert_eq!(kit.engine.peek(&route, &tokens(11)), Peek::WouldAdmit);
    assert_eq!(kit.happened(), []);
    assert_eq!(kit.counts("l"), (0, 0));
}

#[test]
fn an_extension_passes_and_is_reported() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Soft));
    kit.limit("key:k", "flight", Concurrency::new(1).enforcement(Enforcement::Soft));
    let mut open = kit.admit(&["key:k"], &tokens(8));
    open.extend(&tokens(5)).unwrap();
    let happened = kit.happened();
    assert_eq!(passed(&happened, "l"), [(5, 0, 8, 10)]);
    // An amount of zero asks nothing, of a full limit neither.
    open.extend(&Usage { requests: 1, ..nothing() }).unwrap();
    assert_eq!(kit.happened(), []);
    assert_eq!(kit.counts("l"), (0, 13));
    open.void();
    assert_eq!((kit.counts("l"), kit.counts("flight")), ((0, 0), (0, 0)));
}

/// L6: what a hard limit refuses holds nowhere, and passed no limit. The denial names the hard one.
#[test]
fn what_a_hard_limit_refuses_passed_none_and_only_that_one_is_named() {
    let kit = kit();
    kit.limit("key:k", "soft", tokens_of(10, Enforcement::Soft));
    kit.limit("key:k", "hard", RateLimit::new().tokens(20, per("1h")));
    kit.limit("key:k", "shadow", tokens_of(10, Enforcement::Shadow));
    let mut open = kit.admit(&["key:k"], &tokens(15));
    let happened = kit.happened();
    assert_eq!(passed(&happened, "soft"), [(15, 0, 0, 10)]);
    assert_eq!(passed(&happened, "shadow"), [(15, 0, 0, 10)]);

    let denied = kit.deny(&["key:k"], &tokens(6));
    assert_eq!(named(&denied), [("hard".to_owned(), Dimension::Tokens)]);
    assert_eq!(denied.retry(), Retry::At(instant("2026-03-01T01:00:00Z")));
    let peek = kit.engine.peek(&kit.route(&["key:k"]), &tokens(6));
    assert_eq!(peek, Peek::WouldDeny(denied));
    let refused = open.extend(&tokens(6)).unwrap_err();
    assert_eq!(named(&refused), [("hard".to_owned(), Dimension::Tokens)]);
    let happened = kit.happened();
    assert_eq!((passed(&happened, "soft"), passed(&happened, "shadow")), (vec![], vec![]));
    for limit in ["soft", "hard", "shadow"] {
        assert_eq!(kit.counts(limit), (0, 15), "{limit}");
    }
}

/// Both counters of a limit, and several limits: each in the order of the route.
#[test]
fn each_counter_that_is_passed_is_reported() {
    let kit = kit();
    let rate = RateLimit::new().tokens(1, per("1m")).requests(0, per("1m"));
    kit.limit("key:k", "rate", rate.enforcement(Enforcement::Soft));
    kit.limit("key:k", "flight", Concurrency::new(0).enforcement(Enforcement::Shadow));
    kit.limit("key:k", "budget", Budget::prepaid(nanos(0)).enforcement(Enforcement::Soft));
    let _open = kit.admit(&["key:k"], &Usage { cost: nanos(7), ..tokens(2) });
    let of = |event: Event| match event.what {
        EventKind::Passed { requested, .. } => Some((event.dimension, requested)),
        _ => None,
    };
    let told: Vec<_> = kit.happened().into_iter().filter_map(of).collect();
    let (tokens, requests) = ((Dimension::Tokens, 2), (Dimension::Requests, 1));
    assert_eq!(told, [tokens, requests, (Dimension::InFlight, 1), (Dimension::Money, 7)]);
}

/// More than a counter can hold is denied, whatever the limit is: it could not be counted.
#[test]
fn what_cannot_be_held_is_denied_and_says_so() {
    for enforcement in NOT_HARD {
        let kit = kit();
        kit.limit("key:k", "l", tokens_of(10, enforcement));
        let denied = kit.deny(&["key:k"], &tokens(HELD_MAX + 1));
        let binding = only(&denied);
        assert_eq!((binding.limit_amount, binding.retry), (None, Retry::Never));
        let _most = kit.admit(&["key:k"], &tokens(HELD_MAX));
        let denied = kit.deny(&["key:k"], &tokens(1));
        let binding = only(&denied);
        assert_eq!((binding.limit_amount, binding.retry), (None, Retry::OnRelease));
        assert_eq!(
            denied.to_string(),
            format!(
                "denied by l of key:k: 1 requested, 0 settled and {HELD_MAX} held, no more tokens \
                 can be held; fits when requests under way have ended"
            )
        );
        assert_eq!(kit.counts("l"), (0, HELD_MAX));
        assert_eq!(passed(&kit.happened(), "l").len(), 1);
    }
}

/// L9: usage stays, and the next admission on a route that was kept goes by what is said now.
#[test]
fn a_change_keeps_usage_and_is_in_force_at_the_next_admission() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Hard));
    let route = kit.route(&["key:k"]);
    let reserve = || kit.engine.reserve(&route, &tokens(6)).into_result();
    let first = reserve().unwrap();
    assert!(reserve().is_err());
    let before = kit.read("l");
    for enforcement in NOT_HARD {
        assert_eq!(kit.limit("key:k", "l", tokens_of(10, enforcement)), Upserted::Changed);
        assert_eq!(kit.limit("key:k", "l", tokens_of(10, enforcement)), Upserted::Unchanged);
        assert_eq!(kit.engine.usage(&id("l")).unwrap().enforcement, enforcement);
        assert_eq!(kit.read("l"), before);
        let second = reserve().unwrap();
        assert_eq!(kit.counts("l"), (0, 12));
        assert_eq!(kit.limit("key:k", "l", tokens_of(10, Enforcement::Hard)), Upserted::Changed);
        assert!(reserve().is_err(), "it is past its limit, and hard again");
        assert_eq!(kit.counts("l"), (0, 12), "what was admitted stays");
        second.void();
    }
    let _ = first.settle(&tokens(6));
    assert_eq!(kit.counts("l"), (6, 0));
}

/// Operators' grants change the limit and nothing else, a reset and an import the usage.
#[test]
fn it_outlives_overrides_top_ups_resets_and_imports() {
    let kit = kit();
    kit.limit("key:k", "l", tokens_of(10, Enforcement::Soft));
    kit.limit("key:p", "p", Budget::prepaid(nanos(10)).enforcement(Enforcement::Shadow));
    let passes = |amount: u64, limit: &str| {
        let both = Usage { cost: nanos(amount), ..tokens(amount) };
        let _done = kit.admit(&["key:k", "key:p"], &both);
        passed(&kit.happened(), limit).into_iter().map(|(.., limit)| limit).collect::<Vec<_>>()
    };
    let engine = &kit.engine;
    engine.override_limit(&id("l"), Dimension::Tokens, 20, Lasts::UntilCleared).unwrap();
    engine.top_up(&id("p"), nanos(5)).unwrap();
    assert!(passes(15, "l").is_empty());
    assert_eq!(passes(16, "p"), [15]);
    assert_eq!(passes(21, "l"), [20]);
    engine.clear_override(&id("l"), Dimension::Tokens).unwrap();
    engine.reset(&id("l"), None).unwrap();
    assert_eq!(passes(11, "l"), [10]);
    kit.bump(&["key:k"], &tokens(9));
    let state = engine.export();
    kit.advance(Duration::from_secs(1));
    engine.import(&state).unwrap();
    assert_eq!(kit.counts("l"), (9, 0));
    assert_eq!(passes(2, "l"), [10]);
    let enforcement = |limit: &str| engine.usage(&id(limit)).unwrap().enforcement;
    assert_eq!((enforcement("l"), enforcement("p")), (Enforcement::Soft, Enforcement::Shadow));
}
