//! Each notice once, and exactly when it is due, whatever the limit and the percentage; and what is
//! said where nothing more can be counted.

#[path = "support/kit.rs"]
mod kit;

use kit::*;
use tollkeeper::{Budget, EventKind, Overshoot, RateLimit, Settlement};

const LIMITS: [u64; 9] = [1, 2, 3, 7, 100, 127, 128, 129, 1 << 50];

/// A notice of a window: of this percentage, or that the limit is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    Percent(u8),
    Exhausted,
}

/// By the definition: the notices that are due when so much of a limit is settled.
fn due(limit: u64, thresholds: &[u8], settled: u64) -> Vec<Given> {
    let reached =
        |percent: &u8| u128::from(settled) * 100 >= u128::from(limit) * u128::from(*percent);
    let percents = thresholds.iter().copied().filter(reached).map(Given::Percent);
    percents.chain((settled >= limit).then_some(Given::Exhausted)).collect()
}

/// Settled totals at which something may be due, and their neighbours; all there are where the
/// limit is small.
fn totals(limit: u64, thresholds: &[u8]) -> Vec<u64> {
    if limit < 1_000 {
        return (1..=limit + 2).collect();
    }
    let at = |percent: &u8| u128::from(limit) * u128::from(*percent) / 100;
    let edges = thresholds.iter().map(at).chain([u128::from(limit)]);
    let near = edges.flat_map(|edge| {
        let edge = u64::try_from(edge).unwrap();
        edge.saturating_sub(2)..=edge + 2
    });
    let mut totals: Vec<u64> = near.filter(|&total| total > 0).collect();
    totals.sort_unstable();
    totals.dedup();
    totals
}

/// How a total is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Bump,
    /// Held in full and settled as held.
    Held,
    /// Settled above a hold of nothing.
    Above,
}

fn notices(kit: &Kit, generation: u64, settled_now: u64) -> Vec<Given> {
    let of = |event: tollkeeper::Event| match event.what {
        EventKind::Threshold { percent, settled, .. } => {
            assert_eq!((event.generation, settled), (generation, settled_now));
            Some(Given::Percent(percent))
        }
        EventKind::Exhausted { settled, .. } => {
            assert_eq!((event.generation, settled), (generation, settled_now));
            Some(Given::Exhausted)
        }
        _ => None,
    };
    kit.happened().into_iter().filter_map(of).collect()
}

/// Brings a limit to one total after the other, in two windows, and looks at each step for what is
/// told.
fn play(limit: u64, thresholds: &[u8], by: By) {
    let kit = kit().with_room(64);
    kit.limit("key:k", "rate", RateLimit::new().tokens(limit, per("1m")).thresholds(thresholds));
    let route = kit.route(&["key:k"]);
    for generation in 0..2 {
        let mut settled = 0;
        for total in totals(limit, thresholds) {
            let step = total - settled;
            // What passes the limit is no longer admitted.
            let by = match by {
                By::Held if total > limit => By::Bump,
                By::Above if settled >= limit => By::Bump,
                by => by,
            };
            let reserve = |n| kit.engine.reserve(&route, &tokens(n)).into_result();
            match by {
                By::Bump => drop(kit.engine.bump(&route, &tokens(step))),
                By::Held => drop(reserve(step).expect("it fits").settle(&tokens(step))),
                By::Above => drop(reserve(0).expect("it is not full").settle(&tokens(step))),
            }
            let before = due(limit, thresholds, settled);
            let mut expected = due(limit, thresholds, total);
            expected.retain(|given| !before.contains(given));
            let told = notices(&kit, generation, total);
            assert_eq!(told, expected, "{settled} to {total} of {limit}, {thresholds:?}, {by:?}");
            settled = total;
        }
        assert_eq!(kit.counts("rate"), (settled, 0));
        kit.advance(minute());
    }
}

#[test]
fn every_percentage_of_every_limit_is_told_once_when_it_is_due() {
    for limit in LIMITS {
        for percent in 1..=100 {
            for by in [By::Bump, By::Held, By::Above] {
                play(limit, &[percent], by);
            }
        }
    }
}

#[test]
fn several_thresholds_of_a_limit_are_told_once_each_in_ascending_order() {
    let sets: [&[u8]; 5] = [
        &[],
        &[100],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[12, 13, 25, 50, 75, 87, 88, 100],
        &[93, 94, 95, 96, 97, 98, 99, 100],
    ];
    for limit in LIMITS {
        for thresholds in sets {
            for by in [By::Bump, By::Held, By::Above] {
                play(limit, thresholds, by);
            }
        }
    }
}

