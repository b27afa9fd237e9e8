//! More threads than units: exactly as many are admitted as there are.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollkeeper::{
    Budget, Concurrency, Enforcement, EventKind, Limit, RateLimit, Reservation, Usage,
};

use crate::kit::*;
use crate::on_threads;

const THREADS: usize = 8;

/// One request that uses one unit of everything.
fn a_unit() -> Usage {
    Usage { cost: nanos(1), ..tokens(1) }
}

/// Every thread takes until it is denied, or has more than all of them together may have. Whatever
/// was admitted is held.
fn take_all(
    kit: &Kit,
    limit: u64,
    owner: impl Fn(usize) -> String + Sync,
) -> Vec<Vec<Reservation>> {
    let barrier = Barrier::new(THREADS);
    on_threads(THREADS, |n| {
        let route = kit.route(&[&owner(n)]);
        let take = |_| kit.engine.reserve(&route, &a_unit()).into_result().ok();
        barrier.wait();
        (0..=limit).map_while(take).collect()
    })
}

fn of_each_kind(limit: u64) -> [Limit; 4] {
    [
        Budget::new(nanos(limit), per("1m")).into(),
        RateLimit::new().tokens(limit, per("1m")).into(),
        RateLimit::new().requests(limit, per("1m")).into(),
        Concurrency::new(limit).into(),
    ]
}

/// L5, in every dimension: K threads compete for L units, and exactly L are admitted.
#[test]
fn exactly_the_limit_is_admitted_whatever_it_counts() {
    for limit in [1, 7, 5_000] {
        for definition in of_each_kind(limit) {
            let kit = kit();
            kit.limit("key:k", "l", definition);
            let taken = take_all(&kit, limit, |_| "key:k".into());
            assert_eq!(taken.iter().map(Vec::len).sum::<usize>() as u64, limit);
            assert_eq!(kit.counts("l"), (0, limit));
            drop(taken);
            assert_eq!(kit.counts("l"), (0, 0));
        }
    }
}

/// All are admitted by a limit that is not hard, and exactly those are reported that a hard one
/// would have denied.
#[test]
fn all_are_admitted_past_a_soft_limit_and_those_above_it_reported() {
    const LIMIT: u64 = 500;
    let soft: [Limit; 3] = [
        Budget::new(nanos(LIMIT), per("1m")).enforcement(Enforcement::Soft).into(),
        RateLimit::new().tokens(LIMIT, per("1m")).enforcement(Enforcement::Shadow).into(),
        Concurrency::new(LIMIT).enforcement(Enforcement::Soft).into(),
    ];
    for definition in soft {
        let kit = kit();
        kit.limit("key:k", "l", definition);
        let taken = take_all(&kit, LIMIT, |_| "key:k".into());
        let all = (LIMIT + 1) * THREADS as u64;
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>() as u64, all);
        assert_eq!(kit.counts("l"), (0, all));
        let held = |event: tollkeeper::Event| match event.what {
            EventKind::Passed { held, .. } => Some(held),
            _ => None,
        };
        let mut seen: Vec<u64> = kit.happened().into_iter().filter_map(held).collect();
        seen.sort_unstable();
        assert_eq!(seen, (LIMIT..all).collect::<Vec<_>>(), "each of what it found");
        drop(taken);
        assert_eq!(kit.counts("l"), (0, 0));
    }
}

/// L5 and L6 over routes of one to five owners that meet in their ancestors: the top admits exactly
/// what it has, and below it each holds exactly what was admitted through it.
#[test]
fn exactly_the_limit_is_admitted_at_the_top_of_routes_of_any_depth() {
    const LIMIT: u64 = 203;
    for depth in 1..=5_usize {
        for (top, definition) in of_each_kind(LIMIT).into_iter().enumerate() {
            let kit = kit();
            kit.limit("top:0", "top", definition);
            // Between the top and the keys, each level has half as many owners as there are
            // threads, or fewer; a key of its own for each thread at the bottom.
            for level in 1..depth {
                let width = (1 << level).min(THREADS);
                for n in 0..width {
                    let parent = if level == 1 { 0 } else { n / 2 };
                    let parent = if level == 1 {
                        "top:0".to_owned()
                    } else {
                        format!("level{}:{parent}", level - 1)
                    };
                    let owner = format!("level{level}:{n}");
                    kit.owner(&owner, &[&parent]);
                    for (kind, limit) in of_each_kind(LIMIT + 1).into_iter().enumerate() {
                        kit.limit(&owner, &format!("{owner} {kind}"), limit);
                    }
                }
            }
            let bottom = |n: usize| match depth {
                1 => "top:0".to_owned(),
                _ => format!("level{}:{}", depth - 1, n % (1 << (depth - 1)).min(THREADS)),
            };
            let taken = take_all(&kit, LIMIT, bottom);
            let admitted = taken.iter().map(Vec::len).sum::<usize>() as u64;
            assert_eq!((admitted, kit.counts("top")), (LIMIT, (0, LIMIT)), "{depth} {top}");
            for usage in kit.engine.usage_all() {
                let through: u64 = (0..THREADS)
                    .filter(|&n| passes(&kit, &bottom(n), usage.limit.as_str()))
                    .map(|n| taken[n].len() as u64)
                    .sum();
                assert_eq!(usage.counters[0].held, through, "{}", usage.limit);
            }
            drop(taken);
            assert!(kit.engine.usage_all().all(|usage| usage.counters[0].held == 0));
        }
    }
}

