//! Engines with something to see.

use tollkeeper::{
    Budget, Concurrency, Decision, Engine, Limit, LimitId, Money, OwnerId, Period, RateLimit,
    Reservation, Usage,
};

pub fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner")
}

pub fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

pub fn money(text: &str) -> Money {
    text.parse().expect("an amount")
}

pub fn used(tokens: u64, cost: &str) -> Usage {
    Usage { input_tokens: tokens, requests: 1, cost: money(cost), ..Usage::default() }
}

/// Adds an owner under others, and one limit of it.
pub fn put(engine: &Engine, name: &str, parents: &[&str], id: &str, limit: impl Into<Limit>) {
    let parents: Vec<OwnerId> = parents.iter().map(|name| owner(name)).collect();
    engine.upsert_owner(&owner(name), &parents).expect("an owner");
    let id = LimitId::new(id).expect("an id");
    engine.upsert_limit(&owner(name), &id, limit).expect("a limit");
}

/// A gateway of some customers in the middle of a day.
pub fn company() -> Engine {
    let engine = Engine::new();
    let hourly = |tokens: u64, requests: Option<u64>| {
        RateLimit::new().tokens(tokens, period("1h")).requests(requests, period("1h"))
    };
    put(&engine, "customer:acme", &[], "acme-monthly", Budget::new(money("$500"), period("30d")));
    put(
        &engine,
        "team:search",
        &["customer:acme"],
        "search-daily",
        Budget::new(money("$20"), period("1d")),
    );
    put(&engine, "key:alice", &["team:search"], "alice-rate", hourly(200_000, Some(600)));
    put(&engine, "key:alice", &["team:search"], "alice-in-flight", Concurrency::new(4));
    put(&engine, "key:bob", &["team:search"], "bob-rate", hourly(50_000, Some(60)));
    put(&engine, "customer:globex", &[], "globex-credit", Budget::prepaid(money("$40")));
    put(&engine, "key:carol", &["customer:globex"], "carol-rate", hourly(1_000_000, None));
    put(
        &engine,
        "key:carol",
        &["customer:globex"],
        "carol-trial",
        Budget::new(money("$2"), period("1d")),
    );
    put(&engine, "customer:initech", &[], "initech-spend", Budget::uncapped(period("7d")));
    put(&engine, "key:dave", &["customer:initech"], "dave-rate", hourly(80_000, Some(1_200)));
    engine
}

/// What is not hard in it.
pub const NOT_HARD: &[(&str, &str)] = &[("carol-trial", "shadow"), ("dave-rate", "soft")];

/// A request that is admitted.
pub fn hold(engine: &Engine, name: &str, estimate: &Usage) -> Reservation {
    match engine.reserve(&engine.route(&[owner(name)]), estimate) {
        Decision::Admitted(reservation) => reservation,
        Decision::Denied(denied) => panic!("{denied}"),
    }
}

/// A morning's use of the company.
pub fn morning(engine: &Engine) {
    for (name, usage) in [
        ("key:alice", used(121_400, "$8.3125")),
        ("key:alice", used(41_250, "$2.04")),
        ("key:bob", used(44_100, "$6.60")),
        ("key:dave", used(9_100, "$0.41")),
    ] {
        let _ = hold(engine, name, &usage).settle(&usage);
    }
    // What does not deny is passed; these are charged after the fact.
    let _ = engine.bump(&engine.route(&[owner("key:carol")]), &used(310_000, "$2.35"));
}
