//! Windows and counters that are gone when somebody comes back to them.

use super::scene::*;
use crate::admission::{self, Actual};
use crate::entry::{Notice, Reset};
use crate::plan::Plan;
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::Dimension::Tokens;

/// A rate limit that had tokens and has only requests now.
fn requests_only() -> Arc<Plan> {
    let both = rate_plan(100, 100);
    Arc::new(Plan { counters: [None, both.counters[1].clone()], ..Plan::clone(&both) })
}

/// L2: a reset that comes after the counter has gone ends nothing, and delivers no total.
#[test]
fn a_counter_that_is_gone_is_not_reset() {
    let log = Log::new();
    let limit = entry("l", rate_plan(100, 100));
    bump(&limit, &tokens(3), &log.at(FIRST));
    assert!(matches!(limit.reset(TOKENS, None, &log.at(FIRST)), Reset::Done { total: 3, .. }));
    assert!(limit.replan(&requests_only(), None, &log.at(FIRST)));
    assert_eq!(limit.reset(TOKENS, None, &log.at(FIRST)), Reset::Gone);
}

/// L6: a hold that is taken back after its window has closed is reported, whatever the limit
/// counts by then.
#[test]
fn what_is_withdrawn_is_reported_after_its_counter_has_gone() {
    let log = Log::new();
    let limit = entry("l", rate_plan(100, 100));
    let hold = limit.hold(TOKENS, 5, &log.at(FIRST), |_| ()).ok().expect("there is room");
    assert!(matches!(limit.reset(TOKENS, None, &log.at(FIRST)), Reset::Done { total: 5, .. }));
    assert!(limit.replan(&requests_only(), None, &log.at(FIRST)));
    limit.withdraw(TOKENS, Tokens, hold, &log.at(FIRST));
    assert_eq!(log.count(|notice| matches!(notice, Notice::Withdrawn { amount: 5, .. })), 1);
}

/// L8: a hold is taken back from its own window, and not from the one whose tag in the word is the
/// same.
#[test]
fn a_hold_is_not_taken_out_of_a_window_whose_tag_is_alike() {
    let log = Log::new();
    let limit = entry("l", token_plan(100));
    let hold = limit.hold(TOKENS, 5, &log.at(FIRST), |_| ()).ok().expect("there is room");
    for window in 1..=1 << 15 {
        assert!(limit.roll(&log.at(Timestamp::from_millis(window))));
    }
    let now = Timestamp::from_millis(1 << 15);
    assert!(limit.hold(TOKENS, 7, &log.at(now), |_| ()).is_ok());
    limit.withdraw(TOKENS, Tokens, hold, &log.at(now));
    assert_eq!(counts(&limit, TOKENS, now), (0, 7), "another request's hold was taken back");
    assert_eq!(log.count(|notice| matches!(notice, Notice::Withdrawn { amount: 5, .. })), 1);
}

/// A route that was resolved when the limit had tokens reserves after it has lost them: nothing is
/// held there, everything else is as ever. L8: if it has them again by then, what is used is booked
/// in the window of that moment, once.
#[test]
fn what_was_not_held_because_the_counter_was_gone_is_booked_when_it_is_back() {
    let log = Log::new();
    // What is extended, and what the counter that was gone then has booked.
    for (more, back_before) in [(None, true), (Some(3), true), (None, false), (Some(3), false)] {
        let ends = [(Actual::Used(&tokens(7)), 7), (Actual::Nothing, 0), (Actual::AsHeld, 5)];
        for (actual, others) in ends {
            let (limit, other) = (entry("l", rate_plan(100, 100)), entry("o", token_plan(100)));
            let stops = route([&limit, &other]);
            bump(&limit, &tokens(1), &log.at(FIRST));
            assert!(limit.replan(&requests_only(), None, &log.at(FIRST)));
            let mut holds = reserve(&stops, &tokens(5), &log.at(FIRST)).ok().expect("room");
            assert_eq!(holds.len(), 3);
            assert_eq!(counts(&limit, REQUESTS, FIRST), (1, 1));
            assert_eq!(counts(&other, TOKENS, FIRST), (0, 5));
            let again = || assert!(limit.replan(&rate_plan(100, 100), None, &log.at(FIRST)));
            if back_before {
                again();
            }
            let extended = more.unwrap_or_default();
            if let Some(n) = more {
                let more = crate::units::Usage { requests: 0, ..tokens(n) };
                let done = admission::extend(&stops, &mut holds, &more, &log.at(FIRST));
                assert!(done.is_ok());
                assert_eq!(counts(&other, TOKENS, FIRST), (0, 5 + n));
            }
            let held = if back_before { extended } else { 0 };
            if !back_before {
                again();
            }
            assert_eq!(counts(&limit, TOKENS, FIRST), (0, held));
            settle(&stops, &mut holds, actual, &log.at(FIRST));
            assert_eq!(holds.len(), 0);
            let (as_held, of_others) = match actual {
                Actual::AsHeld => (held, others + extended),
                _ => (others, others),
            };
            assert_eq!(counts(&limit, TOKENS, FIRST), (as_held, 0), "{more:?} {actual:?}");
            assert_eq!(counts(&other, TOKENS, FIRST), (of_others, 0), "{more:?} {actual:?}");
            let requests = u64::from(!matches!(actual, Actual::Nothing));
            assert_eq!(counts(&limit, REQUESTS, FIRST), (1 + requests, 0));
        }
    }
}

/// L6: refused further along, it takes back what it held and nothing of what it did not.
#[test]
fn a_refusal_behind_a_counter_that_is_gone_takes_back_what_was_held() {
    let log = Log::new();
    let (limit, other) = (entry("l", rate_plan(100, 100)), entry("o", token_plan(100)));
    let tight = entry("t", token_plan(4));
    let (some, all) = (route([&limit, &other]), route([&limit, &other, &tight]));
    assert!(limit.replan(&requests_only(), None, &log.at(FIRST)));
    let mut held = reserve(&some, &tokens(5), &log.at(FIRST)).ok().expect("room");
    assert!(reserve(&all, &tokens(5), &log.at(FIRST)).is_err());
    assert_eq!(counts(&limit, REQUESTS, FIRST), (0, 1));
    assert_eq!(counts(&other, TOKENS, FIRST), (0, 5));
    assert_eq!(counts(&tight, TOKENS, FIRST), (0, 0));
    assert_eq!(log.count(|notice| matches!(notice, Notice::Withdrawn { .. })), 0);
    settle(&some, &mut held, Actual::Nothing, &log.at(FIRST));
    assert_eq!((counts(&limit, REQUESTS, FIRST), counts(&other, TOKENS, FIRST)), ((0, 0), (0, 0)));
}
