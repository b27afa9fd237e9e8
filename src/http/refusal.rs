//! Answers of the gateway itself, to requests that go no further.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::engine::Denied;

/// Read by OpenAI's own clients, which otherwise ask again after any 409, 429 or 5xx.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An answer of the gateway itself: a status, fields, and an error in the shape that
/// OpenAI-compatible clients read.
///
/// ```
/// use http::StatusCode;
/// use tollkeeper::http::Refusal;
///
/// let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "no such key");
/// let response = refusal.into_response();
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(response.headers()["content-type"], "application/json");
/// assert_eq!(response.headers()["cache-control"], "no-store");
/// assert_eq!(
///     response.body(),
///     concat!(
///         r#"{"error":{"message":"no such key","type":"invalid_request_error","#,
///         r#""param":null,"code":"invalid_api_key"}}"#,
///     ),
/// );
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) kind: Cow<'static, str>,
    pub(super) param: Option<Cow<'static, str>>,
    pub(super) message: String,
    /// Boxed: a `Result` with one is handed from function to function.
    pub(super) headers: Box<HeaderMap>,
    denied: Option<Box<Denied>>,
}

/// What clients read.
#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

impl Refusal {
    /// An answer with this status, machine-readable code, and sentence for people.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            kind: Cow::Borrowed("invalid_request_error"),
            param: None,
            message: message.into(),
            headers: Box::default(),
            denied: None,
        }
    }

    /// The error's `type`; `invalid_request_error` unless given.
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The part of the request that is wrong.
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// One that is worth another try after so many seconds.
    pub(super) fn again_in(mut self, seconds: u64) -> Self {
        self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        self
    }

    /// One that will be answered the same, however often it is sent.
    pub(super) fn for_good(mut self) -> Self {
        self.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        self
    }

    /// The denial that it tells, for the service around the layer.
    pub(super) fn denied(mut self, denied: &Denied) -> Self {
        self.denied = Some(Box::new(denied.clone()));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Further fields of the answer. `content-type` and `cache-control` are what they are: JSON,
    /// and nobody keeps it.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The answer as it goes out. The message may be any text. Of a request that limits denied, the
    /// [`Denied`] is in the extensions: what clients are not told, for the gateway's own log.
    pub fn into_response(self) -> Response<Bytes> {
        let (message, r#type, code) = (&*self.message, &*self.kind, &*self.code);
        let error = Error { message, r#type, param: self.param.as_deref(), code };
        let body = serde_json::to_vec(&Body { error }).expect("texts are always JSON");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(denied) = self.denied {
            response.extensions_mut().insert(*denied);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        /// Whatever the texts, the body is the error's JSON and says exactly them.
        #[test]
        fn any_text_goes_out_as_it_is(
            message in any::<String>(),
            code in any::<String>(),
            kind in any::<String>(),
            param in any::<Option<String>>(),
        ) {
            let mut refusal = Refusal::new(StatusCode::BAD_REQUEST, code.clone(), &*message);
            refusal = refusal.kind(kind.clone());
            if let Some(param) = param.clone() {
                refusal = refusal.param(param);
            }
            let body: Value = serde_json::from_slice(refusal.into_response().body())?;
            let error = json!({ "message": message, "type": kind, "param": param, "code": code });
            prop_assert_eq!(body, json!({ "error": error }));
        }
    }

    #[test]
    fn fields_are_kept_but_for_what_the_body_is() {
        let mut refusal = Refusal::new(StatusCode::CONFLICT, "c", "\u{0}\"\\\u{2028}</script>");
        for (name, value) in [("retry-after", "1"), ("content-type", "text/html")] {
            refusal.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        refusal.headers_mut().insert("cache-control", HeaderValue::from_static("public"));
        let response = refusal.into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers().len(), 3);
        for (name, value) in [
            ("retry-after", "1"),
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
    }
}
