//! Metrics, compared for equality.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::with_local_recorder;
use tollkeeper::{
    Barrier, Budget, Concurrency, Dimension, Enforcement, RateLimit, Telemetry, Timestamp,
};

use crate::hand::hand;
use crate::kit::{Kit, cost, id, kit, minute, nanos, owner, per, second, tokens};
use crate::listener::{Listener, Shown, of};
use crate::scene::{FORBIDDEN, Fault, Scene, draft, open, scene, usage};

/// What is shown after one look at a ledger.
fn look(scene: &Scene, telemetry: &mut Telemetry, listener: &Listener) -> Shown {
    listener.hear(|| {
        telemetry.turn(scene.kit.engine.now());
    });
    listener.shown()
}

fn limits(of: impl FnOnce(&Kit)) -> Scene {
    let kit = kit();
    of(&kit);
    open(kit, Default::default())
}

#[test]
fn events_are_counted_by_what_happened_and_to_what() {
    let scene = limits(|kit| {
        kit.limit("key:k", "budget", Budget::new(nanos(100), per("1h")).thresholds(&[50, 80]));
        let rate = RateLimit::new().tokens(10, per("1m")).requests(1_000, per("1m"));
        kit.limit("key:k", "rate", rate);
        let shadow = Concurrency::new(0).enforcement(Enforcement::Shadow);
        kit.limit("key:k", "shadow", shadow);
    });
    let (kit, listener) = (&scene.kit, Listener::new());
    let mut telemetry = Telemetry::new(&scene.ledger);
    // Both thresholds of the budget at once; then it is exhausted, by one that does not fit.
    kit.bump(&["key:k"], &cost(90));
    kit.deny(&["key:k"], &cost(20));
    // Twelve of ten tokens; and a window later, nothing.
    kit.bump(&["key:k"], &tokens(12));
    kit.advance(minute());
    kit.engine.reset_expired();
    drop(kit.admit(&["key:k"], &tokens(1)));
    drop(kit.admit(&["key:k"], &tokens(1)));
    // What was held of a budget and of both counters of the rate limit.
    kit.admit(&["key:k"], &cost(1)).mark_dispatched();
    kit.engine.reset(&id("rate"), Some(Dimension::Tokens)).unwrap();

    let shown = look(&scene, &mut telemetry, &listener);
    let event = |event: &str, dimension: &str, times: f64| {
        let labels = format!("{{event=\"{event}\",dimension=\"{dimension}\"}}");
        (format!("tollkeeper_events_total{labels}"), times)
    };
    let expected: Shown = [
        event("threshold", "money", 2.0),
        event("exhausted", "money", 1.0),
        event("exhausted", "tokens", 1.0),
        event("window_closed", "tokens", 2.0),
        event("window_closed", "requests", 1.0),
        event("reset", "tokens", 1.0),
        event("uncertain", "money", 1.0),
        event("uncertain", "requests", 1.0),
        event("passed", "in_flight", 3.0),
    ]
    .into();
    let counted = of(&shown, "tollkeeper_events_total");
    let counted: Shown = counted.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    assert_eq!(counted, expected);
    // As many as the engine gave.
    let happened = kit.events.drain().count();
    assert_eq!(counted.values().sum::<f64>(), happened as f64);
}

#[test]
fn events_that_were_missed_are_counted() {
    const QUEUE: usize = 8_192;
    let scene = limits(|kit| {
        kit.limit("key:k", "one", Budget::new(nanos(1 << 40), per("1h")));
    });
    let listener = Listener::new();
    let mut telemetry = Telemetry::new(&scene.ledger);
    for _ in 0..QUEUE + 300 {
        scene.kit.admit(&["key:k"], &cost(1)).mark_dispatched();
    }
    let shown = look(&scene, &mut telemetry, &listener);
    let uncertain = "tollkeeper_events_total{event=\"uncertain\",dimension=\"money\"}";
    assert_eq!(shown[uncertain], QUEUE as f64);
    assert_eq!(shown["tollkeeper_events_missed_total"], 300.0);
}

