//! What a denial says: who binds, by how much, and when to ask again.

use std::num::NonZeroU16;
use std::time::Duration;

use tollkeeper::{Budget, Concurrency, Dimension, Lasts, Peek, RateLimit, Retry};

use crate::kit::*;

fn windows(count: u16) -> Lasts {
    Lasts::Windows(NonZeroU16::new(count).unwrap())
}

/// L13: the instant that a denial names is the first at which the same request passes.
#[test]
fn a_request_passes_at_its_retry_instant_and_not_a_nanosecond_before() {
    let kit = kit_at("2026-03-01T00:00:10Z");
    kit.limit("key:k", "rate", RateLimit::new().requests(1, per("1m")));
    kit.bump(&["key:k"], &tokens(1));
    kit.set("2026-03-01T00:00:40.5Z");
    let denied = kit.deny(&["key:k"], &tokens(1));
    let boundary = instant("2026-03-01T00:01:10Z");
    assert_eq!(denied.retry(), Retry::At(boundary));
    assert_eq!(denied.retry_after(), Some(Duration::from_millis(29_500)));
    assert_eq!(denied.at(), instant("2026-03-01T00:00:40.5Z"));
    kit.clock.set(boundary.saturating_sub(a_nano()));
    assert_eq!(kit.deny(&["key:k"], &tokens(1)).retry_after(), Some(a_nano()));
    kit.clock.set(boundary);
    let _passes = kit.admit(&["key:k"], &tokens(1));
}

/// "Never fits" apart from "not now", for each kind of limit.
#[test]
fn an_estimate_above_the_limit_is_never_and_one_within_it_is_later() {
    let kit = kit();
    kit.limit("key:rate", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.limit("key:flight", "flight", Concurrency::new(1));
    kit.limit("key:prepaid", "prepaid", Budget::prepaid(nanos(10)));
    kit.limit("key:total", "total", RateLimit::new().tokens(10, per("never")));
    assert_eq!(only(&kit.deny(&["key:rate"], &tokens(11))).retry, Retry::Never);
    assert_eq!(only(&kit.deny(&["key:prepaid"], &cost(11))).retry, Retry::OnTopUp);
    assert_eq!(only(&kit.deny(&["key:total"], &tokens(11))).retry, Retry::Never);
    let _rate = kit.admit(&["key:rate"], &tokens(10));
    let _flight = kit.admit(&["key:flight"], &tokens(10));
    let prepaid = kit.admit(&["key:prepaid"], &cost(10));
    let total = kit.admit(&["key:total"], &tokens(10));
    let boundary = Retry::At(instant("2026-03-01T00:01:00Z"));
    assert_eq!(only(&kit.deny(&["key:rate"], &tokens(10))).retry, boundary);
    assert_eq!(only(&kit.deny(&["key:flight"], &tokens(10))).retry, Retry::OnRelease);
    // Without boundaries what is held may come back; what is booked does not, unless it is credit.
    assert_eq!(only(&kit.deny(&["key:prepaid"], &cost(10))).retry, Retry::OnRelease);
    let _ = prepaid.settle(&cost(1));
    assert_eq!(only(&kit.deny(&["key:prepaid"], &cost(10))).retry, Retry::OnTopUp);
    assert_eq!(only(&kit.deny(&["key:total"], &tokens(10))).retry, Retry::OnRelease);
    let _ = total.settle(&tokens(1));
    assert_eq!(only(&kit.deny(&["key:total"], &tokens(10))).retry, Retry::Never);
}

/// Over several counters the whole request waits for the last of them.
#[test]
fn the_retry_of_several_bindings_is_the_latest() {
    let kit = kit();
    kit.limit("key:k", "fast", RateLimit::new().requests(1, per("1s")));
    kit.limit("key:k", "slow", RateLimit::new().requests(1, per("1h")));
    kit.limit("key:k", "middle", RateLimit::new().requests(1, per("1m")));
    kit.bump(&["key:k"], &tokens(1));
    let denied = kit.deny(&["key:k"], &tokens(1));
    assert_eq!(named(&denied).len(), 3);
    let retries: Vec<Retry> = denied.bindings().map(|binding| binding.retry).collect();
    let at = |text| Retry::At(instant(text));
    let (fast, slow) = (at("2026-03-01T00:00:01Z"), at("2026-03-01T01:00:00Z"));
    assert_eq!(retries, [fast, slow, at("2026-03-01T00:01:00Z")]);
    assert_eq!(denied.retry(), slow);
    // What no clock tells is later than what one does, and never is latest.
    kit.limit("key:k", "flight", Concurrency::new(1));
    kit.advance(Duration::from_secs(3600));
    let _held = kit.admit(&["key:k"], &tokens(1));
    assert_eq!(kit.deny(&["key:k"], &tokens(1)).retry(), Retry::OnRelease);
    assert_eq!(kit.deny(&["key:k"], &tokens(1)).retry_after(), None);
    kit.limit("key:k", "prepaid", Budget::prepaid(nanos(5)));
    assert_eq!(kit.deny(&["key:k"], &cost(6)).retry(), Retry::OnTopUp);
    kit.limit("key:k", "tokens", RateLimit::new().tokens(5, per("1m")));
    assert_eq!(kit.deny(&["key:k"], &tokens(6)).retry(), Retry::Never);
}

/// An override that ends changes what the windows after it admit, and the answer knows.
#[test]
fn a_retry_looks_past_the_end_of_an_override() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 2, windows(3)).unwrap();
    let at = |text| Retry::At(instant(text));
    let free = at("2026-03-01T00:03:00Z");
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(3))).retry, free);
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(11))).retry, Retry::Never);
    kit.bump(&["key:k"], &tokens(2));
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(2))).retry, at("2026-03-01T00:01:00Z"));
    kit.set("2026-03-01T00:02:59.999999999Z");
    assert_eq!(kit.deny(&["key:k"], &tokens(3)).retry_after(), Some(a_nano()));
    kit.set("2026-03-01T00:03:00Z");
    let _passes = kit.admit(&["key:k"], &tokens(10));
    // One that raises: a request that is larger than the limit itself fits only while it lasts.
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 50, windows(2)).unwrap();
    kit.bump(&["key:k"], &tokens(40));
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(50))).retry, at("2026-03-01T00:04:00Z"));
    kit.set("2026-03-01T00:04:00Z");
    kit.bump(&["key:k"], &tokens(1));
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(50))).retry, Retry::Never);
}

