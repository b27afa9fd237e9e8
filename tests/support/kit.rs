//! What the suites share: an engine on a clock that only moves when told to, and short ways to say
//! what a test is about.

#![allow(dead_code)] // Each suite uses a part of it.

use std::time::Duration;

use tollkeeper::{
    Binding, CounterUsage, Denied, Dimension, Engine, Event, EventKind, Limit, LimitId,
    ManualClock, Money, OwnerId, Period, Reservation, Route, Subscription, Timestamp, UnknownOwner,
    Upserted, Usage,
};

/// When tests begin, unless they say otherwise.
pub const START: &str = "2026-03-01T00:00:00Z";

/// The most that a counter can book, and the most that can be held on it.
pub const SETTLED_MAX: u64 = (1 << 62) - 1;
pub const HELD_MAX: u64 = (1 << 50) - 1;

/// An engine, its clock, and everything that happened.
pub struct Kit {
    pub engine: Engine,
    pub clock: ManualClock,
    pub events: Subscription,
}

pub fn kit() -> Kit {
    kit_at(START)
}

pub fn kit_at(start: &str) -> Kit {
    kit_with(instant(start), UnknownOwner::Deny)
}

pub fn kit_with(start: Timestamp, policy: UnknownOwner) -> Kit {
    let clock = ManualClock::new(start);
    let engine = Engine::builder().clock(clock.clone()).unknown_owner(policy).build();
    let events = engine.subscribe(10_000);
    Kit { engine, clock, events }
}

pub fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn owner(text: &str) -> OwnerId {
    text.parse().unwrap()
}

pub fn id(text: &str) -> LimitId {
    LimitId::new(text).unwrap()
}

pub fn per(text: &str) -> Period {
    text.parse().unwrap()
}

pub fn nanos(amount: u64) -> Money {
    Money::from_nanos(amount).unwrap()
}

/// One request of so many tokens.
pub fn tokens(input_tokens: u64) -> Usage {
    Usage { input_tokens, requests: 1, ..Usage::default() }
}

/// One request that costs so many nano-units.
pub fn cost(amount: u64) -> Usage {
    Usage { cost: nanos(amount), requests: 1, ..Usage::default() }
}

pub fn nothing() -> Usage {
    Usage::default()
}

impl Kit {
    /// The same with a longer queue of events, which begins now.
    pub fn with_room(self, capacity: usize) -> Kit {
        Kit { events: self.engine.subscribe(capacity), ..self }
    }

    /// Creates an owner, or changes its parents.
    pub fn owner(&self, text: &str, parents: &[&str]) -> Upserted {
        let parents: Vec<OwnerId> = parents.iter().map(|parent| owner(parent)).collect();
        self.engine.upsert_owner(&owner(text), &parents).unwrap()
    }

    /// Creates a limit, or changes it; and its owner, if it is not there.
    pub fn limit(&self, of: &str, limit: &str, definition: impl Into<Limit>) -> Upserted {
        if !self.engine.unknown_owners(&self.route(&[of])).is_empty() {
            self.owner(of, &[]);
        }
        self.engine.upsert_limit(&owner(of), &id(limit), definition).unwrap()
    }

    pub fn route(&self, owners: &[&str]) -> Route {
        let owners: Vec<OwnerId> = owners.iter().map(|text| owner(text)).collect();
        self.engine.route(&owners)
    }

    pub fn admit(&self, owners: &[&str], estimate: &Usage) -> Reservation {
        self.engine.reserve(&self.route(owners), estimate).into_result().unwrap()
    }

    pub fn deny(&self, owners: &[&str], estimate: &Usage) -> Denied {
        self.engine.reserve(&self.route(owners), estimate).into_result().unwrap_err()
    }

    pub fn admits(&self, owners: &[&str], estimate: &Usage) -> bool {
        self.engine.reserve(&self.route(owners), estimate).is_admitted()
    }

    pub fn bump(&self, owners: &[&str], used: &Usage) {
        let _ = self.engine.bump(&self.route(owners), used);
    }

    /// The only counter of a limit, or its counter of tokens.
    pub fn read(&self, limit: &str) -> CounterUsage {
        self.engine.usage(&id(limit)).unwrap().counters[0]
    }

    pub fn counter(&self, limit: &str, dimension: Dimension) -> CounterUsage {
        *self.engine.usage(&id(limit)).unwrap().counter(dimension).unwrap()
    }

    /// What is settled and what is held on the first counter.
    pub fn counts(&self, limit: &str) -> (u64, u64) {
        let counter = self.read(limit);
        (counter.settled, counter.held)
    }

    pub fn set(&self, to: &str) {
        self.clock.set(instant(to));
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// What happened since the last time, in order.
    pub fn happened(&self) -> Vec<Event> {
        self.events.drain().collect()
    }

    /// The totals of the windows of a limit that closed since the last time, in order.
    pub fn closed(&self, limit: &str) -> Vec<u64> {
        let total = |event: Event| match event.what {
            EventKind::WindowClosed { total, .. } if event.limit == id(limit) => Some(total),
            _ => None,
        };
        self.happened().into_iter().filter_map(total).collect()
    }
}

/// The limits and dimensions that a denial names, in order.
pub fn named(denied: &Denied) -> Vec<(String, Dimension)> {
    denied.bindings().map(|b| (b.limit.to_string(), b.dimension)).collect()
}

pub fn only(denied: &Denied) -> Binding {
    assert_eq!(denied.bindings().count(), 1, "{denied}");
    denied.first().unwrap().clone()
}

pub fn second() -> Duration {
    Duration::from_secs(1)
}

pub fn minute() -> Duration {
    Duration::from_secs(60)
}

pub fn a_nano() -> Duration {
    Duration::from_nanos(1)
}
