//! Bodies that handlers make themselves: they do not say when they end, nor how long they are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use tollkeeper::Outcome;
use tollkeeper::http::Forwarded;
use tower::{Layer, service_fn};

use crate::kit::{Books, REQUEST, TOKEN, send, work};
use crate::server::Server;

/// These pieces, and then its end, or a panic.
#[derive(Clone)]
struct Pieces {
    pieces: VecDeque<&'static str>,
    panics: bool,
    /// Whether it says so when it has no more.
    says_end: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.pop_front();
        assert!(next.is_some() || !self.panics, "a body that panics");
        Poll::Ready(next.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.says_end && self.pieces.is_empty()
    }
}

/// A gateway whose handler answers this, whatever it is asked.
async fn answering(books: &Books, status: u16, length: Option<usize>, body: Pieces) -> SocketAddr {
    let handler = service_fn(move |_: Request<Forwarded<Incoming>>| {
        let mut answer = Response::new(body.clone());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(length) = length {
            answer.headers_mut().insert("content-length", length.into());
        }
        async move { Ok::<_, Infallible>(answer) }
    });
    Server::start(books.toll().build().layer(handler)).await.address
}

fn pieces(pieces: &[&'static str]) -> Pieces {
    Pieces { pieces: pieces.iter().copied().collect(), panics: false, says_end: false }
}

#[tokio::test]
async fn all_that_was_announced_is_the_end() {
    let books = Books::new();
    // A server does not ask for more than the length that it has sent.
    let gateway = answering(&books, 200, Some(9), pieces(&["x\n", "used 7\n"])).await;
    let reply = send(gateway, work(10)).await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "x\nused 7\n");
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn less_than_was_announced_is_not_whole() {
    for says_end in [false, true] {
        let books = Books::new();
        let body = Pieces { says_end, ..pieces(&["x\n", "used 7\n"]) };
        let gateway = answering(&books, 200, Some(10), body).await;
        send(gateway, work(10)).await.unwrap().text().await.unwrap_err();
        books.ends(Outcome::Partial, 7, 7 * TOKEN + REQUEST, 0).await;
    }
}

#[tokio::test]
async fn nothing_of_what_was_announced_is_a_bad_gateway() {
    let books = Books::new();
    let gateway = answering(&books, 200, Some(10), pieces(&[])).await;
    let reply = send(gateway, work(10)).await.unwrap();
    assert_eq!(reply.status, 502);
    assert!(reply.text().await.unwrap().contains("upstream_broke_off"));
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

/// A server polls no body of an answer that may not have one: it ends here.
#[tokio::test]
async fn a_body_that_is_not_sent_is_not_waited_for() {
    for (method, status) in [(Method::HEAD, 500), (Method::POST, 304)] {
        let books = Books::new();
        let gateway = answering(&books, status, None, pieces(&["x\n"])).await;
        let mut request: Request<Full<Bytes>> = work(0);
        *request.method_mut() = method;
        let reply = send(gateway, request).await.unwrap();
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(books.records().len(), 1);
        books.ends(Outcome::Unbilled, 0, 0, 0).await;
    }
}

/// The reader panics when it is asked, while the panic of the body passes: neither ends the
/// process, and the request is charged.
#[tokio::test]
async fn a_panic_on_a_panic_does_not_make_it_free() {
    let books = Books::new();
    let body = Pieces { panics: true, ..pieces(&["used 666\n"]) };
    let gateway = answering(&books, 200, None, body).await;
    let reply = async { send(gateway, work(10)).await?.text().await };
    reply.await.unwrap_err();
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}
