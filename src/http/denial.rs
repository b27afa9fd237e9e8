//! The answer to a request that was denied.

use http::StatusCode;

use super::Refusal;
use super::fields::{put_denied, whole_secs};
use crate::engine::{Binding, Denied, LimitUsage, Retry};
use crate::plan::Enforcement;
use crate::time::Timestamp;
use crate::units::Dimension;

/// The status of a denial, unless the gateway has its own.
///
/// It is 403 where an owner is unknown. Else the binding that lasts longest decides, because until
/// then no other matters:
///
/// | what binds longest | status |
/// |---|---|
/// | money, in a period or prepaid | 402 |
/// | tokens, requests, requests in flight | 429 |
///
/// What never ends lasts longer than what needs a top-up, that longer than what has an end, and
/// what ends with requests under way is the shortest; of two that last equally long, money decides.
/// So an exhausted month and an exhausted minute are 402, because a client that comes back
/// in a minute is denied again; but a full day of requests is 429 even though this hour's budget
/// is used up as well.
///
/// ```
/// use http::StatusCode;
/// use tollkeeper::http::usual_status;
/// use tollkeeper::{Budget, Engine, LimitId, OwnerId, Peek, Usage};
///
/// let engine = Engine::new();
/// let key: OwnerId = "key:k1".parse()?;
/// engine.upsert_owner(&key, &[])?;
/// engine.upsert_limit(&key, &LimitId::new("credit")?, Budget::prepaid("$5".parse()?))?;
/// let route = engine.route(&[key]);
/// let six = Usage { cost: "$6".parse()?, ..Usage::default() };
/// let Peek::WouldDeny(denied) = engine.peek(&route, &six) else {
///     panic!("there are five dollars");
/// };
/// assert_eq!(usual_status(&denied), StatusCode::PAYMENT_REQUIRED);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn usual_status(denied: &Denied) -> StatusCode {
    match decisive(denied).map(|binding| binding.dimension) {
        None => StatusCode::FORBIDDEN,
        Some(Dimension::Money) => StatusCode::PAYMENT_REQUIRED,
        Some(Dimension::Tokens | Dimension::Requests | Dimension::InFlight) => {
            StatusCode::TOO_MANY_REQUESTS
        }
    }
}

/// The answer to a request that was denied, in the words that OpenAI's clients know.
///
/// `usage` is what the client may know of, as for [`put_quota`](super::put_quota), whose fields the
/// answer has; `status_of` is [`usual_status`] or what a gateway has in its place.
///
/// ```
/// use tollkeeper::http::{refuse, usual_status};
/// use tollkeeper::{Engine, LimitId, ManualClock, OwnerId, Peek, RateLimit, Timestamp, Usage};
///
/// let clock = ManualClock::new(Timestamp::from_secs(600));
/// let engine = Engine::builder().clock(clock.clone()).build();
/// let key: OwnerId = "key:k1".parse()?;
/// engine.upsert_owner(&key, &[])?;
/// let limit = RateLimit::new().requests(1, "1m".parse()?);
/// engine.upsert_limit(&key, &LimitId::new("k1 pace")?, limit)?;
/// let route = engine.route(&[key]);
/// let request = Usage { requests: 1, ..Usage::default() };
/// engine.bump(&route, &request);
///
/// clock.advance(std::time::Duration::from_millis(20_500));
/// let Peek::WouldDeny(denied) = engine.peek(&route, &request) else {
///     panic!("there was one in this minute");
/// };
/// let response = refuse(&denied, &engine.route_usage(&route), usual_status).into_response();
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "40"); // rounded up
/// assert_eq!(response.headers()["ratelimit"], "\"k1 pace/requests\";r=0;t=40");
/// assert_eq!(response.headers()["x-ratelimit-reset-requests"], "40s");
/// assert_eq!(
///     response.body(),
///     concat!(
///         r#"{"error":{"message":"The rate limit \"k1 pace\" has no room for another request. "#,
///         r#"Please try again in 40s.","type":"requests","param":null,"#,
///         r#""code":"rate_limit_exceeded"}}"#,
///     ),
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Body
///
/// | the binding that lasts longest | `type` | `code` |
/// |---|---|---|
/// | tokens, requests | `tokens`, `requests` | `rate_limit_exceeded` |
/// | requests in flight | `concurrent_requests` | `rate_limit_exceeded` |
/// | money | `insufficient_quota` | `insufficient_quota` |
/// | any of them, if no window has room | the same | `request_exceeds_limit` |
/// | none: an owner is unknown | `invalid_request_error` | `unknown_owner` |
///
/// No window has room where the request is larger than the limit itself, and where the limit is
/// zero. The type `insufficient_quota` keeps clients from asking again even if `status_of` makes
/// money a 429.
///
/// # When to come back
///
/// `Retry-After` is in whole seconds, rounded up, at least one. It is when the request fits under
/// every limit that binds, so never before the `t` of one of these in `RateLimit`. Where requests
/// in flight are what is in the way, it is one second. Where no wait helps, because the request is
/// larger than a limit, a prepaid budget needs a top-up or an owner is unknown, there is none, and
/// `x-should-retry: false` says so to clients that know it.
///
/// # What it gives away
///
/// The message names the limit, and says how many tokens were asked for; not what the limit admits,
/// not what is used, no amount of money, and no owner. A limit that is not in `usage` is not named:
/// how much a gateway may use of an upstream, or how much another team has left, is told only to
/// whom `usage` tells it.
pub fn refuse(
    denied: &Denied,
    usage: &[LimitUsage],
    status_of: impl FnOnce(&Denied) -> StatusCode,
) -> Refusal {
    let status = status_of(denied);
    let Some(binding) = decisive(denied) else {
        let message = "It is not known here whom this request is charged to.";
        return Refusal::new(status, "unknown_owner", message).denied(denied).for_good();
    };
    let wait = wait(denied);
    let message = message(binding, usage, wait);
    let (kind, code) = names(binding);
    let mut refusal = Refusal::new(status, code, message).kind(kind).denied(denied);
    put_denied(refusal.headers_mut(), usage, denied);
    match wait {
        Some(seconds) => refusal.again_in(seconds),
        None => refusal.for_good(),
    }
}

