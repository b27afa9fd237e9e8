//! All that is known when a replay is over; every output is made from it.

use super::cli::Cli;
use super::document::Document;
use super::findings::Findings;
use super::malformed::Malformed;
use super::tally::Tallies;
use std::time::Duration;
use tollkeeper::Timestamp;

pub struct Outcome<'a> {
    pub cli: &'a Cli,
    pub document: &'a Document,
    /// What was replayed, in words.
    pub source: Source,
    pub start: Timestamp,
    pub end: Timestamp,
    pub findings: Findings,
    pub tallies: Tallies,
    pub malformed: &'a [Malformed],
    /// How long the engine was asked for, by the wall.
    pub elapsed: Duration,
}

/// Where the requests came from.
pub struct Source {
    pub trace: String,
    pub clients: String,
    pub limits: String,
}

impl Outcome<'_> {
    pub fn decisions_per_second(&self) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        let each_second = u128::from(self.tallies.all.requests) * 1_000_000_000 / nanos;
        u64::try_from(each_second).unwrap_or(u64::MAX)
    }
}
