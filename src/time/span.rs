//! One window of time: half open.

use std::time::Duration;

use super::Timestamp;

/// A half-open stretch of time `[start, end)`.
///
/// The end is exclusive: at `end` exactly the next window has begun. An end of
/// [`Timestamp::MAX`] means that the window never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after.
    pub end: Timestamp,
}

impl Span {
    /// Whether `at` lies inside: `start <= at < end`.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// How long the stretch is.
    pub fn length(&self) -> Duration {
        self.end.saturating_since(self.start)
    }
}
