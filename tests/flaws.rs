//! The flaws of the gateway that these limits come from, each with the test that it is not here.
//!
//! R are those that reviewers found, F those that a reader found, I the invariants drawn from both.
//! What is named `r1` to `i8` is below; where another suite says more, it is named too.
//!
//! | flaw | what went wrong there | test |
//! |---|---|---|
//! | R1 | a stale reset erased a newer window | `r1`, `threads::races::a_stale_reset` |
//! | R2 | one answer for resets of two counters | `r2`, `threads::races::a_reset_of_tokens` |
//! | R3 | charges rolled calendar windows as rolling ones | `r3`, `time::a_boundary_is` |
//! | R4 | an edit put the window's start back | `r4` |
//! | R5 | an edit that raced with a charge lost it | `r5`, `threads::conservation` |
//! | R6 | no tests of calendar charges, of partial resets | `r3`, `r2` |
//! | F1 | rolls were not persisted, a restart erased live spend | `f1` |
//! | F2 | a roll by a charge made deltas negative | `f2` |
//! | F3 | alignment below a day: resets without an end | `f3` |
//! | F4 | a period of zero: unlimited, or erased by each charge | `f4` |
//! | F5 | a charge after a reset dropped the reset's record | `f5` |
//! | F6 | a change of alignment undid an operator's reset | `f6` |
//! | F7 | copies of one budget, changed in place | `f7` |
//! | F8 | random order of reports and charges | `f8` |
//! | F9 | moving a key charged other limits than were checked | `f9` |
//! | F10 | a user's requests skipped the limits of the key | `f10` |
//! | F11 | one id of two owners, deleted with the first | `f11` |
//!
//! | invariant | test |
//! |---|---|
//! | I1: bumps of a window add up, whatever changes | `threads::conservation`, `r5` |
//! | I2: one reset for each boundary | `threads::races::a_boundary_that_many_come_to` |
//! | I3: tokens and requests are reset apart | `r2` |
//! | I4: months, February, leap years, weeks | `time::calendar_months_end_on_the_first` |
//! | I4: at `t` and at `t - 1ns` | `time::a_boundary_is_the_same_instant` |
//! | I5: nodes with other sweeps agree | `time::nodes_with_other_sweeps` |
//! | I5: 14,400 idle windows are one reset | `time::fourteen_thousand_four_hundred` |
//! | I6: of K threads for L units L are admitted | `threads::competition::exactly_the_limit` |
//! | I7: a release after a roll leaves the new window alone | `i7` |
//! | I8: no document brings back what was reset | `i8`, `f1` |
//! | I9: lengths without a boundary terminate and are enforced | `f3`, `f4` |

#[path = "support/kit.rs"]
mod kit;

use std::thread;

use kit::*;
use tollkeeper::{
    Alignment, Budget, Dimension, Engine, EventKind, ManualClock, OperatorError, Period,
    PeriodError, RateLimit, ResetOutcome, TopologyError, Upserted,
};

/// R1, L3: the reset was decided on a reading; meanwhile a charge rolled the window and booked. The
/// reset finds that its window is over and takes nothing.
#[test]
fn r1_a_reset_decided_on_a_stale_reading_erases_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(100), per("1m")));
    kit.bump(&["key:k"], &cost(40));
    let seen = kit.read("budget");
    kit.advance(minute());
    kit.bump(&["key:k"], &cost(7));
    let limit = id("budget");
    let reset = kit.engine.reset_window(&limit, Dimension::Money, seen.generation).unwrap();
    assert!(matches!(reset, ResetOutcome::Lost { generation: 1, .. }));
    assert_eq!((kit.counts("budget"), kit.closed("budget")), ((7, 0), vec![40]));
}

