//! Rules: what the audit knows of a limit, one for each of its counters.
//!
//! The audit shares no arithmetic with what it audits, except where a period's windows lie.

use super::log::Entry;
use tollkeeper::{Dimension, Period, Span, Timestamp, TokenWeights, Usage};

/// One counter of one limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The limit's id.
    pub limit: String,
    /// The owner it hangs on.
    pub owner: String,
    pub dimension: Dimension,
    /// In the dimension's unit; `None` counts and never denies.
    pub most: Option<u64>,
    pub period: Period,
    pub weights: TokenWeights,
    /// Where the document has its windows begin, if it says so.
    pub anchor: Option<Timestamp>,
    /// What its window in force had been charged before the replay began.
    pub opening: u64,
}

impl Rule {
    /// What a request of this usage comes to here.
    pub fn amount(&self, usage: &Usage) -> u64 {
        match self.dimension {
            Dimension::Money => usage.cost.as_nanos(),
            Dimension::Tokens => weigh(&self.weights, usage),
            Dimension::Requests => usage.requests,
            Dimension::InFlight => 0,
        }
    }

    /// What a request of this estimate holds here.
    pub fn hold(&self, estimate: &Usage) -> u64 {
        match self.dimension {
            Dimension::InFlight => 1,
            _ => self.amount(estimate),
        }
    }

    /// The window of an instant, for a limit that was created at `start`.
    pub fn window(&self, start: Timestamp, at: Timestamp) -> Span {
        let anchor = self.anchor.unwrap_or(start);
        match self.period.fixed_length() {
            // Computed here again: whole periods from the anchor.
            Some(length) => {
                let since = at.saturating_since(anchor).as_nanos();
                let windows = since / length.as_nanos();
                let nanos = u64::try_from(windows * length.as_nanos()).unwrap_or(u64::MAX);
                let start = Timestamp::from_nanos(anchor.as_nanos().saturating_add(nanos));
                Span { start, end: start.saturating_add(length) }
            }
            None => self.period.window_at(anchor, at),
        }
    }

    /// Whether two windows may have ended while an entry of the log was made.
    pub fn ends_twice(&self, start: Timestamp, entry: &Entry) -> bool {
        let first = self.window(start, entry.from);
        first.end <= entry.until && self.window(start, first.end).end <= entry.until
    }

    /// Its name in tables and messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.limit, self.dimension)
    }
}

/// Rounded up once, over the sum.
fn weigh(weights: &TokenWeights, usage: &Usage) -> u64 {
    let kinds = [
        (weights.input, usage.input_tokens),
        (weights.output, usage.output_tokens),
        (weights.cached, usage.cached_tokens),
        (weights.cache_write, usage.cache_write_tokens),
    ];
    let thousandths: u128 = kinds.map(|(w, n)| u128::from(w) * u128::from(n)).iter().sum();
    u64::try_from(thousandths.div_ceil(1_000)).unwrap_or(u64::MAX)
}
