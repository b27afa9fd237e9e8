//! The engine that every process of these tests builds: the same owners and limits.

use tollkeeper::{
    Budget, Dimension, Engine, LimitId, ManualClock, Money, OwnerId, Period, RateLimit, Timestamp,
    Usage,
};

/// The owners that always are.
const OWNERS: &[&str] =
    &["key:k1", "key:k2", "key:tight", "model:m", "key:k1&model:m", "provider:p", "team:t"];

/// A limit: its counters with what they admit and their periods.
pub struct Def {
    pub id: &'static str,
    pub owner: &'static str,
    pub counters: &'static [(Dimension, Option<u64>, &'static str)],
}

/// Admits everything, and holds.
const AMPLE: Option<u64> = Some(1_000_000_000_000_000);
/// What `tight-rate` admits in a window.
pub const TIGHT: u64 = 25;

use Dimension::{Money as Cash, Requests, Tokens};

const LIMITS: &[Def] = &[
    Def { id: "k1-day", owner: "key:k1", counters: &[(Cash, AMPLE, "1d@UTC")] },
    Def {
        id: "k1-rate",
        owner: "key:k1",
        counters: &[(Tokens, AMPLE, "1s"), (Requests, AMPLE, "10s")],
    },
    Def { id: "k2-prepaid", owner: "key:k2", counters: &[(Cash, AMPLE, "never")] },
    Def {
        id: "k2-rate",
        owner: "key:k2",
        counters: &[(Tokens, None, "1m"), (Requests, AMPLE, "1w@UTC")],
    },
    Def { id: "tight-rate", owner: "key:tight", counters: &[(Requests, Some(TIGHT), "3s")] },
    Def { id: "pair-hour", owner: "key:k1&model:m", counters: &[(Cash, AMPLE, "1h")] },
    Def {
        id: "p-rate",
        owner: "provider:p",
        counters: &[(Tokens, AMPLE, "2s"), (Requests, None, "1d")],
    },
    Def { id: "t-month", owner: "team:t", counters: &[(Cash, AMPLE, "1M")] },
];

/// An engine on a clock that is turned by the work.
pub struct World {
    pub engine: Engine,
    pub clock: ManualClock,
}

pub fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner")
}

pub fn limit(text: &str) -> LimitId {
    LimitId::new(text).expect("a limit's id")
}

impl World {
    pub fn at(now: Timestamp) -> World {
        let clock = ManualClock::new(now);
        let engine = Engine::builder().clock(clock.clone()).build();
        for name in OWNERS {
            engine.upsert_owner(&owner(name), &[]).expect("an owner");
        }
        LIMITS.iter().for_each(|def| put(&engine, def));
        World { engine, clock }
    }
}

/// The limit of an owner that comes and goes.
pub fn passing_limit(passing: &OwnerId) -> LimitId {
    limit(&format!("of-{}", passing.as_str().trim_start_matches("key:")))
}

/// Creates an owner that comes and goes, with its limit.
pub fn create(engine: &Engine, passing: &OwnerId) {
    engine.upsert_owner(passing, &[]).expect("an owner");
    let budget = Budget::new(money(AMPLE.unwrap_or(0)), period("1d@UTC"));
    engine.upsert_limit(passing, &passing_limit(passing), budget).expect("a limit");
}

fn put(engine: &Engine, def: &Def) {
    let (id, of) = (limit(def.id), owner(def.owner));
    let put = match def.counters {
        [(Cash, cap, every)] => {
            let every = period(every);
            let budget = match cap {
                Some(cap) => Budget::new(money(*cap), every),
                None => Budget::uncapped(every),
            };
            engine.upsert_limit(&of, &id, budget)
        }
        counters => {
            let mut rate = RateLimit::new();
            for (dimension, cap, every) in counters {
                rate = match dimension {
                    Tokens => rate.tokens(*cap, period(every)),
                    _ => rate.requests(*cap, period(every)),
                };
            }
            engine.upsert_limit(&of, &id, rate)
        }
    };
    put.expect("a limit");
}

/// The limits on the way of requests of these owners, with the counters they have.
pub fn on_the_way(owners: &[OwnerId]) -> Vec<(LimitId, Dimension)> {
    let has = |name: &str| owners.iter().any(|owner| owner.as_str() == name);
    let met = LIMITS.iter().filter(|def| def.owner.split('&').all(has));
    let met = met.flat_map(|def| def.counters.iter().map(|(of, ..)| (limit(def.id), *of)));
    let passing = owners.iter().filter(|owner| is_passing(owner));
    met.chain(passing.map(|owner| (passing_limit(owner), Cash))).collect()
}

/// Whether an owner is one that comes and goes.
pub fn is_passing(owner: &OwnerId) -> bool {
    !OWNERS.contains(&owner.as_str())
}

/// The limits that can be reset.
pub fn resettable(number: u64) -> LimitId {
    let number = usize::try_from(number).expect("a number of a limit");
    limit(LIMITS[number % LIMITS.len()].id)
}

/// What is charged of a usage to a counter.
pub fn charged(usage: &Usage, dimension: Dimension) -> i64 {
    let amount = match dimension {
        Cash => usage.cost.as_nanos(),
        Tokens => {
            [usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens]
                .into_iter()
                .sum()
        }
        _ => usage.requests,
    };
    i64::try_from(amount).expect("amounts are small")
}

pub fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("an amount of money")
}

fn period(text: &str) -> Period {
    text.parse().expect("a period")
}