/// R2, R6, L4: of two counters only one is due. It alone is reset, and the answer is one for each.
#[test]
fn r2_each_counter_of_a_rate_limit_is_reset_and_answered_for_by_itself() {
    let kit = kit();
    let limit = RateLimit::new().tokens(100, per("1m")).requests(100, per("1h"));
    kit.limit("key:k", "rate", limit);
    kit.bump(&["key:k"], &tokens(30));
    kit.advance(minute());
    assert_eq!(kit.engine.reset_expired().rolled, 1);
    let [event] = &kit.happened()[..] else { panic!("one counter was due") };
    assert_eq!(event.dimension, Dimension::Tokens);
    assert!(matches!(event.what, EventKind::WindowClosed { total: 30, .. }));
    let requests = kit.counter("rate", Dimension::Requests);
    assert_eq!((requests.settled, requests.generation), (1, 0));
    // By an operator: both, and which window of which was seen decides for each.
    kit.bump(&["key:k"], &tokens(5));
    let outcomes = kit.engine.reset(&id("rate"), None).unwrap();
    let totals: Vec<_> = outcomes
        .iter()
        .map(|outcome| match *outcome {
            ResetOutcome::Reset { dimension, total, .. } => (dimension, total),
            ref other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(totals, [(Dimension::Tokens, 5), (Dimension::Requests, 2)]);
    let reset = |dimension| kit.engine.reset_window(&id("rate"), dimension, 1).unwrap();
    assert!(matches!(reset(Dimension::Tokens), ResetOutcome::Lost { generation: 2, .. }));
    assert!(matches!(reset(Dimension::Requests), ResetOutcome::Reset { generation: 2, .. }));
}

/// R3, R6, L13: a calendar month is not 30 days, for a charge as for the sweep: not on the 31st,
/// not on 31 December of a leap year.
#[test]
fn r3_a_charge_rolls_calendar_windows_on_calendar_boundaries_only() {
    for (period, start, almost, boundary) in [
        ("1M@UTC", "2026-03-01T00:00:00Z", "2026-03-31T23:59:59Z", "2026-04-01T00:00:00Z"),
        ("1M@UTC", "2026-02-01T00:00:00Z", "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"),
        ("1Y@UTC", "2028-01-01T00:00:00Z", "2028-12-31T23:59:59Z", "2029-01-01T00:00:00Z"),
    ] {
        let kit = kit_at(start);
        kit.limit("key:k", "budget", Budget::new(nanos(100), per(period)));
        kit.bump(&["key:k"], &cost(40));
        kit.set(almost);
        kit.bump(&["key:k"], &cost(2));
        assert_eq!(kit.counts("budget"), (42, 0), "no spend is forgiven before {boundary}");
        kit.set(boundary);
        kit.bump(&["key:k"], &cost(1));
        assert_eq!(kit.counts("budget"), (1, 0));
        assert_eq!(kit.engine.reset_expired().rolled, 0, "the charge did it");
        assert_eq!(kit.closed("budget"), [42]);
    }
}

/// R4, L9: an edit keeps the window's start, generation and boundary, also after an operator's
/// reset and of both counters.
#[test]
fn r4_an_edit_does_not_put_the_window_back() {
    let kit = kit();
    let rate = |n| RateLimit::new().tokens(n, per("1m")).requests(n, per("1h"));
    kit.limit("model:m", "rate", rate(100));
    kit.bump(&["model:m"], &tokens(10));
    kit.advance(second() * 10);
    kit.engine.reset(&id("rate"), None).unwrap();
    kit.bump(&["model:m"], &tokens(3));
    let before = kit.engine.usage(&id("rate")).unwrap();
    kit.advance(second());
    assert_eq!(kit.limit("model:m", "rate", rate(50)), Upserted::Changed);
    let after = kit.engine.usage(&id("rate")).unwrap();
    for (before, after) in before.counters.iter().zip(&after.counters) {
        let kept = |counter: &tollkeeper::CounterUsage| {
            (counter.settled, counter.held, counter.window, counter.generation)
        };
        assert_eq!((after.limit, kept(after)), (Some(50), kept(before)));
    }
}

/// R5, L9, I1: edits race with charges, and every charge is there.
#[test]
fn r5_no_charge_falls_between_the_steps_of_an_edit() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::uncapped(per("1d")));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..2_000).for_each(|_| kit.bump(&["key:k"], &cost(1))));
        }
        for n in 0..500 {
            let period = if n % 2 == 0 { "1d@UTC" } else { "1M" };
            kit.limit("key:k", "budget", Budget::new(nanos(n), per(period)));
            kit.owner("key:k", &[]);
        }
    });
    assert_eq!(kit.counts("budget"), (6_000, 0));
    assert_eq!(kit.read("budget").generation, 0);
}

/// A new process with the same definitions and a document.
fn restarted(kit: &Kit, period: &str) -> Kit {
    let clock: ManualClock = kit.clock.clone();
    let engine = Engine::builder().clock(clock.clone()).build();
    let events = engine.subscribe(100);
    let fresh = Kit { engine, clock, events };
    fresh.limit("key:k", "budget", Budget::new(nanos(100), per(period)));
    fresh.engine.import(&kit.engine.export()).unwrap();
    fresh
}

/// F1, L9: what a charge rolled is exported with the window it rolled into; a restart restores it,
/// and neither import nor sweep erases it.
#[test]
fn f1_a_restart_keeps_what_was_spent_in_a_window_that_a_charge_began() {
    for period in ["1h", "1d@UTC", "1M", "never"] {
        let kit = kit_at("2026-03-01T22:59:00Z");
        kit.limit("key:k", "budget", Budget::new(nanos(100), per(period)));
        kit.bump(&["key:k"], &cost(90));
        kit.advance(minute() * 90);
        kit.bump(&["key:k"], &cost(8));
        let fresh = restarted(&kit, period);
        fresh.engine.reset_expired();
        assert_eq!(fresh.counts("budget"), kit.counts("budget"), "{period}");
        assert_eq!(fresh.read("budget").window, kit.read("budget").window, "{period}");
        let window = kit.read("budget").window;
        if period != "never" {
            fresh.clock.set(window.end);
            assert_eq!(fresh.counts("budget"), (0, 0), "{period}");
        }
    }
}

