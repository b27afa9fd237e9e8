//! The bodies that read whole documents: configuration in TOML, state in JSON.

use std::fmt::Display;

use tollkeeper::{
    Applied, Budget, Concurrency, Config, CounterState, Dimension, Engine, Limit, LimitKind,
    LimitState, LimitUsage, ManualClock, Money, OwnerId, Period, RateLimit, State, Timestamp,
    Usage,
};

/// An engine whose clock stands.
fn engine(now: Timestamp) -> Engine {
    Engine::builder().clock(ManualClock::new(now)).build()
}

fn readings(engine: &Engine) -> Vec<LimitUsage> {
    let mut all: Vec<LimitUsage> = engine.usage_all().collect();
    all.sort_by(|a, b| a.limit.cmp(&b.limit));
    all
}

fn check_problem(problem: &impl Display, of: &str) {
    assert!(!problem.to_string().trim().is_empty(), "an error without words for {of:?}");
}

/// Any text is a configuration or an error with words. A configuration fits an empty engine, which
/// then has exactly what it says; applied again it changes nothing, whatever was used meanwhile;
/// and an empty one leaves nothing of it.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let config = match Config::from_toml(&text) {
        Ok(config) => config,
        Err(error) => return check_problem(&error.problem, &text),
    };
    let engine = engine(Timestamp::from_secs(1_772_625_600));
    let applied = engine.apply(&config).expect("an empty engine takes any configuration");
    let limits: Vec<_> = config.limits().collect();
    assert!(applied.created.iter().eq(limits.iter().map(|(_, id, _)| *id)));
    assert!(applied.changed.is_empty() && applied.removed.is_empty());
    assert_eq!(engine.usage_all().count(), limits.len());
    for (owner, id, _) in &limits {
        let usage = engine.usage(id).expect("it was created");
        assert_eq!(usage.owner, **owner);
        assert!(usage.counters.iter().all(|counter| counter.committed() == 0));
    }
    // Not of more: what is asked of a route grows with the square of its owners.
    let owners: Vec<OwnerId> = config.owners().map(|(owner, _)| owner.clone()).take(50).collect();
    let route = engine.route(&owners);
    assert_eq!(engine.unknown_owners(&route), []);
    let used =
        Usage { input_tokens: 7, requests: 1, cost: Money::from_units(1), ..Usage::default() };
    let _ = engine.bump(&route, &used);
    let before = readings(&engine);
    assert_eq!(engine.apply(&config), Ok(Applied::default()));
    assert_eq!(readings(&engine), before);
    assert_eq!(engine.prices(), *config.prices());

    let nothing = Config::from_toml("").expect("an empty document is one");
    let applied = engine.apply(&nothing).expect("nothing is in the way");
    assert_eq!(applied.removed.len(), limits.len());
    assert_eq!(applied.owners_removed.len(), config.owners().count());
    assert_eq!(engine.usage_all().count(), 0);
}

/// Any JSON is a state or an error with words. An engine that has its limits refuses it and changes
/// nothing, or reads what it says; imported again it changes nothing; and what is then exported
/// reads back, as text and as usage.
pub fn state(data: &[u8]) {
    let state: State = match serde_json::from_slice(data) {
        Ok(state) => state,
        Err(error) => return check_problem(&error, &String::from_utf8_lossy(data)),
    };
    assert_eq!(as_text(&state), state);
    let engine = engine(state.exported_at);
    for limit in &state.limits {
        engine.upsert_owner(&limit.owner, &[]).expect("no parents are in the way");
        // A limit that is there twice, of another owner or kind, is for the import to refuse.
        let _ = engine.upsert_limit(&limit.owner, &limit.limit, definition(limit));
    }
    let before = readings(&engine);
    let imported = match engine.import(&state) {
        Ok(imported) => imported,
        Err(error) => {
            check_problem(&error, &String::from_utf8_lossy(data));
            assert_eq!(readings(&engine), before);
            return;
        }
    };
    assert_eq!(imported.unknown, []);
    let counters = state.limits.iter().map(|limit| limit.counters.len()).sum::<usize>();
    assert_eq!(imported.restored + imported.ended, counters);
    for limit in &state.limits {
        let usage = engine.usage(&limit.limit).expect("it was created");
        for counter in &limit.counters {
            check_counter(&usage, counter, state.exported_at);
        }
    }
    let exported = engine.export();
    assert_eq!(as_text(&exported), exported);
    for again in [&state, &exported] {
        assert_eq!(engine.import(again).map(|imported| imported.unknown), Ok(Vec::new()));
        assert_eq!(engine.export(), exported);
    }
}

fn as_text(state: &State) -> State {
    let text = serde_json::to_string(state).expect("a state is JSON");
    serde_json::from_str(&text).expect("its own text reads back")
}

fn check_counter(usage: &LimitUsage, counter: &CounterState, now: Timestamp) {
    let read = usage.counter(counter.dimension).expect("it has all counters of its kind");
    let open = counter.end > now || counter.end == Timestamp::MAX;
    assert_eq!(read.settled, if open { counter.settled } else { 0 }, "{usage:?}");
    if let Some(instead) = counter.instead.filter(|_| read.dimension != Dimension::InFlight) {
        let limit = (read.window.start < instead.until).then_some(instead.limit);
        assert!(limit.is_none() || read.limit == limit, "{usage:?}");
    }
}

/// A limit of the kind, with periods that depend on its name.
fn definition(limit: &LimitState) -> Limit {
    const PERIODS: [&str; 8] =
        ["1s", "1m", "1h30m", "1d@UTC", "1w@UTC,week=sunday", "1M", "1Y", "never"];
    let name: usize = limit.limit.as_str().bytes().map(usize::from).sum();
    let period = |of: usize| -> Period {
        PERIODS[of % PERIODS.len()].parse().expect("each of them is a period")
    };
    match limit.kind {
        LimitKind::Budget => Budget::new(Money::from_units(100), period(name)).into(),
        LimitKind::RateLimit => {
            RateLimit::new().tokens(1_000, period(name)).requests(60, period(name / 8)).into()
        }
        LimitKind::Concurrency => Concurrency::new(4).into(),
    }
}
