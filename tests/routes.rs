//! Routes that are kept, by the engine for who asks by an owner's name or by a caller: what they
//! resolve to while owners and limits change.

#[path = "support/kit.rs"]
mod kit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kit::*;
use tollkeeper::{
    Budget, Concurrency, Dimension, RateLimit, Reservation, Route, TokenWeights, Upserted,
};

fn rate(tokens: u64) -> RateLimit {
    RateLimit::new().tokens(tokens, per("1h"))
}

/// Where a token weighs so many thousandths.
fn weighed(tokens: u64, input: u32) -> RateLimit {
    rate(tokens).weights(TokenWeights { input, ..TokenWeights::default() })
}

fn asked(kit: &Kit, owner: &str) -> Route {
    kit.engine.owner_route(owner).unwrap_or_else(|| panic!("there is an owner {owner}"))
}

fn reserve(kit: &Kit, route: &Route, input_tokens: u64) -> Option<Reservation> {
    kit.engine.reserve(route, &tokens(input_tokens)).into_result().ok()
}

#[test]
fn who_is_no_owner_has_no_route() {
    let kit = kit();
    kit.owner("key:k", &[]);
    let long = format!("key:{}", "n".repeat(10_000));
    for text in ["", "key", "key:", ":k", "key:k ", " key:k", "Key:k", "key:k\n", "key:k&", &long] {
        assert!(kit.engine.owner_route(text).is_none(), "{text:?} is no owner");
    }
    assert!(kit.engine.owner_route("key:other").is_none());
    assert!(kit.engine.owner_route("key:k&model:m").is_none(), "no such pair");
    // Asked for before it was there is as good as never asked for.
    kit.limit("key:other", "rate", rate(10));
    let route = asked(&kit, "key:other");
    assert!(reserve(&kit, &route, 10).is_some() && reserve(&kit, &route, 11).is_none());
}

#[test]
fn an_owner_of_the_longest_name_and_a_pair_have_routes() {
    let kit = kit();
    let long = format!("key:{}", "n".repeat(256));
    kit.limit(&long, "long", rate(5));
    kit.limit("key:k&model:m", "pair", rate(7));
    for (text, limit, most) in [(long.as_str(), "long", 5), ("key:k&model:m", "pair", 7)] {
        for _ in 0..2 {
            let route = asked(&kit, text);
            assert_eq!(route.owners(), [owner(text)]);
            let held = reserve(&kit, &route, most).expect("there is room for that");
            assert!(reserve(&kit, &route, 1).is_none());
            assert_eq!(kit.counts(limit), (0, most));
            held.void();
        }
    }
    // The same pair in the other order is the same owner.
    let other = asked(&kit, "model:m&key:k");
    assert_eq!(other.owners(), [owner("key:k&model:m")]);
    let _ = kit.engine.bump(&other, &tokens(6));
    assert_eq!(kit.counts("pair"), (6, 0));
}

/// Its own limits, those of its ancestors, and those of the pairs among them; and of others none.
#[test]
fn the_route_of_an_owner_is_that_of_its_id() {
    let kit = kit();
    kit.limit("org:o", "org", rate(100));
    kit.limit("team:t", "team", rate(100));
    kit.owner("team:t", &["org:o"]);
    kit.limit("key:k", "key", rate(100));
    kit.owner("key:k", &["team:t"]);
    kit.limit("key:k&org:o", "pair", rate(100));
    kit.limit("key:other", "other", rate(1));
    let (asked, made) = (asked(&kit, "key:k"), kit.route(&["key:k"]));
    let ids = |route: &Route| -> Vec<_> {
        kit.engine.route_usage(route).iter().map(|usage| usage.limit.to_string()).collect()
    };
    assert_eq!(ids(&asked), ["key", "team", "org", "pair"]);
    assert_eq!(ids(&asked), ids(&made));
    let denials = [&asked, &made].map(|route| {
        let denied = kit.engine.reserve(route, &tokens(101)).into_result().unwrap_err();
        named(&denied)
    });
    assert_eq!(denials[0], denials[1]);
    let held = reserve(&kit, &asked, 3).expect("there is room");
    let _ = kit.engine.bump(&asked, &tokens(2));
    for limit in ["key", "team", "org", "pair"] {
        assert_eq!(kit.counts(limit), (2, 3), "{limit}");
    }
    held.void();
    assert_eq!(kit.counts("other"), (0, 0));
    // Another parent is another route, for who keeps one and for who asks.
    kit.owner("key:k", &["org:o"]);
    for route in [&asked, &self::asked(&kit, "key:k")] {
        assert_eq!(ids(route), ["key", "org", "pair"]);
    }
}

