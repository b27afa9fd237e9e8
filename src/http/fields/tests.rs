//! What the fields say, read back by the parser of structured fields.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sfv::{BareItem, List, ListEntry, Parser};

use super::*;
use crate::engine::CounterUsage;
use crate::id::OwnerId;
use crate::plan::LimitKind;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000 * SECOND;
const NEVER: u64 = u64::MAX;

/// A counter of a window that began at 900 s.
fn counter(
    dimension: Dimension,
    limit: impl Into<Option<u64>>,
    settled: u64,
    held: u64,
    end: u64,
) -> CounterUsage {
    let window = Span { start: Timestamp::from_secs(900), end: Timestamp::from_nanos(end) };
    CounterUsage { dimension, settled, held, limit: limit.into(), window, generation: 0 }
}

fn limit(id: &str, counters: &[CounterUsage]) -> LimitUsage {
    LimitUsage {
        limit: LimitId::new(id).expect("an id"),
        owner: OwnerId::new("team", "secret").expect("an owner"),
        kind: LimitKind::RateLimit,
        enforcement: Enforcement::Hard,
        counters: counters.to_vec(),
    }
}

fn fields_at(usage: &[LimitUsage], now: u64) -> BTreeMap<String, String> {
    let mut headers = HeaderMap::new();
    put_quota(&mut headers, usage, Timestamp::from_nanos(now));
    let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn fields(usage: &[LimitUsage]) -> BTreeMap<String, String> {
    fields_at(usage, NOW)
}

/// A field as the parser sees it: each item's name with its parameters.
fn parsed(text: &str) -> Vec<(String, BTreeMap<String, BareItem>)> {
    let list: List = Parser::new(text).parse().expect("a list");
    let item = |entry: ListEntry| match entry {
        ListEntry::Item(item) => {
            let name = item.bare_item.as_string().expect("a string").as_str().to_owned();
            let parameters = item.params.into_iter().map(|(k, v)| (k.as_str().to_owned(), v));
            (name, parameters.collect())
        }
        ListEntry::InnerList(_) => panic!("there are no inner lists"),
    };
    list.into_iter().map(item).collect()
}

fn number(parameters: &BTreeMap<String, BareItem>, name: &str) -> Option<i64> {
    parameters.get(name).map(|value| i64::from(value.as_integer().expect("an integer")))
}

#[test]
fn times_are_rounded_up_at_every_boundary() {
    for (left, t, short) in [
        (0, 0, "0s"),
        (1, 1, "1ms"),
        (1_000_000, 1, "1ms"),
        (1_000_001, 1, "2ms"),
        (20_000_000, 1, "20ms"),
        (999_000_000, 1, "999ms"),
        (999_000_001, 1, "1s"),
        (SECOND - 1, 1, "1s"),
        (SECOND, 1, "1s"),
        (SECOND + 1, 2, "2s"),
        (59 * SECOND + 1, 60, "1m0s"),
        (60 * SECOND, 60, "1m0s"),
        (360 * SECOND, 360, "6m0s"),
        (3_599 * SECOND + 1, 3_600, "1h0m0s"),
        (90_061 * SECOND, 90_061, "25h1m1s"),
    ] {
        let fields = fields(&[limit("a", &[counter(Dimension::Requests, 5, 2, 1, NOW + left)])]);
        assert_eq!(fields["ratelimit"], format!("\"a/requests\";r=2;t={t}"), "{left}");
        assert_eq!(fields["x-ratelimit-reset-requests"], short, "{left}");
    }
}

#[test]
fn windows_are_rounded_up_and_never_zero() {
    for (length, w) in [(1, 1), (500_000_000, 1), (SECOND, 1), (SECOND + 1, 2), (60 * SECOND, 60)] {
        let end = 900 * SECOND + length;
        let fields = fields(&[limit("a", &[counter(Dimension::Tokens, 5, 0, 0, end)])]);
        assert_eq!(fields["ratelimit-policy"], format!("\"a/tokens\";q=5;qu=\"tokens\";w={w}"));
    }
}

/// A clock that is outside of the window: nothing is negative, nothing overflows.
#[test]
fn clocks_that_step_do_no_harm() {
    let usage = [limit("a", &[counter(Dimension::Requests, 5, 2, 1, 960 * SECOND)])];
    for (now, t, short) in
        [(0, 960, "16m0s"), (960 * SECOND, 0, "0s"), (961 * SECOND, 0, "0s"), (u64::MAX, 0, "0s")]
    {
        let fields = fields_at(&usage, now);
        assert_eq!(fields["ratelimit"], format!("\"a/requests\";r=2;t={t}"));
        assert_eq!(fields["ratelimit-policy"], "\"a/requests\";q=5;qu=\"requests\";w=60");
        assert_eq!(fields["x-ratelimit-reset-requests"], short);
    }
}

#[test]
fn windows_without_an_end_have_no_times() {
    let fields = fields(&[
        limit("a", &[counter(Dimension::InFlight, 8, 0, 3, NEVER)]),
        limit("b", &[counter(Dimension::Tokens, 100, 30, 0, NEVER)]),
    ]);
    let expected = [
        (
            "ratelimit-policy",
            "\"a/in_flight\";q=8;qu=\"concurrent-requests\", \"b/tokens\";q=100;qu=\"tokens\"",
        ),
        ("ratelimit", "\"a/in_flight\";r=5, \"b/tokens\";r=70"),
        ("x-ratelimit-limit-tokens", "100"),
        ("x-ratelimit-remaining-tokens", "70"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.into(), value.into())).into());
}