/// F2: totals and readings are counts of their own; whoever takes the difference of two readings of
/// one generation never sees less in the later one.
#[test]
fn f2_usage_within_a_generation_never_decreases() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::uncapped(per("1s")));
    let mut last = kit.read("budget");
    for n in 0..50 {
        kit.advance(second() / 4);
        kit.bump(&["key:k"], &cost(n));
        let now = kit.read("budget");
        assert!(now.generation > last.generation || now.settled >= last.settled);
        last = now;
    }
}

/// F3, I9: a length that has no calendar boundary is a config error, not an endless reset.
#[test]
fn f3_alignment_below_a_day_is_refused() {
    for length in ["1h", "30m", "90s", "1ms", "36h"] {
        let refused = Period::calendar(length, &Alignment::new());
        assert!(matches!(refused, Err(PeriodError::NotAlignable { .. })), "{length}: {refused:?}");
        assert!(format!("{length}@UTC").parse::<Period>().is_err());
    }
    // The shortest window there is terminates, rolls once and is enforced.
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().requests(1, per("1ms")));
    kit.advance(minute());
    let _first = kit.admit(&["key:k"], &tokens(1));
    assert!(!kit.admits(&["key:k"], &tokens(1)));
    assert_eq!(kit.engine.reset_expired().rolled, 0);
}

/// F4, I9: there is no period of zero or less, and what never resets is enforced for ever.
#[test]
fn f4_there_is_no_period_of_zero_and_never_is_enforced() {
    for text in ["0s", "0", "-1h", "", "0d", "0M@UTC"] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().requests(1, per("never")));
    kit.bump(&["key:k"], &tokens(1));
    kit.advance(minute() * 1_000_000);
    assert!(!kit.admits(&["key:k"], &tokens(1)));
}

/// F5: a boundary that is followed at once by a charge is told of as any other.
#[test]
fn f5_a_charge_right_after_a_boundary_hides_no_event() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(100), per("1m")));
    for n in 1..=5 {
        kit.bump(&["key:k"], &cost(n));
        kit.advance(minute());
    }
    kit.engine.reset_expired();
    assert_eq!(kit.closed("budget"), [1, 2, 3, 4, 5]);
    assert_eq!(kit.counts("budget"), (0, 0));
}

/// F6, L9: an operator's reset stays, whatever alignment the limit is given afterwards.
#[test]
fn f6_a_change_of_alignment_brings_no_usage_back() {
    let kit = kit_at("2026-03-10T12:00:00Z");
    kit.limit("team:t", "budget", Budget::new(nanos(100), per("1M")));
    kit.bump(&["team:t"], &cost(60));
    kit.engine.reset(&id("budget"), None).unwrap();
    kit.bump(&["team:t"], &cost(1));
    for period in ["1M@UTC", "1M", "1w@UTC"] {
        kit.limit("team:t", "budget", Budget::new(nanos(100), per(period)));
        assert_eq!(kit.counts("budget"), (1, 0), "{period}");
    }
}

/// F7: there is one of each limit, however many ways lead to it; a reading is a copy that later
/// changes do not touch.
#[test]
fn f7_all_ways_to_a_limit_are_ways_to_the_same_one() {
    let kit = kit();
    kit.limit("team:t", "budget", Budget::new(nanos(100), per("1m")));
    kit.owner("key:a", &["team:t"]);
    kit.owner("key:b", &["team:t"]);
    let read = kit.engine.usage(&id("budget")).unwrap();
    kit.bump(&["key:a"], &cost(3));
    kit.bump(&["key:b"], &cost(4));
    assert_eq!(read.counters[0].settled, 0);
    for way in ["key:a", "key:b", "team:t"] {
        assert_eq!(kit.engine.route_usage(&kit.route(&[way]))[0].counters[0].settled, 7);
    }
}

/// F8: what binds is named in the order of the route, every time.
#[test]
fn f8_what_binds_is_reported_in_the_order_of_the_route() {
    let first = || {
        let kit = kit();
        kit.limit("org:o", "org", RateLimit::new().requests(0, per("1m")));
        kit.limit("team:t", "team", RateLimit::new().requests(0, per("1m")));
        kit.limit("key:k", "key two", RateLimit::new().requests(0, per("1m")));
        kit.limit("key:k", "key one", RateLimit::new().requests(0, per("1m")));
        kit.limit("model:m", "model", RateLimit::new().requests(0, per("1m")));
        kit.limit("key:k&model:m", "pair", RateLimit::new().requests(0, per("1m")));
        kit.owner("team:t", &["org:o"]);
        kit.owner("key:k", &["team:t"]);
        let denied = kit.deny(&["key:k", "model:m"], &tokens(1));
        named(&denied).into_iter().map(|(limit, _)| limit).collect::<Vec<_>>()
    };
    for _ in 0..20 {
        assert_eq!(first(), ["key two", "key one", "team", "org", "model", "pair"]);
    }
}

