//! The service around a service, and the way of a request to it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::AnswerBody;
use super::caller::Caller;
use super::forwarded::Forwarded;
use super::intake::collect;
use super::layer::Booth;
use super::passage::Passage;
use super::protocol::{Asked, Class};
use super::refusal::Refusal;
use super::relay::BoxError;
use super::report::{Report, refuse};
use crate::sync::Arc;

/// A service behind the [layer](super::Toll).
///
/// It is always ready. The service inside is asked whether it is when a request is admitted: a
/// client that sends slowly takes none of its places.
#[derive(Clone)]
pub struct TollService<S> {
    booth: Arc<Booth>,
    inner: S,
}

impl<S> TollService<S> {
    pub(super) fn new(booth: Arc<Booth>, inner: S) -> Self {
        Self { booth, inner }
    }
}

impl<S, B, R> Service<Request<B>> for TollService<S>
where
    S: Service<Request<Forwarded<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(serve(Arc::clone(&self.booth), self.inner.clone(), request))
    }
}

async fn serve<S, B, R>(
    booth: Arc<Booth>,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<AnswerBody<R>>, S::Error>
where
    S: Service<Request<Forwarded<B>>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    match booth.protocol.class(&parts) {
        Class::Free => {
            let request = Request::from_parts(parts, Forwarded::untouched(body));
            poll_fn(|context| inner.poll_ready(context)).await?;
            let response = inner.call(request).await?;
            Ok(response.map(|body| AnswerBody::untouched(body, None)))
        }
        Class::Refused(refusal) => Ok(refuse(&mut Report::begin(), refusal)),
        Class::Metered => {
            let mut report = Report::begin();
            match take_in(&booth, &parts, body).await {
                Err(refusal) => Ok(refuse(&mut report, refusal)),
                Ok((received, asked, caller)) => {
                    report.operation = asked.operation;
                    let passage = Passage { booth, parts, received, asked, caller, report };
                    Box::new(passage).serve(inner).await
                }
            }
        }
    }
}

/// The body of a request, what it asks for, and for whom, if it is one that may be admitted.
async fn take_in<B: Body<Data = Bytes>>(
    booth: &Booth,
    parts: &Parts,
    body: B,
) -> Result<(Bytes, Asked, Caller), Refusal> {
    let caller = booth.callers.caller(parts)?;
    let received = collect(body, booth.body_limit).await?;
    let asked = booth.protocol.read(parts, received.clone())?;
    let caller = booth.callers.asks(caller, &asked)?;
    Ok((received, asked, caller))
}