/// Money, and what only counts, is not shown; where nothing is left to show there is no field.
#[test]
fn money_and_uncapped_counters_are_not_shown() {
    let money = limit("budget", &[counter(Dimension::Money, 5, 2, 1, NOW + SECOND)]);
    let uncapped = limit("counts", &[counter(Dimension::Tokens, None, 2, 1, NOW + SECOND)]);
    assert_eq!(fields(&[money.clone(), uncapped.clone()]), BTreeMap::new());
    let shown = limit("a", &[counter(Dimension::Requests, 5, 2, 1, NOW + SECOND)]);
    assert_eq!(fields(&[money, uncapped, shown.clone()]), fields(&[shown]));
}

/// A limit on trial is the operator's; one that does not deny is still a limit to keep to.
#[test]
fn soft_limits_are_shown_and_shadow_ones_are_not() {
    let hard = limit("a", &[counter(Dimension::Requests, 5, 7, 1, NOW + SECOND)]);
    let soft = LimitUsage { enforcement: Enforcement::Soft, ..hard.clone() };
    let shadow = LimitUsage { enforcement: Enforcement::Shadow, ..hard.clone() };
    assert_eq!(fields(&[soft]), fields(&[hard]));
    assert_eq!(fields(&[shadow]), BTreeMap::new());
}

#[test]
fn zero_limits_and_overshot_ones_have_nothing_left() {
    let fields = fields(&[
        limit("zero", &[counter(Dimension::Requests, 0, 0, 0, NOW + SECOND)]),
        limit("over", &[counter(Dimension::Tokens, 10, 9, 2, NOW + SECOND)]),
        limit("most", &[counter(Dimension::Tokens, 10, u64::MAX, u64::MAX, NOW + SECOND)]),
    ]);
    assert_eq!(
        fields["ratelimit"],
        "\"zero/requests\";r=0;t=1, \"over/tokens\";r=0;t=1, \"most/tokens\";r=0;t=1"
    );
    assert_eq!(fields["x-ratelimit-limit-requests"], "0");
    assert_eq!(fields["x-ratelimit-remaining-requests"], "0");
    assert_eq!(fields["x-ratelimit-remaining-tokens"], "0");
}

/// 15 digits are the most of a structured field's integer; `x-ratelimit-*` has no such end.
#[test]
fn amounts_past_the_format_read_as_the_most() {
    let large = 1_000_000_000_000_000;
    for (amount, text) in [(large - 1, "999999999999999"), (large, "999999999999999")] {
        let fields = fields(&[limit("a", &[counter(Dimension::Tokens, amount, 0, 0, NEVER)])]);
        assert_eq!(fields["ratelimit"], format!("\"a/tokens\";r={text}"));
        assert_eq!(fields["ratelimit-policy"], format!("\"a/tokens\";q={text};qu=\"tokens\""));
        assert_eq!(fields["x-ratelimit-limit-tokens"], amount.to_string());
    }
}

#[test]
fn of_one_dimension_the_least_left_and_then_the_longest_wait_is_told() {
    let fields = fields(&[
        limit("day", &[counter(Dimension::Requests, 1_000, 990, 0, NOW + 86_400 * SECOND)]),
        limit("second", &[counter(Dimension::Requests, 11, 1, 0, NOW + SECOND)]),
        limit("hour", &[counter(Dimension::Requests, 100, 89, 0, NOW + 3_600 * SECOND)]),
        limit("flight", &[counter(Dimension::InFlight, 1, 0, 1, NEVER)]),
    ]);
    assert_eq!(fields["x-ratelimit-limit-requests"], "1000");
    assert_eq!(fields["x-ratelimit-remaining-requests"], "10");
    assert_eq!(fields["x-ratelimit-reset-requests"], "24h0m0s");
}

