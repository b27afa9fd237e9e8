//! Limits that one document defines alike begin alike, and are each their own from then on.

use std::time::Duration;

use tollkeeper::{
    Dimension, Engine, EventKind, Lasts, LimitUsage, ManualClock, RateLimit, ResetOutcome,
};

use super::{config, limit, money, owner, request, used};

/// Three of each kind that are written alike, and others that begin at the same moment.
fn document() -> String {
    let key = |key: &str, times: u32| {
        let (budget, requests, tokens) = (10 * times, 10 * times, 100 * times);
        format!(
            r#"
            [[owners]]
            id = "key:{key}"
            budgets = [{{ id = "budget-{key}", limit = "${budget}", period = "never" }}]
            [[owners.rate_limits]]
            id = "rate-{key}"
            requests = "{requests}/m"
            tokens = {{ limit = {tokens}, period = "1m" }}
            "#
        )
    };
    [key("a", 1), key("b", 1), key("c", 1), key("d", 2)].concat()
}

const NOON: &str = "2026-03-04T12:00:00Z";
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

struct Scene {
    engine: Engine,
    clock: ManualClock,
}

fn scene() -> Scene {
    let clock = ManualClock::new(NOON.parse().expect("an instant"));
    let engine = Engine::builder().clock(clock.clone()).build();
    engine.apply(&config(&document())).expect("an empty engine takes any document");
    Scene { engine, clock }
}

impl Scene {
    fn bump(&self, key: &str, tokens: u64, cost: &str) {
        let route = self.engine.route(&[owner(&format!("key:{key}"))]);
        let _ = self.engine.bump(&route, &request(tokens, cost));
    }

    /// What the limits of a key read.
    fn reads(&self, key: &str) -> [LimitUsage; 2] {
        ["budget", "rate"].map(|kind| used(&self.engine, &format!("{kind}-{key}")))
    }

    /// Does something to the limits of `a`, and sees that nothing changes about the others.
    fn only_a(&self, change: impl FnOnce(&Engine)) {
        let others = || ["b", "c", "d"].map(|key| self.reads(key));
        let (before, of_a) = (others(), self.reads("a"));
        change(&self.engine);
        assert_eq!(others(), before);
        assert_ne!(self.reads("a"), of_a, "something was done");
    }
}

fn rate_a() -> tollkeeper::LimitId {
    limit("rate-a")
}

#[test]
fn limits_that_begin_alike_count_for_themselves() {
    let scene = scene();
    for (n, key) in (1..).zip(KEYS) {
        scene.bump(key, n, "$1");
    }
    for (n, key) in (1..).zip(KEYS) {
        let [budget, rate] = scene.reads(key);
        let settled: Vec<u64> = rate.counters.iter().map(|counter| counter.settled).collect();
        assert_eq!(settled, [n, 1]);
        assert_eq!(budget.counters[0].settled, money("$1").as_nanos());
        // Those that are written otherwise begin otherwise.
        let twice = if key == "d" { 2 } else { 1 };
        let limits = rate.counters.iter().chain(&budget.counters).map(|counter| counter.limit);
        let expected = [100 * twice, 10 * twice, money("$10").as_nanos() * twice];
        assert_eq!(limits.collect::<Vec<_>>(), expected.map(Some));
    }
}

#[test]
fn what_is_done_to_one_is_not_done_to_the_others() {
    let scene = scene();
    let windows = Lasts::Windows(2.try_into().expect("two"));
    // Before anything is booked, so that each is still as it began; and again afterwards.
    for booked in [0, 7] {
        KEYS.iter().for_each(|key| scene.bump(key, booked, "$0"));
        scene.only_a(|engine| {
            let outcome = engine.reset(&rate_a(), None).expect("it is there");
            let total = |outcome: &ResetOutcome| match outcome {
                ResetOutcome::Reset { total, .. } => *total,
                other => panic!("{other:?}"),
            };
            let totals: Vec<u64> = outcome.iter().map(total).collect();
            // One was imported on top in the first round, and is in the second one's total.
            assert_eq!(totals, if booked == 0 { [0, 1] } else { [8, 1] });
        });
        scene.only_a(|engine| {
            engine.override_limit(&rate_a(), Dimension::Tokens, 55, windows).expect("it is there");
        });
        scene.only_a(|engine| {
            engine.clear_override(&rate_a(), Dimension::Tokens).expect("it is there");
        });
        scene.only_a(|engine| {
            engine.top_up(&limit("budget-a"), money("$3")).expect("it is prepaid");
        });
        scene.only_a(|engine| {
            let rate = RateLimit::new().tokens(70 + booked, "1h".parse().expect("a period"));
            engine.upsert_limit(&owner("key:a"), &rate_a(), rate).expect("it is there");
        });
        scene.only_a(|engine| {
            let rate = RateLimit::new().tokens(100, "1m".parse().expect("a period"));
            let rate = rate.requests(10, "1m".parse().expect("a period"));
            engine.upsert_limit(&owner("key:a"), &rate_a(), rate).expect("it is there");
        });
        scene.only_a(|engine| {
            let mut state = engine.export();
            state.limits.retain(|limit| limit.limit == rate_a());
            state.limits[0].counters[0].settled += 1;
            engine.import(&state).expect("it fits");
        });
    }
    scene.only_a(|engine| {
        let decision = engine.reserve(&engine.route(&[owner("key:a")]), &request(1, "$0"));
        let held = decision.into_result().expect("there is room");
        let _ = held.settle(&request(2, "$0"));
    });
}

/// Each closes its own window, with its own total, when somebody comes to it.
#[test]
fn one_that_rolls_leaves_the_others_in_their_windows() {
    let scene = scene();
    let events = scene.engine.subscribe(100);
    for (n, key) in (1..).zip(KEYS) {
        scene.bump(key, n, "$0");
    }
    for round in 0..3_u64 {
        scene.clock.advance(Duration::from_secs(60));
        // In another order in each round: the first to roll is another one.
        for place in 0..KEYS.len() {
            let turn = (place + round as usize) % KEYS.len();
            scene.bump(KEYS[turn], 10 + turn as u64, "$0");
            let closed: Vec<_> = events
                .drain()
                .filter(|event| event.dimension == Dimension::Tokens)
                .map(|event| match event.what {
                    EventKind::WindowClosed { total, .. } => {
                        (event.limit.to_string(), event.generation, total)
                    }
                    other => panic!("{other:?}"),
                })
                .collect();
            let total = if round == 0 { 1 } else { 10 } + turn as u64;
            assert_eq!(closed, [(format!("rate-{}", KEYS[turn]), round, total)]);
        }
    }
}
