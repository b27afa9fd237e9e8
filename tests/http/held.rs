//! The end of an answer waits until its record is durable; and a gateway that shuts down.

use std::time::Duration;

use tollkeeper::{Ledger, MemoryLedger, Outcome, Timestamp, Writer};
use tower::Layer;

use crate::kit::{Books, REQUEST, TOKEN, engine, send, until, work};
use crate::server::{Proxy, Server};
use crate::upstream::{Act, Upstream, chunk, end, head, say, whole};

/// Books whose writer writes when it is told to.
fn by_hand() -> (Books, Writer) {
    let engine = engine(1_000_000_000);
    let (ledger, writer) =
        Ledger::builder(&engine).by_hand(MemoryLedger::default()).expect("it starts");
    (Books { engine, ledger }, writer)
}

/// Time enough for what must not happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn now() -> Timestamp {
    tollkeeper::Engine::new().now()
}

#[tokio::test]
async fn the_last_piece_waits_for_the_record() {
    let streamed = vec![head("200 OK"), chunk("used 7\ndone\n"), end()];
    let announced = vec![say(ANNOUNCED), say("used 7\n"), Act::Wait, say("done\n")];
    // The last piece is nothing but the body's end, or it is text.
    for (acts, early) in [(streamed, "used 7\ndone\n"), (announced, "used 7\n")] {
        let (books, mut writer) = by_hand();
        let (gateway, upstream) = books.before(acts).await;
        let mut reply = send(gateway.address, work(10)).await.unwrap();
        reply.expect(early).await;
        upstream.go_on(1);
        until("its end has come", || books.ledger.health().queued == 1).await;
        let rest = tokio::spawn(async move { reply.text().await });
        a_moment().await;
        assert!(!rest.is_finished(), "it ended before it was written");
        assert!(books.held() > 0, "it is held until it is written");
        writer.turn(now());
        let rest = rest.await.unwrap().unwrap();
        assert_eq!(format!("{early}{rest}"), "used 7\ndone\n");
        books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    }
}

/// Twelve bytes are to come.
const ANNOUNCED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n";

/// Its head is of no use alone, and two writes cost twice as much.
#[tokio::test]
async fn an_answer_of_one_piece_waits_with_its_head_for_its_record() {
    let (books, mut writer) = by_hand();
    let acts = vec![say(ANNOUNCED), Act::Wait, say("used 7\ndone\n")];
    let (gateway, upstream) = books.before(acts).await;
    let reply = tokio::spawn(send(gateway.address, work(10)));
    until("it is called", || upstream.requests().len() == 1).await;
    a_moment().await;
    assert!(!reply.is_finished(), "a head came before its body");
    upstream.go_on(1);
    until("its end has come", || books.ledger.health().queued == 1).await;
    a_moment().await;
    assert!(!reply.is_finished(), "it was answered before it was written");
    writer.turn(now());
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(reply.text().await.unwrap(), "used 7\ndone\n");
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

/// A stream says no length, and its client is to know that it has begun.
#[tokio::test]
async fn the_head_of_a_stream_waits_for_nothing() {
    let books = Books::new();
    let acts = vec![head("200 OK"), Act::Wait, chunk("used 7\ndone\n"), end()];
    let (gateway, upstream) = books.before(acts).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    upstream.go_on(1);
    assert_eq!(reply.text().await.unwrap(), "used 7\ndone\n");
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn what_has_no_body_waits_before_its_head() {
    let (books, mut writer) = by_hand();
    let (gateway, _upstream) = books.before(vec![whole("500 Internal Server Error", "")]).await;
    let reply = tokio::spawn(send(gateway.address, work(10)));
    until("its end has come", || books.ledger.health().queued == 1).await;
    a_moment().await;
    assert!(!reply.is_finished(), "it was answered before it was written");
    writer.turn(now());
    assert_eq!(reply.await.unwrap().unwrap().status, 500);
    books.ends(Outcome::Unbilled, 0, 0, 0).await;
}

#[tokio::test]
async fn an_answer_at_once_does_not_wait() {
    let (books, mut writer) = by_hand();
    let upstream = Upstream::start(vec![whole("200 OK", "used 7\ndone\n")]).await;
    let toll = books.toll().answer_at_once().build();
    let gateway = Server::start(toll.layer(Proxy::to(upstream.address))).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "used 7\ndone\n");
    assert_eq!(books.records(), []);
    assert!(books.held() > 0);
    writer.turn(now());
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn gone_while_the_end_waits_is_settled() {
    let (books, mut writer) = by_hand();
    let acts = vec![head("200 OK"), chunk("used 7\ndone\n"), end()];
    let (gateway, _upstream) = books.before(acts).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    until("its end has come", || books.ledger.health().queued == 1).await;
    reply.hang_up();
    a_moment().await;
    writer.turn(now());
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn gone_while_the_head_waits_is_settled() {
    let (books, mut writer) = by_hand();
    let (gateway, _upstream) = books.before(vec![whole("200 OK", "used 7\ndone\n")]).await;
    let client = tokio::spawn(send(gateway.address, work(10)));
    until("its end has come", || books.ledger.health().queued == 1).await;
    client.abort();
    a_moment().await;
    writer.turn(now());
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

/// Before its first piece it is one whose client left in the middle: nobody knows.
#[tokio::test]
async fn gone_before_the_first_piece_of_an_announced_answer_is_uncertain() {
    let books = Books::new();
    let (gateway, upstream) = books.before(vec![say(ANNOUNCED), Act::Hang]).await;
    let client = tokio::spawn(send(gateway.address, work(10)));
    until("it is called", || upstream.requests().len() == 1).await;
    a_moment().await;
    client.abort();
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_what_streams() {
    let books = Books::new();
    let acts =
        vec![head("200 OK"), chunk("x\n"), Act::Wait, chunk("used 7\n"), chunk("done\n"), end()];
    let (gateway, upstream) = books.before(acts).await;
    let mut reply = send(gateway.address, work(10)).await.unwrap();
    reply.expect("x").await;
    let stopping = gateway.clone();
    let stopped = tokio::spawn(async move { stopping.shut_down().await });
    a_moment().await;
    assert!(!stopped.is_finished());
    upstream.go_on(1);
    assert_eq!(reply.text().await.unwrap(), "used 7\ndone\n");
    stopped.await.unwrap();
    let closed = books.ledger.close(Duration::from_secs(5));
    assert!(closed.is_clean(), "{closed:?}");
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_stream_makes_nothing_free() {
    let books = Books::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let acts = vec![head("200 OK"), chunk("used 7\n"), chunk("x\n"), Act::Hang];
        let (gateway, _upstream) = books.before(acts).await;
        let mut reply = send(gateway.address, work(10)).await.unwrap();
        reply.expect("x").await;
    });
    // All tasks are dropped where they stand.
    drop(runtime);
    let closed = books.ledger.close(Duration::from_secs(5));
    assert!(closed.is_clean(), "{closed:?}");
    books.charged(7, 7 * TOKEN + REQUEST, 0);
    assert_eq!(books.records()[0].outcome, Outcome::Partial);
}
