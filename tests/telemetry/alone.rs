//! Decisions know nothing of telemetry: with both features on and somebody listening, they tell
//! nobody anything and allocate nothing; and telemetry keeps nothing open.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use metrics::with_local_recorder;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tollkeeper::{
    Budget, Clock, Draft, Engine, Ledger, MemoryLedger, Peek, RateLimit, Telemetry, Timestamp,
    Usage,
};

use crate::kit::{kit, nanos, per};
use crate::listener::Listener;

/// Counts how often it is asked for anything.
#[derive(Default)]
struct Asked(AtomicU64);

impl Asked {
    fn asked(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Asked {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.asked();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.asked();
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.asked();
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.asked();
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.asked();
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.asked();
        Histogram::noop()
    }
}

#[test]
fn decisions_allocate_nothing_and_tell_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(1 << 40), per("1M")));
    let rate = RateLimit::new().tokens(1 << 40, per("1h")).requests(1 << 40, per("1h"));
    kit.limit("key:k", "rate", rate);
    let route = kit.route(&["key:k"]);
    let (ledger, _writer) = Ledger::builder(&kit.engine).by_hand(MemoryLedger::default()).unwrap();
    let mut telemetry = Telemetry::new(&ledger);
    let used = Usage { input_tokens: 3, requests: 1, cost: nanos(5), ..Usage::default() };
    let decide = || {
        let reservation = kit.engine.reserve(&route, &used).into_result().expect("there is room");
        drop(reservation.settle(&used));
        drop(kit.engine.bump(&route, &used));
        assert_eq!(kit.engine.peek(&route, &used), Peek::WouldAdmit);
    };
    let asked = Asked::default();
    let told = Listener::new().hear(|| {
        with_local_recorder(&asked, || {
            decide();
            assert_eq!(allocation_counter::measure(decide).count_total, 0);
            let draft = Draft::new();
            ledger.reserve(&route, &used, draft).expect("there is room").void();
        });
    });
    assert_eq!(asked.0.load(Ordering::Relaxed), 0);
    assert_eq!(told, []);
    // The recorder does hear what is told outside of decisions.
    with_local_recorder(&asked, || {
        telemetry.turn(kit.engine.now());
    });
    assert!(asked.0.load(Ordering::Relaxed) > 0);
}

/// A clock whose engine is gone when it is.
struct Watched(#[allow(dead_code)] Arc<()>);

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }
}

pub fn watched_engine() -> (Engine, Weak<()>) {
    let alive = Arc::new(());
    let watch = Arc::downgrade(&alive);
    (Engine::builder().clock(Watched(alive)).build(), watch)
}

#[test]
fn telemetry_keeps_nothing_open() {
    let (engine, alive) = watched_engine();
    let (ledger, writer) = Ledger::builder(&engine).by_hand(MemoryLedger::default()).unwrap();
    let mut telemetry = Telemetry::new(&ledger);
    let now = Timestamp::from_secs(1_000);
    assert!(telemetry.turn(now).is_some());
    drop((ledger, writer, engine));
    assert_eq!(alive.strong_count(), 0);
    assert_eq!(telemetry.turn(now), None);
}