fn passes(kit: &Kit, owner: &str, limit: &str) -> bool {
    kit.engine.route_usage(&kit.route(&[owner])).iter().any(|u| u.limit.as_str() == limit)
}

/// L5 and L6 where the limits of several levels bind, so that holds are taken back all the time: a
/// request may be refused for a hold that goes away, but no limit is passed at any moment, and what
/// is left in the end is there for who asks then.
#[test]
fn limits_that_bind_on_several_levels_are_never_passed_and_fill_up_in_the_end() {
    let kit = kit();
    kit.limit("org:o", "org", RateLimit::new().tokens(900, per("1m")));
    kit.limit("team:a", "a", Budget::new(nanos(500), per("1m")));
    kit.limit("team:b", "b", RateLimit::new().requests(500, per("1m")));
    kit.owner("team:a", &["org:o"]);
    kit.owner("team:b", &["org:o"]);
    let done = AtomicBool::new(false);
    let barrier = Barrier::new(THREADS + 1);
    let work = |n: usize| {
        let route = kit.route(&[if n.is_multiple_of(2) { "team:a" } else { "team:b" }]);
        let mut taken = Vec::new();
        barrier.wait();
        for _ in 0..400 {
            taken.extend(kit.engine.reserve(&route, &a_unit()).into_result());
        }
        taken
    };
    let watch = || {
        let mut passed = Vec::new();
        barrier.wait();
        while !done.load(Ordering::Acquire) {
            let over = |usage: &tollkeeper::LimitUsage| {
                usage.counters[0].committed() > usage.counters[0].limit.unwrap()
            };
            passed.extend(kit.engine.usage_all().filter(over));
        }
        passed
    };
    let (taken, passed) = std::thread::scope(|scope| {
        let watcher = scope.spawn(watch);
        let taken = on_threads(THREADS, work);
        done.store(true, Ordering::Release);
        (taken, watcher.join().unwrap())
    });
    assert_eq!(passed, []);
    let mut rest = Vec::new();
    for team in ["team:a", "team:b"] {
        let route = kit.route(&[team]);
        let take = |_| kit.engine.reserve(&route, &a_unit()).into_result().ok();
        rest.extend((0..=900).map_while(take));
    }
    assert_eq!(taken.iter().map(Vec::len).sum::<usize>() + rest.len(), 900);
    assert_eq!(kit.counts("org"), (0, 900));
    assert_eq!(kit.counts("a").1 + kit.counts("b").1, 900);
}

/// L5 for requests in flight, seen from outside: never more of them than the limit.
#[test]
fn no_more_requests_are_in_flight_than_may_be() {
    const LIMIT: u64 = 3;
    let kit = kit();
    kit.limit("key:k", "flight", Concurrency::new(LIMIT));
    let (in_flight, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let barrier = Barrier::new(THREADS);
    on_threads(THREADS, |_| {
        let route = kit.route(&["key:k"]);
        barrier.wait();
        for _ in 0..2_000 {
            let Ok(reservation) = kit.engine.reserve(&route, &a_unit()).into_result() else {
                std::thread::yield_now();
                continue;
            };
            let now = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            in_flight.fetch_sub(1, Ordering::SeqCst);
            let _ = reservation.settle(&a_unit());
        }
    });
    assert!(most.load(Ordering::SeqCst) <= LIMIT);
    assert_eq!(kit.counts("flight"), (0, 0));
}

/// L7: a thread that panics while it has a reservation gives it back; one that had called its
/// upstream books it.
#[test]
fn a_thread_that_panics_leaves_nothing_held() {
    let kit = kit();
    kit.limit("key:k", "flight", Concurrency::new(2));
    kit.limit("key:k", "budget", Budget::new(nanos(100), per("1m")));
    let panics = |dispatch: bool| {
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut reservation = kit.admit(&["key:k"], &cost(30));
                if dispatch {
                    reservation.mark_dispatched();
                }
                // Without the hook's message: this panic is meant.
                std::panic::resume_unwind(Box::new("the upstream's answer was malformed"));
            });
            thread.join().is_err()
        });
        assert!(panicked);
    };
    panics(false);
    assert_eq!((kit.counts("flight"), kit.counts("budget")), ((0, 0), (0, 0)));
    panics(true);
    assert_eq!((kit.counts("flight"), kit.counts("budget")), ((0, 0), (30, 0)));
}
