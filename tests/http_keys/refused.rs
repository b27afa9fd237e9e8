//! Requests with a key that are not executed, and what they are told.

use std::time::Duration;

use tollkeeper::{
    Fingerprint, KeyAnswer, KeyOp, KeyStore, MemoryKeys, Outcome, Ran, Scope, StoreError, Timestamp,
};

use crate::scene::*;
use crate::upstream::{Reply, Step, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_request_is_refused() {
    let gateway = Gateway::start().await;
    gateway.ask(&ask("k")).await;
    let body = Ask { body: "say something else", ..ask("k") };
    let query = Ask { target: "/v1/chat?a=b", ..ask("k") };
    for other in [body, query] {
        let answer = gateway.ask(&other).await;
        let (code, message) = answer.error();
        assert_eq!((answer.status.as_u16(), &*code), (422, "idempotency_key_reused"));
        assert!(message.contains("another method, path, query or body"), "{message}");
    }
    assert!(gateway.ask(&ask("k")).await.is_replayed(), "it is as it was");
    assert_eq!(gateway.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_flight_is_waited_for_so_long_and_then_refused() {
    let gateway = Gateway::with(Some((memory_keys(), Duration::from_millis(150)))).await;
    gateway.upstream.next(Reply::ok([say("one\n"), Step::Wait, say("used 7\nend\n")]));
    let first = gateway.begin(&ask("k")).await;
    let begun = std::time::Instant::now();
    let second = gateway.ask(&ask("k")).await;
    assert!(begun.elapsed() >= Duration::from_millis(150));
    let (code, _) = second.error();
    assert_eq!((second.status.as_u16(), &*code), (409, "idempotency_key_in_use"));
    assert_eq!(second.field("retry-after"), Some("1"));
    // Another request is told that at once, whether or not the first one has ended.
    let other = gateway.ask(&Ask { body: "else", ..ask("k") }).await;
    assert_eq!(other.status, 422);

    gateway.upstream.open();
    assert_eq!(Answer::read(first).await.body, "one\nused 7\nend\n");
    let third = gateway.ask(&ask("k")).await;
    assert_eq!((third.status.as_u16(), third.is_replayed()), (200, true));
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_key_is_refused() {
    let gateway = Gateway::start().await;
    let long = "k".repeat(256);
    let cases: [(&[&str], &str); 5] = [
        (&["a", "a"], "more than once"),
        (&[""], "is empty"),
        (&[&long], "is 256 characters long"),
        (&["\"a"], "no string in quotes"),
        (&["a, b"], "has ',' as its character 2"),
    ];
    for (keys, says) in cases {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let answer = gateway.ask(&Ask { keys, ..ask("") }).await;
        let (code, message) = answer.error();
        assert_eq!((answer.status.as_u16(), &*code), (400, "invalid_idempotency_key"));
        assert!(message.contains(says) && message.contains("accepted: 1 to 255"), "{message}");
    }
    assert_eq!(gateway.upstream.calls(), 0);
    assert_eq!(gateway.charges(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_a_name_is_refused_and_a_long_one_is_not() {
    let gateway = Gateway::start().await;
    for tenant in ["", "a\tb"] {
        let answer = gateway.ask(&Ask { tenant: Some(tenant), ..ask("k") }).await;
        assert_eq!((answer.status.as_u16(), &*answer.error().0), (500, "unusable_tenant"));
    }
    assert_eq!(gateway.upstream.calls(), 0);
    let long = |end: &str| -> &'static str { format!("{}{end}", "a".repeat(300)).leak() };
    let asks = |tenant, path: &str| {
        let target: &'static str = format!("/v1/{path}").leak();
        Ask { tenant: Some(tenant), target, ..ask("k") }
    };
    for (tenant, path) in [("t", long("1")), ("t", long("2")), (long("1"), "p"), (long("2"), "p")] {
        assert!(!gateway.ask(&asks(tenant, path)).await.is_replayed());
        assert!(gateway.ask(&asks(tenant, path)).await.is_replayed());
    }
    assert_eq!(gateway.upstream.calls(), 4);
}

/// A store that is down.
struct Down;

impl KeyStore for Down {
    fn apply(&self, _: &[KeyOp], _: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        let source = "postgres://user:secret@db is down".into();
        Err(StoreError::Unavailable { doing: "claiming keys", source })
    }

    fn purge(&self, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_down_nothing_is_executed() {
    let wait = Duration::from_millis(50);
    let gateway = Gateway::with(Some((keys().start(Down).unwrap(), wait))).await;
    let answer = gateway.ask(&ask("k")).await;
    let (code, message) = answer.error();
    assert_eq!((answer.status.as_u16(), &*code), (503, "idempotency_unavailable"));
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert!(!message.contains("secret"), "{message}");
    assert_eq!(gateway.upstream.calls(), 0);
    let without = gateway.ask(&Ask { keys: Vec::new(), ..ask("") }).await;
    assert_eq!(without.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_has_and_nobody_can_read_is_not_executed_again() {
    let keys = memory_keys();
    let gateway = Gateway::with(Some((keys.clone(), LONG))).await;
    // The scope and the fingerprint are part of what is stored: a change of them would execute
    // what was executed.
    let scope = Scope::new("key:k1", "POST /v1/chat", "k").unwrap();
    let asked = Fingerprint::of(&[b"POST", PATH.as_bytes(), ask("k").body.as_bytes()]);
    let junk = keys.run(&scope, asked, LONG, |_| async { Ok::<_, ()>(b"junk".to_vec()) }).await;
    assert!(matches!(junk, Ok(Ran::Fresh(_))));
    let answer = gateway.ask(&ask("k")).await;
    let (code, _) = answer.error();
    assert_eq!((answer.status.as_u16(), &*code), (500, "idempotency_answer_unreadable"));
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    assert_eq!(gateway.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_executes_nothing() {
    let keys = keys().start(MemoryKeys::new(1)).unwrap();
    let gateway = Gateway::with(Some((keys, LONG))).await;
    assert_eq!(gateway.ask(&ask("k")).await.status, 200);
    let answer = gateway.ask(&ask("l")).await;
    assert_eq!((answer.status.as_u16(), &*answer.error().0), (503, "idempotency_unavailable"));
    assert_eq!(gateway.upstream.calls(), 1);
}

/// Otherwise one who is denied over and over would fill the store for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_which_nothing_came_takes_no_room() {
    let keys = keys().start(MemoryKeys::new(1)).unwrap();
    let gateway = Gateway::with(Some((keys, LONG))).await;
    // The key before is given back a moment after its answer.
    let ask = async |key| {
        let mut answer = gateway.ask(&ask(key)).await;
        for _ in 0..100 {
            if answer.status != 503 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer = gateway.ask(&ask(key)).await;
        }
        answer.status
    };
    gateway.limit(0);
    for key in ["k", "l"] {
        assert_eq!(ask(key).await, 429);
    }
    gateway.limit(1_000);
    assert_eq!(ask("m").await, 200);
    assert_eq!(gateway.upstream.calls(), 1);
}
