//! Gauges of limits: the fullest, and never more of them.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;
use tollkeeper::{Budget, Concurrency, Enforcement, RateLimit, Telemetry, Timestamp};

use crate::kit::{cost, kit, nanos, nothing, per, tokens};
use crate::listener::{Listener, Shown, of};
use crate::scene::{Scene, open};

const LIMITS: u64 = 10_000;
const FAMILY: [&str; 4] = ["used_ratio", "settled", "held", "allowed"];

/// So many budgets of 1,000, each of a key of its own.
fn many() -> Scene {
    let kit = kit();
    for n in 0..LIMITS {
        kit.limit(&format!("key:{n}"), &format!("b{n}"), Budget::new(nanos(1_000), per("1h")));
    }
    open(kit, Default::default())
}

fn labels(limit: &str, owner: &str, enforcement: &str, dimension: &str) -> String {
    format!(
        "{{limit=\"{limit}\",owner=\"{owner}\",enforcement=\"{enforcement}\",\
         dimension=\"{dimension}\"}}"
    )
}

/// The numbers of the limits that have a value.
fn labelled(shown: &Shown) -> BTreeSet<u64> {
    let limits = of(shown, "tollkeeper_limit_used_ratio").into_iter();
    let number = |(name, _): (&str, f64)| name.split('"').nth(1).unwrap()[1..].parse().unwrap();
    limits.map(number).collect()
}

#[test]
fn only_the_fullest_of_ten_thousand_limits_have_labels() {
    let scene = many();
    let builder = PrometheusBuilder::new();
    let idle = Duration::from_millis(100);
    let listener = Listener::with(builder.idle_timeout(MetricKindMask::GAUGE, Some(idle)));
    let mut telemetry = Telemetry::new(&scene.ledger).limits_labelled(20);
    let mut now = Timestamp::from_secs(1_000);
    let mut turn = || {
        now = now + Duration::from_secs(5);
        listener.hear(|| {
            telemetry.turn(now);
        });
        listener.shown()
    };
    // Every round, twenty others become the fullest.
    for round in 1..=30 {
        for n in 0..20 {
            scene.kit.bump(&[&format!("key:{}", round * 20 + n)], &cost(20 * round + n));
        }
        let shown = turn();
        assert_eq!(labelled(&shown), (round * 20..round * 20 + 20).collect(), "round {round}");
        for family in FAMILY {
            assert_eq!(of(&shown, &format!("tollkeeper_limit_{family}")).len(), 20);
        }
        assert_eq!(shown["tollkeeper_limits{dimension=\"money\"}"], LIMITS as f64);
        assert_eq!(shown["tollkeeper_limits_full{dimension=\"money\"}"], 0.0);
    }
    // And the recorder has dropped what was set away.
    let began = Instant::now();
    loop {
        let shown = turn();
        let series = shown.keys().filter(|name| name.starts_with("tollkeeper_limit_")).count();
        if series == 20 * FAMILY.len() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{series} series stay");
        thread::sleep(idle);
    }
}

#[test]
fn of_limits_that_are_as_full_always_the_same_have_labels() {
    let (scene, listener) = (many(), Listener::new());
    let mut telemetry = Telemetry::new(&scene.ledger);
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        listener.hear(|| {
            telemetry.turn(Timestamp::from_secs(1_000 + 5 * round));
        });
        seen.insert(labelled(&listener.shown()));
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(seen.first().unwrap().len(), 100, "unless it is set");
    let series = listener.shown().keys().filter(|key| key.contains("limit=")).count();
    assert_eq!(series, 100 * FAMILY.len());
}

#[test]
fn values_of_a_limit_are_exact() {
    let kit = kit();
    kit.limit("key:k", "money", Budget::new("2.50".parse().unwrap(), per("1h")));
    let rate = RateLimit::new().tokens(100, per("1m")).enforcement(Enforcement::Soft);
    kit.limit("key:k", "rate", rate);
    let none = Concurrency::new(0).enforcement(Enforcement::Shadow);
    kit.limit("key:k", "none", none);
    kit.limit("key:k", "gone", Concurrency::new(5));
    let scene = open(kit, Default::default());
    let kit = &scene.kit;
    kit.bump(&["key:k"], &cost(1_000_000_000));
    kit.bump(&["key:k"], &tokens(150));
    let held = kit.admit(&["key:k"], &cost(250_000_000));

    let listener = Listener::new();
    let mut telemetry = Telemetry::new(&scene.ledger);
    let mut look = |seconds| {
        listener.hear(|| {
            telemetry.turn(Timestamp::from_secs(seconds));
        });
        listener.shown()
    };
    let shown = look(1_000);
    let values = |shown: &Shown, labels: &str| {
        FAMILY.map(|family| shown[&format!("tollkeeper_limit_{family}{labels}")])
    };
    let money = labels("money", "key:k", "hard", "money");
    let gone = labels("gone", "key:k", "hard", "in_flight");
    assert_eq!(values(&shown, &money), [0.5, 1.0, 0.25, 2.5]);
    assert_eq!(
        values(&shown, &labels("rate", "key:k", "soft", "tokens")),
        [1.5, 150.0, 0.0, 100.0]
    );
    assert_eq!(
        values(&shown, &labels("none", "key:k", "shadow", "in_flight")),
        [1.0, 0.0, 1.0, 0.0]
    );
    assert_eq!(values(&shown, &gone), [0.2, 0.0, 1.0, 5.0]);
    let full = |dimension| shown[&format!("tollkeeper_limits_full{{dimension=\"{dimension}\"}}")];
    let all = |dimension| shown[&format!("tollkeeper_limits{{dimension=\"{dimension}\"}}")];
    let each = ["money", "tokens", "requests", "in_flight"];
    assert_eq!(each.map(all), [1.0, 1.0, 0.0, 2.0]);
    assert_eq!(each.map(full), [0.0, 1.0, 0.0, 1.0]);

    // One that is removed, and one that becomes another, are set away.
    drop(held);
    kit.engine.remove_limit(&"gone".parse().unwrap()).unwrap();
    kit.limit("key:k", "none", Concurrency::new(1));
    assert!(kit.admits(&["key:k"], &nothing()));
    let shown = look(1_005);
    assert!(values(&shown, &gone).iter().all(|value| value.is_nan()));
    let before = labels("none", "key:k", "shadow", "in_flight");
    assert!(values(&shown, &before).iter().all(|value| value.is_nan()));
    assert_eq!(values(&shown, &labels("none", "key:k", "hard", "in_flight")), [0.0, 0.0, 0.0, 1.0]);
}
