//! A request with a key is executed once, and answered as often as it comes.

use std::time::Duration;

use tollkeeper::Outcome;

use crate::scene::*;
use crate::upstream::{Reply, Step, say};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_the_same_time_one_is_executed_and_all_get_its_answer() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("the answer\n"), Step::Wait, say("used 7\nend\n")]));
    let asks = ask("k");
    let all = async {
        tokio::join!(
            gateway.ask(&asks),
            gateway.ask(&asks),
            gateway.ask(&asks),
            gateway.ask(&asks),
            gateway.ask(&asks),
            gateway.ask(&asks),
            async {
                until(|| gateway.upstream.calls() == 1).await;
                // Long enough for all to have come, and for a second call to be made if any is.
                tokio::time::sleep(Duration::from_millis(200)).await;
                gateway.upstream.open();
            }
        )
    };
    let (a, b, c, d, e, f, ()) = all.await;
    let answers = [a, b, c, d, e, f];
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "the answer\nused 7\nend\n"));
        assert!(!answer.broke);
    }
    assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1);
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_the_status_the_fields_and_the_body_again() {
    let gateway = Gateway::start().await;
    let reply = Reply::ok([say("created\nused 7\nend\n")]).status(201).field("set-cookie", "a=b");
    gateway.upstream.next(reply.field("idempotency-replayed", "true"));
    let first = gateway.ask(&ask("k")).await;
    assert!(!first.is_replayed(), "whatever the upstream says");
    assert_eq!((first.status.as_u16(), &*first.body), (201, "created\nused 7\nend\n"));
    assert_eq!(first.field("content-length"), Some("19"));
    for key in ["k", "\"k\"", "\"k\";v=1"] {
        let again = gateway.ask(&ask(key)).await;
        assert!(again.is_replayed(), "{key}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.field("content-type"), Some("text/plain"));
        assert_eq!(again.field("x-request-id"), Some("up-1"));
        assert_eq!(again.field("content-length"), Some("19"));
        let momentary = |name: &str| {
            name == "set-cookie" || name.starts_with("ratelimit") || name.starts_with("x-ratelimit")
        };
        assert!(!again.headers.keys().any(|name| momentary(name.as_str())), "{:?}", again.headers);
    }
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));

    // Another key is another request.
    let other = gateway.ask(&ask("l")).await;
    assert!(!other.is_replayed());
    assert_eq!(gateway.upstream.calls(), 2);
    assert_eq!(gateway.used("k1"), (14, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_streams_and_its_retry_gets_the_whole() {
    let gateway = Gateway::start().await;
    let steps = [say("one\n"), Step::Wait, say("two\n"), Step::Wait, say("used 7\nend\n")];
    gateway.upstream.next(Reply::ok(steps));
    let mut begun = gateway.begin(&ask("k")).await;
    assert!(!begun.headers().contains_key("content-length"));
    assert_eq!(next(&mut begun).await, "one\n", "while the rest is not there yet");
    gateway.upstream.open();
    assert_eq!(next(&mut begun).await, "two\n");
    gateway.upstream.open();
    let rest = Answer::read(begun).await;
    assert_eq!((&*rest.body, rest.broke), ("used 7\nend\n", false));

    let again = gateway.ask(&ask("k")).await;
    assert!(again.is_replayed());
    assert_eq!(again.body, "one\ntwo\nused 7\nend\n");
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_the_same_key_do_not_see_each_other() {
    let gateway = Gateway::start().await;
    let mine = gateway.ask(&ask("k")).await;
    let theirs = gateway.ask(&Ask { caller: "k2", ..ask("k") }).await;
    assert_eq!(
        (&*mine.body, &*theirs.body),
        ("answer 1\nused 7\nend\n", "answer 2\nused 7\nend\n")
    );
    let mine_again = gateway.ask(&ask("k")).await;
    let theirs_again = gateway.ask(&Ask { caller: "k2", ..ask("k") }).await;
    assert!(mine_again.is_replayed() && theirs_again.is_replayed());
    assert_eq!((mine_again.body, theirs_again.body), (mine.body, theirs.body));
    assert_eq!(gateway.upstream.calls(), 2);
    assert_eq!((gateway.used("k1"), gateway.used("k2")), ((7, 0), (7, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_with_the_same_key_do_not_either() {
    let gateway = Gateway::start().await;
    gateway.ask(&ask("k")).await;
    let other = gateway.ask(&Ask { target: "/v1/other", ..ask("k") }).await;
    assert_eq!((other.status.as_u16(), other.is_replayed()), (200, false));
    assert_eq!(gateway.upstream.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_gets_a_key_of_the_gateways_own() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("sorry")]).status(503));
    gateway.ask(&ask("k")).await;
    gateway.ask(&ask("k")).await;
    gateway.ask(&Ask { caller: "k2", ..ask("k") }).await;
    let keys = gateway.upstream.keys();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| key.as_ref().is_some_and(|key| key.len() == 36)), "{keys:?}");
    assert_eq!(keys[0], keys[1], "each try's is the same");
    assert_ne!(keys[0], keys[2], "each caller's is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_the_field_is_ignored() {
    let gateway = Gateway::with(None).await;
    let malformed = Ask { keys: vec!["".into(), "\"".into()], ..ask("k") };
    for asks in [ask("k"), ask("k"), malformed] {
        let answer = gateway.ask(&asks).await;
        assert_eq!((answer.status.as_u16(), answer.is_replayed()), (200, false));
    }
    assert_eq!(gateway.upstream.calls(), 3);
    assert_eq!(gateway.used("k1"), (21, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_key_is_executed_each_time() {
    let gateway = Gateway::start().await;
    let asks = Ask { keys: Vec::new(), ..ask("") };
    assert!(!gateway.ask(&asks).await.is_replayed());
    assert!(!gateway.ask(&asks).await.is_replayed());
    assert_eq!(gateway.upstream.calls(), 2);
    assert_eq!(gateway.upstream.keys(), [None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_to_be_kept_goes_to_its_client_and_is_charged_once() {
    let keys = keys().max_result_bytes(200).start(tollkeeper::MemoryKeys::new(10)).unwrap();
    let gateway = Gateway::with(Some((keys, LONG))).await;
    let long = "x".repeat(500);
    gateway.upstream.next(Reply::ok([say(long.clone()), say("\nused 7\nend\n")]));
    let first = gateway.ask(&ask("k")).await;
    assert_eq!((first.status.as_u16(), first.broke), (200, false));
    assert_eq!(first.body, format!("{long}\nused 7\nend\n"));
    let record = gateway.ledger.records(&Default::default(), None, 10).unwrap()[0].record.id;
    for _ in 0..2 {
        let again = gateway.ask(&ask("k")).await;
        let (code, message) = again.error();
        assert_eq!((again.status.as_u16(), &*code), (409, "idempotency_answer_not_kept"));
        assert!(message.contains(&record.to_string()), "{message}");
        assert_eq!(again.field("x-should-retry"), Some("false"));
        assert!(!again.is_replayed() && again.field("retry-after").is_none());
    }
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}
