//! The way of one metered request: admission, the call, the meter.

use std::future::poll_fn;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, response};
use http_body::Body;
use tower_service::Service;

use super::body::AnswerBody;
use super::caller::Caller;
use super::detached::detached;
use super::fare::{Fare, Verdict};
use super::forwarded::Forwarded;
use super::key_field;
use super::keyed::{Keyed, once};
use super::layer::Booth;
use super::meter::{End, Meter};
use super::protocol::Asked;
use super::quota;
use super::refusal::Refusal;
use super::relay::BoxError;
use super::report::{Report, refuse};
use super::upstream::Upstream;
use crate::engine::Route;
use crate::ledger::RecordId;
use crate::sync::Arc;

/// A metered request that has been read, on its way to the service inside.
pub(super) struct Passage {
    pub(super) booth: Arc<Booth>,
    pub(super) parts: Parts,
    /// The body as it was received.
    pub(super) received: Bytes,
    pub(super) asked: Asked,
    pub(super) caller: Caller,
    pub(super) report: Report,
}

impl Passage {
    /// Executes it, once for its idempotency key if it has one.
    pub(super) async fn serve<S, B, R>(
        mut self: Box<Self>,
        inner: S,
    ) -> Result<Response<AnswerBody<R>>, S::Error>
    where
        S: Service<Request<Forwarded<B>>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let Some((keys, wait)) = self.booth.keys.clone() else { return self.go(inner, None).await };
        match Keyed::of(&self.parts, &self.received, &self.caller, self.asked.operation) {
            Ok(None) => self.go(inner, None).await,
            Ok(Some(key)) => {
                self.report.suspend();
                // What most requests do not need takes no room in the future of all.
                Box::pin(once(&keys, wait, key, |id| self.go(inner, Some(id)))).await
            }
            Err(refusal) => Ok(refuse(&mut self.report, refusal)),
        }
    }

    /// Admits it and calls the service inside. The record has this id, or a new one.
    async fn go<S, B, R>(
        mut self: Box<Self>,
        mut inner: S,
        id: Option<RecordId>,
    ) -> Result<Response<AnswerBody<R>>, S::Error>
    where
        S: Service<Request<Forwarded<B>>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        // Nobody asks for it again.
        self.received = Bytes::new();
        self.report.resume();
        let (fare, route) = match self.admit(id).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(refuse(&mut self.report, refusal)),
        };
        let request = self.request(id);
        poll_fn(|context| inner.poll_ready(context)).await?;
        // Of what is not estimated hardly anything is held. A client that took all but the end of
        // its answer would have it for that. With a key it is in a task of its own already.
        let spawn = (id.is_none() && self.asked.tokens.is_none()).then(|| self.booth.spawn.clone());
        match spawn {
            None => self.call(inner, request, fare, route).await,
            Some(spawn) => {
                let called = self.call(inner, request, fare, route);
                Box::pin(detached(&spawn, called)).await
            }
        }
    }

    /// Calls the service inside, which is ready, and meters what it answers.
    async fn call<S, B, R>(
        self: Box<Self>,
        mut inner: S,
        request: Request<Forwarded<B>>,
        mut fare: Box<Fare>,
        route: Route,
    ) -> Result<Response<AnswerBody<R>>, S::Error>
    where
        S: Service<Request<Forwarded<B>>, Response = Response<R>>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        fare.dispatch();
        let (mut parts, body) = inner.call(request).await?.into_parts();
        quota::tell(&mut parts, &self.booth, &route, &self.caller);
        let meter = match parts.extensions.remove::<Upstream>() {
            Some(Upstream::Unreached) => {
                drop(fare.end(Verdict::Unreached));
                let body = AnswerBody::untouched(body, Some(End::Unbilled));
                return Ok(Response::from_parts(parts, body));
            }
            Some(Upstream::Unknown) => Meter::unknown(fare, parts.status, self.booth.at_once),
            None => self.meter(fare, &parts, &body),
        };
        Ok(match AnswerBody::metered(body, meter).begun(self.asked.operation).await {
            Ok(body) => Response::from_parts(parts, body),
            // Nothing has gone out yet: the client is told, in place of a connection that closes.
            Err(end) => {
                let (mut parts, bytes) = upstream_broke_off().into_response().into_parts();
                quota::tell(&mut parts, &self.booth, &route, &self.caller);
                Response::from_parts(parts, AnswerBody::in_place(bytes, end))
            }
        })
    }

    /// What goes to the service inside. An answer that is compressed could not be read, so none is
    /// asked for. A key that is honoured here goes on as the id of the record: another caller's is
    /// another one there too, and each try's the same.
    fn request<B>(&mut self, id: Option<RecordId>) -> Request<Forwarded<B>> {
        let body = self.asked.body.clone();
        let mut request = Request::new(Forwarded::whole(body.clone()));
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = std::mem::take(&mut self.parts.uri);
        *request.version_mut() = self.parts.version;
        *request.headers_mut() = std::mem::take(&mut self.parts.headers);
        *request.extensions_mut() = std::mem::take(&mut self.parts.extensions);
        let headers = request.headers_mut();
        for name in [ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        if let Some(key) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
            headers.insert(key_field::NAME, key);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        request
    }

    /// The meter of a response of the upstream.
    fn meter<R: Body>(&self, fare: Box<Fare>, parts: &response::Parts, body: &R) -> Meter {
        let readable = is_plain(&parts.headers);
        let reader = readable.then(|| self.booth.protocol.usage_of(&self.asked, parts));
        let announced = || parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = body.size_hint().exact().or_else(announced);
        let mut meter = Meter::new(fare, reader, parts.status, left, self.booth.at_once);
        let bodiless = self.parts.method == Method::HEAD
            || parts.status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parts.status);
        if bodiless || body.is_end_stream() || left == Some(0) {
            meter.ended();
        }
        meter
    }
}

/// The answer in place of one of which only the head has come.
fn upstream_broke_off() -> Refusal {
    let message = "the upstream's answer broke off before any of it had come; what it may have \
                   used is charged";
    Refusal::new(StatusCode::BAD_GATEWAY, "upstream_broke_off", message).kind("api_error")
}

/// Whether a body can be read as it is.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