#[test]
fn odd_names_have_one_plain_form() {
    for (id, name) in [
        ("team-a monthly", "team-a monthly/tokens"),
        ("a/tokens", "a/tokens/tokens"),
        ("né", "n%c3%a9/tokens"),
        ("n%c3%a9", "n%25c3%25a9/tokens"),
        ("\"\\\"", "%22%5c%22/tokens"),
        ("日本 ~", "%e6%97%a5%e6%9c%ac ~/tokens"),
    ] {
        let fields = fields(&[limit(id, &[counter(Dimension::Tokens, 1, 0, 0, NEVER)])]);
        assert_eq!(fields["ratelimit"], format!("\"{name}\";r=1"));
        assert_eq!(parsed(&fields["ratelimit-policy"])[0].0, name);
    }
}

/// Of fifty limits the eight tightest are told, in the order of the route.
#[test]
fn long_routes_tell_the_tightest() {
    let ids: Vec<String> = (0..50).map(|n| format!("limit {n}")).collect();
    // Numbers 3, 10, 17 … have least left, in shares of limits that differ widely.
    let usage: Vec<LimitUsage> = (0_u64..50)
        .map(|n| {
            let quota = 1_000 << (n % 20);
            let share = if n % 7 == 3 { 100 } else { 500 };
            let settled = quota - quota * share / 1_000;
            let requests = counter(Dimension::Requests, quota, settled, 0, NOW + n * SECOND);
            limit(&ids[usize::try_from(n).expect("small")], &[requests])
        })
        .collect();
    let fields = fields(&usage);
    // Seven have a tenth left; of the rest, which have a half, the one whose window ends last.
    let expected = [3, 10, 17, 24, 31, 38, 45, 49].map(|n| format!("limit {n}/requests"));
    for field in ["ratelimit", "ratelimit-policy"] {
        let names: Vec<String> = parsed(&fields[field]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected);
    }
    // The least left, here half of the smallest limit, is found among all of them.
    assert_eq!(fields["x-ratelimit-remaining-requests"], "500");
    assert_eq!(fields["x-ratelimit-reset-requests"], "40s");
}

#[test]
fn long_names_leave_room_for_fewer_but_one() {
    let long = |n: u32| format!("{n}{}", "é".repeat(127));
    let of = |n| limit(&long(n), &[counter(Dimension::InFlight, u64::MAX - 1, 0, 0, NOW + 1)]);
    let usage: Vec<LimitUsage> = (0..9).map(of).collect();
    assert_eq!(parsed(&fields(&usage)["ratelimit"]).len(), 1);
    let short: Vec<LimitUsage> =
        (0..9).map(|n| limit(&format!("{n}{}", "x".repeat(110)), &usage[0].counters)).collect();
    let fields = fields(&short);
    assert_eq!(parsed(&fields["ratelimit"]).len(), 8);
    assert!(fields["ratelimit-policy"].len() < 2_048, "{}", fields["ratelimit-policy"].len());
}

#[test]
fn what_was_there_before_is_replaced() {
    let mut headers = HeaderMap::new();
    for name in ["ratelimit", "x-ratelimit-limit-tokens", "x-ratelimit-reset-requests"] {
        headers.append(name, HeaderValue::from_static("1"));
        headers.append(name, HeaderValue::from_static("2"));
    }
    let usage = [limit("a", &[counter(Dimension::Requests, 5, 2, 1, NEVER)])];
    put_quota(&mut headers, &usage, Timestamp::from_nanos(NOW));
    assert_eq!(headers.get_all("ratelimit").iter().collect::<Vec<_>>(), ["\"a/requests\";r=2"]);
    assert!(!headers.contains_key("x-ratelimit-limit-tokens"));
    assert!(!headers.contains_key("x-ratelimit-reset-requests"));
}

