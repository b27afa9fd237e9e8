//! What limits have used, and who was denied.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tollkeeper::{CounterUsage, Dimension, Enforcement, LimitKind, LimitUsage, Money, Timestamp};

use super::super::house::House;
use super::super::switches::is_switch;
use super::Shared;

pub async fn usage(State(house): Shared) -> Json<Value> {
    Json(json!({ "now": house.engine.now().to_string(), "limits": limits(&house) }))
}

pub async fn denials(State(house): Shared) -> Json<Value> {
    Json(json!({ "denials": house.news.denials() }))
}

/// Every limit, in the order of owners and limits.
pub fn limits(house: &House) -> Vec<Value> {
    let mut all: Vec<LimitUsage> = house.engine.usage_all().filter(|u| !is_switch(u)).collect();
    all.sort_by(|a, b| (&a.owner, &a.limit).cmp(&(&b.owner, &b.limit)));
    all.iter().map(limit).collect()
}

/// The name of a dimension in this API.
pub const fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Money => "cost",
        other => other.name(),
    }
}

fn limit(usage: &LimitUsage) -> Value {
    let kind = match usage.kind {
        LimitKind::Budget => "budget",
        LimitKind::RateLimit => "rate_limit",
        LimitKind::Concurrency => "concurrency",
    };
    let enforcement = match usage.enforcement {
        Enforcement::Soft => "soft",
        Enforcement::Shadow => "shadow",
        _ => "hard",
    };
    json!({
        "limit": usage.limit.as_str(),
        "owner": usage.owner.as_str(),
        "kind": kind,
        "enforcement": enforcement,
        "counters": usage.counters.iter().map(counter).collect::<Vec<_>>(),
    })
}

fn counter(counter: &CounterUsage) -> Value {
    let mut value = json!({
        "dimension": dimension_name(counter.dimension),
        "settled": counter.settled,
        "held": counter.held,
        "limit": counter.limit,
        "remaining": counter.remaining(),
        "percent": counter.percent(),
        "window": window(counter.window.start, counter.window.end),
        "generation": counter.generation,
    });
    if counter.dimension == Dimension::Money {
        value["text"] = json!({
            "settled": money(counter.settled),
            "held": money(counter.held),
            "limit": counter.limit.map(money),
            "remaining": counter.remaining().map(money),
        });
    }
    value
}

/// A window; one that never ends has no end.
pub fn window(start: Timestamp, end: Timestamp) -> Value {
    let end = (end < Timestamp::MAX).then(|| end.to_string());
    json!({ "start": start.to_string(), "end": end })
}

/// An amount of money as people read it.
pub fn money(nanos: u64) -> String {
    Money::from_nanos(nanos).map_or_else(|_| nanos.to_string(), |money| format!("${money}"))
}
