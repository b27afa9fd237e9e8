//! Models of one limit: booking against rolls, resets and changes.

use super::scene::*;
use crate::entry::{Notice, Reset};
use crate::plan::Plan;
use crate::sync::Arc;
use crate::sync::testing::{Unmodelled, model, thread};
use crate::units::Dimension::{Requests, Tokens};

/// L1, L2, L13: bumps on both sides of a boundary. Each is in the window of its instant unless the
/// window has moved on; closed totals and the current window add up, and one notice is given.
#[test]
fn loom_bump_against_roll() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let late = thread::spawn(move || {
            bump(&other, &tokens(5), &their_log.at(SECOND));
        });
        bump(&limit, &tokens(2), &log.at(FIRST));
        late.join().unwrap();

        let (settled, _) = counts(&limit, TOKENS, SECOND);
        let closed = log.closed(&limit, Tokens);
        assert_eq!(closed.iter().sum::<u64>() + settled, 7, "a bump was lost at the boundary");
        assert_eq!(log.closings(&limit, Tokens), 1, "the first window closed once");
        assert!(settled == 5 || settled == 7, "the second window has what came at its instant");
    });
}

/// L1: three instants in three windows, so that words are found behind by threads that come from
/// either side.
#[test]
fn loom_bumps_over_two_rolls() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let late = thread::spawn(move || {
            bump(&other, &tokens(5), &their_log.at(THIRD));
        });
        bump(&limit, &tokens(1), &log.at(FIRST));
        bump(&limit, &tokens(2), &log.at(SECOND));
        late.join().unwrap();

        let (settled, _) = counts(&limit, TOKENS, THIRD);
        let closed: u64 = log.closed(&limit, Tokens).iter().sum();
        assert_eq!(closed + settled, 8, "a bump was lost between three windows");
    });
}

/// L1: a reset ends the window under a bump.
#[test]
fn loom_bump_against_reset() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let bumper = thread::spawn(move || {
            bump(&other, &tokens(2), &their_log.at(FIRST));
        });
        let reset = limit.reset(TOKENS, None, &log.at(FIRST));
        bumper.join().unwrap();

        let Reset::Done { total, .. } = reset else { panic!("nobody else ends the window") };
        let (settled, _) = counts(&limit, TOKENS, FIRST);
        assert_eq!(total + settled, 2, "the reset erased the bump or counted it twice");
        assert_eq!(log.closed(&limit, Tokens), [total], "the notice and the outcome agree");
    });
}

/// L2: of two resets of one window one succeeds, with the exact total; the other changes nothing.
#[test]
fn loom_two_resets_have_one_winner() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        bump(&limit, &tokens(3), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let theirs = thread::spawn(move || other.reset(TOKENS, Some(0), &their_log.at(FIRST)));
        let mine = limit.reset(TOKENS, Some(0), &log.at(FIRST));
        let theirs = theirs.join().unwrap();

        let totals: Vec<u64> = [mine, theirs]
            .into_iter()
            .filter_map(|reset| match reset {
                Reset::Done { total, .. } => Some(total),
                Reset::Lost { .. } | Reset::Gone => None,
            })
            .collect();
        assert_eq!(totals, [3], "one winner, and it learns the exact total");
        assert_eq!(log.closed(&limit, Tokens), [3]);
        assert_eq!(log.closings(&limit, Tokens), 1, "the total is delivered once");
        assert_eq!(limit.read(TOKENS, FIRST).window.generation, 1, "the loser ended nothing");
    });
}

/// L3: a reset that means the first window leaves the second alone, whatever its clock says.
#[test]
fn loom_a_stale_reset_erases_nothing_newer() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let stale = thread::spawn(move || other.reset(TOKENS, Some(0), &their_log.at(FIRST)));
        bump(&limit, &tokens(4), &log.at(SECOND));
        let stale = stale.join().unwrap();

        let (settled, _) = counts(&limit, TOKENS, SECOND);
        assert_eq!(settled, 4, "a reset of the window before erased it ({stale:?})");
    });
}

/// L4: resets of the two dimensions do not see each other; both succeed.
#[test]
fn loom_resets_of_two_dimensions_are_independent() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", rate_plan(100, 100));
        bump(&limit, &tokens(3), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let requests = thread::spawn(move || other.reset(REQUESTS, None, &their_log.at(FIRST)));
        let of_tokens = limit.reset(TOKENS, None, &log.at(FIRST));
        let of_requests = requests.join().unwrap();

        assert!(matches!(of_tokens, Reset::Done { total: 3, .. }), "{of_tokens:?}");
        assert!(matches!(of_requests, Reset::Done { total: 1, .. }), "{of_requests:?}");
        assert_eq!(log.closed(&limit, Tokens), [3]);
        assert_eq!(log.closed(&limit, Requests), [1]);
    });
}

