//! Taking in a request: whose it is, its body whole, and what it asks for.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;

use super::refusal::Refusal;

/// Reads a body to its end.
///
/// It is refused before anything of it is read where it says itself that it is too large, and
/// otherwise as soon as it is.
pub(super) async fn collect<B: Body<Data = Bytes>>(
    body: B,
    limit: usize,
) -> Result<Bytes, Refusal> {
    let mut body = pin!(body);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        // Trailers are no part of it.
        let Ok(bytes) = frame.map_err(|_| broken())?.into_data() else { continue };
        if bytes.len() > limit - (first.len() + more.len()) {
            return Err(too_large(limit));
        }
        // One that comes in one piece is not copied.
        if first.is_empty() && more.is_empty() {
            first = bytes;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&bytes);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("the request's body is too large; accepted: at most {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

fn broken() -> Refusal {
    let message = "the request's body broke off before its end";
    Refusal::new(StatusCode::BAD_REQUEST, "incomplete_body", message)
}