/// What is held is no spending: nothing is told of it, and all of it when it is settled.
#[test]
fn nothing_is_told_of_what_is_held() {
    for limit in LIMITS {
        let kit = kit();
        let rate = RateLimit::new().tokens(limit, per("1m")).thresholds(&[1, 50, 100]);
        kit.limit("key:k", "rate", rate);
        let most = limit.min(HELD_MAX);
        kit.admit(&["key:k"], &tokens(most)).void();
        let held = kit.admit(&["key:k"], &tokens(most));
        assert_eq!(notices(&kit, 0, 0), []);
        let _ = held.settle(&tokens(limit));
        let all = [1, 50, 100].map(Given::Percent).into_iter().chain([Given::Exhausted]);
        assert_eq!(notices(&kit, 0, limit), all.collect::<Vec<_>>());
    }
}

/// Nor of what is held beside what is settled.
#[test]
fn what_is_settled_is_told_whatever_is_held_beside_it() {
    let kit = kit();
    let rate = RateLimit::new().tokens(100, per("1m")).thresholds(&[10, 50, 80, 100]);
    kit.limit("key:k", "rate", rate);
    let held = kit.admit(&["key:k"], &tokens(79));
    kit.bump(&["key:k"], &tokens(21));
    assert_eq!(notices(&kit, 0, 21), [Given::Percent(10)]);
    let _ = held.settle(&tokens(58));
    assert_eq!(notices(&kit, 0, 79), [Given::Percent(50)]);
}

/// Thresholds and limits that are changed in a window: what is due by the new ones is told at once
/// or with the next booking, and what was told is not told again.
#[test]
fn changed_thresholds_tell_what_is_new() {
    let kit = kit();
    let rate = |limit: u64, percents: &[u8]| {
        kit.limit("key:k", "rate", RateLimit::new().tokens(limit, per("1m")).thresholds(percents));
    };
    rate(100, &[90]);
    kit.bump(&["key:k"], &tokens(50));
    assert_eq!(notices(&kit, 0, 50), []);
    rate(100, &[50, 51, 90]);
    assert_eq!(notices(&kit, 0, 50), [Given::Percent(50)]);
    kit.bump(&["key:k"], &tokens(1));
    assert_eq!(notices(&kit, 0, 51), [Given::Percent(51)]);
    rate(52, &[50, 51, 90]);
    assert_eq!(notices(&kit, 0, 51), [Given::Percent(90)]);
    kit.bump(&["key:k"], &tokens(1));
    assert_eq!(notices(&kit, 0, 52), [Given::Exhausted]);
    rate(1_000, &[1]);
    assert_eq!(notices(&kit, 0, 52), [Given::Percent(1)]);
    kit.bump(&["key:k"], &tokens(948));
    assert_eq!(notices(&kit, 0, 1_000), [], "exhausted once in a window");
}

fn uncounted(settlement: &Settlement) -> Vec<(String, u64, u64)> {
    let of = |o: &Overshoot| (o.limit.to_string(), o.amount, o.uncounted);
    settlement.overshoots().iter().map(of).collect()
}

/// L1 at the edge of what can be counted: a counter that never denies stays there, and whoever
/// books is told what did not fit, in the order of the route, to the last unit.
#[test]
fn what_an_unlimited_counter_cannot_count_is_reported() {
    for room in 0..4_u64 {
        for held in 0..4 {
            for amount in 0..6_u64 {
                let kit = kit();
                let uncapped = || Budget::uncapped(per("1m"));
                kit.limit("key:k", "money", uncapped());
                kit.limit("key:k", "empty", RateLimit::new().tokens(None, per("1m")));
                kit.limit("key:k", "other", uncapped());
                let route = kit.route(&["key:k"]);
                let filled = kit.engine.bump(&route, &cost(SETTLED_MAX - room));
                assert_eq!(filled, Settlement::default(), "it fits");
                let missing = amount.saturating_sub(room);
                let expected: Vec<_> = ["money", "other"]
                    .into_iter()
                    .filter(|_| missing > 0)
                    .map(|limit| (limit.to_owned(), 0, missing))
                    .collect();
                let booked = (SETTLED_MAX - room + amount).min(SETTLED_MAX);
                let settlement = if held == 0 {
                    kit.engine.bump(&route, &cost(amount))
                } else {
                    let reservation = kit.admit(&["key:k"], &cost(held));
                    assert_eq!(kit.counts("money"), (SETTLED_MAX - room, held));
                    reservation.settle(&cost(amount))
                };
                assert_eq!(uncounted(&settlement), expected, "{room} {held} {amount}");
                assert_eq!((kit.counts("money"), kit.counts("other")), ((booked, 0), (booked, 0)));
                assert_eq!(kit.counts("empty"), (0, 0));
                assert_eq!(kit.happened(), [], "a counter that never denies is never exhausted");
            }
        }
    }
}
