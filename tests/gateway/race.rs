//! Many streams race for one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use serde_json::json;
use tokio::task::JoinSet;
use tollkeeper::Dimension;

use crate::clients::{next, request};
use crate::kit::{ALICE, Gateway, Place};

const STREAMS: usize = 200;

/// What one stream came to.
enum Ended {
    Streamed { tokens: u64 },
    Denied,
}

async fn stream(client: Client<OpenAIConfig>) -> Ended {
    let asked = request(json!({
        "model": "m-large", "max_tokens": 40, "stream": true,
        "messages": [{ "role": "user", "content": "What is a toll?" }],
        "stream_options": { "include_usage": true },
    }));
    let Ok(mut stream) = client.chat().create_stream(asked).await else { return Ended::Denied };
    let mut tokens = None;
    while let Some(chunk) = next(&mut stream).await {
        let Ok(chunk) = chunk else { return Ended::Denied };
        tokens = chunk.usage.map(|usage| u64::from(usage.completion_tokens)).or(tokens);
    }
    Ended::Streamed { tokens: tokens.expect("a stream that ended says what it has used") }
}

/// L5 over sockets: what is settled and held together is never more than the budget, at no instant,
/// and afterwards all of it is settled: as much as the clients were told, and nothing is held.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_never_pass_one_budget() {
    let changes = [("limit = \"$20\"", "limit = \"$0.02\""), ("limit = 64", "limit = 1000")];
    let gateway = Gateway::start_with(Place::new(&changes), |options| options.piece_ms = 1).await;
    let address = format!("http://{}/v1", gateway.running.address);
    let config = OpenAIConfig::new().with_api_base(address).with_api_key(ALICE);

    let over = Arc::new(AtomicBool::new(false));
    let engine = gateway.running.house.engine.clone();
    let limit = "search-daily".parse().expect("it is an id");
    // Relaxed: the flag only ends the loop.
    let watching = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let usage = engine.usage(&limit).expect("the limit is there");
                let money = *usage.counter(Dimension::Money).expect("it counts money");
                assert!(money.committed() <= money.limit.expect("it has an end"), "{money:?}");
                most = most.max(money.held);
            }
            most
        })
    };
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(stream(Client::with_config(config.clone())));
    }
    let ended = streams.join_all().await;
    gateway.nothing_is_held().await;
    over.store(true, Ordering::Relaxed);
    assert!(watching.join().expect("the budget was never passed") > 0, "streams held something");

    let streamed: Vec<u64> = ended
        .iter()
        .filter_map(|end| if let Ended::Streamed { tokens } = end { Some(*tokens) } else { None })
        .collect();
    assert!(!streamed.is_empty() && streamed.len() < STREAMS, "{} streamed", streamed.len());
    assert!(streamed.iter().all(|tokens| *tokens == 40));
    let usage = gateway.usage("search-daily");
    let settled = usage.counter(Dimension::Money).expect("it counts money").settled;
    let input = input_tokens(&gateway).await;
    let each = input * 2_500 + 40 * 10_000;
    assert_eq!(settled, each * streamed.len() as u64, "as much as the clients were told");
    assert!(gateway.end().await);
}

/// What the upstream counts for the question, by an answer after the race.
async fn input_tokens(gateway: &Gateway) -> u64 {
    let counters = gateway.usage("alice-rate").counters;
    let tokens = counters.iter().find(|counter| counter.dimension == Dimension::Tokens);
    let requests = counters.iter().find(|counter| counter.dimension == Dimension::Requests);
    let (tokens, requests) = (tokens.expect("counted").settled, requests.expect("counted").settled);
    tokens / requests - 40
}
