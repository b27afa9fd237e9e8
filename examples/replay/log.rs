//! The log of a replay: every decision and every end, with what the engine said of it.
//!
//! It is all that the audit gets to see.

use super::gate::Pass;
use tollkeeper::{Binding, Event, LimitUsage, Overshoot, Timestamp, Usage};

/// What happened, in the order in which it was logged.
#[derive(Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    /// What the engine told its subscriber.
    pub events: Vec<Event>,
    /// What did not fit into the subscriber's queue.
    pub missed: u64,
    pub readings: Vec<Reading>,
    /// Whether what was used was booked later than it was worked out, and time went on in between.
    pub deferred: bool,
}

/// One thing that was asked of the engine.
#[derive(Debug)]
pub struct Entry {
    /// The clock before it was asked, and after. One instant where the clock stood still.
    pub from: Timestamp,
    pub until: Timestamp,
    /// The index of the request.
    pub request: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// The request was let through and this estimate is held for it.
    Admitted { estimate: Usage },
    /// The request was let through because this estimate was found to fit; nothing is held.
    Looked { estimate: Usage },
    /// It was not, because of these counters, the first of which refused it.
    Denied { estimate: Usage, by: Vec<Binding> },
    /// It ended.
    Ended(Ending),
}

impl What {
    /// What letting a request through is, seen from what it got.
    pub fn passed(pass: &Pass, estimate: Usage) -> What {
        match pass {
            Pass::Held(_) | Pass::Charged(..) => What::Admitted { estimate },
            Pass::Looked => What::Looked { estimate },
        }
    }
}

/// How a request that had been let through ended.
#[derive(Debug)]
pub enum Ending {
    /// Its hold was replaced by what it used.
    Settled { used: Usage, late: bool, overshoots: Vec<Overshoot> },
    /// Its hold was given back.
    Voided,
    /// Its hold was booked, because nobody knows what it used.
    Uncertain,
    /// There was no hold; what it used was charged.
    Charged { used: Usage, overshoots: Vec<Overshoot> },
    /// There was no hold and no charge: it cost nothing, or nobody learned what.
    Uncharged,
}

/// What every limit had used at some moment.
pub struct Reading {
    pub at: Timestamp,
    /// How many entries of the log came before.
    pub after: usize,
    pub usage: Vec<LimitUsage>,
}
