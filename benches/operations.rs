//! What each operation of the engine costs.
//!
//! `cargo bench --bench operations` runs everything in under a minute; a name as argument runs what
//! has it in its own, `--measurement-time 5` measures longer. The floor is a bare `fetch_add` on a
//! word with a cache line of its own: compare with it, not with another machine's nanoseconds.
//!
//! - `floor/…`: the bare `fetch_add`, and a reading of each clock.
//! - `manual/…`, `system/…`: every operation, on a clock that stands and on the machine's.
//! - `manual/roll/…`: one booking that ends a window and begins the next.
//! - `threads/…`: two threads at once, on one entry (`hot`) or on one each (`own`). The time is
//!   that of one operation of one thread, so `own` should be what one thread alone needs.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tollkeeper::{
    Budget, Clock, Concurrency, Engine, Limit, LimitId, ManualClock, Money, OwnerId, Period,
    RateLimit, Reservation, Route, SystemClock, Timestamp, Usage,
};

/// A word that shares its cache line, and the one that is fetched with it, with nothing.
#[repr(align(128))]
struct Padded(AtomicU64);

/// So much that nothing is ever denied for want of it.
const PLENTY: u64 = 1 << 61;

fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner's text")
}

fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("not too much")
}

fn manual() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_772_625_600))
}

/// What a request is estimated at, and what it used.
fn usage() -> Usage {
    Usage {
        input_tokens: 900,
        output_tokens: 100,
        requests: 1,
        cost: money(3_250),
        ..Usage::default()
    }
}

fn budget() -> Budget {
    Budget::new(money(PLENTY), period("1M@UTC"))
}

fn rate_limit() -> RateLimit {
    RateLimit::new().tokens(PLENTY, period("1h")).requests(PLENTY, period("1h"))
}

/// Gives an engine an owner with these limits, and returns the route of that owner alone.
fn set_up(engine: &Engine, name: &str, parents: &[OwnerId], limits: Vec<Limit>) -> Route {
    let owner = owner(name);
    engine.upsert_owner(&owner, parents).expect("its parents are there");
    for (i, limit) in limits.into_iter().enumerate() {
        let id = LimitId::new(&format!("{name}/{i}")).expect("a limit id");
        engine.upsert_limit(&owner, &id, limit).expect("a right definition");
    }
    engine.route(&[owner])
}

/// An engine with one owner that has one limit.
fn one(clock: impl Clock, limit: impl Into<Limit>) -> (Engine, Route) {
    let engine = Engine::builder().clock(clock).build();
    let route = set_up(&engine, "key:k", &[], vec![limit.into()]);
    (engine, route)
}

/// A key and its ancestors, each with a budget and a rate limit of tokens and requests: three
/// counters for each of `depth` owners. The farthest of them has `last` on top.
fn deep(clock: impl Clock, depth: usize, last: Option<Limit>) -> (Engine, Route) {
    let engine = Engine::builder().clock(clock).build();
    let route = chain(&engine, "level", depth, last);
    (engine, route)
}

fn chain(engine: &Engine, kind: &str, depth: usize, mut last: Option<Limit>) -> Route {
    let names: Vec<String> = (0..depth).map(|level| format!("{kind}:l{level}")).collect();
    let mut parents = Vec::new();
    let mut route = engine.route(&[]);
    for name in names.iter().rev() {
        let mut limits = vec![budget().into(), rate_limit().into()];
        limits.extend(last.take());
        route = set_up(engine, name, &parents, limits);
        parents = vec![owner(name)];
    }
    route
}

fn reserve(engine: &Engine, route: &Route, estimate: &Usage) -> Reservation {
    engine.reserve(route, estimate).into_result().expect("there is plenty")
}

/// A group in which a benchmark takes some 0.6 seconds.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(450))
        .sample_size(20);
    group
}

