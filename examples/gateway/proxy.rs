//! The way to the upstream and back.
//!
//! Nothing of the client's credentials goes there, and nothing of the gateway's comes back: fields
//! of one connection and credentials are taken off, an answer that is about the gateway's key is
//! replaced, and any other error is searched for it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tollkeeper::http::{Refusal, Upstream};
use tower::Service;

use super::config::UpstreamPart;
use super::slow::Idle;
use super::tls::{self, Broken, Connector, TrustError};

/// An error of the upstream is read whole, up to so many bytes.
const ERROR_BYTES_MAX: usize = 256 << 10;

/// What belongs to one connection.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a client may not say to the upstream: who it is there, and whose account it is.
const NOT_FORWARDED: [HeaderName; 10] = [
    header::HOST,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::EXPECT,
    // What is compressed cannot be read on its way.
    header::ACCEPT_ENCODING,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// What comes back.
pub type Answer = Either<Full<Bytes>, Idle<Incoming>>;

/// A way to one upstream. Clones share its connections.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client<Connector, UnsyncBoxBody<Bytes, Broken>>,
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    /// `Bearer …`
    credential: Option<HeaderValue>,
    answer: Duration,
    idle: Duration,
}

/// Why there is no way to an upstream. It does not say the address: that may have a password.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error(
        "the upstream's address is malformed; accepted: https://HOST or http://HOST:PORT, with a \
         path if it has one"
    )]
    Address,
    #[error(
        "the upstream's address has a user or a query; accepted: the key in an environment variable"
    )]
    Credentials,
    #[error("the upstream's key has a character that no header field carries")]
    Key,
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Proxy {
    /// A way to this address, with this key.
    pub fn new(url: &str, key: Option<&str>, part: &UpstreamPart) -> Result<Proxy, UpstreamError> {
        let uri: Uri = url.parse().map_err(|_| UpstreamError::Address)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(UpstreamError::Address);
        };
        let tls = *scheme == Scheme::HTTPS;
        if !tls && *scheme != Scheme::HTTP {
            return Err(UpstreamError::Address);
        }
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(UpstreamError::Credentials);
        }
        let credential = key.map(|key| HeaderValue::try_from(format!("Bearer {key}")));
        let mut credential = credential.transpose().map_err(|_| UpstreamError::Key)?;
        credential.iter_mut().for_each(|credential| credential.set_sensitive(true));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(tls::connector(part, tls)?);
        let shared = Shared {
            client,
            scheme: scheme.clone(),
            authority: authority.clone(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            credential,
            answer: Duration::from_secs(part.answer_seconds),
            idle: Duration::from_secs(part.idle_seconds),
        };
        Ok(Proxy { shared: Arc::new(shared) })
    }
}

impl<B> Service<Request<B>> for Proxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Broken>,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let request = shared.outward(request);
        Box::pin(async move { Ok(shared.forward(request).await) })
    }
}

