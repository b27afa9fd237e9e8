//! Configuration documents: what is refused with which words, what a document means, and what
//! applying one to a running engine changes.
#![cfg(feature = "serde")]

#[path = "config/alike.rs"]
mod alike;
#[path = "config/applying.rs"]
mod applying;
#[path = "config/large.rs"]
mod large;
#[path = "config/meaning.rs"]
mod meaning;
#[path = "config/pieces.rs"]
mod pieces;
#[path = "config/progress.rs"]
mod progress;
#[path = "config/wrong.rs"]
mod wrong;

use tollkeeper::{Config, Engine, LimitId, LimitUsage, Money, OwnerId, Usage};

fn config(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

fn owner(text: &str) -> OwnerId {
    text.parse().expect("an owner's text")
}

fn limit(text: &str) -> LimitId {
    LimitId::new(text).expect("a limit id")
}

fn money(text: &str) -> Money {
    text.parse().expect("an amount of money")
}

fn used(engine: &Engine, id: &str) -> LimitUsage {
    engine.usage(&limit(id)).unwrap_or_else(|| panic!("there is a limit {id}"))
}

/// What the first counter of a limit has booked and held.
fn counts(engine: &Engine, id: &str) -> (u64, u64) {
    let counter = used(engine, id).counters[0];
    (counter.settled, counter.held)
}

/// One request of so many tokens and so much money.
fn request(tokens: u64, cost: &str) -> Usage {
    Usage { input_tokens: tokens, requests: 1, cost: money(cost), ..Usage::default() }
}
