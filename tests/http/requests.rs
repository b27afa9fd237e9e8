//! Requests that go no further, and those that cost nothing.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollkeeper::{Ledger, MemoryLedger, PriceTable};
use tower::Layer;

use crate::kit::{Books, TOKEN, engine, posted, send, until, work};
use crate::server::{Proxy, Server};
use crate::upstream::{Act, Upstream, whole};

/// What a request is answered that does not reach the upstream.
async fn refused(books: &Books, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let (gateway, upstream) = books.before(vec![Act::Hang]).await;
    let reply = send(gateway.address, request).await.unwrap();
    let answer = (reply.status, reply.text().await.unwrap());
    assert_eq!(upstream.requests().len(), 0);
    books.nothing_happened().await;
    answer
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_costs_nothing() {
    let long = format!(r#"{{"model":"{}","tokens":1}}"#, "m".repeat(257));
    for (body, status, says) in [
        ("{", 400, "EOF"),
        ("", 400, "EOF"),
        (r#"{"model":"m1"}"#, 400, "max_tokens"),
        (r#"{"model":"m2","tokens":1}"#, 404, "m2"),
        (r#"{"tokens":1}"#, 400, "no model"),
        (r#"{"model":"a\u0000b","tokens":1}"#, 400, "control characters"),
        (&long, 400, "256"),
        (r#"{"model":"m1","tokens":18446744073709551615}"#, 400, "counted"),
    ] {
        let (answer, text) = refused(&Books::new(), posted(body)).await;
        assert_eq!(answer.as_u16(), status, "{body}: {text}");
        assert!(text.contains(says), "{body}: {text}");
    }
}

#[tokio::test]
async fn who_may_not_is_told_before_the_body_is_read() {
    let mut request = posted("{");
    request.headers_mut().remove("authorization");
    assert_eq!(refused(&Books::new(), request).await.0, StatusCode::UNAUTHORIZED);
    let mut request = posted("{");
    *request.uri_mut() = "/other".parse().unwrap();
    assert_eq!(refused(&Books::new(), request).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_is_over_a_limit_is_denied() {
    let books = Books::with(engine(10 * TOKEN));
    let (status, text) = refused(&books, work(10)).await;
    assert!([402, 429].contains(&status.as_u16()), "{status}");
    assert!(!text.is_empty());
    // The mapping is the operator's.
    let toll = books.toll().status_of(|_| StatusCode::IM_A_TEAPOT).build();
    let upstream = Upstream::start(vec![Act::Hang]).await;
    let gateway = Server::start(toll.layer(Proxy::to(upstream.address))).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(reply.status, StatusCode::IM_A_TEAPOT);
    books.nothing_happened().await;
}

#[tokio::test]
async fn without_prices_money_is_not_counted() {
    let books = Books::new();
    books.engine.set_prices(PriceTable::new());
    let (gateway, _upstream) = books.before(vec![whole("200 OK", "used 7\ndone\n")]).await;
    send(gateway.address, work(10)).await.unwrap().text().await.unwrap();
    books.ends(tollkeeper::Outcome::Completed, 7, 0, 1).await;
}

#[tokio::test]
async fn what_is_settled_has_the_price_that_was_held() {
    let books = Books::new();
    let (gateway, upstream) =
        books.before(vec![Act::Wait, whole("200 OK", "used 7\ndone\n")]).await;
    let client = tokio::spawn(send(gateway.address, work(10)));
    until("the upstream was called", || upstream.requests().len() == 1).await;
    books.engine.set_prices(PriceTable::new());
    upstream.go_on(1);
    client.await.unwrap().unwrap().text().await.unwrap();
    books.ends(tollkeeper::Outcome::Completed, 7, 7 * TOKEN + crate::kit::REQUEST, 1).await;
}

#[tokio::test]
async fn what_is_free_goes_through_untouched() {
    let books = Books::new();
    let (gateway, upstream) = books.before(vec![whole("200 OK", "used 7\n")]).await;
    let mut request = work(10);
    *request.method_mut() = Method::GET;
    let reply = send(gateway.address, request).await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "used 7\n");
    assert!(upstream.requests()[0].contains("accept-encoding: gzip"));
    books.nothing_happened().await;
}

/// A gateway that takes a hundred bytes.
async fn narrow(books: &Books) -> (Server, Upstream) {
    let upstream = Upstream::start(vec![whole("200 OK", "used 7\ndone\n")]).await;
    let toll = books.toll().body_limit(100).build();
    (Server::start(toll.layer(Proxy::to(upstream.address))).await, upstream)
}

/// A request of this text, and what it is answered until the connection ends.
async fn raw(gateway: &Server, text: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer));
    let count = read.await.expect("it is answered").unwrap();
    String::from_utf8(answer[..count].to_vec()).unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_as_soon_as_it_is() {
    let books = Books::new();
    let (gateway, upstream) = narrow(&books).await;
    let head = "POST /work HTTP/1.1\r\nhost: g\r\nauthorization: k\r\n";
    // By what it says of itself, before any of it has come.
    let announced = raw(&gateway, &format!("{head}content-length: 101\r\n\r\n")).await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    // By what has come of it, though it is not over.
    let chunks = "33\r\n".to_owned() + &" ".repeat(0x33) + "\r\n";
    let text = format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}{chunks}");
    let come = raw(&gateway, &text).await;
    assert!(come.starts_with("HTTP/1.1 413"), "{come}");
    assert_eq!(upstream.requests().len(), 0);
    books.nothing_happened().await;

    // One of a hundred bytes is taken, in however many pieces.
    let body = format!("{:<100}", r#"{"model":"m1","tokens":10}"#);
    let pieces: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let text = format!("{head}transfer-encoding: chunked\r\n\r\n{pieces}0\r\n\r\n");
    let taken = raw(&gateway, &text).await;
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    assert!(upstream.requests()[0].ends_with(&format!("\r\n\r\n{body}")));
    books.quiet(1).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let books = Books::new();
    let (gateway, upstream) = narrow(&books).await;
    let head = "POST /work HTTP/1.1\r\nhost: g\r\nauthorization: k\r\n";
    // What has come of it is a request by itself.
    let come = r#"{"model":"m1","tokens":10}"#;
    let come = format!("{:x}\r\n{come}\r\n", come.len());
    let text = format!("{head}transfer-encoding: chunked\r\n\r\n{come}not a length\r\n");
    let answer = raw(&gateway, &text).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(upstream.requests().len(), 0);
    books.nothing_happened().await;
}

#[tokio::test]
async fn a_ledger_that_takes_no_more_is_no_upstreams_fault() {
    let engine = engine(1_000_000_000);
    let ledger = Ledger::builder(&engine).outbox(1).start(MemoryLedger::default()).unwrap();
    let books = Books { engine, ledger };
    let (gateway, upstream) = books.before(vec![Act::Wait, whole("200 OK", "used 7\n")]).await;
    let first = tokio::spawn(send(gateway.address, work(10)));
    until("the upstream was called", || upstream.requests().len() == 1).await;
    let full = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(full.status, 503);
    assert_eq!(full.headers["retry-after"], HeaderValue::from_static("1"));
    upstream.go_on(1);
    first.await.unwrap().unwrap().text().await.unwrap();
    books.quiet(1).await;
    assert!(books.ledger.close(Duration::from_secs(5)).is_clean());
    let closed = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(closed.status, 503);
    assert_eq!(upstream.requests().len(), 1);
}
