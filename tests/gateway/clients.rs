//! A client library of the API talks to the gateway and the built-in upstream.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use futures_core::Stream;
use serde_json::{Value, json};

use crate::kit::{ALICE, Gateway};

const QUESTION: &str = "What is a toll? It is what one pays at a bridge.";

fn client(gateway: &Gateway) -> Client<OpenAIConfig> {
    let address = format!("http://{}/v1", gateway.running.address);
    Client::with_config(OpenAIConfig::new().with_api_base(address).with_api_key(ALICE))
}

/// A request of the library, as its own documents write it.
pub fn request<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the library knows such requests")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_library_chats_whole_and_streaming() {
    let gateway = Gateway::start(&[]).await;
    let client = client(&gateway);
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let asked = json!({
        "model": "m-small", "messages": messages, "max_completion_tokens": 40, "n": 2,
    });
    let answer = client.chat().create(request(asked)).await.expect("it answers");
    let usage = answer.usage.expect("it says what it has used");
    assert_eq!((answer.choices.len(), usage.completion_tokens), (2, 80));

    let asked = json!({
        "model": "m-small", "messages": messages, "max_completion_tokens": 40, "stream": true,
        "stream_options": { "include_usage": true },
    });
    let mut stream = client.chat().create_stream(request(asked)).await.expect("it answers");
    let (mut text, mut tokens, mut usage) = (String::new(), 0, None);
    while let Some(chunk) = next(&mut stream).await {
        let chunk = chunk.expect("it is a chunk");
        usage = chunk.usage.or(usage);
        let said = chunk.choices.into_iter().filter_map(|choice| choice.delta.content);
        for piece in said.filter(|piece| !piece.is_empty()) {
            (tokens, text) = (tokens + 1, text + &piece);
        }
    }
    let usage = usage.expect("the last chunk says what was used");
    assert_eq!((usage.completion_tokens, tokens), (40, 40));
    assert_eq!(answer.choices[0].message.content.as_deref(), Some(text.as_str()));
    gateway.nothing_is_held().await;
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_library_asks_for_responses_and_embeddings() {
    let gateway = Gateway::start(&[]).await;
    let client = client(&gateway);
    let asked = json!({ "model": "m-large", "input": QUESTION, "max_output_tokens": 8 });
    let answer = client.responses().create(request(asked)).await.expect("it answers");
    let usage = answer.usage.expect("it says what it has used");
    assert_eq!((usage.input_tokens, usage.output_tokens), (13, 8));

    let asked =
        json!({ "model": "m-large", "input": QUESTION, "max_output_tokens": 8, "stream": true });
    let mut stream = client.responses().create_stream(request(asked)).await.expect("it answers");
    let mut names = Vec::new();
    while let Some(event) = next(&mut stream).await {
        let event = serde_json::to_value(event.expect("it is an event")).expect("it is JSON");
        names.push(event["type"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(names.first().map(String::as_str), Some("response.created"));
    assert_eq!(names.iter().filter(|name| *name == "response.output_text.delta").count(), 8);
    assert_eq!(names.last().map(String::as_str), Some("response.incomplete"));

    let asked = json!({ "model": "m-small", "input": [QUESTION, "bridge"], "dimensions": 8 });
    let answer = client.embeddings().create(request(asked)).await.expect("it answers");
    assert_eq!((answer.data.len(), answer.data[0].embedding.len()), (2, 8));
    assert_ne!(answer.data[0].embedding, answer.data[1].embedding);
    assert_eq!(answer.usage.total_tokens, 12 + 2);

    gateway.nothing_is_held().await;
    let used = gateway.usage("alice-rate").counters;
    assert_eq!(used.iter().map(|counter| counter.settled).collect::<Vec<_>>(), [21 + 21 + 14, 3]);
    assert!(gateway.end().await);
}

/// The next of a stream.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}