fn floor(criterion: &mut Criterion) {
    let mut group = group(criterion, "floor");
    let word = Padded(AtomicU64::new(0));
    // Relaxed: it counts and publishes nothing.
    group.bench_function("fetch_add", |b| {
        b.iter(|| black_box(&word).0.fetch_add(black_box(1), Ordering::Relaxed));
    });
    let clock = manual();
    group.bench_function("clock/manual", |b| b.iter(|| black_box(&clock).now()));
    group.bench_function("clock/system", |b| b.iter(|| black_box(&SystemClock).now()));
}

/// Holding and ending, on each kind of limit.
fn reservations(group: &mut BenchmarkGroup<WallTime>, clock: &(impl Clock + Clone)) {
    let used = usage();
    let kinds: [(&str, Limit); 3] = [
        ("budget", budget().into()),
        ("rate limit", rate_limit().into()),
        ("concurrency", Concurrency::new(PLENTY).into()),
    ];
    for (kind, limit) in kinds {
        let (engine, route) = one(clock.clone(), limit);
        group.bench_function(format!("reserve and settle/{kind}"), |b| {
            b.iter(|| reserve(&engine, &route, black_box(&used)).settle(black_box(&used)));
        });
    }
    let (engine, route) = one(clock.clone(), budget());
    group.bench_function("reserve and void/budget", |b| {
        b.iter(|| reserve(&engine, &route, black_box(&used)).void());
    });
    let (engine, route) = one(clock.clone(), rate_limit());
    let mut reservation = reserve(&engine, &route, &used);
    // One token at a time, so that no run is long enough to hold more than can be held.
    let more = Usage { output_tokens: 1, ..Usage::default() };
    group.bench_function("extend/rate limit", |b| {
        b.iter(|| reservation.extend(black_box(&more)).expect("there is plenty"));
    });
    for depth in [1, 3, 5] {
        let (engine, route) = deep(clock.clone(), depth, None);
        group.bench_function(format!("reserve and settle/depth {depth}"), |b| {
            b.iter(|| reserve(&engine, &route, black_box(&used)).settle(black_box(&used)));
        });
    }
}

/// What else is decided, booked and read.
fn answers(group: &mut BenchmarkGroup<WallTime>, clock: &(impl Clock + Clone)) {
    let used = usage();
    let (engine, route) = one(clock.clone(), budget());
    group.bench_function("bump/budget", |b| b.iter(|| engine.bump(&route, black_box(&used))));
    let (engine, route) = one(clock.clone(), rate_limit());
    group.bench_function("bump/rate limit", |b| b.iter(|| engine.bump(&route, black_box(&used))));
    group.bench_function("peek/rate limit", |b| b.iter(|| engine.peek(&route, black_box(&used))));
    let id = LimitId::new("key:k/0").expect("a limit id");
    group.bench_function("usage/rate limit", |b| b.iter(|| engine.usage(black_box(&id))));
    let named = [owner("key:k")];
    group.bench_function("route/one owner", |b| b.iter(|| engine.route(black_box(&named))));

    let full = RateLimit::new().tokens(1, period("1h")).requests(PLENTY, period("1h"));
    let (engine, route) = one(clock.clone(), full);
    group.bench_function("denied/rate limit", |b| {
        b.iter(|| engine.reserve(&route, black_box(&used)).into_result().expect_err("too large"));
    });
    // The farthest ancestor refuses, so fifteen holds are taken back.
    let (engine, route) = deep(clock.clone(), 5, Some(Concurrency::new(0).into()));
    group.bench_function("denied/depth 5", |b| {
        b.iter(|| engine.reserve(&route, black_box(&used)).into_result().expect_err("none"));
    });
    let (engine, route) = deep(clock.clone(), 5, None);
    group.bench_function("peek/depth 5", |b| b.iter(|| engine.peek(&route, black_box(&used))));
    group.bench_function("usage/depth 5", |b| b.iter(|| engine.route_usage(black_box(&route))));
    let named = [owner("level:l0")];
    group.bench_function("route/depth 5", |b| b.iter(|| engine.route(black_box(&named))));
}

