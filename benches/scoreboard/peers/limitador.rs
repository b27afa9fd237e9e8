//! limitador's storage in memory: one decision over three limits that all apply.

use crate::side::Side;
use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};
use std::collections::HashMap;
use std::sync::Arc;

const PLENTY: u64 = 1 << 61;
const PARTS: [&str; 3] = ["key", "team", "customer"];

/// Limits by the value of a variable, such as one for each key, as its documentation shows.
pub fn by_variable() -> Side<'static> {
    let limit = |part: &&str| {
        let variable = (*part).try_into().expect("an expression");
        Limit::new("gateway", PLENTY, 86_400, [], [variable])
    };
    three("limitador, by variable", PARTS.iter().map(limit))
}

/// Limits that are the same for everyone, told apart by their lengths.
pub fn plain() -> Side<'static> {
    let limit = |days: u64| Limit::new("gateway", PLENTY, days * 86_400, [], []);
    three("limitador, plain", (1..=3).map(limit))
}

fn three(name: &'static str, limits: impl Iterator<Item = Limit>) -> Side<'static> {
    let limiter = Arc::new(RateLimiter::new(1_000));
    limits.for_each(|limit| assert!(limiter.add_limit(limit), "it is new"));
    let namespace: Namespace = "gateway".into();
    // Made once: a gateway would make it for each request.
    let values: HashMap<String, String> =
        PARTS.iter().map(|part| (part.to_string(), format!("{part}:00000001"))).collect();
    let context: Context = values.into();
    let (counted, of) = (Arc::clone(&limiter), namespace.clone());
    Side::new(name, move |_| {
        let answer = limiter.check_rate_limited_and_update(&namespace, &context, 1);
        answer.is_ok_and(|answer| !answer.limited && answer.counters.len() == 3)
    })
    .counting(move || {
        let counters = counted.get_counters(&of).expect("it is in memory");
        let used = |left: Option<u64>| PLENTY - left.unwrap_or(PLENTY);
        let all: Vec<u64> = counters.iter().map(|counter| used(counter.remaining())).collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "not all the same: {all:?}");
        all.first().copied().unwrap_or(0)
    })
}
