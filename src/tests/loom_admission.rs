//! Models of one request against two limits.

use super::scene::*;
use crate::admission::Actual;
use crate::entry::Notice;
use crate::sync::Arc;
use crate::sync::testing::{Unmodelled, model, thread};
use crate::units::Dimension::Tokens;

/// L6: a request that is refused by the second limit leaves nothing on the first, while another
/// holds there.
#[test]
fn loom_refused_above_leaves_nothing_below() {
    model(|| {
        let log = Log::new();
        let (low, high) = (entry("low", token_plan(10)), entry("high", token_plan(1)));
        let (other, their_log) = (Arc::clone(&low), Unmodelled::clone(&log));
        let below = thread::spawn(move || {
            reserve(&route([&other]), &tokens(6), &their_log.at(FIRST)).is_ok()
        });
        let both = route([&low, &high]);
        let refused = reserve(&both, &tokens(5), &log.at(FIRST));
        let admitted = below.join().unwrap();

        assert!(refused.is_err(), "the second limit has room for one");
        // The other may have been refused because of the hold that was taken back: documented.
        let expected = if admitted { 6 } else { 0 };
        assert_eq!(counts(&low, TOKENS, FIRST), (0, expected), "something stayed held");
        assert_eq!(counts(&high, TOKENS, FIRST), (0, 0));
    });
}

/// L6, L2: the window of the first limit closes while the request is being refused by the second.
/// The closed total less what was withdrawn is what was admitted: nothing.
#[test]
fn loom_a_refused_request_is_in_no_closed_total() {
    model(|| {
        let log = Log::new();
        let (low, high) = (entry("low", token_plan(10)), entry("high", token_plan(1)));
        let (other, their_log) = (Arc::clone(&low), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        let both = route([&low, &high]);
        let refused = reserve(&both, &tokens(5), &log.at(FIRST));
        roller.join().unwrap();

        assert!(refused.is_err());
        assert_eq!(counts(&low, TOKENS, SECOND), (0, 0), "held in the new window");
        assert!(log.closed(&low, Tokens).iter().all(|&total| total == 0), "booked for nobody");
        let withdrawn = log.count(|notice| matches!(notice, Notice::Withdrawn { .. }));
        assert!(withdrawn <= 1);
    });
}

/// L5, L6: two requests over the same two limits in opposite order. None waits for the other, at
/// most one is admitted, and what is held is what was admitted.
#[test]
fn loom_opposite_orders_do_not_deadlock() {
    model(|| {
        let log = Log::new();
        let (a, b) = (entry("a", token_plan(1)), entry("b", token_plan(1)));
        let opposite = route([&b, &a]);
        let their_log = Unmodelled::clone(&log);
        let theirs =
            thread::spawn(move || reserve(&opposite, &tokens(1), &their_log.at(FIRST)).is_ok());
        let mine = reserve(&route([&a, &b]), &tokens(1), &log.at(FIRST));
        let admitted = usize::from(mine.is_ok()) + usize::from(theirs.join().unwrap());

        assert!(admitted <= 1, "one unit was admitted twice");
        let held = u64::try_from(admitted).unwrap();
        assert_eq!(counts(&a, TOKENS, FIRST), (0, held));
        assert_eq!(counts(&b, TOKENS, FIRST), (0, held));
    });
}

/// L1 over a route: settled on both limits while one of them rolls.
#[test]
fn loom_settle_over_a_route_against_roll() {
    model(|| {
        let log = Log::new();
        let (low, high) = (entry("low", token_plan(10)), entry("high", token_plan(10)));
        let both = route([&low, &high]);
        let mut holds = reserve(&both, &tokens(4), &log.at(FIRST)).ok().expect("empty");
        let (other, their_log) = (Arc::clone(&high), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        settle(&both, &mut holds, Actual::Used(&tokens(5)), &log.at(FIRST));
        roller.join().unwrap();

        assert_eq!(counts(&low, TOKENS, FIRST), (5, 0));
        let (settled, held) = counts(&high, TOKENS, SECOND);
        let closed: u64 = log.closed(&high, Tokens).iter().sum();
        assert_eq!((closed + settled, held), (5, 0));
    });
}

/// Two requests at the last unit of a limit that is not hard: both are admitted, and exactly the
/// one is reported that a hard limit would have refused.
#[test]
fn loom_one_of_two_passes_a_soft_limit() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", soft_plan(1));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let theirs = thread::spawn(move || {
            reserve(&route([&other]), &tokens(1), &their_log.at(FIRST)).is_ok()
        });
        let mine = reserve(&route([&limit]), &tokens(1), &log.at(FIRST)).is_ok();

        assert!(mine && theirs.join().unwrap());
        assert_eq!(counts(&limit, TOKENS, FIRST), (0, 2));
        let second =
            |notice: &Notice| matches!(notice, Notice::Passed { counts, .. } if counts.held == 1);
        assert_eq!(log.count(second), 1);
        assert_eq!(log.count(|notice| matches!(notice, Notice::Passed { .. })), 1);
    });
}

/// L6: a request that passes a soft limit and is then refused by a hard one leaves nothing on the
/// soft one and is not reported, while another one passes it.
#[test]
fn loom_what_is_refused_after_all_passed_no_limit() {
    model(|| {
        let log = Log::new();
        let (soft, hard) = (entry("soft", soft_plan(1)), entry("hard", token_plan(1)));
        let (other, their_log) = (Arc::clone(&soft), Unmodelled::clone(&log));
        let theirs = thread::spawn(move || {
            reserve(&route([&other]), &tokens(2), &their_log.at(FIRST)).is_ok()
        });
        let refused = reserve(&route([&soft, &hard]), &tokens(3), &log.at(FIRST)).is_err();

        assert!(refused && theirs.join().unwrap());
        assert_eq!(counts(&soft, TOKENS, FIRST), (0, 2));
        let of_two = |notice: &Notice| matches!(notice, Notice::Passed { requested: 2, .. });
        assert_eq!(log.count(of_two), 1);
        assert_eq!(log.count(|notice| matches!(notice, Notice::Passed { .. })), 1);
    });
}

/// L9, L5: a request meets the change that makes a limit hard. It is admitted by what was or
/// refused by what is; once the change has returned, nothing passes any more, and usage stayed.
#[test]
fn loom_a_limit_becomes_hard_under_a_request() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", soft_plan(1));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let operator = thread::spawn(move || {
            let at = their_log.at(FIRST);
            assert!(other.replan(&token_plan(1), None, &at));
            reserve(&route([&other]), &tokens(2), &at).is_err()
        });
        let admitted = reserve(&route([&limit]), &tokens(2), &log.at(FIRST)).is_ok();

        assert!(operator.join().unwrap(), "a hard limit was passed");
        assert_eq!(counts(&limit, TOKENS, FIRST), (0, if admitted { 2 } else { 0 }));
        let passed = log.count(|notice| matches!(notice, Notice::Passed { .. }));
        assert_eq!(passed, usize::from(admitted));
    });
}
