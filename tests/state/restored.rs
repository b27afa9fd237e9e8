//! What is restored, and what is not.

use std::num::NonZeroU16;
use std::thread;
use std::time::Duration;

use tollkeeper::{Dimension, EventKind, Imported, Lasts, State};

use super::*;

/// What an import says that restored so many counters and found so many over.
fn imported(restored: usize, ended: usize) -> Imported {
    let mut imported = Imported::default();
    (imported.restored, imported.ended) = (restored, ended);
    imported
}

#[test]
fn a_new_process_reads_what_the_old_one_read() {
    let (old, clock) = used_engine();
    let state = from_json(&json(&old.export()));
    assert_eq!(state, old.export());
    assert_eq!(state.exported_at, clock_reading(&clock));
    let (new, _) = engine_with(LIMITS, &clock_reading(&clock).to_string());
    assert_ne!(restorable(&new), restorable(&old));
    assert_eq!(new.import(&state), Ok(imported(7, 0)));
    assert_eq!(restorable(&new), restorable(&old));
    assert_eq!(new.export(), state);
    // From here on both do the same, at every boundary.
    let (old_route, new_route) = (old.route(&[owner("key:k")]), new.route(&[owner("key:k")]));
    for seconds in [1, 3, 7, 50, 3_600, 86_400 * 40] {
        let later = clock.advance(Duration::from_secs(seconds));
        let (other, _) = engine_with(LIMITS, &later.to_string());
        let _ = old.bump(&old_route, &request(7, "0.01"));
        other.import(&old.export()).expect("fits");
        assert_eq!(restorable(&other), restorable(&old), "after {seconds} s more");
    }
    let _ = new.bump(&new_route, &request(1, "0"));
}

fn clock_reading(clock: &ManualClock) -> Timestamp {
    tollkeeper::Clock::now(clock)
}

#[test]
fn toml_is_a_form_too() {
    let (old, clock) = used_engine();
    old.top_up(&limit("prepaid"), money("5")).expect("prepaid");
    let nanos = money("1").as_nanos();
    old.override_limit(&limit("monthly"), Dimension::Money, nanos, Lasts::UntilCleared)
        .expect("counts money");
    let text = toml::to_string(&old.export()).expect("a state is TOML");
    let state: State = toml::from_str(&text).expect("its own text");
    assert_eq!(state, old.export());
    let (new, _) = engine_with(LIMITS, &clock_reading(&clock).to_string());
    assert_eq!(new.import(&state), Ok(imported(7, 0)));
    assert_eq!(restorable(&new), restorable(&old));
}

#[test]
fn the_form_is_this_one() {
    let document = r#"owners = [{ id = "key:k", rate_limits = [
        { id = "rate", requests = "60/m", tokens = { limit = 1000, period = "1h" } },
    ] }]"#;
    let (engine, _) = engine_with(document, "2026-03-04T12:00:00Z");
    let _ = engine.bump(&engine.route(&[owner("key:k")]), &request(100, "0"));
    engine
        .override_limit(
            &limit("rate"),
            Dimension::Requests,
            90,
            Lasts::Windows(NonZeroU16::new(2).expect("two")),
        )
        .expect("counts requests");
    let expected = serde_json::json!({
        "version": 1,
        "exported_at": "2026-03-04T12:00:00Z",
        "limits": [{
            "limit": "rate",
            "owner": "key:k",
            "kind": "rate_limit",
            "anchor": "2026-03-04T12:00:00Z",
            "counters": [
                {
                    "dimension": "tokens",
                    "start": "2026-03-04T12:00:00Z",
                    "end": "2026-03-04T13:00:00Z",
                    "settled": 100,
                    "credit": 0,
                },
                {
                    "dimension": "requests",
                    "start": "2026-03-04T12:00:00Z",
                    "end": "2026-03-04T12:01:00Z",
                    "settled": 1,
                    "credit": 0,
                    "instead": { "limit": 90, "until": "2026-03-04T12:02:00Z" },
                },
            ],
        }],
    });
    assert_eq!(serde_json::to_value(engine.export()).expect("a state is JSON"), expected);
}

