//! The public face: who may come in, and what is answered without asking the upstream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serde_json::json;
use tollkeeper::Denied;
use tollkeeper::http::Refusal;
use tower::Service;

use super::callers::{Key, MODEL, key_of};
use super::house::House;
use super::intake::{Room, Stopped, Whole};
use super::news::Denial;

/// A service that lets in those who have a key.
#[derive(Clone)]
pub struct Front<S> {
    pub house: Arc<House>,
    pub toll: S,
    /// For the bodies of requests, and how long each may take.
    pub room: Room,
    pub body: Duration,
}

impl<S, B> Service<Request<Incoming>> for Front<S>
where
    S: Service<Request<Whole<Incoming>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move {
            Ok(match front.answer(request).await {
                Ok(response) => response.map(Either::Right),
                Err(response) => response.map(|body| Either::Left(Full::new(body))),
            })
        })
    }
}

impl<S, B> Front<S>
where
    S: Service<Request<Whole<Incoming>>, Response = Response<B>, Error = Infallible>,
{
    /// The answer from behind, or one of the front's own.
    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<B>, Response<Bytes>> {
        let (mut parts, body) = request.into_parts();
        if (&parts.method, parts.uri.path()) == (&Method::GET, "/health") {
            return Err(Response::new(Bytes::from_static(b"ok\n")));
        }
        let key = key_of(&self.house, &parts).map_err(|refusal| {
            // What is sent on is not read.
            closing(refusal.into_response())
        })?;
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/v1/models") => return Err(self.models()),
            (&Method::POST, _) => {}
            // What others have stored at the upstream is theirs.
            (method, path) => {
                let message = format!("there is no {method} {path} here");
                let refusal = Refusal::new(StatusCode::NOT_FOUND, "not_found", message);
                return Err(closing(refusal.into_response()));
            }
        }
        parts.extensions.insert(key.clone());
        let (body, share) = self.room.body(body, self.body);
        let model = Arc::new(OnceLock::new());
        let call = self.toll.call(Request::from_parts(parts, body));
        let answered: Result<_, Infallible> = MODEL.scope(Arc::clone(&model), call).await;
        let Ok(response) = answered;
        if let Some(stopped) = share.stopped() {
            return Err(closing(not_read(stopped)));
        }
        if let Some(denied) = response.extensions().get::<Denied>() {
            let model = model.get().filter(|model| !model.is_empty()).cloned();
            self.house.news.denied(told(denied, &key, model, response.status()));
        }
        Ok(response)
    }

    fn models(&self) -> Response<Bytes> {
        let rules = self.house.rules();
        let models = rules.models.keys();
        let models = models.map(|id| json!({ "id": id, "object": "model", "owned_by": "gateway" }));
        let list = json!({ "object": "list", "data": models.collect::<Vec<_>>() });
        let mut response = Response::new(Bytes::from(list.to_string()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// The answer to one whose body was not read to the end.
fn not_read(stopped: Stopped) -> Response<Bytes> {
    let refusal = match stopped {
        Stopped::TooSlow => {
            let message = "the body of the request took too long";
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
        }
        Stopped::NoRoom => {
            let message = "the gateway has no room for another request at the moment";
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
            let mut refusal = refusal.kind("server_error");
            refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            refusal
        }
    };
    refusal.into_response()
}

fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn told(denied: &Denied, key: &Key, model: Option<String>, status: StatusCode) -> Denial {
    let binding = denied.first();
    Denial {
        at: denied.at().to_string(),
        key: key.0.to_string(),
        model,
        status: status.as_u16(),
        limit: binding.map(|binding| binding.limit.to_string()),
        dimension: binding.map(|binding| super::admin::dimension_name(binding.dimension)),
        message: denied.to_string(),
    }
}