/// L4: a reset of one dimension touches nothing of the other while it is being bumped.
#[test]
fn loom_a_reset_of_tokens_leaves_requests_alone() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", rate_plan(100, 100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let bumper = thread::spawn(move || bump(&other, &tokens(2), &their_log.at(FIRST)));
        let reset = limit.reset(TOKENS, None, &log.at(FIRST));
        bumper.join().unwrap();

        assert!(matches!(reset, Reset::Done { .. }));
        assert_eq!(counts(&limit, REQUESTS, FIRST), (1, 0), "requests were reset too");
        assert_eq!(limit.read(REQUESTS, FIRST).window.generation, 0);
    });
}

/// L9: a change of the limit loses no bump that races with it, and invents none.
#[test]
fn loom_bump_against_a_change_of_the_limit() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        bump(&limit, &tokens(1), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let bumper = thread::spawn(move || bump(&other, &tokens(2), &their_log.at(FIRST)));
        assert!(limit.replan(&token_plan(50), None, &log.at(FIRST)));
        bumper.join().unwrap();

        assert_eq!(counts(&limit, TOKENS, FIRST), (3, 0), "usage was copied, not shared");
        assert_eq!(limit.read(TOKENS, FIRST).window.limit, 50);
    });
}

/// L9, L2: a change of the limit and a reset race for the snapshot; both are in force afterwards.
#[test]
fn loom_a_reset_against_a_change_of_the_limit() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        bump(&limit, &tokens(1), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let reset = thread::spawn(move || other.reset(TOKENS, Some(0), &their_log.at(FIRST)));
        assert!(limit.replan(&token_plan(50), None, &log.at(FIRST)));
        let reset = reset.join().unwrap();

        assert!(matches!(reset, Reset::Done { total: 1, .. }), "its window still stood: {reset:?}");
        let read = limit.read(TOKENS, FIRST);
        assert_eq!((read.window.limit, read.counts.settled), (50, 0));
    });
}

/// L9, L5: when a change of the limit has returned, it is what decides, even if another thread
/// copied the old one meanwhile.
#[test]
fn loom_a_changed_limit_decides_when_the_call_has_returned() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", token_plan(100));
        bump(&limit, &tokens(1), &log.at(FIRST));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let bumper = thread::spawn(move || bump(&other, &tokens(1), &their_log.at(FIRST)));
        assert!(limit.replan(&token_plan(3), None, &log.at(FIRST)));
        bumper.join().unwrap();

        let held = reserve(&route([&limit]), &tokens(2), &log.at(FIRST));
        assert!(held.is_err(), "admitted by the limit that was in force before");
        assert_eq!(counts(&limit, TOKENS, FIRST), (2, 0));
    });
}

/// A refusal is always by a plan that has the counter, though the counter is reset and then dropped
/// while the request is on its way.
#[test]
fn loom_a_refusal_against_a_change_that_drops_the_counter() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", rate_plan(10, 100));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let operator = thread::spawn(move || {
            let both = rate_plan(10, 100);
            let requests = Plan { counters: [None, both.counters[1].clone()], ..(*both).clone() };
            other.reset(TOKENS, None, &their_log.at(FIRST));
            assert!(other.replan(&Arc::new(requests), None, &their_log.at(FIRST)));
        });
        if let Err(refused) = limit.hold(TOKENS, 11, &log.at(FIRST), |_| ()) {
            assert!(refused.snapshot.plan.counters[TOKENS].is_some(), "refused by no limit");
        }
        operator.join().unwrap();
        assert_eq!(counts(&limit, TOKENS, FIRST), (0, 0));
    });
}

/// The first notice of a limit, of a booking whose window ends before it is given: it is given once
/// all the same, in the window of the booking.
#[test]
fn loom_a_notice_survives_the_end_of_its_window() {
    model(|| {
        let log = Log::new();
        let limit = entry("l", noticed_plan(10, 50));
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
        bump(&limit, &tokens(6), &log.at(FIRST));
        roller.join().unwrap();
        let thresholds = log.count(|notice| matches!(notice, Notice::Threshold { .. }));
        assert_eq!(thresholds, 1, "nobody was told that half is used");
    });
}
