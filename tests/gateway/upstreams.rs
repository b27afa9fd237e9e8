//! Upstreams that fail, and what is charged then; and what the built-in one says of itself.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::blabbing::Blabbing;
use crate::kit::{ALICE, Answer, Gateway, Place, chat, read};

const CHAT: &str = "/v1/chat/completions";

/// The answer to a chat that the built-in upstream is told to spoil; empty if it breaks off, and 0
/// if it does so before it has begun.
async fn spoiled(gateway: &Gateway, query: &str, stream: bool) -> (u16, Option<Answer>) {
    use http_body_util::BodyExt;

    let (path, body) = (format!("{CHAT}?{query}"), chat(16, stream));
    let Ok(response) = gateway.client.try_begin(ALICE, &path, &body).await else {
        return (0, None);
    };
    let status = response.status();
    let (parts, body) = response.into_parts();
    let whole = body.collect().await.ok().map(|body| {
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("it is text");
        Answer { status, headers: parts.headers, text }
    });
    (status.as_u16(), whole)
}

/// How the recorded requests ended.
async fn outcomes(gateway: &Gateway) -> Vec<String> {
    let path = "/admin/records?max=1000";
    let records = gateway.client.admin(Method::GET, path, None).await.ok().json();
    let records = records["records"].as_array().expect("it is a list").iter();
    let outcome = |record: &Value| record["outcome"].as_str().expect("it is text").to_owned();
    records.map(outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_charged_as_it_must_be() {
    let gateway = Gateway::start(&[("answer_seconds = 120", "answer_seconds = 1")]).await;
    let mut expected = Vec::new();
    for (query, stream, status, whole, outcome) in [
        ("fault=500", false, 500, true, "unbilled"),
        ("fault=429", false, 429, true, "unbilled"),
        ("fault=billed", false, 500, true, "failed"),
        ("fault=no-usage", false, 200, true, "uncertain"),
        ("fault=no-usage", true, 200, true, "uncertain"),
        ("fault=cut", true, 200, false, "uncertain"),
        // Its head waits for its first piece.
        ("fault=cut", false, 502, true, "uncertain"),
        ("fault=hang", false, 504, true, "uncertain"),
        ("fault=reset", false, 502, true, "uncertain"),
        ("latency_ms=20&piece_ms=1", true, 200, true, "completed"),
    ] {
        let (got, answer) = spoiled(&gateway, query, stream).await;
        assert_eq!((got, answer.is_some()), (status, whole), "{query} {answer:?}");
        gateway.nothing_is_held().await;
        expected.push(outcome);
        assert_eq!(outcomes(&gateway).await, expected, "{query}");
    }
    let answer = spoiled(&gateway, "fault=nonsense", false).await.1.expect("it answers");
    assert!(answer.text.contains("accepted: "), "{}", answer.text);
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_costs_nothing() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is one");
    let address = listener.local_addr().expect("it has one");
    drop(listener);
    let set = |options: &mut crate::gateway::cli::Serve| {
        options.upstream = Some(format!("http://{address}"));
    };
    let gateway = Gateway::start_with(Place::new(&[]), set).await;
    let answer = gateway.client.chat(ALICE).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
    gateway.nothing_is_held().await;
    assert!(outcomes(&gateway).await.is_empty());
    assert!(gateway.usage("alice-rate").counters.iter().all(|counter| counter.settled == 0));
    assert!(gateway.end().await);
}

/// What others have stored is not to be had by whoever has a key, nor is what costs nobody knows
/// what.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_metered_goes_to_the_upstream() {
    let upstream = Blabbing::start().await;
    let set = |options: &mut crate::gateway::cli::Serve| {
        options.upstream = Some(format!("http://{}", upstream.address));
    };
    let gateway = Gateway::start_with(Place::new(&[]), set).await;
    let bearer = format!("Bearer {ALICE}");
    let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (method, path) in [
        (Method::GET, "/v1/responses/resp_1"),
        (Method::DELETE, "/v1/responses/resp_1"),
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/files"),
        (Method::POST, "/v1/images/generations"),
        (Method::OPTIONS, "/v1/chat/completions"),
        (Method::GET, "/"),
    ] {
        let url = format!("http://{}{path}", gateway.client.gateway);
        let answer = read(gateway.client.send(method.clone(), &url, &fields, "{}").await).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let url = format!("http://{}/v1/models", gateway.client.gateway);
    let models = read(gateway.client.send(Method::GET, &url, &fields, "").await).await.ok().json();
    let names = models["data"].as_array().expect("it is a list").iter().map(|model| &model["id"]);
    assert_eq!(names.collect::<Vec<_>>(), [&json!("m-large"), &json!("m-small")]);
    let answer = read(gateway.client.send(Method::GET, &url, &[], "").await).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let mut unknown = chat(4, false);
    unknown["model"] = "m-free".into();
    let answer = gateway.client.ask(ALICE, CHAT, &unknown).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("model_not_found"))
    );
    assert!(upstream.heard.lock().expect("nobody panics").is_empty(), "nothing went there");
    assert!(gateway.end().await);
}

/// Its tokens are what it says.
#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_upstream_counts_honestly() {
    let gateway = Gateway::start(&[]).await;
    for tokens in [1, 7, 64, 500] {
        let whole = gateway.client.ask(ALICE, CHAT, &chat(tokens, false)).await.ok().json();
        let choice = &whole["choices"][0];
        let said = choice["message"]["content"].as_str().expect("it is text").to_owned();
        let count = said.chars().count().div_ceil(4);
        assert_eq!(whole["usage"]["completion_tokens"], count);
        assert_eq!(count, usize::try_from(tokens).expect("it fits").min(64));
        assert_eq!(choice["finish_reason"], if tokens < 64 { "length" } else { "stop" });
        // user, and the question.
        assert_eq!(whole["usage"]["prompt_tokens"], 1 + "What is a toll?".len().div_ceil(4));

        let streamed = gateway.client.ask(ALICE, CHAT, &chat(tokens, true)).await.ok();
        let data = streamed.text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let chunks: Vec<Value> = data
            .map(|data| serde_json::from_str(&format!("{{{data}")).expect("it is JSON"))
            .collect();
        let pieces =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        let pieces: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
        assert_eq!((pieces.len(), pieces.concat()), (count, said));
    }
    gateway.nothing_is_held().await;
    let settled = gateway.usage("alice-rate").counters[0].settled;
    assert_eq!(settled, 2 * (4 * 5 + 1 + 7 + 64 + 64), "each was charged what it said");
    assert!(gateway.end().await);
}
