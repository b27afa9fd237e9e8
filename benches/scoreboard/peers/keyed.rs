//! The others that limit by key, with all keys known to them before they are measured.

use crate::drawn::{Walk, id};
use crate::peers::floor::Padded;
use crate::side::Side;
use dashmap::DashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The floor of a lookup by text and two counts: padded words behind the same map as ours.
pub fn words<'a>(entries: usize, walks: Vec<Walk<'a>>) -> Side<'a> {
    let map: DashMap<String, Arc<Padded>> =
        (0..entries).map(|number| (id(number), Arc::default())).collect();
    let map = Arc::new(map);
    let count = Arc::clone(&map);
    Side::in_batches("padded words in a DashMap", move |thread, times| {
        walks[thread].each(times, |id| {
            let word = map.get(id).map(|word| Arc::clone(&word)).expect("it is known");
            word.add() & word.add()
        })
    })
    .counting(move || count.iter().map(|word| word.get()).sum::<u64>() / 2)
}

/// A sketch of fixed size: it counts approximately, knows no limit, and cannot say no.
pub fn pingora<'a>(walks: Vec<Walk<'a>>) -> Side<'a> {
    let rate = pingora_limits::rate::Rate::new(Duration::from_secs(3_600));
    Side::in_batches("pingora-limits (a sketch)", move |thread, times| {
        walks[thread].each(times, |id| rate.observe(id, 1) > 0)
    })
}

pub fn rate_net<'a>(entries: usize, walks: Vec<Walk<'a>>) -> Side<'a> {
    let limiter = rate_net::RateLimiter::builder()
        .per_second(1_000_000_000)
        .eviction(rate_net::Eviction::capacity(4 * entries))
        .build();
    assert!((0..entries).all(|number| limiter.check(id(number).as_str()).is_allow()));
    assert_eq!(limiter.tracked_keys(), entries);
    Side::in_batches("rate-net keyed", move |thread, times| {
        walks[thread].each(times, |id| limiter.check(id.as_str()).is_allow())
    })
}

/// It is for one thread: its documentation puts a lock or an actor around it.
pub fn throttlecrab<'a>(entries: usize, walks: Vec<Walk<'a>>) -> Side<'a> {
    let store = throttlecrab::PeriodicStore::with_capacity(entries);
    let mut limiter = throttlecrab::RateLimiter::new(store);
    let mut check = move |id: &str| {
        // A burst of so many, and as many again each day.
        let (burst, each, seconds) = (1_000_000_000, 1_000_000_000, 86_400);
        let answer = limiter.rate_limit(id, burst, each, seconds, 1, SystemTime::now());
        answer.is_ok_and(|(admitted, _)| admitted)
    };
    assert!((0..entries).all(|number| check(&id(number))));
    let check = Mutex::new(check);
    Side::in_batches("throttlecrab", move |thread, times| {
        let mut check = check.lock();
        walks[thread].each(times, |id| check(id))
    })
}
