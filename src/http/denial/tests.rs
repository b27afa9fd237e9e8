//! Denials of a real engine, and what a client reads in the answer to each.

use std::num::NonZeroU16;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::engine::{Engine, Lasts, Peek, Route};
use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::time::{ManualClock, Period};
use crate::units::{Money, Usage};
use crate::{Budget, Concurrency, RateLimit};

/// A limit, what is asked of it, and the answer: status, type and code, `Retry-After`, message.
type Case = (Limit, Usage, (u16, &'static str, &'static str), Option<&'static str>, &'static str);

mod waits;

/// An engine that begins at 00:00, a key `key:k1` of a customer `customer:acme`.
struct Scene {
    engine: Engine,
    clock: ManualClock,
    route: Route,
}

fn id(text: &str) -> LimitId {
    LimitId::new(text).expect("an id")
}

fn per(text: &str) -> Period {
    text.parse().expect("a period")
}

fn usd(text: &str) -> Money {
    text.parse().expect("an amount")
}

/// One request of so many tokens at this price.
fn ask(tokens: u64, cost: &str) -> Usage {
    Usage { input_tokens: tokens, cost: usd(cost), requests: 1, ..Usage::default() }
}

fn budget(limit: &str, period: &str) -> Limit {
    Budget::new(usd(limit), per(period)).into()
}

fn tokens(limit: u64, period: &str) -> Limit {
    RateLimit::new().tokens(limit, per(period)).into()
}

fn requests(limit: u64, period: &str) -> Limit {
    RateLimit::new().requests(limit, per(period)).into()
}

fn in_flight(limit: u64) -> Limit {
    Concurrency::new(limit).into()
}

/// The key has limits `0`, `1` …; the customer is above it and has none.
fn scene(limits: &[Limit]) -> Scene {
    let clock = ManualClock::new("2026-03-01T00:00:00Z".parse().expect("an instant"));
    let engine = Engine::builder().clock(clock.clone()).build();
    let customer: OwnerId = "customer:acme".parse().expect("an owner");
    let key: OwnerId = "key:k1".parse().expect("an owner");
    engine.upsert_owner(&customer, &[]).expect("a new owner");
    engine.upsert_owner(&key, &[customer]).expect("a new owner");
    for (n, limit) in limits.iter().enumerate() {
        engine.upsert_limit(&key, &id(&n.to_string()), limit.clone()).expect("a new limit");
    }
    let route = engine.route(&[key]);
    Scene { engine, clock, route }
}

impl Scene {
    fn denied(&self, usage: &Usage) -> Denied {
        match self.engine.peek(&self.route, usage) {
            Peek::WouldDeny(denied) => denied,
            Peek::WouldAdmit => panic!("it fits"),
        }
    }

    /// The answer to one who may know of all limits.
    fn answer(&self, usage: &Usage) -> Answer {
        answer(&self.denied(usage), &self.engine.route_usage(&self.route))
    }

    fn book(&self, used: &Usage) {
        let _ = self.engine.bump(&self.route, used);
    }