#[test]
fn it_is_set_and_never_added() {
    let (old, clock) = used_engine();
    let state = old.export();
    let (new, _) = engine_with(LIMITS, &clock_reading(&clock).to_string());
    for _ in 0..3 {
        // What the new process booked meanwhile gives way, too.
        let _ = new.bump(&new.route(&[owner("key:k")]), &request(999, "9"));
        assert_eq!(new.import(&state), Ok(imported(7, 0)));
        assert_eq!(restorable(&new), restorable(&old));
    }
    // Into the engine that wrote it as well.
    assert_eq!(old.import(&state), Ok(imported(7, 0)));
    assert_eq!(restorable(&old), restorable(&new));
    assert_eq!(old.export(), state);
}

#[test]
fn what_ended_meanwhile_starts_at_zero() {
    let (old, clock) = used_engine();
    let state = old.export();
    // The minute of requests and the seven seconds are over, the hours and the month are not.
    let later = clock.advance(Duration::from_secs(59));
    let (new, _) = engine_with(LIMITS, &later.to_string());
    assert_eq!(new.import(&state), Ok(imported(5, 2)));
    assert_eq!(settled(&new, "rate", Dimension::Requests), 0);
    assert_eq!(settled(&new, "tokens", Dimension::Tokens), 0);
    assert_eq!(settled(&new, "rate", Dimension::Tokens), 110);
    assert_eq!(settled(&new, "pair", Dimension::Requests), 2);
    assert_eq!(settled(&new, "monthly", Dimension::Money), 3_500_000_001);
    // They go on where the old process's windows would have gone on.
    assert_eq!(restorable(&new), restorable(&old));
    // Usage that a new window has already is not of the window that ended, and stays.
    let _ = new.bump(&new.route(&[owner("key:k"), owner("model:m")]), &request(5, "0"));
    assert_eq!(new.import(&state), Ok(imported(5, 2)));
    assert_eq!(settled(&new, "rate", Dimension::Requests), 1);
    assert_eq!(settled(&new, "tokens", Dimension::Tokens), 5);
    assert_eq!(settled(&new, "rate", Dimension::Tokens), 110);
}

#[test]
fn windows_go_on_in_the_old_cadence() {
    let (old, clock) = used_engine();
    let state = old.export();
    let later = clock.advance(Duration::from_secs(86_400 * 45 + 13));
    let (new, new_clock) = engine_with(LIMITS, &later.to_string());
    // All but what never ends is over.
    assert_eq!(new.import(&state), Ok(imported(1, 6)));
    for seconds in [0, 1, 6, 55, 3_601, 90_000] {
        clock.advance(Duration::from_secs(seconds));
        new_clock.advance(Duration::from_secs(seconds));
        old.reset_expired();
        new.reset_expired();
        assert_eq!(restorable(&new), restorable(&old), "{seconds} s on");
    }
}

#[test]
fn another_definition_keeps_the_usage_of_open_windows() {
    let (old, clock) = used_engine();
    let state = old.export();
    let changed = r#"
        owners = [
            { id = "customer:acme", budgets = [
                { id = "monthly", limit = "$1", period = "1w", calendar = {} },
                { id = "prepaid", limit = "$20", period = "1d" },
                { id = "counted", limit = "$5", period = "never" },
            ] },
            { id = "key:k", rate_limits = [
                { id = "rate", requests = "60/h", tokens = { limit = 5, period = "1M" } },
                { id = "tokens", requests = "1/s" },
            ], concurrency = [{ id = "in-flight", limit = 1 }] },
        ]
    "#;
    let now = clock_reading(&clock);
    let (new, _) = engine_with(changed, &now.to_string());
    let done = new.import(&state).expect("every limit is what it was");
    // All but the pair's and the one of tokens that the limit does not have any more.
    assert_eq!((done.restored, done.ended), (7 - 2, 0));
    assert_eq!(done.unknown, [limit("pair")]);
    assert_eq!(settled(&new, "monthly", Dimension::Money), 3_500_000_001);
    assert_eq!(settled(&new, "prepaid", Dimension::Money), 3_500_000_001);
    assert_eq!(settled(&new, "counted", Dimension::Money), 3_500_000_001);
    assert_eq!(settled(&new, "rate", Dimension::Tokens), 110);
    assert_eq!(settled(&new, "rate", Dimension::Requests), 1);
    assert_eq!(settled(&new, "tokens", Dimension::Requests), 0);
    let window = |id: &str, counter: usize| {
        let usage = new.usage(&limit(id)).expect("is there");
        let window = usage.counters[counter].window;
        assert!(window.start <= now && now < window.end, "{id}: {window:?}");
        (window.start.to_string(), window.end.to_string())
    };
    let span = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    // Windows are those of the new periods, from the old anchor.
    assert_eq!(window("monthly", 0), span("2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"));
    assert_eq!(window("prepaid", 0), span(START, "2026-03-05T12:00:00.123456789Z"));
    assert_eq!(window("rate", 0), span(START, "2026-04-04T12:00:00.123456789Z"));
    assert_eq!(window("rate", 1), span(START, "2026-03-04T13:00:00.123456789Z"));
}

