//! The built-in upstream: a server of the OpenAI API that needs no model.
//!
//! It answers with what it was asked and something about tolls. Its tokens are pieces of four
//! characters: what it says is cut into them, and what it says to have used is their number. How
//! it answers is its caller's to choose, by the query:
//!
//! | | |
//! |---|---|
//! | `latency_ms=N` | it waits before it answers |
//! | `piece_ms=N` | it waits before each piece of a stream |
//! | `fault=500` | it answers 500 and says nothing of usage; any other status from 400 on as well |
//! | `fault=billed` | it answers 500 and says what it has used |
//! | `fault=reset` | it closes the connection before it answers |
//! | `fault=cut` | it breaks off in the middle of its answer |
//! | `fault=hang` | it never answers |
//! | `fault=no-usage` | it answers, and says nothing of usage |

mod chat;
mod embeddings;
mod knobs;
mod responses;
mod sending;
mod words;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;

pub use knobs::Knobs;

use super::keys::{Hash, bearer};

/// The largest body it reads.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Serves it on a loopback port until the task ends, to those who know the key.
pub async fn start(key: &str, knobs: Knobs) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service = TowerToHyperService::new(tower::ServiceBuilder::new().service_fn({
        let router = router(Hash::of(key.as_bytes()), knobs);
        move |request: http::Request<hyper::body::Incoming>| {
            let router = router.clone();
            async move { answer(router, request).await }
        }
    }));
    tokio::spawn(async move {
        loop {
            // A connection that cannot be taken is its client's trouble.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });
    Ok(address)
}

fn router(key: Hash, knobs: Knobs) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/responses", post(responses::answer))
        .route("/v1/embeddings", post(embeddings::answer))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is no such path") })
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::new(key), only_with_key))
        .layer(from_fn_with_state(knobs, knobs::turn))
}

/// An answer, or none where the connection is to break.
async fn answer(
    router: Router,
    request: http::Request<hyper::body::Incoming>,
) -> io::Result<Response> {
    use tower::ServiceExt;

    let answered: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    let Ok(response) = answered;
    match response.extensions().get::<knobs::Reset>() {
        Some(knobs::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        None => Ok(response),
    }
}

async fn only_with_key(State(key): State<Arc<Hash>>, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some_and(|sent| Hash::of(sent) == *key) {
        return next.run(request).await;
    }
    error(StatusCode::UNAUTHORIZED, "this is not the upstream's key")
}

/// An error in the shape that clients of the API read.
fn error(status: StatusCode, message: &str) -> Response {
    let error =
        json!({ "message": message, "type": "upstream_error", "param": null, "code": null });
    (status, axum::Json(json!({ "error": error }))).into_response()
}
