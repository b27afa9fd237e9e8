//! Each report is counted once, under its own name.

use std::collections::BTreeMap;

use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::super::{Decided, Ended, Met, Phase, Stopwatch, decided, ended, keyed};
use crate::budget::Budget;
use crate::engine::{Denied, Engine};
use crate::id::{LimitId, OwnerId};
use crate::units::{Money, Usage};

/// What a scrape shows after this, but what differs from run to run.
fn shown(report: impl FnOnce()) -> BTreeMap<String, String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, report);
    let text = recorder.handle().render();
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let kept = lines.filter(|(name, _)| !name.contains("quantile") && !name.contains("_sum{"));
    let kept = kept.filter(|(name, _)| !name.starts_with('#'));
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn expected(rows: &[(&str, u64)]) -> BTreeMap<String, String> {
    rows.iter().map(|(name, value)| (format!("tollkeeper_{name}"), value.to_string())).collect()
}

/// By a budget of nothing, and by an owner who is not there.
fn denials() -> [Denied; 2] {
    let engine = Engine::new();
    let key: OwnerId = "key:k".parse().unwrap();
    engine.upsert_owner(&key, &[]).unwrap();
    let budget = Budget::new(Money::ZERO, "1h".parse().unwrap());
    engine.upsert_limit(&key, &LimitId::new("none").unwrap(), budget).unwrap();
    ["key:k", "key:unknown"].map(|owner| {
        let route = engine.route(&[owner.parse().unwrap()]);
        engine.reserve(&route, &Usage::default()).into_result().unwrap_err()
    })
}

#[test]
fn decisions_are_counted_by_what_was_decided() {
    let [by_money, by_owner] = denials();
    let shown = shown(|| {
        let all = [
            Decided::Admitted,
            Decided::Admitted,
            Decided::Denied(&by_money),
            Decided::Denied(&by_owner),
            Decided::Barred,
            Decided::Full,
            Decided::Closed,
            Decided::Refused(404),
            Decided::Gone,
        ];
        all.into_iter().for_each(|one| decided("chat", one));
    });
    let rows = [
        ("denials_total{operation=\"chat\",dimension=\"money\"}", 1),
        ("denials_total{operation=\"chat\",dimension=\"none\"}", 1),
        ("requests_total{operation=\"chat\",decision=\"admitted\"}", 2),
        ("requests_total{operation=\"chat\",decision=\"denied\"}", 2),
        ("requests_total{operation=\"chat\",decision=\"barred\"}", 1),
        ("requests_total{operation=\"chat\",decision=\"full\"}", 1),
        ("requests_total{operation=\"chat\",decision=\"closed\"}", 1),
        ("requests_total{operation=\"chat\",decision=\"refused\"}", 1),
        ("requests_total{operation=\"chat\",decision=\"gone\"}", 1),
    ];
    assert_eq!(shown, expected(&rows));
}

#[test]
fn ends_are_counted_with_what_was_used() {
    let used = Usage {
        input_tokens: 10,
        output_tokens: 20,
        cached_tokens: 3,
        cache_write_tokens: 0,
        requests: 1,
        cost: Money::from_nanos(1_500).unwrap(),
    };
    let shown = shown(|| {
        ended("chat", Ended::Settled, Some(&used));
        ended("chat", Ended::Partial, Some(&used));
        ended("chat", Ended::Failed, Some(&Usage::default()));
        ended("chat", Ended::Unbilled, None);
        ended("chat", Ended::Uncertain, None);
        ended("embeddings", Ended::Void, None);
    });
    let rows = [
        ("ended_total{operation=\"chat\",end=\"settled\"}", 1),
        ("ended_total{operation=\"chat\",end=\"partial\"}", 1),
        ("ended_total{operation=\"chat\",end=\"failed\"}", 1),
        ("ended_total{operation=\"chat\",end=\"unbilled\"}", 1),
        ("ended_total{operation=\"chat\",end=\"uncertain\"}", 1),
        ("ended_total{operation=\"embeddings\",end=\"void\"}", 1),
        ("used_tokens_total{operation=\"chat\",kind=\"input\"}", 20),
        ("used_tokens_total{operation=\"chat\",kind=\"output\"}", 40),
        ("used_tokens_total{operation=\"chat\",kind=\"cached\"}", 6),
        ("used_cost_nanos_total{operation=\"chat\"}", 3_000),
    ];
    assert_eq!(shown, expected(&rows));
}

#[test]
fn keys_and_phases_are_counted() {
    let shown = shown(|| {
        let met = [
            Met::Executed,
            Met::Replayed,
            Met::NotKept,
            Met::InFlight,
            Met::Mismatch,
            Met::Malformed,
            Met::Unavailable,
        ];
        met.into_iter().for_each(|met| keyed("chat", met));
        let mut watch = Stopwatch::start();
        for phase in [Phase::Admission, Phase::Barrier, Phase::Upstream, Phase::Record] {
            watch.took("chat", phase);
        }
        watch.took("chat", Phase::Record);
    });
    let rows = [
        ("keyed_total{operation=\"chat\",met=\"executed\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"replayed\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"not_kept\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"in_flight\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"mismatch\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"malformed\"}", 1),
        ("keyed_total{operation=\"chat\",met=\"unavailable\"}", 1),
        ("phase_seconds_count{operation=\"chat\",phase=\"admission\"}", 1),
        ("phase_seconds_count{operation=\"chat\",phase=\"barrier\"}", 1),
        ("phase_seconds_count{operation=\"chat\",phase=\"upstream\"}", 1),
        ("phase_seconds_count{operation=\"chat\",phase=\"record\"}", 2),
    ];
    assert_eq!(shown, expected(&rows));
}
