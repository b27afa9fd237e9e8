//! A bill that is booked at once comes to what settling does; and what it comes to later.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::Decision;
use crate::time::{ManualClock, Period};
use crate::{Budget, Concurrency, LimitUsage, RateLimit};

fn id(text: &str) -> LimitId {
    LimitId::new(text).expect("an id")
}

fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

fn money(nanos: u64) -> crate::Money {
    crate::Money::from_nanos(nanos).expect("a small amount")
}

fn usage(amount: u64) -> Usage {
    Usage { input_tokens: amount, cost: money(amount), requests: 1, ..Usage::default() }
}

/// An engine with a key of three limits.
fn engine(clock: &ManualClock) -> (Engine, Route) {
    let engine = Engine::builder().clock(clock.clone()).build();
    let key: OwnerId = "key:k".parse().expect("an owner");
    engine.upsert_owner(&key, &[]).expect("a new owner");
    budget(&engine, &key, 0);
    let rate = RateLimit::new().tokens(500, period("7s")).requests(50, period("3s"));
    engine.upsert_limit(&key, &id("rate"), rate).expect("a new limit");
    engine.upsert_limit(&key, &id("flight"), Concurrency::new(5)).expect("a new limit");
    let route = engine.route(&[key]);
    (engine, route)
}

/// Puts one of several definitions of the budget in force.
fn budget(engine: &Engine, key: &OwnerId, which: u8) {
    let period = period(["5s", "1m", "1M", "never"][usize::from(which) % 4]);
    let budget = Budget::new(money(1_000), period);
    engine.upsert_limit(key, &id("budget"), budget).expect("a limit");
}

/// What every counter reads.
fn read(engine: &Engine) -> Vec<LimitUsage> {
    let mut all: Vec<LimitUsage> = engine.usage_all().collect();
    all.sort_by(|a, b| a.limit.cmp(&b.limit));
    all
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve(u64),
    Extend(u64),
    /// Of the reservation that is the oldest.
    Settle(u64),
    Void,
    Uncertain,
    Bump(u64),
    Advance(u64),
    Reset(u8),
    Replan(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60_u64).prop_map(Step::Reserve),
        1 => (0..60_u64).prop_map(Step::Extend),
        4 => (0..90_u64).prop_map(Step::Settle),
        1 => Just(Step::Void),
        1 => Just(Step::Uncertain),
        1 => (0..60_u64).prop_map(Step::Bump),
        3 => (0..6_000_u64).prop_map(Step::Advance),
        1 => (0..2_u8).prop_map(Step::Reset),
        1 => (0..4_u8).prop_map(Step::Replan),
    ]
}

proptest! {
    /// L8, by the same history told to two engines: one settles, one bills and books.
    #[test]
    fn booking_a_bill_at_once_is_settling(steps in proptest::collection::vec(step(), 1..60)) {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let ((settles, by_settle), (bills, by_bill)) = (engine(&clock), engine(&clock));
        let key: OwnerId = "key:k".parse().expect("an owner");
        let mut open = std::collections::VecDeque::new();
        for step in steps {
            match step {
                Step::Reserve(amount) => {
                    let a = settles.reserve(&by_settle, &usage(amount));
                    let b = bills.reserve(&by_bill, &usage(amount));
                    prop_assert_eq!(a.is_admitted(), b.is_admitted());
                    if let (Decision::Admitted(a), Decision::Admitted(b)) = (a, b) {
                        let admitted = b.admitted();
                        open.push_back((a, b, admitted));
                    }
                }
                Step::Extend(amount) => {
                    let Some((a, b, admitted)) = open.front_mut() else { continue };
                    let extended = a.extend(&usage(amount)).is_ok();
                    prop_assert_eq!(extended, b.extend(&usage(amount)).is_ok());
                    if extended {
                        b.admitted_again(admitted);
                    }
                }
                Step::Settle(amount) => {
                    let Some((a, mut b, admitted)) = open.pop_front() else { continue };
                    let bill = b.bill(&admitted, Some(&usage(amount)));
                    let (settled, booked) = (a.settle(&usage(amount)), b.book(&bill, |_| true));
                    prop_assert_eq!(settled.overshoots(), booked.overshoots());
                    prop_assert!(settled.is_late() || !booked.is_late());
                }
                Step::Void => drop(open.pop_front()),
                Step::Uncertain => {
                    let Some((mut a, mut b, admitted)) = open.pop_front() else { continue };
                    a.mark_dispatched();
                    drop(a);
                    let bill = b.bill(&admitted, None);
                    let _ = b.book(&bill, |_| true);
                }
                Step::Bump(amount) => {
                    let bumped = settles.bump(&by_settle, &usage(amount));
                    let bill = bills.bill(&by_bill, &usage(amount));
                    prop_assert_eq!(bumped, bills.book(&bill, |_| true));
                }
                Step::Advance(millis) => {
                    clock.advance(Duration::from_millis(millis));
                }
                Step::Reset(which) => {
                    let limit = id(["budget", "rate"][usize::from(which)]);
                    settles.reset(&limit, None).expect("it has windows");
                    bills.reset(&limit, None).expect("it has windows");
                }
                Step::Replan(which) => {
                    budget(&settles, &key, which);
                    budget(&bills, &key, which);
                }
            }
            prop_assert_eq!(read(&settles), read(&bills));
        }
        drop(open);
        prop_assert_eq!(read(&settles), read(&bills));
    }
}

