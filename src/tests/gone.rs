//! Windows and counters that are gone when somebody comes back to them.

use super::scene::*;
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
    let hold = limit.hold(TOKENS, 5, &log.at(FIRST)).ok().expect("there is room");
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
    let hold = limit.hold(TOKENS, 5, &log.at(FIRST)).ok().expect("there is room");
    for window in 1..=1 << 15 {
        assert!(limit.roll(&log.at(Timestamp::from_millis(window))));
    }
    let now = Timestamp::from_millis(1 << 15);
    assert!(limit.hold(TOKENS, 7, &log.at(now)).is_ok());
    limit.withdraw(TOKENS, Tokens, hold, &log.at(now));
    assert_eq!(counts(&limit, TOKENS, now), (0, 7), "another request's hold was taken back");
    assert_eq!(log.count(|notice| matches!(notice, Notice::Withdrawn { amount: 5, .. })), 1);
}
