//! How a request ends by what happens in the gateway itself.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tollkeeper::Outcome;
use tollkeeper::http::Forwarded;
use tower::{Layer, Service, service_fn};

use crate::kit::{Books, REQUEST, TOKEN, posted, send, until, work};
use crate::server::{Proxy, Server};
use crate::upstream::{Act, Upstream, chunk, head, say};

#[tokio::test]
async fn an_upstream_that_was_never_reached_costs_nothing() {
    let books = Books::new();
    // A port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Server::start(books.toll().build().layer(Proxy::to(nobody))).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(reply.status, 502);
    assert_eq!(reply.text().await.unwrap(), "the proxy's own words\n");
    books.nothing_happened().await;
}

#[tokio::test]
async fn an_answer_in_place_of_the_upstreams_is_uncertain() {
    let books = Books::new();
    let upstream = Upstream::start(vec![Act::Hang]).await;
    let proxy = Proxy::to(upstream.address).within(Duration::from_millis(50));
    let gateway = Server::start(books.toll().build().layer(proxy)).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    assert_eq!(reply.status, 504);
    // It was recorded before it was answered.
    assert_eq!(books.records().len(), 1);
    assert_eq!(reply.text().await.unwrap(), "the proxy's own words\n");
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

/// What a handler answers that does as its request says.
async fn obey(body: String) -> &'static str {
    assert!(!body.contains("999"), "a handler that panics");
    "used 7\ndone\n"
}

async fn axum_gateway(books: &Books) -> std::net::SocketAddr {
    let router = Router::new().route("/work", post(obey)).layer(books.toll().build());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn an_axum_service_is_metered() {
    let books = Books::new();
    let gateway = axum_gateway(&books).await;
    let reply = send(gateway, work(10)).await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "used 7\ndone\n");
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn a_handler_that_panics_may_have_called_its_upstream() {
    let books = Books::new();
    let gateway = axum_gateway(&books).await;
    send(gateway, work(999)).await.err().expect("its connection ends");
    books.ends(Outcome::Uncertain, 999, 999 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn a_panic_before_the_call_costs_nothing() {
    let books = Books::new();
    let gateway = axum_gateway(&books).await;
    send(gateway, posted(r#"{"model":"panic"}"#)).await.err().expect("its connection ends");
    let mut request = work(10);
    request.headers_mut().insert("panic-in-callers", HeaderValue::from_static("yes"));
    send(gateway, request).await.err().expect("its connection ends");
    books.nothing_happened().await;
}

/// A service that panics when it is asked whether it is ready, or fails then.
#[derive(Clone)]
struct NotReady {
    panics: bool,
}

impl Service<Request<Forwarded<Incoming>>> for NotReady {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), &'static str>> {
        assert!(!self.panics, "a service that panics");
        std::task::Poll::Ready(Err("it is not ready"))
    }

    fn call(&mut self, _: Request<Forwarded<Incoming>>) -> Self::Future {
        panic!("it is never called")
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_was_not_called() {
    for panics in [false, true] {
        let books = Books::new();
        let gateway = Server::start(books.toll().build().layer(NotReady { panics })).await;
        send(gateway.address, work(10)).await.err().expect("its connection ends");
        books.nothing_happened().await;
    }
}

#[tokio::test]
async fn a_panic_while_the_answer_is_read_does_not_make_it_free() {
    let whole_and = |last: &str| vec![head("200 OK"), chunk(&format!("used 7\n{last}\n"))];
    for acts in [
        // In the reader, as it reads.
        whole_and("panic"),
        // In the reader, when it is asked, while nothing else panics: the client has gone.
        whole_and("used 666"),
        // When it is made, after the upstream has answered.
        vec![say("HTTP/1.1 200 OK\r\npanic-in-protocol: y\r\ncontent-length: 7\r\n\r\nused 7\n")],
    ] {
        let books = Books::new();
        let (gateway, upstream) = books.before(acts).await;
        let client = tokio::spawn(async move {
            let reply = send(gateway.address, work(10)).await?;
            reply.text().await
        });
        until("the upstream was called", || upstream.requests().len() == 1).await;
        client.await.unwrap().unwrap_err();
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_uncertain_and_handed_on() {
    let books = Books::new();
    let failing = service_fn(|_: Request<Forwarded<Incoming>>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("it failed"))
    });
    let mut service = books.toll().build().layer(failing);
    let server = service_fn(move |request: Request<Incoming>| {
        let answer = service.call(request);
        async move {
            let error = answer.await.err().expect("it is handed on");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(error.to_string())))
        }
    });
    let server = Server::start(server).await;
    let reply = send(server.address, work(10)).await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "it failed");
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}
