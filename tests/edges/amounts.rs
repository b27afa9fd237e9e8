//! Nothing, very much, and more than can be counted.

use tollkeeper::{
    Budget, Concurrency, Dimension, LimitError, Money, RateLimit, Retry, TokenWeights,
    TopologyError, Usage,
};

use crate::kit::*;

/// L5: what is left when nothing is left. An estimate of nothing still asks.
#[test]
fn an_exhausted_limit_denies_an_estimate_of_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(5), per("1m")));
    kit.limit("key:k", "rate", RateLimit::new().tokens(5, per("1m")).requests(9, per("1m")));
    let _at_the_edge = kit.admit(&["key:k"], &nothing());
    kit.bump(&["key:k"], &cost(5));
    let denied = kit.deny(&["key:k"], &nothing());
    assert_eq!(named(&denied), [("budget".into(), Dimension::Money)]);
    assert_eq!(only(&denied).requested, 0);
}

/// L5: a limit of zero is exhausted from the beginning, in every dimension.
#[test]
fn a_limit_of_zero_admits_nothing_ever() {
    let kit = kit();
    kit.limit("key:money", "l1", Budget::new(Money::ZERO, per("1m")));
    kit.limit("key:tokens", "l2", RateLimit::new().tokens(0, per("1m")));
    kit.limit("key:requests", "l3", RateLimit::new().requests(0, per("1m")));
    kit.limit("key:flight", "l4", Concurrency::new(0));
    for key in ["key:money", "key:tokens", "key:requests", "key:flight"] {
        let denied = kit.deny(&[key], &nothing());
        assert_eq!(denied.retry(), Retry::Never, "{key}");
        assert_eq!(denied.retry_after(), None, "{key}");
    }
    assert_eq!(kit.read("l1").percent(), Some(100));
}

/// The last unit is admitted, and the one after it is not: sequential requests reach the limit
/// exactly.
#[test]
fn exactly_the_limit_is_admitted_in_sequence() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().requests(10, per("1m")));
    let reservations: Vec<_> = (0..10).map(|_| kit.admit(&["key:k"], &tokens(0))).collect();
    assert_eq!(kit.counts("rate"), (0, 10));
    let denied = only(&kit.deny(&["key:k"], &tokens(0)));
    assert_eq!((denied.held, denied.limit_amount, denied.requested), (10, Some(10), 1));
    for reservation in reservations {
        assert_eq!(reservation.settle(&tokens(0)).overshoots(), []);
    }
    assert_eq!(kit.counts("rate"), (10, 0));
}

/// L5: only what was used beyond the hold overshoots, by exactly the excess, and says so.
#[test]
fn a_settle_above_its_hold_overshoots_by_exactly_the_excess() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    let reservation = kit.admit(&["key:k"], &cost(8));
    let settlement = reservation.settle(&cost(13));
    let [overshoot] = settlement.overshoots() else { panic!("{settlement:?}") };
    assert_eq!((overshoot.amount, overshoot.uncounted), (3, 0));
    assert_eq!(overshoot.limit, id("budget"));
    assert!(!settlement.is_late());
    let counter = kit.read("budget");
    assert_eq!((counter.settled, counter.remaining(), counter.percent()), (13, Some(0), Some(130)));
}

/// A bump is a bill: it passes the limit, and reports by how much.
#[test]
fn a_bump_reports_how_far_it_went_above_the_limit() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    let route = kit.route(&["key:k"]);
    assert_eq!(kit.engine.bump(&route, &cost(10)).overshoots(), []);
    assert_eq!(kit.engine.bump(&route, &cost(7)).overshoots()[0].amount, 7);
    assert_eq!(kit.engine.bump(&route, &nothing()).overshoots(), [], "nothing is above nothing");
    assert_eq!(kit.read("budget").percent(), Some(170));
}