/// The settled and held amounts of a counter.
fn counts(engine: &Engine, limit: &str, dimension: Dimension) -> (u64, u64) {
    let usage = engine.usage(&id(limit)).expect("it is there");
    let counter = usage.counter(dimension).expect("it counts that");
    (counter.settled, counter.held)
}

#[test]
fn between_bill_and_booking_the_hold_stays_and_is_not_in_flight() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let (engine, route) = engine(&clock);
    let Decision::Admitted(mut held) = engine.reserve(&route, &usage(40)) else { panic!() };
    let admitted = held.admitted();
    let bill = held.bill(&admitted, Some(&usage(25)));
    assert_eq!(counts(&engine, "budget", Dimension::Money), (0, 40));
    assert_eq!(counts(&engine, "flight", Dimension::InFlight), (0, 0));
    let lines = bill.lines().iter();
    let lines: Vec<_> = lines.map(|l| (l.limit().to_string(), l.dimension(), l.amount())).collect();
    let line = |limit: &str, dimension, amount| (limit.to_owned(), dimension, amount);
    let all = [
        line("budget", Dimension::Money, 25),
        line("rate", Dimension::Tokens, 25),
        line("rate", Dimension::Requests, 1),
    ];
    assert_eq!(lines, all);
    let settlement = held.book(&bill, |line| line.dimension() != Dimension::Tokens);
    assert_eq!(settlement, Settlement::default());
    assert_eq!(counts(&engine, "budget", Dimension::Money), (25, 0));
    assert_eq!(counts(&engine, "rate", Dimension::Tokens), (0, 0), "not kept: given back");
    assert_eq!(counts(&engine, "rate", Dimension::Requests), (1, 0));
}

/// L8 and L10: it was written for its window, so it is in no other one.
#[test]
fn a_window_that_ends_between_bill_and_booking_takes_its_lines_with_it() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let (engine, route) = engine(&clock);
    let events = engine.subscribe(100);
    let Decision::Admitted(mut held) = engine.reserve(&route, &usage(40)) else { panic!() };
    let admitted = held.admitted();
    clock.advance(Duration::from_secs(4));
    // The window of requests is over, so its hold stays there; the others are in force.
    let bill = held.bill(&admitted, Some(&usage(70)));
    let start = |dimension: Dimension| {
        let line = bill.lines().iter().find(|line| line.dimension() == dimension);
        line.map(|line| line.window().start.as_nanos() / 1_000_000_000)
    };
    assert_eq!(start(Dimension::Money), Some(1_800_000_000));
    assert_eq!(start(Dimension::Requests), Some(1_800_000_000));
    clock.advance(Duration::from_secs(2));
    assert!(held.book(&bill, |_| true).is_late());
    assert_eq!(counts(&engine, "budget", Dimension::Money), (0, 0), "that of the hold is over");
    assert_eq!(counts(&engine, "rate", Dimension::Tokens), (70, 0));
    assert_eq!(counts(&engine, "rate", Dimension::Requests), (0, 0));
    let closed: Vec<_> = events
        .drain()
        .filter_map(|event| match event.what {
            crate::EventKind::WindowClosed { total, held, .. } => {
                Some((event.dimension, total, held))
            }
            _ => None,
        })
        .collect();
    let two = [(Dimension::Requests, 1, 1), (Dimension::Requests, 0, 0)];
    let held = [two[0], two[1], (Dimension::Money, 40, 40)];
    assert_eq!(closed, held, "what was held stays in the total");
}

#[test]
fn a_window_keeps_its_name_when_its_period_changes() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let (engine, _) = engine(&clock);
    let key: OwnerId = "key:k".parse().expect("an owner");
    let name = || engine.booked().iter().find(|l| l.limit().as_str() == "budget").map(Line::window);
    let first = name().expect("a budget");
    clock.advance(Duration::from_secs(7));
    let second = name().expect("a budget");
    assert!(second.start > first.start);
    budget(&engine, &key, 2);
    let moved = name().expect("a budget");
    assert_eq!(moved.start, second.start);
    assert!(moved.end > second.end);
    assert!(!engine.adjust(&id("budget"), Dimension::Money, first.start, 5));
    assert!(engine.adjust(&id("budget"), Dimension::Money, second.start, 5));
    assert!(engine.adjust(&id("budget"), Dimension::Money, second.start, -7));
    assert_eq!(counts(&engine, "budget", Dimension::Money), (0, 0), "not below zero");
}
