//! The gateway ends in the middle of answers.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::json;
use tollkeeper::{Filter, LedgerStore, Outcome, Sqlite};

use crate::kit::{ALICE, Gateway, PATIENCE, Place, chat, read};
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";

/// The outcomes that are recorded in a ledger.
fn outcomes(place: &Place) -> Vec<Outcome> {
    let store = Sqlite::open(place.ledger()).expect("it can be opened");
    let records = store.records(&Filter::default(), None, 100).expect("it can be read");
    records.iter().map(|stored| stored.record.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_in_time_is_answered_whole() {
    let place = Place::new(&[]);
    let gateway = Gateway::start_with(place, |options| options.piece_ms = 20).await;
    let response = gateway.client.begin(ALICE, CHAT, &chat(30, true)).await;
    let (running, place) = (gateway.running, gateway.place);
    let ended = tokio::spawn(running.end());
    let answer = read(response).await.ok();
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    assert!(ended.await.expect("it ends"), "all is recorded");
    assert_eq!(outcomes(&place), [Outcome::Completed]);
}

/// Whoever comes after the drain is over is cut off, and what it has used is recorded, as what it
/// may have used.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_is_cut_off_and_recorded_and_nothing_stays_held() {
    let place = Place::new(&[("drain_seconds = 10", "drain_seconds = 1")]);
    let gateway = Gateway::start_with(place, |options| options.piece_ms = 500).await;
    let mut whole = chat(60, true);
    whole["stream_options"] = json!({ "include_usage": true });
    let mut bodies = Vec::new();
    for request in [&chat(60, true), &whole, &chat(60, true)] {
        let mut body = gateway.client.begin(ALICE, CHAT, request).await.into_body();
        body.frame().await.expect("it begins").expect("it begins");
        bodies.push(body);
    }
    // One of them with a key: it goes on without its client, but not without the gateway.
    let bearer = format!("Bearer {ALICE}");
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "\"one\""),
    ];
    let url = format!("http://{}{CHAT}", gateway.client.gateway);
    let keyed = gateway.client.send(http::Method::POST, &url, &fields, chat(60, true).to_string());
    let mut keyed = keyed.await.into_body();
    keyed.frame().await.expect("it begins").expect("it begins");
    bodies.push(keyed);

    let engine = gateway.running.house.engine.clone();
    let held = || engine.usage_all().flat_map(|u| u.counters).map(|c| c.held).sum::<u64>();
    assert!(held() > 0);
    let (running, place, begun) = (gateway.running, gateway.place, Instant::now());
    assert!(running.end().await, "all is recorded");
    assert!(begun.elapsed() < Duration::from_secs(15), "it does not wait for the answers");
    assert_eq!(held(), 0, "nothing is held");
    for body in bodies {
        let ended = tokio::time::timeout(PATIENCE, body.collect()).await.expect("it ends");
        assert!(ended.is_err(), "the client sees that the answer is not whole");
    }
    assert_eq!(outcomes(&place), [Outcome::Uncertain; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_in_the_middle_of_an_answer() {
    for signal in ["TERM", "INT"] {
        let place = Place::new(&[("drain_seconds = 10", "drain_seconds = 1")]);
        let mut process = Process::start(&place, &["--piece-ms", "500"], &[]);
        let mut body = process.caller.begin(ALICE, CHAT, &chat(60, true)).await.into_body();
        body.frame().await.expect("it begins").expect("it begins");
        process.signal(signal);
        assert!(process.end().success(), "{}", process.said.join("\n"));
        assert!(body.collect().await.is_err());
        assert_eq!(outcomes(&place), [Outcome::Uncertain]);
    }
}
