//! governor with keys, on its default clock and store.

use crate::drawn::Walk;
use crate::side::Side;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

fn limiter() -> DefaultKeyedRateLimiter<String> {
    // One cell a nanosecond, and a second of them at once.
    RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000_000_000).expect("it is not zero")))
}

/// So many checks, each of a key of its own and of three cells. It holds nothing and settles
/// nothing.
pub fn checks<const KEYS: usize>() -> Side<'static> {
    let limiter = limiter();
    let keys: [String; KEYS] = std::array::from_fn(|place| format!("key:one/{place}"));
    let three = NonZeroU32::new(3).expect("it is not zero");
    Side::new("governor keyed, a check each", move |_| {
        keys.iter().fold(true, |admitted, key| {
            admitted & limiter.check_key_n(key, three).is_ok_and(|answer| answer.is_ok())
        })
    })
}

/// A limiter that knows all these keys.
pub fn knowing(mut keys: impl Iterator<Item = String>) -> DefaultKeyedRateLimiter<String> {
    let limiter = limiter();
    assert!(keys.all(|key| limiter.check_key(&key).is_ok()), "the first of its key");
    limiter
}

/// One check, of the key that is drawn. All keys are known to it.
pub fn drawn<'a>(ids: impl Iterator<Item = String>, walks: Vec<Walk<'a>>) -> Side<'a> {
    let limiter = knowing(ids);
    Side::in_batches("governor keyed", move |thread, times| {
        walks[thread].each(times, |id| limiter.check_key(id).is_ok())
    })
}