/// Where the periods changed under an override, its end lies inside a window: that one still has
/// the override, and the next one has not.
#[test]
fn a_retry_finds_the_window_after_an_override_that_ends_inside_one() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.engine.override_limit(&id("rate"), Dimension::Tokens, 2, windows(3)).unwrap();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("2m")));
    let free = instant("2026-03-01T00:04:00Z");
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(3))).retry, Retry::At(free));
    kit.clock.set(free.saturating_sub(a_nano()));
    assert!(!kit.admits(&["key:k"], &tokens(3)));
    kit.clock.set(free);
    assert!(kit.admits(&["key:k"], &tokens(3)));
}

/// Both counters of a rate limit are reported when both bind, and only the one that does else.
#[test]
fn both_counters_of_a_rate_limit_are_reported_when_both_bind() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")).requests(1, per("1h")));
    let both = [("rate".to_owned(), Dimension::Tokens), ("rate".into(), Dimension::Requests)];
    assert_eq!(named(&kit.deny(&["key:k"], &tokens(11))), both[..1]);
    kit.bump(&["key:k"], &tokens(9));
    assert_eq!(named(&kit.deny(&["key:k"], &tokens(1))), both[1..]);
    kit.bump(&["key:k"], &tokens(1));
    let denied = kit.deny(&["key:k"], &tokens(1));
    assert_eq!(named(&denied), both);
    assert_eq!(denied.retry(), Retry::At(instant("2026-03-01T01:00:00Z")));
    assert_eq!(denied.first().unwrap().dimension, Dimension::Tokens);
}

