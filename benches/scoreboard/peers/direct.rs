//! Those that limit one stream.

use crate::side::Side;
use parking_lot::Mutex;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A counter under a lock.
pub fn mutex() -> Side<'static> {
    let counter = Arc::new(Mutex::new(0_u64));
    let count = Arc::clone(&counter);
    Side::new("parking_lot mutex", move |_| {
        let mut counter = counter.lock();
        *counter += 1;
        *counter != 0
    })
    .counting(move || *count.lock())
}

/// One cell a nanosecond, and a second of them at once.
const A_SECOND: u32 = 1_000_000_000;

pub fn governor() -> Side<'static> {
    let quota = governor::Quota::per_second(NonZeroU32::new(A_SECOND).expect("it is not zero"));
    let limiter = governor::RateLimiter::direct(quota);
    Side::new("governor direct", move |_| limiter.check().is_ok())
}

pub fn ratelimit() -> Side<'static> {
    let limiter = ratelimit::Ratelimiter::builder(u64::from(A_SECOND))
        .max_tokens(u64::from(A_SECOND))
        .initial_available(u64::from(A_SECOND))
        .build()
        .expect("a right definition");
    Side::new("ratelimit", move |_| limiter.try_wait().is_ok())
}

pub fn rate_net() -> Side<'static> {
    let limiter = rate_net::DirectLimiter::per_second(A_SECOND);
    Side::new("rate-net direct", move |_| limiter.check().is_allow())
}

pub fn leaky_bucket() -> Side<'static> {
    let permits = 1 << 40;
    let limiter = leaky_bucket::RateLimiter::builder().max(permits).initial(permits).build();
    Side::new("leaky-bucket", move |_| limiter.try_acquire(1))
}