/// How long a binding lasts, the longest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lasting {
    /// Until then at most. What ends with requests under way ends with its window too, if that
    /// ends, and any moment if it does not.
    Until(Timestamp),
    UntilTopUp,
    Forever,
}

fn lasting(binding: &Binding) -> Lasting {
    match binding.retry {
        Retry::At(instant) => Lasting::Until(instant),
        Retry::OnRelease if binding.window.end < Timestamp::MAX => {
            Lasting::Until(binding.window.end)
        }
        Retry::OnRelease => Lasting::Until(Timestamp::UNIX_EPOCH),
        Retry::OnTopUp => Lasting::UntilTopUp,
        Retry::Never => Lasting::Forever,
    }
}

/// The binding that lasts longest, money before others; none where an owner is unknown.
fn decisive(denied: &Denied) -> Option<&Binding> {
    let rank = |binding: &Binding| (lasting(binding), binding.dimension == Dimension::Money);
    denied.bindings().reduce(|one, other| if rank(other) > rank(one) { other } else { one })
}

/// The seconds until it fits under all that binds; none if no wait helps.
fn wait(denied: &Denied) -> Option<u64> {
    match denied.bindings().map(lasting).max()? {
        Lasting::Until(instant) => Some(whole_secs(instant.saturating_since(denied.at())).max(1)),
        Lasting::UntilTopUp | Lasting::Forever => None,
    }
}

/// The `type` and the `code` of the error.
fn names(binding: &Binding) -> (&'static str, &'static str) {
    let (kind, code) = match binding.dimension {
        Dimension::Money => ("insufficient_quota", "insufficient_quota"),
        Dimension::Tokens => ("tokens", "rate_limit_exceeded"),
        Dimension::Requests => ("requests", "rate_limit_exceeded"),
        Dimension::InFlight => ("concurrent_requests", "rate_limit_exceeded"),
    };
    match binding.retry {
        Retry::Never => (kind, "request_exceeds_limit"),
        Retry::At(_) | Retry::OnRelease | Retry::OnTopUp => (kind, code),
    }
}

/// The sentence for people. Clients read the seconds in it too.
fn message(binding: &Binding, usage: &[LimitUsage], wait: Option<u64>) -> String {
    let mut shown = usage.iter().filter(|usage| usage.enforcement != Enforcement::Shadow);
    let known = shown.any(|usage| usage.limit == binding.limit);
    let limit = if known {
        format!("The {} {:?}", binding.kind, binding.limit.as_str())
    } else {
        format!("A {} on the way", binding.kind)
    };
    let requested = match binding.dimension {
        Dimension::Money => "what this request may cost".to_owned(),
        Dimension::Tokens => format!("the {} tokens of this request", binding.requested),
        Dimension::Requests => "another request".to_owned(),
        Dimension::InFlight => "another request at the same time".to_owned(),
    };
    match (wait, binding.retry) {
        (Some(wait), _) => {
            format!("{limit} has no room for {requested}. Please try again in {wait}s.")
        }
        (None, Retry::OnTopUp) => {
            format!("{limit} has no room for {requested}. It needs a top-up.")
        }
        (None, _) => format!("{limit} never has room for {requested}."),
    }
}

#[cfg(test)]
mod tests;