/// What a request of so many tokens is answered on a route that was kept before everything and on
/// one that is asked for now: the same, whichever is first to find out.
fn admits(kit: &Kit, kept: &Route, asked_first: bool, input_tokens: u64) -> bool {
    let kept = || reserve(kit, kept, input_tokens).is_some();
    let asked = || reserve(kit, &asked(kit, "key:k"), input_tokens).is_some();
    let (first, second) = if asked_first {
        let first = asked();
        (first, kept())
    } else {
        let first = kept();
        (first, asked())
    };
    assert_eq!(first, second, "{input_tokens} tokens, asked first: {asked_first}");
    first
}

#[test]
fn changes_of_a_limit_are_seen_on_routes_that_are_kept_and_asked_for() {
    for asked_first in [false, true] {
        let kit = kit();
        kit.owner("key:k", &[]);
        let kept = asked(&kit, "key:k");
        let most = |most: u64| {
            let answers = [most, most + 1].map(|n| admits(&kit, &kept, asked_first, n));
            assert_eq!(answers, [true, false], "{most} are admitted and no more");
        };
        assert!(admits(&kit, &kept, asked_first, 1_000), "without limits");
        kit.limit("key:k", "rate", rate(10));
        most(10);
        kit.limit("key:k", "rate", rate(20));
        most(20);
        kit.limit("key:k", "rate", weighed(20, 2_000));
        most(10);
        kit.limit("key:k", "rate", weighed(20, 500));
        most(40);
        kit.limit("key:k", "more", rate(30));
        most(30);
        kit.limit("key:k", "rate", RateLimit::new().requests(5, per("1h")));
        most(30);
        kit.limit("key:k", "rate", rate(7).requests(5, per("1h")));
        most(7);
        kit.limit("key:k", "rate", rate(7).requests(0, per("1h")));
        assert!(!admits(&kit, &kept, asked_first, 1));
        kit.engine.remove_limit(&id("rate")).unwrap();
        most(30);
        kit.engine.remove_limit(&id("more")).unwrap();
        assert!(admits(&kit, &kept, asked_first, 1_000), "without limits again");
    }
}

/// Back to what the route was made of, over two others: each reservation is settled by the weights
/// that it was admitted by.
#[test]
fn a_kept_route_whose_limits_change_twice_and_back_decides_by_each() {
    let kit = kit();
    kit.limit("team:t", "team", rate(10_000));
    kit.limit("key:k", "rate", weighed(1_000, 1_000));
    kit.owner("key:k", &["team:t"]);
    let (kept, by_name) = (kit.route(&["key:k"]), asked(&kit, "key:k"));
    let (mut open, mut held) = (Vec::new(), 0);
    for (round, input) in
        [1_000_u32, 2_000, 3_000, 1_000, 2_000, 1_000, 1_000].into_iter().enumerate()
    {
        let expected =
            if round == 0 || round == 6 { Upserted::Unchanged } else { Upserted::Changed };
        assert_eq!(kit.limit("key:k", "rate", weighed(1_000, input)), expected);
        for route in [&kept, &by_name, &asked(&kit, "key:k")] {
            open.push((reserve(&kit, route, 10).expect("there is room"), input));
            held += 10 * u64::from(input) / 1_000;
            assert_eq!(kit.counts("rate"), (0, held), "round {round}");
        }
    }
    let settled: u64 = open.iter().map(|(_, input)| 8 * u64::from(*input) / 1_000).sum();
    let count = open.len() as u64;
    assert_eq!(kit.counts("team"), (0, 10 * count));
    open.into_iter().for_each(|(reservation, _)| {
        assert!(!reservation.settle(&tokens(8)).is_late());
    });
    assert_eq!(kit.counts("rate"), (settled, 0));
    assert_eq!(kit.counts("team"), (8 * count, 0));
}

