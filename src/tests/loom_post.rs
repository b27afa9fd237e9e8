//! Models of what has been written down and is booked in its window or not at all.

use super::scene::*;
use crate::entry::{Entry, Hold};
use crate::sync::Arc;
use crate::sync::testing::{Unmodelled, model, thread};
use crate::time::Timestamp;
use crate::units::Dimension::Tokens;

/// Holds tokens in the window of generation zero.
fn hold(limit: &Arc<Entry>, n: u64, log: &Log) -> Hold {
    match limit.hold(TOKENS, n, &log.at(FIRST), |_| ()) {
        Ok(hold) if hold.is_in(0) => hold,
        _ => panic!("the first window has room"),
    }
}

fn post(limit: &Entry, hold: Hold, amount: u64, log: &Log, now: Timestamp) -> bool {
    limit.post(TOKENS, hold, 0, amount, &log.at(now)).is_some()
}

/// L8, L10: it is booked in the window that it was written for, or what was held is in the total
/// of that, and nothing is in the next one.
#[test]
fn loom_post_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let held = hold(&limit, 6, &log);
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        let booked = post(&limit, held, 8, &log, FIRST);
        roller.join().unwrap();

        assert_eq!(log.closed(&limit, Tokens), [if booked { 8 } else { 6 }]);
        assert_eq!(counts(&limit, TOKENS, SECOND), (0, 0), "it leaked into a newer window");
    });
}

/// L1: two that are booked at the same time are both booked, and end both holds.
#[test]
fn loom_post_against_post() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let (mine, theirs) = (hold(&limit, 3, &log), hold(&limit, 4, &log));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let poster = thread::spawn(move || post(&other, theirs, 5, &their_log, FIRST));
        assert!(post(&limit, mine, 1, &log, FIRST));
        assert!(poster.join().unwrap());
        assert_eq!(counts(&limit, TOKENS, FIRST), (6, 0));
    });
}

/// What a repair takes off is taken off the window it was seen in, once, or not at all.
#[test]
fn loom_adjust_against_roll_and_bump() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        bump(&limit, &tokens(7), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || bump(&other, &tokens(2), &their_log.at(SECOND)));
        let adjusted = limit.adjust(TOKENS, 0, -4, &log.at(FIRST));
        roller.join().unwrap();

        assert_eq!(log.closed(&limit, Tokens), [if adjusted { 3 } else { 7 }]);
        assert_eq!(counts(&limit, TOKENS, SECOND), (2, 0));
    });
}
