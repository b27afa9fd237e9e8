//! Two who want the same at the same time.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tollkeeper::{
    Budget, Concurrency, Dimension, EventKind, RateLimit, Reservation, ResetOutcome, Settlement,
};

use crate::kit::*;
use crate::{Numbers, on_threads};

/// L1 where it is hardest: all threads bump and hold the same two counters, and do nothing else.
#[test]
fn no_change_of_one_hot_counter_is_lost() {
    const EACH: u64 = 100_000;
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(None, per("1d")).requests(None, per("1d")));
    let barrier = Barrier::new(4);
    on_threads(4, |n| {
        let route = kit.route(&["key:k"]);
        barrier.wait();
        for _ in 0..EACH / 2 {
            if n.is_multiple_of(2) {
                let _ = kit.engine.bump(&route, &tokens(3));
                let _ = kit.engine.bump(&route, &tokens(3));
            } else {
                let held = kit.engine.reserve(&route, &tokens(5)).into_result().unwrap();
                let _ = held.settle(&tokens(6));
            }
        }
    });
    let (tokens, requests) = (2 * EACH * 3 + EACH * 6, 2 * EACH + EACH);
    assert_eq!(kit.counts("rate"), (tokens, 0));
    assert_eq!(kit.counter("rate", Dimension::Requests).settled, requests);
}

/// L2 and L3: of all who reset one window one wins, and learns its exact total, whatever is booked
/// meanwhile; nothing is lost between that window and the next.
#[test]
fn one_of_many_resets_of_a_window_wins_and_its_total_is_exact() {
    const ROUNDS: u64 = 200;
    const BUMPS: u64 = 10;
    let kit = kit();
    kit.limit("key:k", "budget", Budget::uncapped(per("1d")));
    let barrier = Barrier::new(4);
    let outcomes = on_threads(4, |n| {
        let route = kit.route(&["key:k"]);
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            barrier.wait();
            for _ in 0..BUMPS {
                let _ = kit.engine.bump(&route, &cost(1));
            }
            if n > 0 {
                let reset = kit.engine.reset_window(&id("budget"), Dimension::Money, round);
                if let ResetOutcome::Reset { total, .. } = reset.unwrap() {
                    won.push((round, total));
                }
            }
            for _ in 0..BUMPS {
                let _ = kit.engine.bump(&route, &cost(1));
            }
        }
        won
    });
    let mut won: Vec<(u64, u64)> = outcomes.into_iter().flatten().collect();
    won.sort_unstable();
    let rounds: Vec<u64> = won.iter().map(|(round, _)| *round).collect();
    assert_eq!(rounds, (0..ROUNDS).collect::<Vec<_>>(), "one winner a round");
    let totals: Vec<u64> = won.iter().map(|(_, total)| *total).collect();
    assert_eq!(kit.closed("budget"), totals, "what the winner was told is what was delivered");
    let (settled, held) = kit.counts("budget");
    assert_eq!((totals.iter().sum::<u64>() + settled, held), (4 * ROUNDS * 2 * BUMPS, 0));
}

/// L3: a reset that is always a window behind never takes anything.
#[test]
fn a_stale_reset_never_takes_from_the_window_in_force() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::uncapped(per("1s")));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let Some(stale) = kit.read("budget").generation.checked_sub(1) else { continue };
                let reset = kit.engine.reset_window(&id("budget"), Dimension::Money, stale);
                assert!(matches!(reset, Ok(ResetOutcome::Lost { .. })));
            }
        });
        for _ in 0..300 {
            kit.advance(second());
            for _ in 0..5 {
                kit.bump(&["key:k"], &cost(1));
            }
        }
        done.store(true, Ordering::Release);
    });
    let mut totals = kit.closed("budget");
    assert_eq!(totals.remove(0), 0, "the first second was idle");
    assert_eq!((totals, kit.counts("budget")), (vec![5; 299], (5, 0)));
}