/// An extension is denied by what it asks of, and by nothing else: not by the concurrency limit
/// that the reservation itself fills.
#[test]
fn a_denied_extension_names_only_what_it_asks_of() {
    let kit = kit();
    kit.limit("key:k", "flight", Concurrency::new(1));
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")).requests(1, per("1h")));
    let mut reservation = kit.admit(&["key:k"], &tokens(10));
    let mut more = nothing();
    more.output_tokens = 1;
    let denied = reservation.extend(&more).unwrap_err();
    assert_eq!(named(&denied), [("rate".into(), Dimension::Tokens)]);
    assert_eq!(denied.retry(), Retry::At(instant("2026-03-01T00:01:00Z")));
    // Nothing more asks nothing, even of what is full.
    assert_eq!(reservation.extend(&nothing()), Ok(()));
}

/// A peek answers what a reservation would, and leaves no trace: no hold, no window, no event.
#[test]
fn a_peek_foretells_and_changes_nothing() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.bump(&["key:k"], &tokens(10));
    kit.happened();
    let route = kit.route(&["key:k"]);
    let Peek::WouldDeny(foretold) = kit.engine.peek(&route, &tokens(1)) else { panic!() };
    assert_eq!(kit.happened(), []);
    kit.advance(minute());
    let generation = kit.read("rate").generation;
    assert_eq!(kit.engine.peek(&route, &tokens(10)), Peek::WouldAdmit);
    assert_eq!(kit.engine.peek(&route, &tokens(10)), Peek::WouldAdmit);
    assert_eq!(kit.happened(), [], "the window that ended has not been closed");
    assert_eq!((kit.read("rate").generation, kit.counts("rate")), (generation, (0, 0)));
    kit.clock.set(foretold.at());
    assert_eq!(kit.deny(&["key:k"], &tokens(1)), foretold);
}

/// The first refusal in a window of what an empty one would admit exhausts the limit; the refusal
/// of what it would not does not.
#[test]
fn a_refusal_that_could_fit_is_the_notice_of_exhaustion() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    let _held = kit.admit(&["key:k"], &tokens(8));
    kit.deny(&["key:k"], &tokens(11));
    assert_eq!(kit.happened(), []);
    kit.deny(&["key:k"], &tokens(3));
    kit.deny(&["key:k"], &tokens(3));
    let [event] = &kit.happened()[..] else { panic!("one event") };
    let exhausted = tollkeeper::EventKind::Exhausted { settled: 0, held: 8, limit: 10 };
    assert_eq!((event.what, event.generation, event.at), (exhausted, 0, instant(START)));
}

/// The texts that end up in logs and bodies.
#[test]
fn denials_read_well() {
    let kit = kit();
    kit.limit("key:k1", "tpm", RateLimit::new().tokens(100, per("1m")).requests(2, per("1m")));
    kit.limit("team:t", "monthly", Budget::new("$12.50".parse().unwrap(), per("1M@UTC")));
    kit.limit("team:t", "credit", Budget::prepaid("$20".parse().unwrap()));
    kit.limit("team:t", "flight", Concurrency::new(1));
    kit.owner("key:k1", &["team:t"]);
    let mut usage = tokens(60);
    usage.cost = "$12.5".parse().unwrap();
    let _held = kit.admit(&["key:k1"], &usage);
    assert_eq!(
        kit.deny(&["key:k1"], &usage).to_string(),
        "denied by tpm of key:k1: 60 requested, 0 settled and 60 held of 100 tokens; \
         fits from 2026-03-01T00:01:00Z; \
         and by monthly of team:t: 12.50 requested, 0.00 settled and 12.50 held of 12.50 money; \
         fits from 2026-04-01T00:00:00Z; \
         and by credit of team:t: 12.50 requested, 0.00 settled and 12.50 held of 20.00 money; \
         fits when requests under way have ended; \
         and by flight of team:t: 1 requested, 0 settled and 1 held of 1 in_flight; \
         fits when requests under way have ended"
    );
    assert_eq!(
        kit.deny(&["key:k1"], &tokens(101)).first().unwrap().to_string(),
        "tpm of key:k1: 101 requested, 0 settled and 60 held of 100 tokens; \
         larger than the limit, never fits"
    );
}