/// A counter books up to 2^62-1 and stays there; what it could not count is reported, not wrapped.
#[test]
fn booking_stops_at_the_most_that_can_be_counted_and_says_what_is_missing() {
    let kit = kit();
    kit.limit("key:k", "money", Budget::uncapped(per("1m")));
    kit.limit("key:k", "tokens", RateLimit::new().tokens(None, per("1m")));
    let route = kit.route(&["key:k"]);
    let most = Usage { cost: Money::MAX, input_tokens: SETTLED_MAX, ..Usage::default() };
    assert_eq!(kit.engine.bump(&route, &most).overshoots(), []);
    assert_eq!(kit.counts("money"), (SETTLED_MAX, 0));
    let more = Usage { cost: nanos(3), input_tokens: u64::MAX, output_tokens: 9, ..most };
    let settlement = kit.engine.bump(&route, &more);
    let uncounted: Vec<u64> = settlement.overshoots().iter().map(|o| o.uncounted).collect();
    assert_eq!(uncounted, [3, u64::MAX], "more tokens than 64 bits count as the most they hold");
    assert_eq!((kit.counts("money").0, kit.counts("tokens").0), (SETTLED_MAX, SETTLED_MAX));
}

/// The same for a settle: the hold is given back in full, what is counted is counted.
#[test]
fn a_settle_at_the_edge_gives_its_hold_back() {
    let kit = kit();
    kit.limit("key:k", "tokens", RateLimit::new().tokens(None, per("1m")));
    kit.bump(&["key:k"], &tokens(SETTLED_MAX - 1));
    let reservation = kit.admit(&["key:k"], &tokens(5));
    let settlement = reservation.settle(&tokens(4));
    assert_eq!(settlement.overshoots()[0].uncounted, 3);
    assert_eq!(kit.counts("tokens"), (SETTLED_MAX, 0));
}

/// L5: more than 2^50-1 cannot be held. It is an explicit denial on every limit, even on one that
/// never denies, and it says whether waiting helps.
#[test]
fn more_than_can_be_held_is_an_explicit_denial() {
    let kit = kit();
    kit.limit("key:k", "tokens", RateLimit::new().tokens(None, per("1m")));
    let most = kit.admit(&["key:k"], &tokens(HELD_MAX));
    let denied = only(&kit.deny(&["key:k"], &tokens(1)));
    assert_eq!((denied.held, denied.limit_amount), (HELD_MAX, None));
    assert_eq!(denied.retry, Retry::OnRelease);
    assert_eq!(
        denied.to_string(),
        "tokens of key:k: 1 requested, 0 settled and 1125899906842623 held, no more tokens can be \
         held; fits when requests under way have ended"
    );
    drop(most);
    assert_eq!(only(&kit.deny(&["key:k"], &tokens(HELD_MAX + 1))).retry, Retry::Never);
    let _fits = kit.admit(&["key:k"], &tokens(HELD_MAX));
}

/// The same where the limit itself is that wide.
#[test]
fn an_estimate_wider_than_a_hold_never_fits_under_the_widest_limit() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(Money::MAX, per("1m")));
    let usage = Usage { cost: Money::MAX, ..Usage::default() };
    assert_eq!(only(&kit.deny(&["key:k"], &usage)).retry, Retry::Never);
    kit.bump(&["key:k"], &usage);
    assert_eq!(only(&kit.deny(&["key:k"], &usage)).retry, Retry::Never, "nor in the next window");
    let later = instant("2026-03-01T00:01:00Z");
    assert_eq!(only(&kit.deny(&["key:k"], &cost(1))).retry, Retry::At(later));
    assert_eq!(kit.counts("budget"), (SETTLED_MAX, 0));
}

/// A sum that does not fit 64 bits is a denial, never a wrap to something small.
#[test]
fn absurd_estimates_do_not_wrap_into_admissible_ones() {
    let kit = kit();
    let weights = TokenWeights { input: u32::MAX, ..TokenWeights::default() };
    let limit = RateLimit::new().tokens(100, per("1m")).requests(5, per("1m")).weights(weights);
    kit.limit("key:k", "rate", limit);
    let usage = Usage {
        input_tokens: u64::MAX,
        output_tokens: u64::MAX,
        cached_tokens: u64::MAX,
        cache_write_tokens: u64::MAX,
        requests: u64::MAX,
        cost: Money::MAX,
    };
    let denied = kit.deny(&["key:k"], &usage);
    let requested: Vec<u64> = denied.bindings().map(|b| b.requested).collect();
    assert_eq!(requested, [u64::MAX, u64::MAX]);
    assert_eq!(denied.retry(), Retry::Never);
    assert_eq!(kit.counts("rate"), (0, 0));
}

