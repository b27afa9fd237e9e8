//! What a store can do at most: the rows of a ledger, written by plain prepared statements.
//!
//! The tables are those of the ledger, made by it, with all of their indices and references. What
//! is written is known beforehand: there is no request, nobody waits, and nothing is looked up.

// All of it is for the stores that are built.
#![cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]

use crate::ours;
use crate::settlers::{KEYS, POSTINGS, TEAM, key};
use std::time::Duration;
use tollkeeper::{Clock, RecordId, SystemClock, Usage};

/// A store that is written to in groups.
pub trait Plain {
    /// Writes so many groups of so many records each, each in a transaction, and says how long it
    /// took.
    fn write(&mut self, groups: usize, records: usize) -> Duration;

    /// All that was written is there.
    fn check(&mut self);
}

/// Of each record the same.
pub fn usage() -> [i64; 6] {
    let Usage { input_tokens, output_tokens, requests, cost, .. } = ours::used();
    [input_tokens, output_tokens, 0, 0, requests, cost.as_nanos()].map(signed)
}

/// What is charged to a window, by its dimension.
pub fn amounts() -> [i64; 3] {
    let [input, output, .., requests, cost] = usage();
    [cost, input + output, requests]
}

/// Limit, owner and dimension of all windows: three of each key, and those of the team.
pub fn windows() -> Vec<(String, String, i16)> {
    let owners = (0..KEYS).map(key).chain([TEAM.to_owned()]);
    let of = |owner: String| {
        (0..3).map(move |place| (format!("{owner}/{}", place.min(1)), owner.clone(), place))
    };
    owners.flat_map(of).collect()
}

/// The places in [`windows`] that a record charges, each with its dimension.
pub fn charged(number: usize) -> [(usize, usize); POSTINGS] {
    let (own, team) = (3 * (number % KEYS), 3 * KEYS);
    [(own, 0), (own + 1, 1), (own + 2, 2), (team, 0), (team + 1, 1), (team + 2, 2)]
}

/// A window that is open for long.
pub fn span() -> (i64, i64) {
    let now = now();
    (now, now + 86_400_000_000_000)
}

pub fn now() -> i64 {
    signed(SystemClock.now().as_nanos())
}

/// A new record's id, time-ordered.
pub fn id() -> u128 {
    RecordId::generate().as_u128()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