#[test]
fn an_owner_that_is_made_again_has_the_limits_that_it_is_made_with() {
    let kit = kit();
    kit.limit("key:k", "before", rate(10));
    let kept = [asked(&kit, "key:k"), kit.route(&["key:k"])];
    let open = reserve(&kit, &kept[0], 4).expect("there is room");
    let last = kit.engine.remove_owner(&owner("key:k")).unwrap();
    assert_eq!(last[0].counters[0].held, 4);
    for _ in 0..2 {
        assert!(kit.engine.owner_route("key:k").is_none());
        for route in &kept {
            let denied = kit.engine.reserve(route, &tokens(1)).into_result().unwrap_err();
            assert_eq!(denied.unknown_owner(), Some(&owner("key:k")));
            assert_eq!(kit.engine.unknown_owners(route), [owner("key:k")]);
        }
    }
    // The same id with another limit: nothing of before is counted there.
    kit.limit("key:k", "after", rate(7));
    let again = asked(&kit, "key:k");
    for route in [&again, &kept[0], &kept[1], &asked(&kit, "key:k")] {
        assert!(reserve(&kit, route, 8).is_none());
        let held = reserve(&kit, route, 7).expect("there is room");
        assert_eq!(kit.counts("after"), (0, 7));
        held.void();
    }
    let _ = open.settle(&tokens(4));
    assert_eq!(kit.counts("after"), (0, 0), "what was admitted before counts nowhere else");
    assert_eq!(kit.engine.usage(&id("before")), None);
}

/// Another owner, elsewhere, is no reason to decide otherwise or to forget what is held.
#[test]
fn a_change_elsewhere_changes_no_decision_and_loses_no_hold() {
    let kit = kit();
    kit.limit("key:k", "rate", rate(10));
    let kept = [asked(&kit, "key:k"), kit.route(&["key:k"])];
    let held = reserve(&kit, &kept[0], 6).expect("there is room");
    for n in 0..5 {
        kit.limit(&format!("key:other{n}"), &format!("other{n}"), rate(1));
        for route in kept.iter().chain([&asked(&kit, "key:k")]) {
            assert_eq!(kit.counts("rate"), (0, 6));
            assert!(reserve(&kit, route, 5).is_none());
            assert!(reserve(&kit, route, 4).is_some());
        }
        kit.engine.remove_owner(&owner(&format!("key:other{n}"))).unwrap();
        assert!(reserve(&kit, &kept[1], 5).is_none() && reserve(&kit, &kept[1], 4).is_some());
    }
    let _ = held.settle(&tokens(5));
    assert_eq!(kit.counts("rate"), (5, 0));
}

/// A route counts in the engine that is asked, whichever made it and whatever came between.
#[test]
fn a_route_of_one_engine_decides_in_another_by_that_ones_limits() {
    let (here, there) = (kit(), kit());
    let most = |kit: &Kit, route: &Route, most: u64| {
        assert!(reserve(kit, route, most + 1).is_none());
        assert_eq!(kit.counts("rate"), (0, 0));
        let held = reserve(kit, route, most).expect("there is room");
        assert_eq!(kit.counts("rate"), (0, most));
        drop(held);
    };
    here.limit("key:k", "rate", rate(10));
    let route = asked(&here, "key:k");
    let denied = there.engine.reserve(&route, &tokens(1)).into_result().unwrap_err();
    assert_eq!(denied.unknown_owner(), Some(&owner("key:k")));
    there.limit("key:k", "rate", rate(5));
    for round in 0..3 {
        most(&here, &route, 10 + round);
        most(&there, &route, 5 + round);
        here.limit("key:k", "rate", rate(11 + round));
        most(&there, &route, 5 + round);
        most(&here, &route, 11 + round);
        there.limit("key:k", "rate", rate(6 + round));
    }
    let theirs = reserve(&there, &route, 4).expect("there is room");
    let ours = reserve(&here, &route, 9).expect("there is room");
    let _ = (theirs.settle(&tokens(3)), ours.settle(&tokens(8)));
    let _ = there.engine.bump(&route, &tokens(1));
    assert_eq!((here.counts("rate"), there.counts("rate")), ((8, 0), (4, 0)));
}