#[test]
fn what_never_ends_is_open_at_the_end_of_time() {
    let (old, clock) = used_engine();
    clock.set(Timestamp::MAX);
    let (new, new_clock) = engine_with(LIMITS, START);
    new_clock.set(Timestamp::MAX);
    new.import(&old.export()).expect("fits");
    assert_eq!(settled(&new, "prepaid", Dimension::Money), 3_500_000_001);
    assert_eq!(restorable(&new), restorable(&old));
}

#[test]
fn a_window_that_was_reset_stays_as_short() {
    let (old, clock) = used_engine();
    old.reset(&limit("monthly"), None).expect("it has a window");
    let route = old.route(&[owner("customer:acme")]);
    let _ = old.bump(&route, &request(0, "2"));
    let (new, _) = engine_with(LIMITS, &clock_reading(&clock).to_string());
    new.import(&old.export()).expect("fits");
    assert_eq!(restorable(&new), restorable(&old));
    let window = new.usage(&limit("monthly")).expect("is there").counters[0].window;
    assert_eq!(window.start, clock_reading(&clock));
    assert_eq!(window.end, instant("2026-04-01T00:00:00Z"));
}

#[test]
fn credit_and_overrides_survive() {
    let (old, clock) = used_engine();
    let in_force = |engine: &Engine, id: &str, counter: usize| {
        engine.usage(&limit(id)).expect("is there").counters[counter].limit
    };
    old.top_up(&limit("prepaid"), money("5")).expect("prepaid");
    let two = Lasts::Windows(NonZeroU16::new(2).expect("two"));
    old.override_limit(&limit("rate"), Dimension::Requests, 7, two).expect("counts requests");
    old.override_limit(&limit("tokens"), Dimension::Tokens, 8, Lasts::UntilCleared)
        .expect("counts tokens");
    old.override_limit(&limit("counted"), Dimension::Money, 9, Lasts::UntilCleared)
        .expect("counts money");
    // The window of tokens is over when it is read back; its override is not.
    let later = clock.advance(Duration::from_secs(7));
    let (new, new_clock) = engine_with(LIMITS, &later.to_string());
    new.import(&from_json(&json(&old.export()))).expect("fits");
    for (seconds, requests) in [(0, 7), (58, 7), (60, 60)] {
        clock.advance(Duration::from_secs(seconds));
        new_clock.advance(Duration::from_secs(seconds));
        assert_eq!(restorable(&new), restorable(&old));
        assert_eq!(in_force(&new, "prepaid", 0), Some(25_000_000_000));
        assert_eq!(in_force(&new, "rate", 0), Some(1000));
        assert_eq!(in_force(&new, "rate", 1), Some(requests), "{seconds} s on");
        assert_eq!(in_force(&new, "tokens", 0), Some(8));
        assert_eq!(in_force(&new, "counted", 0), Some(9));
    }
    // Credit is set as well, not added; and a document without any takes it away.
    new.import(&old.export()).expect("fits");
    assert_eq!(in_force(&new, "prepaid", 0), Some(25_000_000_000));
    let (plain, _) = engine_with(LIMITS, &later.to_string());
    new.import(&plain.export()).expect("fits");
    assert_eq!(in_force(&new, "prepaid", 0), Some(20_000_000_000));
    assert_eq!(in_force(&new, "tokens", 0), Some(5000));
    assert_eq!(in_force(&new, "counted", 0), None);
}