#[test]
fn the_ledgers_health_is_shown() {
    let mut scene = scene();
    let listener = Listener::new();
    let mut telemetry = Telemetry::new(&scene.ledger);
    let now = |name: &str, shown: &Shown| shown[&format!("tollkeeper_ledger_{name}")];
    let names = [
        "open_charges",
        "queued",
        "slots_taken",
        "unpersisted",
        "rejected",
        "failures",
        "written_total",
        "groups_total",
        "attempts_total",
    ];
    let all = |shown: &Shown| names.map(|name| now(name, shown) as u64);

    let written = scene.charge(&usage(300, 30)).settle(&usage(120, 20));
    scene.written(written);
    scene.store.fail(&[Fault::Before]);
    scene.charge(&usage(300, 30)).settle(&usage(250, 20)).forget();
    scene.turn();
    let open = scene.charge(&usage(1, 1));
    let shown = look(&scene, &mut telemetry, &listener);
    assert_eq!(all(&shown), [1, 1, 2, 1, 0, 1, 1, 1, 2]);
    // A key and its team, in units of the currency.
    assert_eq!(now("unpersisted_cost", &shown), 500e-9);
    assert_eq!(now("slots", &shown), scene.ledger.health().capacity as f64);

    // It works again, and refuses one.
    drop(open);
    scene.kit.advance(minute());
    scene.charge_as(&usage(1, 1), draft().model(FORBIDDEN)).settle(&usage(1, 1)).forget();
    scene.drain();
    let shown = look(&scene, &mut telemetry, &listener);
    let health = scene.ledger.health();
    assert_eq!((health.rejected, health.queued, health.open_charges), (1, 0, 0));
    let (written, groups, attempts) = (health.written, health.groups, health.attempts);
    assert_eq!(all(&shown), [0, 0, 1, 1, 1, health.failures, written, groups, attempts]);
    assert_eq!(written, 3, "the open one was dropped, and is written as uncertain");
}

