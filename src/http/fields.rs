//! What a client is told about its limits, in fields of an answer.

use std::cmp::{Ordering, Reverse};
use std::fmt::Write;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sfv::{ItemSerializer, StringRef};

use crate::engine::{Denied, LimitUsage};
use crate::id::LimitId;
use crate::plan::Enforcement;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// At most so many counters are shown.
const ITEMS_MAX: usize = 8;
/// And no more than fit with so many bytes of names. The longest name alone does.
const NAMES_BYTES_MAX: usize = 1_000;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const CURRENT: HeaderName = HeaderName::from_static("ratelimit");

/// What an item mostly takes besides its name, so that lists seldom grow.
const ITEM_BYTES: usize = 48;

/// The most that an integer of a structured field can be: 15 digits.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// Puts what is left of limits into the fields of an answer that clients read to pace themselves.
///
/// `usage` is what the client may know of: what [`Engine::route_usage`](crate::Engine::route_usage)
/// reads, less the limits that are none of its business. `now` is the instant of the reading. An
/// answer to a request that was admitted gets them by this; a denial has them from
/// [`refuse`](crate::http::refuse).
///
/// ```
/// use http::HeaderMap;
/// use tollkeeper::{Engine, LimitId, ManualClock, OwnerId, RateLimit, Timestamp, Usage};
/// use tollkeeper::http::put_quota;
///
/// let clock = ManualClock::new(Timestamp::from_secs(600));
/// let engine = Engine::builder().clock(clock).build();
/// let key: OwnerId = "key:k1".parse()?;
/// engine.upsert_owner(&key, &[])?;
/// let limit = RateLimit::new().tokens(100_000, "6m".parse()?).requests(60, "1s".parse()?);
/// engine.upsert_limit(&key, &LimitId::new("k1 pace")?, limit)?;
/// let route = engine.route(&[key]);
/// engine.bump(&route, &Usage { input_tokens: 900, requests: 1, ..Usage::default() });
///
/// let mut headers = HeaderMap::new();
/// put_quota(&mut headers, &engine.route_usage(&route), engine.now());
/// for (name, value) in [
///     (
///         "ratelimit-policy",
///         "\"k1 pace/tokens\";q=100000;qu=\"tokens\";w=360, \
///          \"k1 pace/requests\";q=60;qu=\"requests\";w=1",
///     ),
///     ("ratelimit", "\"k1 pace/tokens\";r=99100;t=360, \"k1 pace/requests\";r=59;t=1"),
///     ("x-ratelimit-limit-tokens", "100000"),
///     ("x-ratelimit-remaining-tokens", "99100"),
///     ("x-ratelimit-reset-tokens", "6m0s"),
///     ("x-ratelimit-limit-requests", "60"),
///     ("x-ratelimit-remaining-requests", "59"),
///     ("x-ratelimit-reset-requests", "1s"),
/// ] {
///     assert_eq!(headers[name], value);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The fields
///
/// `RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-10: lists
/// of structured fields, an item for each counter, in the order of the route.
///
/// | parameter | what |
/// |---|---|
/// | name | the limit's id, `/`, and `tokens`, `requests` or `in_flight` |
/// | `q` | what the window admits, top-ups and overrides included |
/// | `qu` | `tokens`, `requests` or `concurrent-requests` |
/// | `w` | the length of the window in seconds, rounded up; not there where it never ends |
/// | `r` | what is left: zero where the limit is overshot |
/// | `t` | seconds until the window ends, rounded up; not there where it never ends |
///
/// A name is plain text whatever the id is: bytes of it that are not printable ASCII, and `%`, `"`
/// and `\`, are written as `%` and two hexadecimal digits, so `né` is `n%c3%a9`. No two counters
/// have the same name. The unit `tokens` is not one of the draft's; they are weighted as the limit
/// weighs them. There is no partition key `pk`: a limit's id says whose it is. Amounts above
/// 999,999,999,999,999, the most that the format holds, read as that.
///
/// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` are those of OpenAI: of the counter of
/// that dimension that has least left, and of two alike the one whose window ends later. Below a
/// second `reset` is in whole milliseconds (`20ms`), from there on in whole seconds (`1s`, `6m0s`,
/// `1h0m0s`), rounded up; it is not there where the window never ends.
///
/// # What is not shown
///
/// Money: how much is in a budget is not for everyone who holds a key. Counters that only count.
/// Limits in shadow mode; soft ones are shown. The names of owners. Of a long route, all but the 8
/// tightest counters, those that have the smallest share of their limit left; of names that are
/// very long, fewer: no more than fit with 1,000 bytes of names. So each of the two lists is below
/// 2 KiB.
///
/// Fields of the same names that were there before are replaced.
pub fn put_quota(headers: &mut HeaderMap, usage: &[LimitUsage], now: Timestamp) {
    put(headers, &items(usage, None), now);
}

