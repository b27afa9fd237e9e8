//! State: all usage as a document, set and never added when it is read back.
#![cfg(feature = "serde")]

#[path = "state/refused.rs"]
mod refused;
#[path = "state/restored.rs"]
mod restored;

use std::time::Duration;

use tollkeeper::{
    Config, Dimension, Engine, LimitId, LimitUsage, ManualClock, Money, OwnerId, State, Timestamp,
    Usage,
};

/// Windows of many lengths: rolling on the lattice of the limit's creation, on the calendar, and
/// without end.
const LIMITS: &str = r#"
    owners = [
        { id = "customer:acme", budgets = [
            { id = "monthly", limit = "$100", period = "1M", calendar = {} },
            { id = "prepaid", limit = "$20", period = "never" },
            { id = "counted", period = "1d" },
        ] },
        { id = "key:k", parents = ["customer:acme"], rate_limits = [
            { id = "rate", requests = "60/m", tokens = { limit = 1000, period = "1h" } },
            { id = "tokens", tokens = { limit = 5000, period = "7s" } },
        ], concurrency = [{ id = "in-flight", limit = 4 }] },
        { id = "key:k&model:m", rate_limits = [{ id = "pair", requests = "9/h" }] },
        { id = "model:m" },
    ]
"#;

const START: &str = "2026-03-04T12:00:00.123456789Z";

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner's text")
}

fn limit(text: &str) -> LimitId {
    LimitId::new(text).expect("a limit id")
}

fn money(text: &str) -> Money {
    text.parse().expect("an amount of money")
}

/// One request of so many tokens and so much money.
fn request(tokens: u64, cost: &str) -> Usage {
    Usage { input_tokens: tokens, requests: 1, cost: money(cost), ..Usage::default() }
}

/// An engine with the limits of a document, created at an instant.
fn engine_with(document: &str, start: &str) -> (Engine, ManualClock) {
    let clock = ManualClock::new(instant(start));
    let engine = Engine::builder().clock(clock.clone()).build();
    engine.apply(&Config::from_toml(document).expect("well-formed")).expect("fits");
    (engine, clock)
}

/// An engine that has been running for ten minutes and two seconds.
fn used_engine() -> (Engine, ManualClock) {
    let (engine, clock) = engine_with(LIMITS, START);
    let route = engine.route(&[owner("key:k"), owner("model:m")]);
    let _ = engine.bump(&route, &request(100, "3.50"));
    clock.advance(Duration::from_secs(602));
    let _ = engine.bump(&route, &request(10, "0.000000001"));
    (engine, clock)
}

fn readings(engine: &Engine) -> Vec<LimitUsage> {
    let mut all: Vec<LimitUsage> = engine.usage_all().collect();
    all.sort_by(|a, b| a.limit.cmp(&b.limit));
    all
}

/// Readings as far as a new process has them: a generation counts the windows of one process, and
/// what is held ends with it.
fn restorable(engine: &Engine) -> Vec<LimitUsage> {
    let mut all = readings(engine);
    for counter in all.iter_mut().flat_map(|limit| &mut limit.counters) {
        (counter.generation, counter.held) = (0, 0);
    }
    all
}

/// What a counter has booked.
fn settled(engine: &Engine, id: &str, dimension: Dimension) -> u64 {
    let usage = engine.usage(&limit(id)).unwrap_or_else(|| panic!("there is a limit {id}"));
    usage.counter(dimension).expect("it has that counter").settled
}

fn json(state: &State) -> String {
    serde_json::to_string(state).expect("a state is JSON")
}

fn from_json(text: &str) -> State {
    serde_json::from_str(text).expect("a state's text")
}
