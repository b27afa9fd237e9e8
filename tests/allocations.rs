//! What decides about a request allocates nothing, as long as it is admitted and no window ends.

#[path = "support/kit.rs"]
mod kit;

use kit::*;
use tollkeeper::{
    Budget, Concurrency, Enforcement, EventKind, LimitId, OwnerId, Peek, RateLimit, Route,
    TokenWeights, Upserted, Usage,
};

/// A kept route of five owners with a budget, tokens and requests each, and one slot in flight.
fn route(kit: &Kit) -> Route {
    let owners = ["key:k", "user:u", "team:t", "customer:c", "model:m"];
    for (n, owner) in owners.iter().enumerate() {
        let rate = RateLimit::new().tokens(1_000_000, per("1h")).requests(1_000_000, per("1h"));
        kit.limit(owner, &format!("budget-{n}"), Budget::new(nanos(1_000_000), per("1M")));
        kit.limit(owner, &format!("rate-{n}"), rate);
    }
    kit.limit("key:k", "in-flight", Concurrency::new(100));
    kit.route(&owners)
}

/// How many allocations one run of this makes, once everything has been touched once.
fn allocations(run: impl Fn()) -> u64 {
    run();
    allocation_counter::measure(run).count_total
}

#[test]
fn decisions_allocate_nothing() {
    let kit = kit();
    let route = route(&kit);
    let engine = &kit.engine;
    let used = Usage { input_tokens: 3, requests: 1, cost: nanos(5), ..Usage::default() };
    let admit = || engine.reserve(&route, &used).into_result().expect("there is room");

    let peek = || assert_eq!(engine.peek(&route, &used), Peek::WouldAdmit);
    assert_eq!(allocations(peek), 0, "peek");
    assert_eq!(allocations(|| drop(admit().settle(&used))), 0, "reserve and settle");
    assert_eq!(allocations(|| admit().void()), 0, "reserve and void");
    assert_eq!(allocations(|| drop(admit())), 0, "reserve and drop");
    assert_eq!(allocations(|| drop(engine.bump(&route, &used))), 0, "bump");
    let extend = || {
        let mut reservation = admit();
        reservation.extend(&used).expect("there is room");
        drop(reservation.settle(&used));
    };
    assert_eq!(allocations(extend), 0, "reserve, extend and settle");
    let uncertain = || {
        let mut reservation = admit();
        reservation.mark_dispatched();
    };
    let events = kit.events.drain().count();
    assert_eq!(events, 0, "nothing was worth an event");
    // A subscriber's queue is allocated beforehand; the event itself holds two counted texts.
    assert_eq!(allocations(uncertain), 0, "reserve, dispatch and drop");
}

/// A limit that stays full and is not hard is passed by every request.
#[test]
fn passing_a_soft_limit_allocates_nothing() {
    let kit = kit();
    let rate = RateLimit::new().tokens(5, per("1h")).requests(1_000_000, per("1h"));
    kit.limit("key:k", "budget", Budget::prepaid(nanos(1)).enforcement(Enforcement::Soft));
    kit.limit("key:k", "rate", rate.enforcement(Enforcement::Shadow));
    kit.limit("key:k", "in-flight", Concurrency::new(100));
    let route = kit.route(&["key:k"]);
    let used = Usage { input_tokens: 3, requests: 1, cost: nanos(5), ..Usage::default() };
    let admit = || kit.engine.reserve(&route, &used).into_result().expect("nothing denies");
    for _ in 0..3 {
        drop(admit().settle(&used));
    }
    kit.events.drain().for_each(drop);
    assert_eq!(allocations(|| drop(admit().settle(&used))), 0, "reserve and settle");
    let passed = |event: tollkeeper::Event| matches!(event.what, EventKind::Passed { .. });
    let told: Vec<bool> = kit.events.drain().map(passed).collect();
    assert_eq!(told, [true; 4], "two counters, twice");
}