/// The same for a request that was denied: counters that denied it are as they were when they did,
/// and are shown before others.
pub(super) fn put_denied(headers: &mut HeaderMap, usage: &[LimitUsage], denied: &Denied) {
    put(headers, &items(usage, Some(denied)), denied.at());
}

/// Takes off what an upstream told about its own limits: they are the gateway's with it, and the
/// client has others. A success has no `retry-after`.
pub(super) fn remove_quota(headers: &mut HeaderMap, status: StatusCode) {
    let told = |name: &&HeaderName| {
        let name = name.as_str();
        let wait = status.is_success() && name.starts_with(RETRY_AFTER.as_str());
        wait || names_a_rate_limit(name.as_bytes())
    };
    let told: Vec<HeaderName> = headers.keys().filter(told).cloned().collect();
    for name in told {
        headers.remove(name);
    }
}

/// Whether `ratelimit` or `rate-limit` is in it. Hardly any name of a field has `limit` in it, so
/// one look through the name is nearly always all.
fn names_a_rate_limit(name: &[u8]) -> bool {
    let limit = b"limit";
    let rate = |before: &[u8]| before.ends_with(b"rate") || before.ends_with(b"rate-");
    let mut places = name.windows(limit.len()).enumerate();
    places.any(|(at, window)| window == limit && rate(&name[..at]))
}

/// Whole seconds, rounded up: nobody comes back too early.
pub(super) fn whole_secs(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// One counter that is shown.
struct Item<'a> {
    limit: &'a LimitId,
    dimension: Dimension,
    quota: u64,
    remaining: u64,
    window: Span,
    /// Whether it denied the request.
    binds: bool,
}

impl Item<'_> {
    /// Its window's end, where it has one.
    fn end(&self) -> Option<Timestamp> {
        Some(self.window.end).filter(|&end| end < Timestamp::MAX)
    }

    /// The share that is left, of less before of more; a limit of zero has nothing left.
    fn share(&self, other: &Item) -> Ordering {
        let cross = |a: &Item, b: &Item| u128::from(a.remaining) * u128::from(b.quota.max(1));
        cross(self, other).cmp(&cross(other, self))
    }

    /// How many bytes its name has.
    fn name_bytes(&self) -> usize {
        let escaped = self.limit.as_str().bytes().filter(|byte| !is_plain(*byte)).count();
        self.limit.as_str().len() + 2 * escaped + 1 + self.dimension.name().len()
    }

    /// Adds its name to a text.
    fn put_name(&self, text: &mut String) {
        let limit = self.limit.as_str();
        if limit.bytes().all(is_plain) {
            text.push_str(limit);
        } else {
            for byte in limit.bytes() {
                match is_plain(byte) {
                    true => text.push(char::from(byte)),
                    false => write!(text, "%{byte:02x}").expect("a string takes what is written"),
                }
            }
        }
        text.push('/');
        text.push_str(self.dimension.name());
    }
}

/// Whether a byte of an id stands for itself in a name.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !b"%\"\\".contains(&byte)
}

/// The counters that a client may see, in the order of the route.
fn items<'a>(usage: &'a [LimitUsage], denied: Option<&Denied>) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for usage in usage.iter().filter(|usage| usage.enforcement != Enforcement::Shadow) {
        for counter in &usage.counters {
            let dimension = counter.dimension;
            let bound = denied
                .into_iter()
                .flat_map(Denied::bindings)
                .find(|binding| binding.limit == usage.limit && binding.dimension == dimension);
            let (quota, settled, held, window) = match bound {
                Some(b) => (b.limit_amount, b.settled, b.held, b.window),
                None => (counter.limit, counter.settled, counter.held, counter.window),
            };
            let Some(quota) = quota.filter(|_| dimension != Dimension::Money) else { continue };
            let remaining = quota.saturating_sub(settled.saturating_add(held));
            let (limit, binds) = (&usage.limit, bound.is_some());
            items.push(Item { limit, dimension, quota, remaining, window, binds });
        }
    }
    items
}

fn put(headers: &mut HeaderMap, items: &[Item], now: Timestamp) {
    headers.reserve(FIELDS);
    let shown = tightest(items);
    // A list of nothing is a field that is not there.
    for (name, list) in [POLICY, CURRENT].into_iter().zip(lists(&shown, now)) {
        put_value(headers, name, Some(&*list).filter(|list| !list.is_empty()));
    }
    let mut time = String::with_capacity(TIME_BYTES);
    for (dimension, names) in [(Dimension::Requests, REQUESTS), (Dimension::Tokens, TOKENS)] {
        let item = least(items, dimension);
        let [limit, remaining, until] = names;
        let [mut quota, mut left] = [itoa::Buffer::new(); 2];
        put_value(headers, limit, item.map(|item| quota.format(item.quota)));
        put_value(headers, remaining, item.map(|item| left.format(item.remaining)));
        let end = item.and_then(Item::end);
        put_value(headers, until, end.map(|end| short(&mut time, end.saturating_since(now))));
    }
}

