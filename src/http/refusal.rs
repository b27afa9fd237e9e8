//! Answers of the gateway itself, to requests that go no further.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};

/// An answer of the gateway itself: a status, fields, and an error in the shape that
/// OpenAI-compatible clients read.
///
/// ```
/// use http::StatusCode;
/// use tollkeeper::http::Refusal;
///
/// let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "no such key");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) kind: Cow<'static, str>,
    pub(super) param: Option<Cow<'static, str>>,
    pub(super) message: String,
    pub(super) headers: HeaderMap,
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
            headers: HeaderMap::new(),
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

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Further fields of the answer.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}