    fn wait(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

struct Answer {
    status: u16,
    error: Value,
    headers: http::HeaderMap,
}

fn answer(denied: &Denied, usage: &[LimitUsage]) -> Answer {
    let response = refuse(denied, usage, usual_status).into_response();
    let mut body: Value = serde_json::from_slice(response.body()).expect("JSON");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, error: body["error"].take(), headers }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    fn names(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.error[name].as_str().expect("a text");
        (self.status, text("type"), text("code"))
    }

    fn message(&self) -> &str {
        self.error["message"].as_str().expect("a text")
    }
}

/// What one limit that binds comes to: status, type, code, `Retry-After`, message.
#[test]
fn each_binding_has_its_answer() {
    let cases: [Case; 9] = [
        (
            tokens(10, "1m"),
            ask(5, "0"),
            (429, "tokens", "rate_limit_exceeded"),
            Some("60"),
            "The rate limit \"0\" has no room for the 5 tokens of this request. \
             Please try again in 60s.",
        ),
        (
            requests(1, "1h"),
            ask(5, "0"),
            (429, "requests", "rate_limit_exceeded"),
            Some("3600"),
            "The rate limit \"0\" has no room for another request. Please try again in 3600s.",
        ),
        (
            in_flight(1),
            ask(5, "0"),
            (429, "concurrent_requests", "rate_limit_exceeded"),
            Some("1"),
            "The concurrency limit \"0\" has no room for another request at the same time. \
             Please try again in 1s.",
        ),
        (
            budget("1", "1d"),
            ask(5, "0.50"),
            (402, "insufficient_quota", "insufficient_quota"),
            Some("86400"),
            "The budget \"0\" has no room for what this request may cost. \
             Please try again in 86400s.",
        ),
        (
            Budget::prepaid(usd("1")).into(),
            ask(5, "1.50"),
            (402, "insufficient_quota", "insufficient_quota"),
            None,
            "The budget \"0\" has no room for what this request may cost. It needs a top-up.",
        ),
        // One dollar is held by the request under way.
        (
            Budget::prepaid(usd("1")).into(),
            ask(5, "0.50"),
            (402, "insufficient_quota", "insufficient_quota"),
            Some("1"),
            "The budget \"0\" has no room for what this request may cost. Please try again in 1s.",
        ),
        (
            tokens(10, "1m"),
            ask(11, "0"),
            (429, "tokens", "request_exceeds_limit"),
            None,
            "The rate limit \"0\" never has room for the 11 tokens of this request.",
        ),
        (
            budget("1", "1d"),
            ask(5, "1.50"),
            (402, "insufficient_quota", "request_exceeds_limit"),
            None,
            "The budget \"0\" never has room for what this request may cost.",
        ),
        (
            requests(0, "1d"),
            ask(5, "0"),
            (429, "requests", "request_exceeds_limit"),
            None,
            "The rate limit \"0\" never has room for another request.",
        ),
    ];
    for (limit, usage, names, retry_after, message) in cases {
        let scene = scene(&[limit]);
        let _under_way = scene.engine.reserve(&scene.route, &ask(10, "1"));
        let answer = scene.answer(&usage);
        assert_eq!(answer.names(), names);
        assert_eq!(answer.field("retry-after"), retry_after, "{message}");
        assert_eq!(answer.field("x-should-retry"), retry_after.map_or(Some("false"), |_| None));
        assert_eq!(answer.message(), message);
        assert_eq!(answer.error["param"], json!(null));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
}

/// What lasts longest decides the status, the code and the wait: nothing else matters till then.
#[test]
fn of_several_bindings_the_one_that_lasts_longest_decides() {
    let prepaid = || Limit::from(Budget::prepaid(usd("1")));
    for (limits, cost, names, retry_after) in [
        ([budget("1", "1d"), tokens(10, "1m")], "1", (402, "insufficient_quota"), Some("86400")),
        ([budget("1", "1m"), tokens(10, "1d")], "1", (429, "tokens"), Some("86400")),
        // Equally long: money.
        ([tokens(10, "1h"), budget("1", "1h")], "1", (402, "insufficient_quota"), Some("3600")),
        ([in_flight(1), tokens(10, "1m")], "1", (429, "tokens"), Some("60")),
        ([in_flight(1), budget("1", "1m")], "1", (402, "insufficient_quota"), Some("60")),
        // The prepaid dollar comes back when the request under way ends, as its place does.
        ([in_flight(1), prepaid()], "1", (402, "insufficient_quota"), Some("1")),
        ([prepaid(), tokens(10, "1m")], "1", (429, "tokens"), Some("60")),
        ([tokens(10, "1d"), prepaid()], "2", (402, "insufficient_quota"), None),
        ([prepaid(), tokens(9, "1m")], "2", (429, "tokens"), None),
    ] {
        let scene = scene(&limits);
        let _under_way = scene.engine.reserve(&scene.route, &ask(10, "1"));
        scene.book(&ask(10, "0"));
        let answer = scene.answer(&ask(10, cost));
        assert_eq!((answer.names().0, answer.names().1), names, "{limits:?}");
        assert_eq!(answer.field("retry-after"), retry_after, "{limits:?}");
    }
}

/// Of a long route, the limit that denied is among those that are shown, however much it has left.
#[test]
fn what_denied_is_always_shown() {
    let mut limits = vec![requests(1_000, "1m"); 20];
    limits.push(tokens(1_000, "1m"));
    let scene = scene(&limits);
    for _ in 0..900 {
        scene.book(&ask(0, "0"));
    }
    scene.book(&ask(100, "0"));
    let answer = scene.answer(&ask(950, "0"));
    let ratelimit = answer.field("ratelimit").expect("there are limits");
    assert!(ratelimit.ends_with(", \"20/tokens\";r=900;t=60"), "{ratelimit}");
    assert_eq!(ratelimit.matches(";r=").count(), 8);
}

/// An override and a top-up are what the client reads, and when it is told to come back.
#[test]
fn overrides_and_top_ups_are_what_is_told() {
    let scene = scene(&[requests(5, "1m"), Budget::prepaid(usd("1")).into()]);
    let lasts = Lasts::Windows(NonZeroU16::new(3).expect("it is three"));
    let overridden = scene.engine.override_limit(&id("0"), Dimension::Requests, 0, lasts);
    overridden.expect("it counts requests");
    let answer = scene.answer(&ask(1, "0"));
    assert_eq!(answer.names(), (429, "requests", "rate_limit_exceeded"));
    // Nothing fits in the three windows that the override lasts.
    assert_eq!(answer.field("retry-after"), Some("180"));
    assert_eq!(answer.field("ratelimit-policy"), Some("\"0/requests\";q=0;qu=\"requests\";w=60"));
    assert_eq!(answer.field("ratelimit"), Some("\"0/requests\";r=0;t=60"));
    scene.engine.clear_override(&id("0"), Dimension::Requests).expect("it counts requests");

    assert_eq!(scene.answer(&ask(1, "3")).field("retry-after"), None);
    scene.engine.top_up(&id("1"), usd("2")).expect("it is prepaid");
    assert_eq!(scene.engine.peek(&scene.route, &ask(1, "3")), Peek::WouldAdmit);
}

#[test]
fn an_unknown_owner_is_forbidden_and_not_named() {
    let scene = scene(&[]);
    let stranger: OwnerId = "key:stranger".parse().expect("an owner");
    let route = scene.engine.route(&[stranger]);
    let Peek::WouldDeny(denied) = scene.engine.peek(&route, &ask(1, "0")) else {
        panic!("nobody knows it");
    };
    let answer = answer(&denied, &scene.engine.route_usage(&route));
    assert_eq!(answer.names(), (403, "invalid_request_error", "unknown_owner"));
    assert_eq!(answer.field("retry-after"), None);
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    assert!(!answer.message().contains("stranger"));
}

/// A gateway's own status changes the status alone.
#[test]
fn the_status_is_replaceable() {
    let scene = scene(&[budget("1", "1d")]);
    let denied = scene.denied(&ask(1, "2"));
    let usage = scene.engine.route_usage(&scene.route);
    let usual = refuse(&denied, &usage, usual_status).into_response();
    let own = refuse(&denied, &usage, |_| StatusCode::TOO_MANY_REQUESTS).into_response();
    assert_eq!((usual.status().as_u16(), own.status().as_u16()), (402, 429));
    assert_eq!((usual.headers(), usual.body()), (own.headers(), own.body()));
}

/// What a client must not read is in no part of the answer: owners, amounts of money, what others
/// use, and of a limit that it may not know of, not even the name.
#[test]
fn nothing_is_given_away() {
    let engine = Engine::builder().clock(ManualClock::new(Timestamp::from_secs(0))).build();
    let owners = ["key:k1", "customer:acme", "provider:openai-eu"];
    let owners = owners.map(|owner| owner.parse::<OwnerId>().expect("an owner"));
    for owner in &owners {
        engine.upsert_owner(owner, &[]).expect("a new owner");
    }
    let limits = [budget("77.70", "1d"), tokens(7_777, "1m"), tokens(9_999, "1h")];
    for ((owner, name), limit) in owners.iter().zip(["money", "pace", "hidden"]).zip(limits) {
        engine.upsert_limit(owner, &id(name), limit).expect("a new limit");
    }
    let route = engine.route(&owners);
    let _ = engine.bump(&route, &ask(5_432, "66.60"));
    let mut usage = engine.route_usage(&route);
    usage.retain(|usage| usage.limit != id("hidden"));
    for (asked, named) in [
        (ask(1, "33.30"), "\"money\""),
        (ask(2_400, "0"), "\"pace\""),
        (ask(7_000, "0"), "A rate limit on the way"),
    ] {
        let Peek::WouldDeny(denied) = engine.peek(&route, &asked) else { panic!("it fits") };
        let refusal = refuse(&denied, &usage, usual_status);
        assert!(refusal.message.contains(named), "{}", refusal.message);
        let response = refusal.into_response();
        let told = format!("{:?} {:?}", response.headers(), response.body());
        for secret in ["k1", "acme", "openai", "hidden", "77.7", "66.6", "33.3", "5432", "9999"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        let message = serde_json::from_slice::<Value>(response.body()).expect("JSON");
        assert!(!message.to_string().contains("7777"), "{message}");
    }
}
