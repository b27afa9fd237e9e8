//! How many instructions the hot operations need.
//!
//! `scripts/instructions.sh` runs this under callgrind and compares with `instructions.tsv`. Times
//! are noisy, instructions are not: the same binary needs the same number every time. Only a lookup
//! may differ by one, because hash maps draw their seeds anew in every process.
//!
//! callgrind collects in [`collect`] alone, and gives a total each time it returns. What is printed
//! says what these totals are of: the name of an operation and how often it was done, line by line.

use std::hint::black_box;
use std::slice;
use std::thread;
use std::time::Duration;

use tollkeeper::{
    Budget, Clock, Concurrency, Draft, Engine, Ledger, Limit, LimitId, ManualClock, MemoryLedger,
    Money, OwnerId, Period, RateLimit, Reservation, Route, SystemClock, Timestamp, Usage,
};

/// So much that nothing is ever denied for want of it.
const PLENTY: u64 = 1 << 61;

/// So often is each operation counted: often enough that what is around it is less than one
/// instruction of each.
const TIMES: usize = 1_000;

/// So often is each operation done before, so that what is only done the first time is over.
const BEFORE: usize = 100;

/// The script names it to callgrind. Never inlined, or there would be nothing to name; and it has
/// something left to do, or its call would become a jump.
#[inline(never)]
fn collect(work: &mut dyn FnMut()) {
    work();
    black_box(work);
}

/// Counts on a thread of its own: its stack begins where a page begins, not where the environment
/// ends, and its heap does not look like the one that set up what is counted.
fn count<T>(name: &str, mut operation: impl FnMut() -> T + Send) {
    let mut repeat = |times| {
        for _ in 0..times {
            let _ = black_box(operation());
        }
    };
    let counted = || {
        repeat(BEFORE);
        collect(&mut || repeat(TIMES));
    };
    thread::scope(|scope| scope.spawn(counted).join()).expect("it does not panic");
    println!("{name}\t{TIMES}");
}

fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("not too much")
}

fn owner(name: &str) -> OwnerId {
    OwnerId::new("key", name).expect("an owner's name")
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

fn budget() -> Limit {
    Budget::new(money(PLENTY), period("1M@UTC")).into()
}

/// Two counters: tokens and requests.
fn rate_limit(every: &str) -> Limit {
    let every = period(every);
    RateLimit::new().tokens(PLENTY, every.clone()).requests(PLENTY, every).into()
}

fn add_owner(engine: &Engine, name: &str, parents: &[OwnerId], limits: Vec<Limit>) -> OwnerId {
    let owner = owner(name);
    engine.upsert_owner(&owner, parents).expect("its parents are there");
    for (place, limit) in limits.into_iter().enumerate() {
        let id = LimitId::new(&format!("{name}/{place}")).expect("a limit's id");
        engine.upsert_limit(&owner, &id, limit).expect("a right definition");
    }
    owner
}

/// An engine with one owner that has one limit.
fn one(clock: impl Clock, limit: Limit) -> (Engine, Route) {
    let engine = Engine::builder().clock(clock).build();
    let owner = add_owner(&engine, "k", &[], vec![limit]);
    let route = engine.route(&[owner]);
    (engine, route)
}

/// An owner and four ancestors, each with a budget and a rate limit: fifteen counters. The farthest
/// has `last` on top.
fn deep(last: Option<Limit>) -> (Engine, Route) {
    let engine = Engine::builder().clock(manual()).build();
    let mut last = last;
    let mut nearest = Vec::new();
    for level in (0..5).rev() {
        let mut limits = vec![budget(), rate_limit("1h")];
        limits.extend(last.take());
        nearest = vec![add_owner(&engine, &format!("l{level}"), &nearest, limits)];
    }
    let route = engine.route(&nearest);
    (engine, route)
}

fn reserve(engine: &Engine, route: &Route, estimate: &Usage) -> Reservation {
    engine.reserve(route, black_box(estimate)).into_result().expect("there is plenty")
}

fn reserve_and_settle(name: &str, (engine, route): &(Engine, Route)) {
    let used = usage();
    count(name, || reserve(engine, route, &used).settle(black_box(&used)));
}

fn bump(name: &str, (engine, route): &(Engine, Route)) {
    let used = usage();
    count(name, || engine.bump(route, black_box(&used)));
}

fn one_limit() {
    let used = usage();
    let of_budget = one(manual(), budget());
    let of_rate_limit = one(manual(), rate_limit("1h"));
    bump("bump/budget", &of_budget);
    bump("bump/budget, system clock", &one(SystemClock, budget()));
    reserve_and_settle("reserve and settle/budget", &of_budget);
    reserve_and_settle("reserve and settle/rate limit", &of_rate_limit);
    let of_concurrency = one(manual(), Concurrency::new(PLENTY).into());
    reserve_and_settle("reserve and settle/concurrency", &of_concurrency);
    let (engine, route) = of_budget;
    count("reserve and void/budget", || reserve(&engine, &route, &used).void());
    let (engine, route) = of_rate_limit;
    count("reserve, extend and settle/rate limit", || {
        let mut reservation = reserve(&engine, &route, &used);
        reservation.extend(black_box(&used)).expect("there is plenty");
        reservation.settle(black_box(&used))
    });
}

fn fifteen_counters() {
    let used = usage();
    let roomy = deep(None);
    bump("bump/depth 5", &roomy);
    reserve_and_settle("reserve and settle/depth 5", &roomy);
    let (engine, route) = roomy;
    count("peek/depth 5", || engine.peek(&route, black_box(&used)));
    count("usage/depth 5", || engine.route_usage(black_box(&route)));
    // The farthest ancestor refuses, so fifteen holds are taken back.
    let (engine, route) = deep(Some(Concurrency::new(0).into()));
    count("denied/depth 5", || {
        engine.reserve(&route, black_box(&used)).into_result().expect_err("none")
    });
}

/// What a ledger adds to a decision. Nothing is settled, so nothing is written.
fn ledger() {
    let used = usage();
    for (name, (engine, route)) in [("budget", one(manual(), budget())), ("depth 5", deep(None))] {
        let opened = Ledger::builder(&engine).seed(1).by_hand(MemoryLedger::default());
        let (ledger, _writer) = opened.expect("memory is there");
        if name == "depth 5" {
            count(&format!("reserve and void/{name}"), || reserve(&engine, &route, &used).void());
        }
        count(&format!("ledger, reserve and void/{name}"), || {
            let charge = ledger.reserve(&route, black_box(&used), Draft::new());
            charge.expect("there is plenty").void();
        });
    }
}

/// Every booking is the first after a boundary.
fn roll() {
    let used = usage();
    let clock = manual();
    let (engine, route) = one(clock.clone(), rate_limit("1s"));
    count("roll and bump/rate limit", || {
        clock.advance(Duration::from_secs(1));
        engine.bump(&route, black_box(&used))
    });
}

fn route() {
    let engine = Engine::builder().clock(manual()).build();
    let add = |n| add_owner(&engine, &format!("k{n}"), &[], vec![budget()]);
    let owners: Vec<OwnerId> = (0..10_000).map(add).collect();
    let mut next = owners.iter().cycle();
    count("route/one of 10,000 owners", || {
        let owner = next.next().expect("it begins anew");
        engine.route(slice::from_ref(black_box(owner)))
    });
}

fn main() {
    println!("# counted under callgrind by scripts/instructions.sh");
    one_limit();
    fifteen_counters();
    ledger();
    roll();
    route();
}
