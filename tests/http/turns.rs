//! Requests that cannot be estimated: one of a user after another, at the barrier.

use std::time::Duration;

use tollkeeper::{Barrier, Dimension, Ledger, MemoryLedger, Outcome, Timestamp};
use tower::Layer;

use crate::kit::{Books, REQUEST, TOKEN, engine, posted, send, until, work};
use crate::server::{Proxy, Server};
use crate::upstream::{Act, Upstream, chunk, end, head, say, whole};

const UNKNOWN: &str = r#"{"model":"m1"}"#;

fn barrier() -> Barrier {
    let spawn = |task| {
        tokio::spawn(task);
    };
    Barrier::builder(spawn).wait_at_most(Duration::from_secs(20)).start().unwrap()
}

async fn gateway(books: &Books, barrier: &Barrier, acts: Vec<Act>) -> (Server, Upstream) {
    let upstream = Upstream::start(acts).await;
    let toll = books.toll().barrier(barrier.clone()).build();
    (Server::start(toll.layer(Proxy::to(upstream.address))).await, upstream)
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn one_waits_for_the_end_of_the_other() {
    // Enough for the first one, which uses it up.
    let books = Books::with(engine(7 * TOKEN + REQUEST));
    let barrier = barrier();
    let acts = vec![head("200 OK"), chunk("x\n"), Act::Wait, chunk("used 7\ndone\n"), end()];
    let (gateway, upstream) = gateway(&books, &barrier, acts).await;
    let mut first = send(gateway.address, posted(UNKNOWN)).await.unwrap();
    first.expect("x").await;
    let second = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
    until("it waits", || barrier.counts().waiting == 1).await;
    a_moment().await;
    assert_eq!(upstream.requests().len(), 1);
    upstream.go_on(1);
    first.text().await.unwrap();
    // It finds the balance that the first one has left: none.
    let second = second.await.unwrap().unwrap();
    assert!([402, 429].contains(&second.status.as_u16()), "{}", second.status);
    assert_eq!(upstream.requests().len(), 1);
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    until("nobody is inside", || barrier.counts().holding == 0).await;
}

#[tokio::test]
async fn who_can_be_estimated_does_not_wait() {
    let books = Books::new();
    let barrier = barrier();
    let acts = vec![Act::Wait, whole("200 OK", "used 7\ndone\n")];
    let (gateway, upstream) = gateway(&books, &barrier, acts).await;
    let first = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
    until("the first one is called", || upstream.requests().len() == 1).await;
    let second = tokio::spawn(send(gateway.address, work(10)));
    until("the second one is called", || upstream.requests().len() == 2).await;
    upstream.go_on(2);
    first.await.unwrap().unwrap().text().await.unwrap();
    second.await.unwrap().unwrap().text().await.unwrap();
    books.quiet(2).await;
    books.charged(14, 14 * TOKEN + 2 * REQUEST, 2);
}

/// The next one is let in when the record of the one before is booked, however that one ended.
#[tokio::test]
async fn the_next_one_waits_for_the_record_though_the_client_has_gone() {
    for acts in [
        vec![Act::Wait, Act::Reset],
        vec![head("200 OK"), chunk("used 7\n"), chunk("x\n"), Act::Wait, Act::Reset],
    ] {
        let engine = engine(1_000_000_000);
        let (ledger, mut writer) =
            Ledger::builder(&engine).by_hand(MemoryLedger::default()).unwrap();
        let books = Books { engine, ledger };
        let barrier = barrier();
        let (gateway, upstream) = gateway(&books, &barrier, acts).await;
        let first = tokio::spawn(async move {
            let mut reply = send(gateway.address, posted(UNKNOWN)).await.unwrap();
            while reply.next().await.is_some() {}
        });
        until("the first one is called", || upstream.requests().len() == 1).await;
        a_moment().await;
        let second = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
        until("it waits", || barrier.counts().waiting == 1).await;
        first.abort();
        upstream.go_on(1);
        until("its end has come", || books.ledger.health().queued == 1).await;
        a_moment().await;
        assert_eq!(upstream.requests().len(), 1, "let in before the other one is booked");
        writer.turn(now());
        until("the second one is called", || upstream.requests().len() == 2).await;
        second.abort();
        // What it has come to, if it has, is a reply that is open.
        drop(second);
        upstream.go_on(1);
        until("its end has come", || books.ledger.health().queued == 1).await;
        writer.turn(now());
        books.quiet(2).await;
    }
}

/// Hardly anything is held for it, so it is not charged by that.
#[tokio::test]
async fn who_leaves_before_it_is_told_what_he_used_is_charged_that() {
    let books = Books::new();
    let barrier = barrier();
    let acts = vec![head("200 OK"), chunk("x\n"), Act::Wait, chunk("used 7\ndone\n"), end()];
    let (gateway, upstream) = gateway(&books, &barrier, acts).await;
    let mut reply = send(gateway.address, posted(UNKNOWN)).await.unwrap();
    reply.expect("x").await;
    drop(reply);
    a_moment().await;
    upstream.go_on(1);
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    until("nobody is inside", || barrier.counts().holding == 0).await;
    assert_eq!(upstream.requests().len(), 1);
}

/// Nobody knows what came of it, but for what went in.
#[tokio::test]
async fn what_breaks_off_is_charged_what_it_came_to_at_least() {
    let books = Books::new();
    let (gateway, upstream) = gateway(&books, &barrier(), vec![Act::Wait, Act::Reset]).await;
    let body = r#"{"model":"m1","at_least":5}"#;
    let reply = tokio::spawn(send(gateway.address, posted(body)));
    until("it is called", || upstream.requests().len() == 1).await;
    assert_eq!(books.settled("rate", Dimension::Tokens), 0);
    assert!(books.held() > 5, "it is held until then");
    upstream.go_on(1);
    let _ = reply.await.unwrap();
    books.ends(Outcome::Uncertain, 5, 5 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn what_breaks_off_between_its_head_and_its_body_is_told_too() {
    let books = Books::new();
    let acts = vec![say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")];
    let (gateway, _upstream) = gateway(&books, &barrier(), acts).await;
    let body = r#"{"model":"m1","at_least":5}"#;
    let reply = send(gateway.address, posted(body)).await.unwrap();
    assert_eq!(reply.status, 502);
    assert!(reply.text().await.unwrap().contains("upstream_broke_off"));
    books.ends(Outcome::Uncertain, 5, 5 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn who_leaves_the_queue_is_never_called() {
    let books = Books::new();
    let barrier = barrier();
    let acts = vec![Act::Wait, whole("200 OK", "used 7\ndone\n")];
    let (gateway, upstream) = gateway(&books, &barrier, acts).await;
    let first = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
    until("the first one is called", || upstream.requests().len() == 1).await;
    let second = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
    until("it waits", || barrier.counts().waiting == 1).await;
    second.abort();
    until("it has left", || barrier.counts().waiting == 0).await;
    upstream.go_on(1);
    first.await.unwrap().unwrap().text().await.unwrap();
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_queue_that_is_full_or_slow_is_a_429() {
    let spawn = |task| {
        tokio::spawn(task);
    };
    let soon = Duration::from_millis(50);
    for barrier in [
        Barrier::builder(spawn).max_waiters_per_user(0).start().unwrap(),
        Barrier::builder(spawn).wait_at_most(soon).start().unwrap(),
    ] {
        let books = Books::new();
        let acts = vec![Act::Wait, whole("200 OK", "used 7\ndone\n")];
        let (gateway, upstream) = gateway(&books, &barrier, acts).await;
        let first = tokio::spawn(send(gateway.address, posted(UNKNOWN)));
        until("the first one is called", || upstream.requests().len() == 1).await;
        let second = send(gateway.address, posted(UNKNOWN)).await.unwrap();
        assert_eq!(second.status, 429);
        assert_eq!(second.headers["retry-after"], "1");
        upstream.go_on(1);
        first.await.unwrap().unwrap().text().await.unwrap();
        books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    }
}

fn now() -> Timestamp {
    tollkeeper::Engine::new().now()
}
