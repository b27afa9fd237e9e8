//! Our side: engines, and what is done on them.

use std::hint::black_box;
use tollkeeper::{
    Budget, Config, Decision, Dimension, Engine, Limit, LimitId, LimitUsage, Money, OwnerId,
    Period, RateLimit, Route, Usage,
};

/// So much that nothing is ever denied for want of it.
const PLENTY: u64 = 1 << 61;

/// What a request used, of each counter.
const TOKENS: u64 = 640;
const REQUESTS: u64 = 1;
const NANOS: u64 = 3_250;

fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("not too much")
}

/// No window ends while it is measured, unless a clock is set.
pub fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

/// What a request is estimated at.
pub fn estimate() -> Usage {
    Usage {
        input_tokens: 600,
        output_tokens: 400,
        requests: REQUESTS,
        cost: money(2 * NANOS),
        ..Usage::default()
    }
}

/// What it used.
pub fn used() -> Usage {
    let (input_tokens, output_tokens) = (600, TOKENS - 600);
    let cost = money(NANOS);
    Usage { input_tokens, output_tokens, requests: REQUESTS, cost, ..Usage::default() }
}

pub fn budget() -> Limit {
    Budget::new(money(PLENTY), period("30d")).into()
}

/// Two counters.
pub fn rate_limit() -> Limit {
    RateLimit::new().tokens(PLENTY, period("1d")).requests(PLENTY, period("1d")).into()
}

/// One counter.
pub fn requests() -> Limit {
    RateLimit::new().requests(PLENTY, period("1d")).into()
}

/// A document of owners with [`requests`] each, as a gateway of many owners has them.
pub fn document_of_requests(ids: impl Iterator<Item = String>) -> Config {
    let owner = |id: String| {
        serde_json::json!({
            "id": id,
            "rate_limits": [{"id": id, "requests": {"limit": PLENTY, "period": "1d"}}],
        })
    };
    let owners: Vec<_> = ids.map(owner).collect();
    Config::deserialize(serde_json::json!({ "owners": owners })).expect("a right document")
}

/// Gives an engine an owner with these limits.
pub fn add(engine: &Engine, id: &str, parents: &[OwnerId], limits: &[Limit]) -> OwnerId {
    let owner: OwnerId = id.parse().expect("an owner's text");
    engine.upsert_owner(&owner, parents).expect("its parents are there");
    for (place, limit) in limits.iter().enumerate() {
        let id = LimitId::new(&format!("{id}/{place}")).expect("a limit id");
        engine.upsert_limit(&owner, &id, limit.clone()).expect("a right definition");
    }
    owner
}

/// A route of one owner with these limits.
pub fn one(engine: &Engine, limits: &[Limit]) -> Route {
    engine.route(&[add(engine, "key:one", &[], limits)])
}

/// A route of an owner and its ancestors, `depth` in all, each with these limits.
pub fn chain(engine: &Engine, name: &str, depth: usize, limits: &[Limit]) -> Route {
    let mut parents = Vec::new();
    for level in 0..depth {
        parents = vec![add(engine, &format!("level{level}:{name}"), &parents, limits)];
    }
    engine.route(&parents)
}

/// The route of the owner of this text.
pub fn keyed(engine: &Engine, id: &str) -> Route {
    engine.owner_route(id).expect("an owner that there is")
}

/// Reserves and settles. Whether it was admitted.
pub fn pass(engine: &Engine, route: &Route, estimate: &Usage, used: &Usage) -> bool {
    match engine.reserve(route, black_box(estimate)) {
        Decision::Admitted(reservation) => {
            let _ = black_box(reservation.settle(black_box(used)));
            true
        }
        Decision::Denied(_) => false,
    }
}

/// How many requests these limits have booked, all the same number on each counter, and hold none.
pub fn booked(limits: &[LimitUsage]) -> u64 {
    let requests: Vec<u64> = limits.iter().flat_map(requests_of).collect();
    assert!(requests.windows(2).all(|two| two[0] == two[1]), "not all the same: {requests:?}");
    requests[0]
}

/// How many requests all limits of an engine have booked together, where each has its own.
pub fn booked_by_all(engine: &Engine) -> u64 {
    engine.usage_all().map(|limit| booked(&[limit])).sum()
}

/// By each counter of a limit.
fn requests_of(limit: &LimitUsage) -> impl Iterator<Item = u64> {
    limit.counters.iter().map(|counter| {
        let each = match counter.dimension {
            Dimension::Money => NANOS,
            Dimension::Tokens => TOKENS,
            Dimension::Requests => REQUESTS,
            other => panic!("nothing here counts {other:?}"),
        };
        assert_eq!(counter.held, 0, "a hold was left");
        assert_eq!(counter.settled % each, 0, "a part of a request was booked");
        counter.settled / each
    })
}