fn on_a_manual_clock(criterion: &mut Criterion) {
    let mut group = group(criterion, "manual");
    reservations(&mut group, &manual());
    answers(&mut group, &manual());
}

fn on_the_system_clock(criterion: &mut Criterion) {
    let mut group = group(criterion, "system");
    reservations(&mut group, &SystemClock);
    answers(&mut group, &SystemClock);
}

/// Every booking is the first after a boundary.
fn rolls(criterion: &mut Criterion) {
    let mut group = group(criterion, "manual/roll");
    let used = usage();
    let day = Duration::from_secs(86_400);
    for (text, length) in [("1ms", Duration::from_millis(1)), ("1d@UTC", day)] {
        group.bench_function(format!("bump/{text}"), |b| {
            b.iter_custom(|mut times| {
                let mut took = Duration::ZERO;
                while times > 0 {
                    // An engine for at most so many days as a Timestamp has room for.
                    let some = times.min(100_000);
                    let clock = manual();
                    let (engine, route) =
                        one(clock.clone(), Budget::new(money(PLENTY), period(text)));
                    let start = Instant::now();
                    for _ in 0..some {
                        clock.advance(length);
                        let _ = black_box(engine.bump(&route, black_box(&used)));
                    }
                    took += start.elapsed();
                    times -= some;
                }
                took
            });
        });
    }
}

/// Runs `work` so many times on each of two threads, which begin together. The time of the slower.
fn on_two_threads(times: u64, work: impl Fn(usize) + Sync) -> Duration {
    let barrier = Barrier::new(2);
    let run = |thread: usize| {
        barrier.wait();
        let start = Instant::now();
        for _ in 0..times {
            work(thread);
        }
        start.elapsed()
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        let here = run(0);
        here.max(other.join().expect("it does not panic"))
    })
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = group(criterion, "threads");
    let used = usage();
    let words = [Padded(AtomicU64::new(0)), Padded(AtomicU64::new(0))];
    let engine = Engine::builder().clock(manual()).build();
    let routes =
        ["key:a", "key:b"].map(|name| set_up(&engine, name, &[], vec![rate_limit().into()]));
    let deep = ["one", "other"].map(|kind| chain(&engine, kind, 5, None));
    for (name, entry) in [("own", [0, 1]), ("hot", [0, 0])] {
        // A route for each thread, as a gateway's workers have: else they share its count, too.
        let routes = entry.map(|entry| engine.route(routes[entry].owners()));
        let deep = entry.map(|entry| engine.route(deep[entry].owners()));
        group.bench_function(format!("fetch_add/{name}"), |b| {
            // Relaxed: it counts and publishes nothing.
            let add = |thread: usize| words[entry[thread]].0.fetch_add(1, Ordering::Relaxed);
            b.iter_custom(|times| {
                on_two_threads(times, |thread| {
                    black_box(add(thread));
                })
            });
        });
        group.bench_function(format!("bump/{name}"), |b| {
            b.iter_custom(|times| {
                on_two_threads(times, |thread| {
                    let _ = black_box(engine.bump(&routes[thread], black_box(&used)));
                })
            });
        });
        group.bench_function(format!("reserve and settle/{name}"), |b| {
            b.iter_custom(|times| {
                on_two_threads(times, |thread| {
                    let held = reserve(&engine, &routes[thread], black_box(&used));
                    let _ = black_box(held.settle(&used));
                })
            });
        });
        group.bench_function(format!("reserve and settle, depth 5/{name}"), |b| {
            b.iter_custom(|times| {
                on_two_threads(times, |thread| {
                    let held = reserve(&engine, &deep[thread], black_box(&used));
                    let _ = black_box(held.settle(&used));
                })
            });
        });
    }
}

criterion_group!(benches, floor, on_a_manual_clock, on_the_system_clock, rolls, two_threads);
criterion_main!(benches);