/// L4: tokens are reset under load, and requests go on counting in their first window.
#[test]
fn a_reset_of_tokens_takes_no_request() {
    let kit = kit();
    let limit = RateLimit::new().tokens(None, per("1d")).requests(None, per("1d"));
    kit.limit("key:k", "rate", limit);
    on_threads(3, |n| {
        for _ in 0..1_000 {
            match n {
                0 => drop(kit.engine.reset(&id("rate"), Some(Dimension::Tokens)).unwrap()),
                _ => kit.bump(&["key:k"], &tokens(3)),
            }
        }
    });
    let requests = kit.counter("rate", Dimension::Requests);
    assert_eq!((requests.settled, requests.generation), (2_000, 0));
    let settled = kit.counter("rate", Dimension::Tokens).settled;
    assert_eq!(kit.closed("rate").iter().sum::<u64>() + settled, 6_000);
}

/// L2, L13: one boundary, many who come to it: one close and one event, then the new window.
#[test]
fn a_boundary_that_many_come_to_is_passed_once() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(None, per("1m")));
    let barrier = Barrier::new(6);
    let rounds = 150_u64;
    on_threads(6, |n| {
        let route = kit.route(&["key:k"]);
        for _ in 0..rounds {
            if barrier.wait().is_leader() {
                kit.advance(minute());
            }
            barrier.wait();
            match n {
                0 => drop(kit.engine.reset_expired()),
                1 => drop(kit.engine.reserve(&route, &tokens(1))),
                2 => drop(kit.engine.usage(&id("rate"))),
                _ => drop(kit.engine.bump(&route, &tokens(1))),
            }
        }
    });
    assert_eq!(kit.read("rate").generation, rounds);
    let happened = kit.happened();
    let generations: Vec<u64> = happened.iter().map(|event| event.generation).collect();
    assert_eq!(generations, (0..rounds).collect::<Vec<_>>());
    // What is held for a moment may be in a total only if it was taken back too late, never here:
    // it is taken back by the thread that held it, before the next boundary.
    let mut expected = vec![3; rounds as usize];
    expected[0] = 0;
    let totals: Vec<u64> = happened
        .iter()
        .map(|event| match event.what {
            EventKind::WindowClosed { total, .. } => total,
            ref other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((totals, kit.counts("rate")), (expected, (3, 0)));
}

/// Thresholds and exhaustion are given notice of once in a window, however many reach them.
#[test]
fn notices_go_out_once_in_a_window() {
    let kit = kit();
    let limit = RateLimit::new().tokens(100, per("1m")).thresholds(&[50, 80]);
    kit.limit("key:k", "rate", limit);
    let barrier = Barrier::new(4);
    on_threads(4, |_| {
        let route = kit.route(&["key:k"]);
        for _ in 0..50 {
            if barrier.wait().is_leader() {
                kit.advance(minute());
            }
            barrier.wait();
            for _ in 0..40 {
                let _ = kit.engine.reserve(&route, &tokens(1)).into_result().map(|r| {
                    let _: Settlement = r.settle(&tokens(1));
                });
            }
        }
    });
    let mut notices: Vec<(u64, u8)> = kit
        .happened()
        .iter()
        .filter_map(|event| match event.what {
            EventKind::Threshold { percent, .. } => Some((event.generation, percent)),
            EventKind::Exhausted { .. } => Some((event.generation, 100)),
            _ => None,
        })
        .collect();
    notices.sort_unstable();
    let expected: Vec<(u64, u8)> =
        (1..=50).flat_map(|window| [50, 80, 100].map(|percent| (window, percent))).collect();
    assert_eq!(notices, expected);
}

/// A subscriber that does not read slows nobody, and what it misses is counted.
#[test]
fn a_slow_subscriber_misses_what_is_counted() {
    let kit = kit();
    let slow = kit.engine.subscribe(8);
    let never = kit.engine.subscribe(0);
    let gone = kit.engine.subscribe(1);
    kit.limit("key:k", "rate", RateLimit::new().tokens(None, per("1s")));
    drop(gone);
    on_threads(4, |_| {
        for _ in 0..500 {
            kit.advance(second());
            kit.bump(&["key:k"], &tokens(1));
        }
    });
    let sent = kit.happened().len() as u64;
    assert!(sent > 8, "there was something to miss");
    assert_eq!(kit.events.missed(), 0);
    let read = slow.drain().count() as u64;
    assert_eq!((read, read + slow.missed()), (8, sent));
    let read = never.drain().count() as u64;
    assert_eq!((read, read + never.missed()), (1, sent), "a queue has room for one at least");
    assert_eq!(slow.missed() + 8, sent);
    // Room again: what comes from now on arrives.
    kit.advance(second());
    kit.bump(&["key:k"], &tokens(1));
    assert!(slow.try_next().is_some());
}

/// An owner is removed and made again while its requests are in flight: each of those ends
/// somewhere, none of them ends on the successor, and nothing stays held.
#[test]
fn owners_come_and_go_under_requests_in_flight() {
    let kit = kit();
    let limit = || RateLimit::new().tokens(None, per("1d"));
    kit.limit("team:t", "team", limit());
    kit.limit("key:k", "key", limit());
    kit.limit("key:k", "flight", Concurrency::new(1_000_000));
    let done = AtomicBool::new(false);
    let (settled, removed) = thread::scope(|scope| {
        let work = |seed: usize| {
            let (kit, done) = (&kit, &done);
            move || {
                let (mut numbers, mut settled) = (Numbers::new(seed), 0_u64);
                let route = kit.route(&["key:k", "team:t"]);
                let mut open: Vec<Reservation> = Vec::new();
                while !done.load(Ordering::Acquire) || !open.is_empty() {
                    if numbers.below(2) == 0 && !done.load(Ordering::Acquire) {
                        match kit.engine.reserve(&route, &tokens(1)).into_result() {
                            Ok(reservation) => open.push(reservation),
                            Err(denied) => assert!(denied.unknown_owner().is_some(), "{denied}"),
                        }
                    } else if let Some(reservation) = open.pop() {
                        let _ = reservation.settle(&tokens(1));
                        settled += 1;
                    }
                }
                settled
            }
        };
        let workers: Vec<_> = (0..3).map(|seed| scope.spawn(work(seed))).collect();
        let mut removed = 0;
        for _ in 0..300 {
            let last = kit.engine.remove_owner(&owner("key:k")).unwrap();
            removed += last[0].counters[0].settled;
            kit.owner("key:k", &[]);
            kit.limit("key:k", "key", limit());
            kit.limit("key:k", "flight", Concurrency::new(1_000_000));
        }
        done.store(true, Ordering::Release);
        let settled: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        (settled, removed)
    });
    assert_eq!(kit.counts("team"), (settled, 0), "who stays counts all of them");
    assert!(kit.counts("key").0 + removed <= settled, "nobody is counted twice");
    assert_eq!((kit.counts("key").1, kit.counts("flight")), (0, (0, 0)));
}

/// L13, L2: a reader sees windows of one counter only ascend, whoever rolls and resets.
#[test]
fn readers_see_generations_ascend() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::uncapped(per("1s")));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = (0, tollkeeper::Timestamp::UNIX_EPOCH);
                while !done.load(Ordering::Acquire) {
                    let counter = kit.read("budget");
                    let seen = (counter.generation, counter.window.start);
                    assert!(last.0 <= seen.0 && last.1 <= seen.1, "{last:?} {seen:?}");
                    last = seen;
                }
            });
        }
        let mut numbers = Numbers::new(7);
        for _ in 0..2_000 {
            match numbers.below(3) {
                0 => kit.advance(second() / 3),
                1 => kit.bump(&["key:k"], &cost(1)),
                _ => drop(kit.engine.reset(&id("budget"), None).unwrap()),
            }
        }
        done.store(true, Ordering::Release);
    });
    let closed: BTreeSet<u64> = kit
        .happened()
        .iter()
        .filter(|event| matches!(event.what, EventKind::WindowClosed { .. }))
        .map(|event| event.generation)
        .collect();
    assert_eq!(closed.len() as u64, *closed.last().unwrap() + 1, "each window closed");
}