/// L6, L9: requests on kept routes and on routes that are asked for, while a limit in the middle of
/// their way comes, goes, is too small for them or weighs otherwise.
#[test]
fn nothing_stays_held_while_a_limit_of_the_route_comes_and_goes() {
    const CHANGES: u64 = 3_000;
    let kit = kit();
    kit.limit("team:t", "team", RateLimit::new().tokens(None, per("1d")));
    kit.limit("team:t", "flight", Concurrency::new(1_000_000));
    kit.limit("key:k", "base", RateLimit::new().tokens(None, per("1d")).requests(None, per("1d")));
    kit.owner("key:k", &["team:t"]);
    let done = AtomicBool::new(false);
    let work = |seed: u64| {
        let (kit, done) = (&kit, &done);
        let kept = if seed == 0 { kit.route(&["key:k"]) } else { asked(kit, "key:k") };
        move || {
            let (mut open, mut step, mut settled, mut requests) = (Vec::new(), seed, 0, 0);
            while !done.load(Ordering::Acquire) || !open.is_empty() {
                step += 1;
                let route = if step % 3 == 0 { &asked(kit, "key:k") } else { &kept };
                if step % 5 < 3 && !done.load(Ordering::Acquire) {
                    open.extend(reserve(kit, route, 1 + step % 9));
                } else if let Some(reservation) = open.pop() {
                    if step % 2 == 0 {
                        let _ = reservation.settle(&tokens(step % 11));
                        (settled, requests) = (settled + step % 11, requests + 1);
                    } else {
                        reservation.void();
                    }
                }
            }
            (settled, requests)
        }
    };
    let (settled, requests) = thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|seed| scope.spawn(work(seed))).collect();
        for n in 0..CHANGES {
            // Too small for many of them, so that what they hold on `base` is taken back.
            kit.limit("key:k", "extra", rate(40));
            kit.limit(
                "key:k",
                "extra",
                weighed(2_000, 1_000 + 500 * u32::try_from(n % 3).unwrap()),
            );
            if n + 1 < CHANGES {
                kit.engine.remove_limit(&id("extra")).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        let each = workers.into_iter().map(|worker| worker.join().unwrap());
        each.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    assert!(requests > 0);
    assert_eq!(kit.counts("base"), (settled, 0));
    assert_eq!(kit.counter("base", Dimension::Requests).settled, requests);
    assert_eq!(kit.counter("base", Dimension::Requests).held, 0);
    assert_eq!(kit.counts("team"), (settled, 0));
    assert_eq!(kit.counts("flight"), (0, 0));
    assert_eq!(kit.counts("extra").1, 0);
}

/// A budget beside them, so that a route has more than one way to measure.
#[test]
fn a_limit_of_another_kind_comes_and_goes() {
    let kit = kit();
    kit.limit("key:k", "rate", rate(10));
    let kept = asked(&kit, "key:k");
    let usage = tollkeeper::Usage { cost: nanos(3), ..tokens(2) };
    let before = kit.engine.reserve(&kept, &usage).into_result().unwrap();
    kit.limit("key:k", "budget", Budget::new(nanos(5), per("1h")));
    let between = kit.engine.reserve(&kept, &usage).into_result().unwrap();
    assert!(!kit.engine.reserve(&kept, &usage).is_admitted(), "two of three nanos are left");
    assert_eq!((kit.counts("rate"), kit.counts("budget")), ((0, 4), (0, 3)));
    kit.engine.remove_limit(&id("budget")).unwrap();
    let after = kit.engine.reserve(&kept, &usage).into_result().unwrap();
    assert_eq!(kit.counts("rate"), (0, 6));
    kit.limit("key:k", "budget", Budget::new(nanos(5), per("1h")));
    let _ = (before.settle(&usage), between.settle(&usage), after.settle(&usage));
    assert_eq!((kit.counts("rate"), kit.counts("budget")), ((6, 0), (0, 0)));
}