/// So many are put at most.
const FIELDS: usize = 8;

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// The lists of the policies and of what is left. Names are written once for both. The rest is
/// fixed words and integers, which are the same in a structured field as anywhere.
fn lists(shown: &[&Item], now: Timestamp) -> [String; 2] {
    let bytes: usize = shown.iter().map(|item| item.name_bytes() + ITEM_BYTES).sum();
    let mut lists = [String::with_capacity(bytes), String::with_capacity(bytes)];
    let [policies, current] = &mut lists;
    let mut name = String::new();
    for item in shown {
        if !policies.is_empty() {
            policies.push_str(", ");
        }
        let begin = policies.len();
        name.clear();
        item.put_name(&mut name);
        let plain = StringRef::from_str(&name).expect("only printable ASCII is left");
        let _ = ItemSerializer::with_buffer(policies).bare_item(plain);
        if !current.is_empty() {
            current.push_str(", ");
        }
        current.push_str(&policies[begin..]);
        put_integer(policies, ";q=", item.quota);
        for part in [";qu=\"", unit(item.dimension), "\""] {
            policies.push_str(part);
        }
        put_integer(current, ";r=", item.remaining);
        if let Some(end) = item.end() {
            put_integer(policies, ";w=", whole_secs(item.window.length()).max(1));
            put_integer(current, ";t=", whole_secs(end.saturating_since(now)));
        }
    }
    lists
}

/// A parameter, up to the most that the format holds.
fn put_integer(list: &mut String, key: &str, amount: u64) {
    list.push_str(key);
    put_number(list, amount.min(INTEGER_MAX));
}

/// There are two dozen of them in an answer, and formatting goes a long way.
fn put_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// In place of what was there; what is not known is not there.
fn put_value(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    let value = value.map(HeaderValue::from_str).transpose();
    match value.expect("printable ASCII is a field's value") {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

/// As many of the tightest as are shown, in the order of the route.
fn tightest<'a>(items: &'a [Item<'a>]) -> Vec<&'a Item<'a>> {
    let bytes: usize = items.iter().map(Item::name_bytes).sum();
    if items.len() <= ITEMS_MAX && bytes <= NAMES_BYTES_MAX {
        return items.iter().collect();
    }
    let mut by_share: Vec<(usize, &Item)> = items.iter().enumerate().collect();
    by_share.sort_by(|(_, a), (_, b)| {
        let later = || b.window.end.cmp(&a.window.end);
        b.binds.cmp(&a.binds).then_with(|| a.share(b)).then_with(later)
    });
    let mut bytes = 0;
    let mut shown: Vec<_> = by_share
        .into_iter()
        .take(ITEMS_MAX)
        .take_while(|(_, item)| {
            bytes += item.name_bytes();
            bytes <= NAMES_BYTES_MAX
        })
        .collect();
    shown.sort_by_key(|&(place, _)| place);
    shown.into_iter().map(|(_, item)| item).collect()
}

/// The counter of a dimension that has least left.
fn least<'a>(items: &'a [Item<'a>], dimension: Dimension) -> Option<&'a Item<'a>> {
    let of_dimension = items.iter().filter(|item| item.dimension == dimension);
    of_dimension.min_by_key(|item| (!item.binds, item.remaining, Reverse(item.window.end)))
}

/// The draft's name of a unit.
fn unit(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::InFlight => "concurrent-requests",
        // Money is not shown.
        Dimension::Money | Dimension::Tokens | Dimension::Requests => dimension.name(),
    }
}

/// Longer than the longest time.
const TIME_BYTES: usize = 32;

/// A time as OpenAI writes it, rounded up: `20ms`, `1s`, `6m0s`, `1h0m0s`. It replaces the text.
fn short(text: &mut String, time: Duration) -> &str {
    let millis = time.as_nanos().div_ceil(1_000_000);
    let seconds = whole_secs(time);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let parts = match (hours, minutes) {
        _ if (1..1_000).contains(&millis) => &[(millis as u64, "ms")][..],
        (0, 0) => &[(rest, "s")],
        (0, _) => &[(minutes, "m"), (rest, "s")],
        _ => &[(hours, "h"), (minutes, "m"), (rest, "s")],
    };
    text.clear();
    for (number, unit) in parts {
        put_number(text, *number);
        text.push_str(unit);
    }
    text
}

#[cfg(test)]
mod tests;