#[test]
fn what_is_held_is_not_exported() {
    let (old, clock) = used_engine();
    let before = old.export();
    let route = old.route(&[owner("key:k")]);
    let held = old.reserve(&route, &request(50, "1")).into_result().expect("there is room");
    assert_eq!(old.export(), before);
    assert!(!json(&old.export()).contains("in_flight"));
    let (new, _) = engine_with(LIMITS, &clock_reading(&clock).to_string());
    new.import(&old.export()).expect("fits");
    assert!(readings(&new).iter().flat_map(|limit| &limit.counters).all(|c| c.held == 0));
    // Once it is settled it is.
    let _ = held.settle(&request(40, "0.25"));
    assert_eq!(settled(&old, "rate", Dimension::Tokens), 150);
    let exported = old.export();
    let rate = exported.limits.iter().find(|state| state.limit == limit("rate"));
    assert_eq!(rate.expect("is there").counters[0].settled, 150);
}

#[test]
fn a_reservation_in_flight_outlasts_an_import() {
    let (engine, _) = used_engine();
    let state = engine.export();
    let events = engine.subscribe(100);
    let route = engine.route(&[owner("key:k")]);
    let held = engine.reserve(&route, &request(50, "1")).into_result().expect("there is room");
    engine.import(&state).expect("its own");
    assert_eq!(settled(&engine, "rate", Dimension::Tokens), 110);
    // What was held stays in the window that the import closed; only the excess is booked here.
    let closed: Vec<(String, u64, u64)> = events
        .drain()
        .filter_map(|event| match event.what {
            EventKind::WindowClosed { total, held, .. } if event.dimension == Dimension::Tokens => {
                Some((event.limit.to_string(), total, held))
            }
            _ => None,
        })
        .collect();
    assert!(closed.contains(&("rate".to_owned(), 160, 50)), "{closed:?}");
    let settlement = held.settle(&request(70, "1"));
    assert!(settlement.is_late());
    assert_eq!(settled(&engine, "rate", Dimension::Tokens), 130);
    // In flight is no window's: the import left it alone, and the request has ended.
    let in_flight = engine.usage(&limit("in-flight")).expect("is there").counters[0];
    assert_eq!((in_flight.settled, in_flight.held), (0, 0));
}

/// L1: what traffic booked and what imports booked is in the windows that closed or in the open
/// one.
#[test]
fn an_import_in_the_middle_of_traffic_loses_nothing() {
    const REQUESTS: u64 = 20_000;
    let (engine, clock) = engine_with(
        "owners = [{ id = \"key:k\", rate_limits = [{ id = \"r\", requests = { period = \"1s\" }, \
         tokens = { period = \"1h\" } }] }]",
        START,
    );
    let _ = engine.bump(&engine.route(&[owner("key:k")]), &request(1_000, "0"));
    let state = engine.export();
    let events = engine.subscribe(1_000_000);
    let traffic = || {
        let route = engine.route(&[owner("key:k")]);
        for i in 0..REQUESTS {
            let used = request(3, "0");
            if i % 2 == 0 {
                let _ = engine.bump(&route, &used);
            } else {
                // Used as estimated, so it is booked in full wherever it ends.
                let held = engine.reserve(&route, &used).into_result().expect("nothing denies");
                let _ = held.settle(&used);
            }
        }
    };
    let restored = thread::scope(|scope| {
        let threads = [(), ()].map(|()| scope.spawn(traffic));
        let mut restored = [0, 0];
        while threads.iter().any(|thread| !thread.is_finished()) {
            let open = &state.limits[0].counters;
            let due = open.iter().map(|counter| counter.end > clock_reading(&clock));
            for (restored, due) in restored.iter_mut().zip(due) {
                *restored += u64::from(due);
            }
            engine.import(&state).expect("its own");
            clock.advance(Duration::from_millis(20));
        }
        restored
    });
    engine.reset_expired();
    assert!(restored.iter().all(|times| *times > 3), "{restored:?}");
    let mut totals =
        [settled(&engine, "r", Dimension::Tokens), settled(&engine, "r", Dimension::Requests)];
    for event in events.drain() {
        if let EventKind::WindowClosed { total, .. } = event.what {
            totals[usize::from(event.dimension == Dimension::Requests)] += total;
        }
    }
    assert_eq!(events.missed(), 0);
    assert_eq!(totals[0], 1_000 * (1 + restored[0]) + 3 * 2 * REQUESTS);
    assert_eq!(totals[1], 1 + restored[1] + 2 * REQUESTS);
}
