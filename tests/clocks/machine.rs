//! The machine's clock.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tollkeeper::{
    Budget, Clock, Concurrency, Dimension, Engine, EventKind, RateLimit, SystemClock, Usage,
};

use crate::kit::*;

/// What is soon has not passed when the time is read before it.
#[test]
fn what_is_soon_on_the_machines_clock_has_not_passed() {
    for _ in 0..50_000 {
        let now = SystemClock.now();
        let soon = SystemClock.soon();
        assert!(soon >= now, "{soon} is before {now}");
    }
}

/// L1, L2, L5: windows shorter than the kernel's ticks and others, under threads: what closed and
/// what stands is what was booked, each window closes once, and none passes its limit.
#[test]
fn windows_of_milliseconds_on_the_machines_clock_lose_nothing() {
    const THREADS: u64 = 3;
    let engine = Engine::new();
    let events = engine.subscribe(1_000_000);
    let key = owner("key:k");
    engine.upsert_owner(&key, &[]).unwrap();
    let add = |limit: &str, definition: tollkeeper::Limit| {
        engine.upsert_limit(&key, &id(limit), definition).unwrap();
    };
    add("1ms", RateLimit::new().tokens(None, per("1ms")).requests(None, per("50ms")).into());
    add("50ms", Budget::uncapped(per("50ms")).into());
    add("capped", RateLimit::new().tokens(4_000, per("50ms")).requests(7, per("1ms")).into());
    add("flight", Concurrency::new(THREADS).into());
    let barrier = Barrier::new(usize::try_from(THREADS).unwrap());
    let work = |n: u64| {
        let (engine, barrier, key) = (&engine, &barrier, &key);
        move || {
            let route = engine.route(std::slice::from_ref(key));
            let (mut booked, mut step) = ([0; 3], n);
            barrier.wait();
            let end = Instant::now() + Duration::from_millis(400);
            while Instant::now() < end {
                step += 1;
                let usage = Usage { input_tokens: step % 13, cost: nanos(step % 17), ..tokens(0) };
                let Ok(mut held) = engine.reserve(&route, &usage).into_result() else { continue };
                if step.is_multiple_of(7) {
                    thread::sleep(Duration::from_millis(2));
                }
                match step % 3 {
                    // What was held is what is booked, whichever window it is in by now.
                    0 => held.mark_dispatched(),
                    _ => drop(held.settle(&usage)),
                }
                let sums = [usage.input_tokens, usage.requests, usage.cost.as_nanos()];
                booked.iter_mut().zip(sums).for_each(|(all, one)| *all += one);
            }
            booked
        }
    };
    let booked = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(work(n))).collect();
        let each = workers.into_iter().map(|worker| worker.join().unwrap());
        each.fold([0; 3], |all, one: [u64; 3]| [0, 1, 2].map(|n| all[n] + one[n]))
    });
    // All windows end, so that everything is in the totals of closed ones.
    thread::sleep(Duration::from_millis(60));
    engine.reset_expired();
    let happened: Vec<_> = events.drain().collect();
    assert_eq!(events.missed(), 0);
    for (limit, dimension, expected, most) in [
        ("1ms", Dimension::Tokens, booked[0], u64::MAX),
        ("1ms", Dimension::Requests, booked[1], u64::MAX),
        ("50ms", Dimension::Money, booked[2], u64::MAX),
        ("capped", Dimension::Tokens, booked[0], 4_000),
        ("capped", Dimension::Requests, booked[1], 7),
    ] {
        let (mut totals, mut withdrawn) = (BTreeMap::new(), 0);
        for event in happened.iter().filter(|e| e.limit == id(limit) && e.dimension == dimension) {
            match event.what {
                EventKind::WindowClosed { total, .. } => {
                    let again = totals.insert(event.generation, i128::from(total));
                    assert_eq!(again, None, "a window of {limit} closed twice");
                }
                EventKind::Withdrawn { amount } => {
                    withdrawn += i128::from(amount);
                }
                _ => {}
            }
        }
        assert!(totals.keys().copied().eq(0..totals.len() as u64), "each window of {limit} closed");
        assert!(
            totals.values().all(|&total| total <= i128::from(most)),
            "{limit} passed its limit"
        );
        assert!(totals.len() > 3, "windows ended on the way");
        let sum: i128 = totals.values().sum();
        assert_eq!(sum - withdrawn, i128::from(expected), "{limit} {dimension}");
    }
    assert!(booked.iter().all(|&sum| sum > 0));
    assert!(engine.usage_all().flat_map(|usage| usage.counters).all(|c| c.committed() == 0));
}