/// L8: a refund never takes a counter below zero, however little was used of however much.
#[test]
fn a_settle_at_nothing_gives_all_of_it_back() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(10), per("1m")));
    kit.limit("key:k", "flight", Concurrency::new(1));
    let reservation = kit.admit(&["key:k"], &cost(10));
    assert_eq!(kit.counts("flight"), (0, 1));
    let _ = reservation.settle(&nothing());
    assert_eq!((kit.counts("budget"), kit.counts("flight")), ((0, 0), (0, 0)));
    let _again = kit.admit(&["key:k"], &cost(10));
}

/// Definitions that cannot be are refused whole, and leave nothing behind.
#[test]
fn definitions_out_of_range_are_errors_that_say_what_is_accepted() {
    let kit = kit();
    kit.owner("key:k", &[]);
    let refused = |limit: tollkeeper::Limit| match kit.engine.upsert_limit(
        &owner("key:k"),
        &id("l"),
        limit,
    ) {
        Err(TopologyError::Limit { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    let budget = || Budget::new(nanos(1), per("1m"));
    assert_eq!(refused(budget().thresholds(&[80, 0]).into()), LimitError::Threshold { found: 0 });
    assert_eq!(refused(budget().thresholds(&[101]).into()), LimitError::Threshold { found: 101 });
    assert_eq!(
        refused(budget().thresholds(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).into()),
        LimitError::Thresholds { found: 9 }
    );
    assert_eq!(refused(RateLimit::new().into()), LimitError::NothingCounted);
    let weightless = TokenWeights { input: 0, output: 0, cached: 0, cache_write: 0 };
    let limit = RateLimit::new().tokens(1, per("1m")).weights(weightless);
    assert_eq!(refused(limit.into()), LimitError::WeightlessTokens);
    let found = SETTLED_MAX + 1;
    let too_large = |dimension| LimitError::TooLarge { dimension, found };
    let tokens = RateLimit::new().tokens(found, per("1m"));
    assert_eq!(refused(tokens.into()), too_large(Dimension::Tokens));
    let requests = RateLimit::new().tokens(1, per("1m")).requests(found, per("1m"));
    assert_eq!(refused(requests.into()), too_large(Dimension::Requests));
    assert_eq!(refused(Concurrency::new(found).into()), too_large(Dimension::InFlight));
    assert_eq!(
        too_large(Dimension::Tokens).to_string(),
        "a limit of 4611686018427387904 tokens is too large: at most 4611686018427387903 can be \
         counted"
    );
    assert_eq!(kit.engine.usage(&id("l")), None, "nothing was created");
}

/// Thresholds may be the same, and in any order; each fires once in a window.
#[test]
fn thresholds_in_any_order_and_twice_fire_once_each() {
    let kit = kit();
    let limit = Budget::new(nanos(10), per("1m")).thresholds(&[90, 50, 90, 100, 1]);
    kit.limit("key:k", "budget", limit);
    for _ in 0..3 {
        kit.bump(&["key:k"], &cost(4));
    }
    let fired = |kit: &Kit| -> Vec<_> {
        let of = |event: tollkeeper::Event| match event.what {
            tollkeeper::EventKind::Threshold { percent, settled, .. } => Some((percent, settled)),
            _ => None,
        };
        kit.happened().into_iter().filter_map(of).collect()
    };
    assert_eq!(fired(&kit), [(1, 4), (50, 8), (90, 12), (100, 12)]);
    kit.bump(&["key:k"], &cost(1));
    assert_eq!(fired(&kit), [], "once in a window");
}
