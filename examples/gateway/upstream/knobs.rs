//! How the built-in upstream answers.

use std::future;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::error;

const ACCEPTED: &str = "accepted: a status from 400 to 599, billed, reset, cut, hang, no-usage";

/// What is asked of it. A query goes before what it was started with.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Knobs {
    pub latency_ms: Option<u64>,
    pub piece_ms: Option<u64>,
    pub fault: Option<String>,
}

/// In a response's extensions: the connection breaks instead.
#[derive(Clone, Copy)]
pub struct Reset;

/// What a handler is left to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub piece: Duration,
    pub billed: bool,
    pub cut: bool,
    pub without_usage: bool,
}

pub async fn turn(
    State(started): State<Knobs>,
    asked: Result<Query<Knobs>, axum::extract::rejection::QueryRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let Query(asked) = match asked {
        Ok(asked) => asked,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let latency = asked.latency_ms.or(started.latency_ms).unwrap_or_default();
    let piece = asked.piece_ms.or(started.piece_ms).unwrap_or_default();
    let mut manner = Manner { piece: Duration::from_millis(piece), ..Manner::default() };
    tokio::time::sleep(Duration::from_millis(latency)).await;
    match asked.fault.or(started.fault).as_deref() {
        None => {}
        Some("billed") => manner.billed = true,
        Some("cut") => manner.cut = true,
        Some("no-usage") => manner.without_usage = true,
        Some("hang") => future::pending::<()>().await,
        Some("reset") => {
            let mut response = StatusCode::BAD_GATEWAY.into_response();
            response.extensions_mut().insert(Reset);
            return response;
        }
        Some(fault) => {
            let status = fault.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            return match status.filter(|s| s.is_client_error() || s.is_server_error()) {
                Some(status) => error(status, "the upstream was asked to fail"),
                None => error(StatusCode::BAD_REQUEST, ACCEPTED),
            };
        }
    }
    request.extensions_mut().insert(manner);
    next.run(request).await
}
