//! Models of the two counters of one limit, which are behind one gate: the window of one of them
//! ends while requests come to both by the gate.

use super::scene::*;
use crate::admission::Actual;
use crate::entry::{At, Entry};
use crate::plan::{CounterPlan, Plan};
use crate::sync::Arc;
use crate::sync::testing::{Unmodelled, model, thread};
use crate::units::Dimension::{Requests, Tokens};

/// A limit of tokens an hour and requests a millisecond, with its gate open: one request of one
/// token has been booked.
fn limit(log: &Log) -> Arc<Entry> {
    let both = rate_plan(100, 100);
    let [Some(tokens_plan), requests] = both.counters.clone() else { panic!("it has both") };
    let period = "1h".parse().unwrap();
    let slow = CounterPlan { period, ..CounterPlan::clone(&tokens_plan) };
    let plan = Plan { counters: [Some(Arc::new(slow)), requests], ..Plan::clone(&both) };
    let limit = entry("l", Arc::new(plan));
    bump(&limit, &tokens(1), &log.at(FIRST));
    limit
}

/// Ends the first window of requests, in another thread, and runs this meanwhile.
fn against_the_end<T>(limit: &Arc<Entry>, log: &Unmodelled<Log>, run: impl FnOnce(&At) -> T) -> T {
    let (other, their_log) = (Arc::clone(limit), Unmodelled::clone(log));
    let roller = thread::spawn(move || other.roll(&their_log.at(SECOND)));
    let done = run(&log.at(FIRST));
    roller.join().unwrap();
    done
}

/// Settled and held of tokens, whose window has not ended; and of requests: closed, settled, held.
fn reads(limit: &Entry, log: &Log) -> ((u64, u64), [u64; 3]) {
    assert_eq!(log.closings(limit, Tokens), 0, "the window of tokens ended too");
    assert_eq!(log.closings(limit, Requests), 1, "the window of requests closed once");
    let (settled, held) = counts(limit, REQUESTS, SECOND);
    (counts(limit, TOKENS, SECOND), [log.closed(limit, Requests).iter().sum(), settled, held])
}

/// L1, L8: a request that holds on both.
#[test]
fn loom_both_hold_against_the_end_of_one() {
    model(|| {
        let log = Log::new();
        let limit = limit(&log);
        let holds = against_the_end(&limit, &log, |at| {
            reserve(&route([&limit]), &tokens(6), at).ok().expect("there is room")
        });
        let (of_tokens, [closed, settled, held]) = reads(&limit, &log);
        assert_eq!(of_tokens, (1, 6));
        assert_eq!((closed + held, settled), (2, 0), "the hold is in no window, or in two");
        let late = holds.windows(2) == [0, 0];
        assert_eq!(held, u64::from(!late), "it is in the window that it remembers");
    });
}

/// L8: one that ends on both, with more used than was held.
#[test]
fn loom_both_settle_against_the_end_of_one() {
    model(|| {
        let log = Log::new();
        let limit = limit(&log);
        let stops = route([&limit]);
        let mut holds = reserve(&stops, &tokens(6), &log.at(FIRST)).ok().expect("there is room");
        let used = crate::units::Usage { requests: 3, ..tokens(8) };
        against_the_end(&limit, &log, |at| settle(&stops, &mut holds, Actual::Used(&used), at));
        let (of_tokens, [closed, settled, held]) = reads(&limit, &log);
        assert_eq!(of_tokens, (9, 0));
        assert_eq!((closed + settled, held), (4, 0), "closed {closed}, then {settled}");
        assert!(closed == 2 || closed == 4, "what was held stays, or all of it is there");
    });
}

/// L8: one that ends on both while another holds in the next window: that one's hold stays.
#[test]
fn loom_both_settle_beside_a_hold_in_the_next_window() {
    model(|| {
        let log = Log::new();
        let limit = limit(&log);
        let stops = route([&limit]);
        let mut holds = reserve(&stops, &tokens(6), &log.at(FIRST)).ok().expect("there is room");
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let next =
            thread::spawn(move || other.hold(REQUESTS, 1, &their_log.at(SECOND), |_| ()).is_ok());
        settle(&stops, &mut holds, Actual::Nothing, &log.at(FIRST));
        assert!(next.join().unwrap(), "there is room for both");
        let (of_tokens, [closed, settled, held]) = reads(&limit, &log);
        assert_eq!(of_tokens, (1, 0));
        assert_eq!((settled, held), (0, 1), "another's hold was given back");
        assert!(closed == 1 || closed == 2, "given back in time or too late: {closed}");
    });
}

/// L1: one that is booked after the fact on both.
#[test]
fn loom_both_bump_against_the_end_of_one() {
    model(|| {
        let log = Log::new();
        let limit = limit(&log);
        against_the_end(&limit, &log, |at| bump(&limit, &tokens(5), at));
        let (of_tokens, [closed, settled, held]) = reads(&limit, &log);
        assert_eq!(of_tokens, (6, 0));
        assert_eq!((closed + settled, held), (2, 0), "a bump was lost, or counted twice");
    });
}

/// L1, L5: one that holds on both while another comes to requests in their next window: that one
/// finds the gate behind, rolls, and opens it again under the first.
#[test]
fn loom_both_hold_in_two_windows() {
    model(|| {
        let log = Log::new();
        let limit = limit(&log);
        let (other, their_log) = (Arc::clone(&limit), Unmodelled::clone(&log));
        let late =
            thread::spawn(move || other.hold(REQUESTS, 1, &their_log.at(SECOND), |_| ()).is_ok());
        let early = reserve(&route([&limit]), &tokens(6), &log.at(FIRST)).is_ok();
        assert!(early && late.join().unwrap(), "there is room for both");
        let (of_tokens, [closed, settled, held]) = reads(&limit, &log);
        assert_eq!(of_tokens, (1, 6));
        assert_eq!((closed + held, settled), (3, 0));
    });
}
