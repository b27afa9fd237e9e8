//! What a caller may know of the limits on its way, and how it is told.

use std::slice;

use http::response;

use super::caller::Caller;
use super::denial;
use super::fields::{put_quota, remove_quota};
use super::layer::Booth;
use super::refusal::Refusal;
use crate::engine::{Denied, LimitUsage, Route};

/// Replaces what the upstream tells of its own limits, which are not the caller's, by what the
/// caller has left.
pub(super) fn tell(response: &mut response::Parts, booth: &Booth, route: &Route, caller: &Caller) {
    remove_quota(&mut response.headers, response.status);
    let now = booth.ledger.engine().now();
    put_quota(&mut response.headers, &known(booth, route, caller), now);
}

/// The answer to a denied request.
pub(super) fn refuse(denied: &Denied, booth: &Booth, route: &Route, caller: &Caller) -> Refusal {
    denial::refuse(denied, &known(booth, route, caller), &booth.status_of)
}

/// All but what is on the upstream's own way: what the gateway may use of it is not for its
/// clients.
fn known(booth: &Booth, route: &Route, caller: &Caller) -> Vec<LimitUsage> {
    let engine = booth.ledger.engine();
    let mut usage = engine.route_usage(route);
    if let Some(upstream) = &caller.upstream {
        let theirs = engine.route_usage(&engine.route(slice::from_ref(upstream)));
        usage.retain(|usage| theirs.iter().all(|other| other.limit != usage.limit));
    }
    usage
}
