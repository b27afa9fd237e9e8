//! Telemetry in a thread of its own.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use tollkeeper::{Budget, Ledger, LimitId, MemoryLedger, OwnerId, Telemetry};
use tracing::subscriber::set_global_default;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::alone::watched_engine;
use crate::listener::{Collector, Told, shown};

#[track_caller]
fn soon(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        // Less than the time between two readings of the values.
        assert!(began.elapsed() < Duration::from_secs(4), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The only test that takes the recorder and the subscriber of the process.
#[test]
fn events_are_told_as_they_come_and_the_thread_ends_with_the_ledger() {
    let handle = PrometheusBuilder::new().install_recorder().expect("nobody else does");
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    let subscriber = Registry::default().with(Collector(Arc::clone(&told)));
    set_global_default(subscriber).expect("nobody else does");

    let (engine, alive) = watched_engine();
    let key: OwnerId = "key:threaded".parse().unwrap();
    let limit = LimitId::new("threaded").unwrap();
    engine.upsert_owner(&key, &[]).unwrap();
    let budget = Budget::new("1".parse().unwrap(), "1h".parse().unwrap());
    engine.upsert_limit(&key, &limit, budget).unwrap();
    let ledger = Ledger::builder(&engine).start(MemoryLedger::default()).unwrap();
    Telemetry::new(&ledger).start().unwrap();

    soon("values are read", || {
        shown(&handle.render()).keys().any(|name| name.contains("limit=\"threaded\""))
    });
    let resets = || {
        let told = told.lock().unwrap();
        told.iter().filter(|one| one.text.contains("limit=threaded")).count()
    };
    for n in 1..=3 {
        engine.reset(&limit, None).unwrap();
        soon("an event is told", || resets() == 2 * n);
    }
    let name = "tollkeeper_events_total{event=\"reset\",dimension=\"money\"}";
    soon("events are counted", || shown(&handle.render()).get(name) == Some(&3.0));

    drop((ledger, engine));
    soon("nothing keeps the engine", || alive.strong_count() == 0);
    #[cfg(target_os = "linux")]
    {
        let running = || {
            let threads = std::fs::read_dir("/proc/self/task").unwrap();
            let names = threads
                .filter_map(|one| std::fs::read_to_string(one.ok()?.path().join("comm")).ok());
            names.filter(|name| name.starts_with("tollkeeper-tel")).count()
        };
        let began = Instant::now();
        while running() > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "the thread runs on");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
