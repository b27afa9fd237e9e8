//! Models of holds: their ends against rolls, and against each other.

use super::scene::*;
use crate::admission::{self, Actual};
use crate::entry::Entry;
use crate::holds::Holds;
use crate::sync::Arc;
use crate::sync::testing::{Unmodelled, model, thread};
use crate::time::Timestamp;
use crate::units::Dimension::Tokens;

fn hold(limit: &Arc<Entry>, n: u64, log: &Log, now: Timestamp) -> Option<Holds> {
    reserve(&route([limit]), &tokens(n), &log.at(now)).ok()
}

fn end(limit: &Arc<Entry>, mut holds: Holds, actual: Actual, log: &Log, now: Timestamp) {
    settle(&route([limit]), &mut holds, actual, &log.at(now));
}

/// L5: two holds that each fit alone and not together.
#[test]
fn loom_two_holds_at_the_last_unit() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let theirs = thread::spawn(move || hold(&other, 6, &their_log, FIRST).is_some());
        let mine = hold(&limit, 6, &log, FIRST).is_some();
        assert_ne!(mine, theirs.join().unwrap(), "the limit was passed, or nobody admitted");
        assert_eq!(counts(&limit, TOKENS, FIRST), (0, 6));
    });
}

/// L8: a hold that races with the end of its window is in one of the two, whole.
#[test]
fn loom_hold_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        let holds = hold(&limit, 6, &log, FIRST).expect("both windows have room");
        roller.join().unwrap();
        let remembered = holds.windows(1);

        let (_, held) = counts(&limit, TOKENS, SECOND);
        let closed: u64 = log.closed(&limit, Tokens).iter().sum();
        assert_eq!(closed + held, 6, "the hold is in no window, or in two");
        let late = remembered == [0];
        assert_eq!(held, if late { 0 } else { 6 }, "it is in the window it remembers");
    });
}

/// L8: a settle that races with the end of its window. Either all of it is booked there, or what
/// was held stays there and only the excess is in the new one.
#[test]
fn loom_settle_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let holds = hold(&limit, 6, &log, FIRST).expect("empty");
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        end(&limit, holds, Actual::Used(&tokens(8)), &log, FIRST);
        roller.join().unwrap();

        let (settled, held) = counts(&limit, TOKENS, SECOND);
        let closed = log.closed(&limit, Tokens);
        assert_eq!(held, 0, "the hold was not ended");
        assert!(
            (closed.as_slice(), settled) == (&[8], 0) || (closed.as_slice(), settled) == (&[6], 2),
            "closed {closed:?}, current {settled}"
        );
    });
}

/// L8: a refund that comes too late stays in the window that held it; the next one is untouched.
#[test]
fn loom_refund_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let holds = hold(&limit, 6, &log, FIRST).expect("empty");
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let next = thread::spawn(move || hold(&other, 3, &their_log, SECOND).is_some());
        end(&limit, holds, Actual::Used(&tokens(1)), &log, FIRST);
        assert!(next.join().unwrap(), "the second window has room, whatever the first held");

        assert_eq!(counts(&limit, TOKENS, SECOND), (0, 3), "a refund leaked into a newer window");
        let closed = log.closed(&limit, Tokens);
        assert!(closed == [1] || closed == [6], "closed {closed:?}");
    });
}

/// L7, L1: a settle, a void and an uncertain end of three reservations of one limit.
#[test]
fn loom_settle_void_and_drop() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let settled = hold(&limit, 2, &log, FIRST).expect("empty");
        let voided = hold(&limit, 3, &log, FIRST).expect("room");
        let dropped = hold(&limit, 4, &log, FIRST).expect("room");
        let spawn = |holds: Holds, actual: Actual<'static>| {
            let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
            thread::spawn(move || end(&other, holds, actual, &their_log, FIRST))
        };
        let void = spawn(voided, Actual::Nothing);
        let drop = spawn(dropped, Actual::AsHeld);
        end(&limit, settled, Actual::Used(&tokens(1)), &log, FIRST);
        void.join().unwrap();
        drop.join().unwrap();
        assert_eq!(counts(&limit, TOKENS, FIRST), (5, 0), "each ends once, each as it ended");
    });
}

/// L8: an extension that races with the end of the window.
#[test]
fn loom_extend_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(10));
        let mut holds = hold(&limit, 4, &log, FIRST).expect("empty");
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        let extended = admission::extend(&route([&limit]), &mut holds, &tokens(3), &log.at(FIRST));
        assert!(extended.is_ok(), "both windows have room");
        roller.join().unwrap();
        end(&limit, holds, Actual::Used(&tokens(9)), &log, SECOND);

        let (settled, held) = counts(&limit, TOKENS, SECOND);
        let closed = log.closed(&limit, Tokens);
        assert_eq!(held, 0);
        assert_eq!(closed.iter().sum::<u64>() + settled, 9, "closed {closed:?}, then {settled}");
        assert!(closed == [7] || closed == [4], "what was held stays: {closed:?}");
    });
}
