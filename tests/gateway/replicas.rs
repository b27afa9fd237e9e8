//! Two gateways on one database.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use crate::kit::{ALICE, Answer, Gateway, PATIENCE, Place, chat, read, until};
use crate::server;

const CHAT: &str = "/v1/chat/completions";

async fn pair(changes: &[(&str, &str)], piece_ms: u64) -> Option<(Gateway, Gateway)> {
    let database = tokio::task::spawn_blocking(|| Some(server::shared()?.database()));
    let url = database.await.expect("the server starts")?;
    let set = |options: &mut crate::gateway::cli::Serve| {
        options.piece_ms = piece_ms;
        options.ledger = url.parse().expect("it is a place");
    };
    let one = Gateway::start_with(Place::new(changes), set).await;
    let other = Gateway::start_with(Place::new(changes), set).await;
    Some((one, other))
}

async fn keyed(gateway: &Gateway, key: &str) -> Answer {
    let bearer = format!("Bearer {ALICE}");
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let url = format!("http://{}{CHAT}", gateway.client.gateway);
    read(gateway.client.send(Method::POST, &url, &fields, chat(8, false).to_string()).await).await
}

/// A budget's spending, as this instance knows it.
fn spent(gateway: &Gateway) -> u64 {
    gateway.usage("search-daily").counters[0].settled
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_keys_usage_and_suspensions() {
    let Some((one, other)) = pair(&[], 0).await else { return };
    let first = keyed(&one, "\"k\"").await.ok();
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = keyed(&other, "\"k\"").await.ok();
    assert_eq!((again.header("idempotency-replayed"), &again.text), (Some("true"), &first.text));
    one.nothing_is_held().await;
    let each = spent(&one);
    assert!(each > 0);
    // The other has charged nothing, and learns what was charged.
    until("the other knows of it", || spent(&other) == each).await;
    other.client.chat(ALICE).await.ok();
    until("the one knows of it", || spent(&one) == spent(&other) && spent(&one) > each).await;

    one.client.admin(Method::POST, "/admin/owners/team:search/suspend", None).await.ok();
    let begun = Instant::now();
    while other.client.chat(ALICE).await.status != StatusCode::FORBIDDEN {
        assert!(begun.elapsed() < PATIENCE, "the other hears of the suspension");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(one.end().await);
    assert!(other.end().await);
}

/// A request that cannot be estimated waits for the one of its key at the other gateway.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_the_barrier() {
    let unbounded = [("default_output_tokens = 1024", "")];
    let Some((one, other)) = pair(&unbounded, 20).await else { return };
    let mut request = chat(0, true);
    request.as_object_mut().expect("it is an object").remove("max_tokens");
    let first = one.client.begin(ALICE, CHAT, &request).await;
    let begun = Instant::now();
    let second = tokio::spawn({
        let (client, request) = (other.client.clone(), request.clone());
        async move { (client.begin(ALICE, CHAT, &request).await.status(), begun.elapsed()) }
    });
    let whole = read(first).await.ok();
    assert!(whole.text.ends_with("data: [DONE]\n\n"));
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(1), "it took {took:?}: too short to show anything");
    let (status, waited) = second.await.expect("it is answered");
    assert_eq!(status, StatusCode::OK);
    // Its turn comes when the first is recorded, a moment before its client has read the end.
    assert!(waited * 10 > took * 9, "the second came in after {waited:?}, the first took {took:?}");
    assert!(one.end().await);
    assert!(other.end().await);
}