/// Up to as many counters, and ways to weigh tokens, as are kept in place: twenty-four and two.
/// With one more of either, what is held is listed, in one allocation.
#[test]
fn decisions_on_long_routes_allocate_nothing_up_to_a_size() {
    let used = Usage { input_tokens: 3, requests: 1, cost: nanos(5), ..Usage::default() };
    for (counters, weights, list) in [(24, 1, 0), (24, 2, 0), (3, 2, 0), (25, 2, 1), (9, 3, 1)] {
        let kit = kit();
        for n in 0..counters / 3 {
            let input = 1_000 + 500 * (n % weights);
            let rate = RateLimit::new().tokens(1_000_000, per("1h")).requests(1_000_000, per("1h"));
            let weights = TokenWeights { input, ..TokenWeights::default() };
            kit.limit("key:k", &format!("budget-{n}"), Budget::new(nanos(1_000_000), per("1M")));
            kit.limit("key:k", &format!("rate-{n}"), rate.weights(weights));
        }
        for n in 0..counters % 3 {
            kit.limit("key:k", &format!("in-flight-{n}"), Concurrency::new(100));
        }
        let route = kit.route(&["key:k"]);
        let admit = || kit.engine.reserve(&route, &used).into_result().expect("there is room");
        let what = format!("{counters} counters, {weights} weights");
        assert_eq!(allocations(|| drop(admit().settle(&used))), list, "settle: {what}");
        assert_eq!(allocations(|| admit().void()), list, "void: {what}");
        assert_eq!(allocations(|| drop(admit())), list, "drop: {what}");
        let uncertain = || admit().mark_dispatched();
        assert_eq!(allocations(uncertain), list, "dispatch and drop: {what}");
        assert_eq!(allocations(|| drop(kit.engine.bump(&route, &used))), 0, "bump: {what}");
        if list == 0 {
            let extend = || {
                let mut reservation = admit();
                reservation.extend(&used).expect("there is room");
                drop(reservation.settle(&used));
            };
            assert_eq!(allocations(extend), 0, "extend: {what}");
        }
    }
}

/// A route that is kept by the engine, or by a caller while its limits change, is resolved once for
/// each change and not again.
#[test]
fn routes_that_are_known_to_be_right_allocate_nothing() {
    let kit = kit();
    let limit = |name: &str, n| {
        kit.limit("key:k", name, Concurrency::new(n));
    };
    limit("first", 10);
    let kept = kit.engine.owner_route("key:k").expect("it is there");
    let ask = || {
        let route = kit.engine.owner_route("key:k").expect("it is there");
        assert!(kit.engine.reserve(&route, &Usage::default()).is_admitted());
    };
    let keep = || assert!(kit.engine.reserve(&kept, &Usage::default()).is_admitted());
    let changes: [&dyn Fn(); 6] = [
        &|| (),
        &|| assert_eq!(kit.owner("key:elsewhere", &[]), Upserted::Created),
        &|| limit("first", 9),
        &|| limit("second", 9),
        &|| limit("third", 9),
        &|| drop(kit.engine.remove_limit(&LimitId::new("second").expect("a name"))),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        change();
        assert_eq!(allocations(ask), 0, "asked for, after change {n}");
        assert_eq!(allocations(keep), 0, "kept, after change {n}");
    }
}

/// What an id costs. A short one is in place, a long one shares its text with its clones.
#[test]
fn short_ids_and_clones_of_long_ones_allocate_nothing() {
    let short = || drop(("key:00000001".parse::<OwnerId>(), LimitId::new("a limit, 15 by")));
    assert_eq!(allocations(short), 0, "short ids");
    let name = "n".repeat(200);
    let long = || (OwnerId::new("key", &name).expect("a name"), LimitId::new(&name));
    assert_eq!(allocations(|| drop(long())), 2, "long ids");
    let made = long();
    assert_eq!(allocations(|| drop(made.clone())), 0, "clones of long ids");
}

/// The counter counts: a denial, which lists what binds, is not for nothing.
#[test]
fn a_denial_allocates() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(1), per("1M")));
    let route = kit.route(&["key:k"]);
    let deny = || assert!(!kit.engine.reserve(&route, &cost(2)).is_admitted());
    assert!(allocations(deny) > 0);
}