impl Shared {
    /// The request as the upstream gets it.
    fn outward<B>(&self, request: Request<B>) -> Request<UnsyncBoxBody<Bytes, Broken>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Broken>,
    {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix));
        // Of a path that was one and a prefix that was one.
        parts.uri = uri.build().unwrap_or_default();
        parts.version = http::Version::HTTP_11;
        parts.extensions.clear();
        remove_hop_by_hop(&mut parts.headers);
        // The body is another one, perhaps; its length is told by itself.
        parts.headers.remove(header::CONTENT_LENGTH);
        NOT_FORWARDED.iter().for_each(|name| drop(parts.headers.remove(name)));
        if let Some(credential) = &self.credential {
            parts.headers.insert(header::AUTHORIZATION, credential.clone());
        }
        Request::from_parts(parts, body.map_err(Into::into).boxed_unsync())
    }

    async fn forward(&self, request: Request<UnsyncBoxBody<Bytes, Broken>>) -> Response<Answer> {
        match tokio::time::timeout(self.answer, self.client.request(request)).await {
            Ok(Ok(response)) => self.inward(response).await,
            Ok(Err(error)) if error.is_connect() => unreached(&error),
            Ok(Err(_)) => {
                tracing::warn!("the upstream broke off before it answered");
                let message = "the upstream broke off before it answered";
                own(StatusCode::BAD_GATEWAY, "upstream_broke_off", message, Upstream::Unknown)
            }
            Err(_) => {
                tracing::warn!("the upstream did not answer in time");
                let message = "the upstream did not answer in time";
                own(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message, Upstream::Unknown)
            }
        }
    }

    /// The answer as the client gets it.
    async fn inward(&self, response: Response<Incoming>) -> Response<Answer> {
        let (mut parts, body) = response.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        parts.headers.remove(header::SET_COOKIE);
        parts.headers.retain_all(|value| !self.shows(value.as_bytes()));
        let status = parts.status;
        let about_key = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        if about_key.contains(&status) || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            tracing::error!(%status, "the upstream refuses the gateway's key");
            let message = "the upstream does not serve the gateway at present";
            return refusal(StatusCode::BAD_GATEWAY, "upstream_refused", message);
        }
        if status.is_success() {
            return Response::from_parts(parts, Either::Right(Idle::new(body, self.idle)));
        }
        let body = Limited::new(Idle::new(body, self.idle), ERROR_BYTES_MAX);
        match body.collect().await {
            Ok(body) => {
                let body = self.without_credential(body.to_bytes());
                parts.headers.remove(header::CONTENT_LENGTH);
                Response::from_parts(parts, Either::Left(Full::new(body)))
            }
            Err(_) => {
                let message = "the upstream broke off within an error";
                own(StatusCode::BAD_GATEWAY, "upstream_broke_off", message, Upstream::Unknown)
            }
        }
    }

    fn secret(&self) -> Option<&[u8]> {
        let secret = self.credential.as_ref()?.as_bytes().strip_prefix(b"Bearer ")?;
        Some(secret).filter(|secret| !secret.is_empty())
    }

    fn shows(&self, text: &[u8]) -> bool {
        let within = |secret: &[u8]| text.windows(secret.len()).any(|part| part == secret);
        self.secret().is_some_and(within)
    }

    fn without_credential(&self, mut text: Bytes) -> Bytes {
        let Some(secret) = self.secret() else { return text };
        let mut clean = Vec::new();
        while let Some(at) = text.windows(secret.len()).position(|part| part == secret) {
            clean.extend_from_slice(&text.split_to(at));
            clean.extend_from_slice(b"***");
            drop(text.split_to(secret.len()));
        }
        if clean.is_empty() {
            return text;
        }
        clean.extend_from_slice(&text);
        clean.into()
    }
}

/// The answer where there was no connection. Why is for the log: it tells of the upstream.
fn unreached(error: &legacy::Error) -> Response<Answer> {
    let (code, message) = match tls::fault(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            tracing::error!("the upstream's certificate is not accepted: {why}");
            let message = "the upstream does not prove who it is; nothing was sent or charged";
            ("upstream_untrusted", message)
        }
        fault => {
            let why = fault.map(tracing::field::display);
            tracing::warn!(why, "the upstream cannot be reached");
            let message = "the upstream cannot be reached; nothing was sent or charged";
            ("upstream_unreachable", message)
        }
    };
    own(StatusCode::BAD_GATEWAY, code, message, Upstream::Unreached)
}

/// An answer of the gateway in place of the upstream's.
fn own(status: StatusCode, code: &'static str, message: &str, what: Upstream) -> Response<Answer> {
    let mut response = refusal(status, code, message);
    response.extensions_mut().insert(what);
    response
}

fn refusal(status: StatusCode, code: &'static str, message: &str) -> Response<Answer> {
    let refusal = Refusal::new(status, code, message).kind("upstream_error");
    refusal.into_response().map(|body| Either::Left(Full::new(body)))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().chain(&HOP_BY_HOP).for_each(|name| drop(headers.remove(name)));
}

/// Keeps some of the values.
trait RetainAll {
    fn retain_all(&mut self, keep: impl Fn(&HeaderValue) -> bool);
}

impl RetainAll for HeaderMap {
    fn retain_all(&mut self, keep: impl Fn(&HeaderValue) -> bool) {
        if self.values().all(&keep) {
            return;
        }
        let mut kept = HeaderMap::new();
        for (name, value) in self.iter().filter(|(_, value)| keep(value)) {
            kept.append(name.clone(), value.clone());
        }
        *self = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_connection_is_taken_off_and_what_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("keep-alive", "timeout=5"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-three"]);
    }

    #[test]
    fn addresses_that_cannot_be_or_have_a_password_are_refused_without_being_repeated() {
        let part = UpstreamPart {
            url: None,
            ca_file: None,
            key_env: None,
            owner: None,
            connect_seconds: 1,
            answer_seconds: 1,
            idle_seconds: 1,
        };
        for url in ["", "127.0.0.1:80", "ftp://a", "https://u:secret@a", "http://a?key=secret"] {
            let Err(error) = Proxy::new(url, None, &part) else { panic!("{url} is accepted") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(Proxy::new("http://a:1/prefix/", Some("k"), &part).is_ok());
    }
}