#[test]
fn the_limits_of_the_upstream_are_taken_off() {
    let all = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-tokens_usage_based",
        "ratelimit-policy",
        "RateLimit-Reset",
        "anthropic-ratelimit-tokens-limit",
        "x-rate-limit-limit",
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "content-type",
    ];
    for (status, kept) in [
        (StatusCode::OK, &["content-type", "x-request-id"][..]),
        (
            StatusCode::TOO_MANY_REQUESTS,
            &["content-type", "retry-after", "retry-after-ms", "x-request-id"][..],
        ),
    ] {
        let mut headers = HeaderMap::new();
        for name in all {
            let name = HeaderName::try_from(name).expect("a name");
            headers.append(&name, HeaderValue::from_static("1"));
            headers.append(&name, HeaderValue::from_static("2"));
        }
        remove_quota(&mut headers, status);
        let left: BTreeSet<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, kept.iter().copied().collect());
    }
}

fn any_amount() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..20_u64, any::<u64>(), Just(u64::MAX)]
}

fn any_instant() -> impl Strategy<Value = u64> {
    prop_oneof![NOW - 3..NOW + 3 * SECOND, any::<u64>(), Just(0), Just(NEVER)]
}

fn any_usage() -> impl Strategy<Value = LimitUsage> {
    let dimension = proptest::sample::select(&Dimension::ALL[..]);
    let span = (any_instant(), any_instant());
    let amounts = (proptest::option::weighted(0.8, any_amount()), any_amount(), any_amount());
    let counter = (dimension, amounts, span).prop_map(|(dimension, amounts, span)| {
        let (limit, settled, held) = amounts;
        let (start, end) = (span.0.min(span.1), span.0.max(span.1));
        let window = Span { start: Timestamp::from_nanos(start), end: Timestamp::from_nanos(end) };
        CounterUsage { dimension, settled, held, limit, window, generation: 0 }
    });
    let enforcement = proptest::sample::select(&Enforcement::ALL[..]);
    ("[^\\p{Cc}]{1,60}", prop::collection::vec(counter, 0..3), enforcement)
        .prop_map(|(id, counters, enforcement)| LimitUsage { enforcement, ..limit(&id, &counters) })
}

/// The id and the dimension of a name.
fn read_name(name: &str) -> (String, Dimension) {
    let (id, dimension) = name.rsplit_once('/').expect("a slash");
    let mut bytes = Vec::new();
    let mut rest = id.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }
            plain => plain,
        });
    }
    (String::from_utf8(bytes).expect("UTF-8"), dimension.parse().expect("a dimension"))
}

proptest! {
    /// Whatever the limits read, the fields parse, name counters that there are, and are what the
    /// draft says: nothing is negative, nothing is larger than its limit, no window is of no time.
    #[test]
    fn any_usage_gives_fields_that_parse(
        usage in prop::collection::vec(any_usage(), 0..14),
        now in any_instant(),
    ) {
        let fields = fields_at(&usage, now);
        prop_assert_eq!(fields.contains_key("ratelimit"), fields.contains_key("ratelimit-policy"));
        let shown = usage.iter().filter(|limit| limit.enforcement != Enforcement::Shadow);
        let shown = shown.flat_map(|limit| &limit.counters).filter(|counter| {
            counter.limit.is_some() && counter.dimension != Dimension::Money
        });
        let shown = shown.count();
        prop_assert_eq!(fields.contains_key("ratelimit"), shown > 0);
        if shown > 0 {
            let policies = parsed(&fields["ratelimit-policy"]);
            let current = parsed(&fields["ratelimit"]);
            prop_assert!(policies.len() <= shown.min(ITEMS_MAX));
            prop_assert_eq!(policies.len(), current.len());
            prop_assert!(fields["ratelimit-policy"].len() < 2_048);
            prop_assert!(fields["ratelimit"].len() < 2_048);
            for ((name, policy), (same, left)) in policies.iter().zip(&current) {
                prop_assert_eq!(name, same);
                let (id, dimension) = read_name(name);
                let known = usage.iter().filter(|limit| limit.limit.as_str() == id);
                let known = known.flat_map(|limit| &limit.counters);
                prop_assert!(known.clone().any(|counter| counter.dimension == dimension));
                let (q, r) = (number(policy, "q"), number(left, "r"));
                prop_assert!(r >= Some(0) && q >= r);
                prop_assert!(policy.contains_key("qu"));
                prop_assert_eq!(policy.contains_key("w"), left.contains_key("t"));
                prop_assert!(number(policy, "w").is_none_or(|w| w >= 1));
                prop_assert!(number(left, "t").is_none_or(|t| t >= 0));
            }
        }
        for (name, text) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            match name.contains("-reset-") {
                true => prop_assert!(text.ends_with('s') && text.starts_with(char::is_numeric)),
                false => prop_assert!(text.parse::<u64>().is_ok()),
            }
        }
    }
}
