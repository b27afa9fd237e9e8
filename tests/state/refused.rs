//! Documents that are not accepted: with which words, and that nothing of them is applied.

use serde_json::{Value, json};
use tollkeeper::{Budget, State, StateError};

use super::*;

/// A document in which everything would change what the engine has, and its engine.
fn document() -> (Engine, Value) {
    let (old, clock) = used_engine();
    let state = serde_json::to_value(old.export()).expect("a state is JSON");
    let now = tollkeeper::Clock::now(&clock).to_string();
    (engine_with(LIMITS, &now).0, state)
}

/// Where a limit is in the document: they are sorted.
const COUNTED: usize = 0;
const MONTHLY: usize = 2;
const PAIR: usize = 3;
const RATE: usize = 5;

#[test]
fn every_error_says_what_is_wrong_and_where() {
    type Change = fn(&mut Value);
    let most = "4611686018427387903";
    let cases: [(Change, String); 14] = [
        (
            |state| state["version"] = json!(2),
            "version: 2 is not supported; this release reads version 1".into(),
        ),
        (
            |state| state["version"] = json!(0),
            "version: 0 is not supported; this release reads version 1".into(),
        ),
        (
            |state| {
                let twice = state["limits"][RATE].clone();
                state["limits"].as_array_mut().expect("a list").push(twice);
            },
            "limits[7].limit: rate is there twice; accepted: each limit once".into(),
        ),
        (
            |state| state["limits"][MONTHLY]["owner"] = json!("key:k"),
            "limits[2].owner: monthly belongs to customer:acme in the engine, not to key:k".into(),
        ),
        (
            |state| {
                state["limits"][PAIR]["kind"] = json!("budget");
                state["limits"][PAIR]["counters"] = json!([]);
            },
            "limits[3].kind: pair is a budget in the document and a rate limit in the engine"
                .into(),
        ),
        (
            |state| state["limits"][MONTHLY]["counters"][0]["dimension"] = json!("tokens"),
            "limits[2].counters[0].dimension: a budget has no counter of tokens; accepted: money"
                .into(),
        ),
        (
            |state| state["limits"][RATE]["counters"][1]["dimension"] = json!("money"),
            "limits[5].counters[1].dimension: a rate limit has no counter of money; accepted: \
             tokens, requests"
                .into(),
        ),
        (
            |state| {
                state["limits"][PAIR]["kind"] = json!("concurrency");
                state["limits"][PAIR]["counters"][0]["dimension"] = json!("in_flight");
            },
            "limits[3].counters[0].dimension: a concurrency limit has no counter of in_flight; \
             accepted: none, what is in flight ends with its process"
                .into(),
        ),
        (
            |state| state["limits"][RATE]["counters"][1]["dimension"] = json!("tokens"),
            "limits[5].counters[1].dimension: tokens is there twice; accepted: each counter once"
                .into(),
        ),
        (
            |state| state["limits"][RATE]["counters"][0]["settled"] = json!(1_u64 << 62),
            format!(
                "limits[5].counters[0].settled: 4611686018427387904 is more than can be counted; \
                 accepted: at most {most}"
            ),
        ),
        (
            |state| state["limits"][COUNTED]["counters"][0]["credit"] = json!(u64::MAX),
            format!(
                "limits[0].counters[0].credit: 18446744073709551615 is more than can be counted; \
                 accepted: at most {most}"
            ),
        ),
        (
            |state| {
                state["limits"][COUNTED]["counters"][0]["instead"] =
                    json!({ "limit": u64::MAX, "until": START });
            },
            format!(
                "limits[0].counters[0].instead.limit: 18446744073709551615 is more than can be \
                 counted; accepted: at most {most}"
            ),
        ),
        (
            |state| {
                let start = state["limits"][RATE]["counters"][0]["start"].clone();
                state["limits"][RATE]["counters"][0]["end"] = start;
            },
            format!("limits[5].counters[0].end: {START} is not after the window's start, {START}"),
        ),
        (
            |state| state["limits"][RATE]["counters"][0]["end"] = json!("1970-01-01T00:00:00Z"),
            format!(
                "limits[5].counters[0].end: 1970-01-01T00:00:00Z is not after the window's start, \
                 {START}"
            ),
        ),
    ];
    for (change, expected) in cases {
        let (engine, mut value) = document();
        let ids: Vec<_> = value["limits"].as_array().expect("a list").iter().collect();
        for (place, id) in [(COUNTED, "counted"), (MONTHLY, "monthly"), (PAIR, "pair")] {
            assert_eq!(ids[place]["limit"], id);
        }
        assert_eq!(ids[RATE]["limit"], "rate");
        change(&mut value);
        let state: State = serde_json::from_value(value).expect("its form is right");
        let before = readings(&engine);
        let events = engine.subscribe(10);
        let error: StateError = engine.import(&state).expect_err(&expected);
        assert_eq!(error.to_string(), expected);
        // The others in it were right, and some of them came before it.
        assert_eq!(readings(&engine), before, "{expected}");
        assert_eq!(events.try_next(), None, "{expected}");
    }
}

#[test]
fn a_limit_that_became_another_kind_is_refused() {
    let (_, state) = document();
    let state: State = serde_json::from_value(state).expect("its form is right");
    let (engine, _) = engine_with("owners = [{ id = \"key:k\" }]", START);
    let budget = Budget::prepaid(money("1"));
    engine.upsert_limit(&owner("key:k"), &limit("in-flight"), budget).expect("is new");
    assert_eq!(
        engine.import(&state).expect_err("another kind").to_string(),
        "limits[1].kind: in-flight is a concurrency limit in the document and a budget in the \
         engine"
    );
}

#[test]
fn the_form_is_strict() {
    let (_, right) = document();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = right.clone();
        change(&mut value);
        serde_json::from_value::<State>(value).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&|state| state["comment"] = json!("")),
        "unknown field `comment`, expected one of `version`, `exported_at`, `limits`"
    );
    assert_eq!(
        refused(&|state| state["limits"][0]["counters"][0]["held"] = json!(1)),
        "unknown field `held`, expected one of `dimension`, `start`, `end`, `settled`, `credit`, \
         `instead`"
    );
    assert_eq!(
        refused(&|state| state["limits"][0]["counters"][0]["settled"] = json!(-1)),
        "invalid value: integer `-1`, expected u64"
    );
    assert_eq!(
        refused(&|state| state["limits"][0]["kind"] = json!("quota")),
        "unknown variant `quota`, expected one of `budget`, `rate_limit`, `concurrency`"
    );
    assert_eq!(
        refused(&|state| state["exported_at"] = json!(1_772_625_600)),
        "invalid type: integer `1772625600`, expected an RFC 3339 timestamp as text, such as \
         \"2026-02-28T23:59:59Z\""
    );
    refused(&|state| state["limits"][0]["anchor"] = Value::Null);
}

#[test]
fn limits_that_are_not_there_are_told() {
    let (_, state) = document();
    let state: State = serde_json::from_value(state).expect("its form is right");
    let empty = Engine::new();
    let imported = empty.import(&state).expect("there is nothing to contradict it");
    let all = ["counted", "in-flight", "monthly", "pair", "prepaid", "rate", "tokens"].map(limit);
    assert_eq!((imported.restored, imported.ended, imported.unknown), (0, 0, all.to_vec()));
    assert_eq!(readings(&empty), []);
    assert_eq!(empty.export().limits, []);
}
