//! Bills of holds whose window nobody knows any more.

use std::time::Duration;

use crate::engine::{Decision, Engine};
use crate::id::{LimitId, OwnerId};
use crate::rate_limit::RateLimit;
use crate::time::{ManualClock, Timestamp};
use crate::units::Usage;

/// What a request that was admitted so many windows before anybody looked is charged.
fn charged(windows: u32, used: Option<u64>) -> Vec<(Timestamp, u64)> {
    let clock = ManualClock::new(Timestamp::from_secs(100));
    let engine = Engine::builder().clock(clock.clone()).build();
    let owner: OwnerId = "key:k".parse().unwrap();
    engine.upsert_owner(&owner, &[]).unwrap();
    let limit = RateLimit::new().tokens(1_000, "1s".parse().unwrap());
    engine.upsert_limit(&owner, &LimitId::new("k").unwrap(), limit).unwrap();
    let tokens = |tokens| Usage { input_tokens: tokens, ..Usage::default() };
    let Decision::Admitted(mut held) = engine.reserve(&engine.route(&[owner]), &tokens(10)) else {
        panic!("it fits");
    };
    for _ in 0..windows {
        clock.advance(Duration::from_secs(1));
        engine.reset_expired();
    }
    let admitted = held.admitted();
    let bill = held.bill(&admitted, used.map(tokens).as_ref());
    let lines: Vec<_> =
        bill.lines().iter().map(|line| (line.window().start, line.amount())).collect();
    let _ = held.book(&bill, |_| true);
    let booked = engine.booked()[0].amount();
    let now = lines.iter().filter(|line| line.0 == Timestamp::from_secs(100 + u64::from(windows)));
    assert_eq!(booked, now.map(|line| line.1).sum::<u64>(), "memory has what the bill says");
    lines
}

#[test]
fn a_hold_of_an_unknown_window_is_charged_once_and_where_the_request_ends() {
    let at = Timestamp::from_secs;
    assert_eq!(charged(0, Some(13)), [(at(100), 13)]);
    assert_eq!(charged(1, Some(13)), [(at(100), 10), (at(101), 3)]);
    assert_eq!(charged(2, Some(13)), [(at(102), 13)]);
    assert_eq!(charged(3, Some(4)), [(at(103), 4)]);
    assert_eq!(charged(2, None), [(at(102), 10)]);
}
