//! What a handler knows of its upstream that a status does not tell.

/// What a handler says of the upstream call, as an extension of its response.
///
/// Without it a response is taken for the upstream's own. Say it of every response that the handler
/// makes itself:
///
/// ```
/// use http::{Response, StatusCode};
/// use tollkeeper::http::Upstream;
///
/// let mut refused = Response::new("the upstream cannot be reached");
/// *refused.status_mut() = StatusCode::BAD_GATEWAY;
/// refused.extensions_mut().insert(Upstream::Unreached); // nothing was sent: nothing is charged
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// No byte of the request has reached it: no connection was made. What was held is given back,
    /// and nothing is recorded.
    Unreached,
    /// It may have worked, and the handler has made this answer in place of its own: it timed out,
    /// it broke off. What was held is charged, as uncertain.
    Unknown,
}
