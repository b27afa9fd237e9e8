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
    pub ledger: Option<Written>,
}

/// What was written to a ledger.
pub struct Written {
    /// Records, and transactions.
    pub records: u64,
    pub groups: u64,
    /// What it had before: records, and totals of windows that were open.
    pub before: u64,
    pub restored: u64,
    /// How far the trace was moved to begin behind that.
    pub moved: Duration,
}

/// Where the requests came from.
pub struct Source {
    pub trace: String,
    pub clients: String,
    pub limits: String,
}

impl Outcome<'_> {
    pub fn decisions_per_second(&self) -> u64 {
        self.each_second(self.tallies.all.requests)
    }

    /// Of so many in the time of the replay.
    pub fn each_second(&self, count: u64) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        let each_second = u128::from(count) * 1_000_000_000 / nanos;
        u64::try_from(each_second).unwrap_or(u64::MAX)
    }
}