/// F9, L8: what was checked is what is charged, though the key moves to another team meanwhile.
#[test]
fn f9_a_request_is_charged_where_it_was_admitted() {
    let kit = kit();
    for team in ["a", "b"] {
        kit.limit(&format!("team:{team}"), team, Budget::new(nanos(100), per("1m")));
    }
    kit.owner("key:k", &["team:a"]);
    let mut reservation = kit.admit(&["key:k"], &cost(10));
    kit.owner("key:k", &["team:b"]);
    reservation.extend(&cost(5)).unwrap();
    let later = kit.admit(&["key:k"], &cost(1));
    let _ = reservation.settle(&cost(12));
    later.void();
    assert_eq!((kit.counts("a"), kit.counts("b")), ((12, 0), (0, 0)));
}

/// F10: naming a user adds the user's limits, and takes nobody else's away.
#[test]
fn f10_a_user_on_the_route_leaves_the_keys_limits_on_it() {
    let kit = kit();
    for owner in ["team:t", "key:k", "user:u"] {
        kit.limit(owner, owner, Budget::new(nanos(100), per("1m")));
    }
    kit.owner("key:k", &["team:t"]);
    let _ = kit.admit(&["user:u", "key:k"], &cost(10)).settle(&cost(7));
    kit.bump(&["user:u", "key:k"], &cost(1));
    for owner in ["team:t", "key:k", "user:u"] {
        assert_eq!(kit.counts(owner), (8, 0), "{owner}");
    }
}

/// F11: a limit has one owner; another that wants its id is refused, so removing one owner takes
/// nothing from another.
#[test]
fn f11_removing_an_owner_takes_no_limit_from_another() {
    let kit = kit();
    kit.limit("key:a", "shared", RateLimit::new().requests(1, per("1m")));
    kit.limit("key:b", "own", RateLimit::new().requests(1, per("1m")));
    let shared = kit.engine.upsert_limit(
        &owner("key:b"),
        &id("shared"),
        RateLimit::new().requests(1, per("1m")),
    );
    assert!(matches!(shared, Err(TopologyError::LimitOfOther { .. })));
    kit.engine.remove_owner(&owner("key:b")).unwrap();
    assert_eq!(kit.engine.usage(&id("own")), None);
    kit.bump(&["key:a"], &tokens(1));
    assert!(!kit.admits(&["key:a"], &tokens(1)), "it is enforced still");
    let gone = kit.engine.reset(&id("own"), None);
    assert_eq!(gone, Err(OperatorError::UnknownLimit { limit: id("own") }));
}

/// I7, L8: refunds of a window that is over, by each of the ways in which a reservation ends, leave
/// the new window at what is its own.
#[test]
fn i7_a_release_after_a_roll_leaves_the_new_window_untouched() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(100, per("1m")).requests(100, per("1m")));
    let mut held: Vec<_> = (0..4).map(|_| kit.admit(&["key:k"], &tokens(10))).collect();
    kit.advance(minute());
    kit.bump(&["key:k"], &tokens(1));
    held.pop().unwrap().void();
    drop(held.pop());
    let mut dispatched = held.pop().unwrap();
    dispatched.mark_dispatched();
    drop(dispatched);
    assert!(held.pop().unwrap().settle(&tokens(4)).is_late());
    assert_eq!(kit.counts("rate"), (1, 0));
    assert_eq!(kit.counter("rate", Dimension::Requests).settled, 1);
    assert_eq!(kit.closed("rate"), [40, 4], "what was held stays booked where it was held");
}

/// I8: a document from before an operator's reset says so by its balance; it is set when it is
/// imported, and never by itself. A window that is over comes back by no document.
#[test]
fn i8_a_document_of_a_window_that_is_over_restores_nothing() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(100), per("1m")));
    kit.bump(&["key:k"], &cost(60));
    let state = kit.engine.export();
    kit.advance(minute());
    kit.bump(&["key:k"], &cost(2));
    let window = kit.read("budget").window;
    assert_eq!(kit.engine.import(&state).unwrap().ended, 1);
    let counter = kit.read("budget");
    assert_eq!((counter.settled, counter.window, counter.generation), (2, window, 1));
    assert_eq!(kit.closed("budget"), [60], "once, and not again");
}
