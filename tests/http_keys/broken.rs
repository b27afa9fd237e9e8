//! What fails is executed again if nothing was charged for it, and charged once in any case.

use tollkeeper::Outcome;

use crate::scene::*;
use crate::upstream::{Reply, Step, Upstream, say};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_denied_is_executed_when_the_limit_is_raised() {
    let gateway = Gateway::start().await;
    gateway.limit(ESTIMATE - 1);
    for _ in 0..2 {
        let denied = gateway.ask(&ask("k")).await;
        assert_eq!((denied.status.as_u16(), denied.is_replayed()), (429, false));
    }
    assert_eq!((gateway.upstream.calls(), gateway.used("k1")), (0, (0, 0)));
    gateway.limit(ESTIMATE);
    let answer = gateway.ask(&ask("k")).await;
    assert_eq!((answer.status.as_u16(), answer.is_replayed()), (200, false));
    assert!(gateway.ask(&ask("k")).await.is_replayed());
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_billed_is_executed_again_and_charged_once() {
    let gateway = Gateway::start().await;
    for status in [500, 503, 400] {
        gateway.upstream.next(Reply::ok([say("sorry\n")]).status(status));
        let failed = gateway.ask(&ask("k")).await;
        assert_eq!((failed.status.as_u16(), &*failed.body), (status, "sorry\n"));
        assert_eq!(gateway.used("k1"), (0, 0));
    }
    let answer = gateway.ask(&ask("k")).await;
    assert_eq!((answer.status.as_u16(), answer.is_replayed()), (200, false));
    assert_eq!(gateway.ask(&ask("k")).await.body, answer.body);
    assert_eq!(gateway.upstream.calls(), 4);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_was_billed_is_replayed() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("sorry\nused 7\nend\n")]).status(500));
    let failed = gateway.ask(&ask("k")).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((failed.status.as_u16(), failed.is_replayed()), (500, false));
    assert_eq!((again.status.as_u16(), again.is_replayed()), (500, true));
    assert_eq!(again.body, failed.body);
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Failed, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_broke_off_and_was_billed_is_replayed_as_an_error() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("one\n"), say("used 7\n"), Step::Cut]));
    let first = gateway.ask(&ask("k")).await;
    assert!(first.broke, "the client sees that it is not the whole");
    assert_eq!(first.body, "one\nused 7\n");
    for _ in 0..2 {
        let again = gateway.ask(&ask("k")).await;
        let (code, message) = again.error();
        assert_eq!((again.status.as_u16(), &*code), (502, "upstream_broke_off"));
        assert!(message.contains("send a new key"), "{message}");
        assert!(again.is_replayed());
        assert_eq!(again.field("x-should-retry"), Some("false"));
    }
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Partial, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_broke_off_unknown_is_executed_again_and_charged_by_that() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("one\n"), Step::Cut]));
    let first = gateway.ask(&ask("k")).await;
    assert!(first.broke);
    gateway.settles(ESTIMATE).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    // When the answer has come, what it used is in the ledger and booked.
    assert_eq!(gateway.charges(), [(Outcome::Uncertain, ESTIMATE), (Outcome::Correction, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
    assert!(gateway.ask(&ask("k")).await.is_replayed());
    assert_eq!(gateway.upstream.calls(), 2);
    assert_eq!(gateway.used("k1"), (7, 0));
}

/// All tries are one charge: who reads what breaks off again and again would have it for one.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_off_unknown_again_is_not_executed_a_third_time() {
    let gateway = Gateway::start().await;
    for _ in 0..2 {
        gateway.upstream.next(Reply::ok([say("one\n"), Step::Cut]));
        assert!(gateway.ask(&ask("k")).await.broke);
        gateway.settles(ESTIMATE).await;
    }
    let third = gateway.ask(&ask("k")).await;
    assert_eq!((third.status.as_u16(), third.is_replayed()), (502, true));
    assert_eq!(third.error().0, "upstream_broke_off");
    assert_eq!(third.field("x-should-retry"), Some("false"));
    assert_eq!(gateway.upstream.calls(), 2);
    assert_eq!(gateway.used("k1"), (ESTIMATE, 0));
}

/// What the client gets in place of the answer is the gateway's, and not what the key is for.
#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_that_breaks_off_before_any_of_it_has_come() {
    let gateway = Gateway::start().await;
    let broken = || Reply::ok([Step::Cut]).field("content-length", "100");
    for (key, tries) in [("k", 1), ("l", 2)] {
        for _ in 0..tries {
            gateway.upstream.next(broken());
            let first = gateway.ask(&ask(key)).await;
            assert_eq!((first.status.as_u16(), first.is_replayed()), (502, false));
            assert_eq!(&*first.error().0, "upstream_broke_off");
        }
        let last = gateway.ask(&ask(key)).await;
        let executed = if tries == 1 { (200, false) } else { (502, true) };
        assert_eq!((last.status.as_u16(), last.is_replayed()), executed);
    }
    assert_eq!(gateway.upstream.calls(), 4);
    assert_eq!(gateway.used("k1"), (7 + ESTIMATE, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_a_request_whose_upstream_hung_up() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::hang_up());
    assert!(gateway.try_begin(&ask("k")).await.is_err(), "the service inside has no answer");
    gateway.settles(ESTIMATE).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(gateway.charges(), [(Outcome::Uncertain, ESTIMATE), (Outcome::Correction, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_a_time_out_of_the_upstream() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("too late\n")]).status(504));
    assert_eq!(gateway.ask(&ask("k")).await.status, 504);
    assert_eq!(gateway.used("k1"), (ESTIMATE, 0));
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_the_key_and_tells_the_client() {
    let gateway = Gateway::start().await;
    let panicked = gateway.ask(&Ask { panics: true, ..ask("k") }).await;
    assert_eq!((panicked.status.as_u16(), &*panicked.error().0), (500, "request_broke_off"));
    gateway.settles(ESTIMATE).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(gateway.used("k1"), (7, 0));
    assert_eq!(gateway.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_middle_of_an_answer_does_not_look_like_its_end() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("one\n"), Step::Wait, say("used nonsense\n")]));
    let mut begun = gateway.begin(&ask("k")).await;
    assert_eq!(next(&mut begun).await, "one\n");
    gateway.upstream.open();
    let rest = Answer::read(begun).await;
    assert!(rest.broke, "{rest:?}");
    gateway.settles(ESTIMATE).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_put_right_also_where_nobody_waits_for_the_record() {
    let store = tollkeeper::MemoryLedger::default();
    let (upstream, keys) = (Upstream::start().await, Some((memory_keys(), LONG)));
    let gateway = Gateway::set_up(upstream, store, keys, |toll| toll.answer_at_once()).await;
    gateway.upstream.next(Reply::ok([say("one\n"), Step::Cut]));
    assert!(gateway.ask(&ask("k")).await.broke);
    gateway.settles(ESTIMATE).await;
    assert_eq!(gateway.ask(&ask("k")).await.status, 200);
    gateway.settles(7).await;
    assert_eq!(gateway.charges(), [(Outcome::Uncertain, ESTIMATE), (Outcome::Correction, 7)]);
}