#[test]
fn the_barriers_counts_are_shown() {
    let (scene, listener) = (scene(), Listener::new());
    let builder = Barrier::builder(|_| {}).clock(scene.kit.clock.clone());
    let (barrier, mut timer) = builder.wait_at_most(second()).by_hand().unwrap();
    let mut telemetry = Telemetry::new(&scene.ledger).barrier(&barrier);
    let mut first = hand(barrier.acquire(&owner("user:u"), None));
    let permit = first.ready().unwrap();
    let mut second = hand(barrier.acquire(&owner("user:u"), None));
    assert!(second.waits());
    let names = ["users", "waiting", "holding", "timeouts_total", "refused_total", "lost_total"];
    let all = |shown: &Shown| names.map(|name| shown[&format!("tollkeeper_barrier_{name}")] as u64);
    assert_eq!(all(&look(&scene, &mut telemetry, &listener)), [1, 1, 1, 0, 0, 0]);

    timer.turn(scene.kit.clock.advance(Duration::from_secs(5)));
    drop(permit);
    // Telemetry does not keep the barrier: its calls end with it, and counts are there.
    drop(barrier);
    assert_eq!(all(&look(&scene, &mut telemetry, &listener)), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn values_are_read_every_five_seconds_and_events_at_every_turn() {
    let (scene, listener) = (scene(), Listener::new());
    let mut telemetry = Telemetry::new(&scene.ledger);
    let at = |seconds: u64| Timestamp::from_secs(1_000 + seconds);
    let mut turn = |seconds| {
        let mut next = None;
        listener.hear(|| next = telemetry.turn(at(seconds)));
        let shown = listener.shown();
        let events = of(&shown, "tollkeeper_events_total").len();
        (next, shown["tollkeeper_ledger_open_charges"], events)
    };
    assert_eq!(turn(0), (Some(at(5)), 0.0, 0));
    let _charge = scene.charge(&usage(1, 1));
    scene.kit.engine.reset(&id("money"), None).unwrap();
    assert_eq!(turn(4), (Some(at(5)), 0.0, 2), "the closed window and the reset");
    assert_eq!(turn(5), (Some(at(10)), 1.0, 2));
    drop(_charge);
    // A clock that steps back does not stop it.
    let stepped = Timestamp::from_secs(10);
    listener.hear(|| assert_eq!(telemetry.turn(stepped), Some(Timestamp::from_secs(15))));
    assert_eq!(listener.shown()["tollkeeper_ledger_open_charges"], 0.0);
}

/// Every name that is recorded is described, and every name that is described is in the table of
/// the documentation, and no other.
#[test]
fn all_metrics_are_described_and_documented() {
    let (scene, listener) = (scene(), Listener::new());
    let (barrier, _timer) = Barrier::builder(|_| {}).by_hand().unwrap();
    let mut telemetry = Telemetry::new(&scene.ledger).barrier(&barrier);
    scene.kit.engine.reset(&id("money"), None).unwrap();
    look(&scene, &mut telemetry, &listener);
    let text = listener.text();
    let recorded: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    let described: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(recorded.difference(&described).next(), None);

    let names = include_str!("../../src/telemetry/names.rs");
    let named: BTreeSet<&str> = names.split('"').filter(|s| s.starts_with("tollkeeper_")).collect();
    let page = include_str!("../../src/telemetry/turn.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("/// | `"));
    let documented: BTreeSet<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(documented, named);
    assert!(recorded.is_subset(&named));
    // Whatever is not of a request is recorded by now.
    let of_requests = ["requests", "denials", "ended", "used_", "keyed", "phase"];
    let others = named.iter().filter(|name| {
        let name = name.strip_prefix("tollkeeper_").unwrap();
        !of_requests.iter().any(|begin| name.starts_with(begin))
    });
    assert_eq!(others.copied().collect::<BTreeSet<_>>(), recorded);
}

/// Each constant is described: the recorder is asked, not the source.
#[test]
fn described_are_as_many_as_there_are_names() {
    #[derive(Default)]
    struct Describing(std::sync::Mutex<BTreeSet<String>>);
    impl Describing {
        fn add(&self, name: metrics::KeyName, text: metrics::SharedString) {
            assert!(text.ends_with('.'), "{text}");
            assert!(self.0.lock().unwrap().insert(name.as_str().to_owned()), "{name:?} twice");
        }
    }
    impl metrics::Recorder for Describing {
        fn describe_counter(
            &self,
            name: metrics::KeyName,
            _: Option<metrics::Unit>,
            text: metrics::SharedString,
        ) {
            assert!(name.as_str().ends_with("_total"));
            self.add(name, text);
        }

        fn describe_gauge(
            &self,
            name: metrics::KeyName,
            _: Option<metrics::Unit>,
            text: metrics::SharedString,
        ) {
            assert!(!name.as_str().ends_with("_total"));
            self.add(name, text);
        }

        fn describe_histogram(
            &self,
            name: metrics::KeyName,
            unit: Option<metrics::Unit>,
            text: metrics::SharedString,
        ) {
            assert_eq!(unit, Some(metrics::Unit::Seconds));
            self.add(name, text);
        }

        fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata) -> metrics::Counter {
            metrics::Counter::noop()
        }

        fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata) -> metrics::Gauge {
            metrics::Gauge::noop()
        }

        fn register_histogram(
            &self,
            _: &metrics::Key,
            _: &metrics::Metadata,
        ) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }
    let (scene, describing) = (scene(), Describing::default());
    let mut telemetry = Telemetry::new(&scene.ledger);
    with_local_recorder(&describing, || {
        telemetry.turn(scene.kit.engine.now());
    });
    let names = include_str!("../../src/telemetry/names.rs");
    let named = names.split('"').filter(|text| text.starts_with("tollkeeper_"));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(*describing.0.lock().unwrap(), named);
}
