//! What every decision needs besides its limits: the time, and where its notices go.

use crate::engine::events::Events;
use crate::entry::At;
use crate::time::{Clock, Timestamp};

/// The clock and the events of an engine.
///
/// Routes hold it, and reservations by their routes. They do not hold the engine: owners keep
/// routes, and the engine would never be let go of by what it holds itself.
pub(crate) struct Desk {
    clock: Box<dyn Clock>,
    pub(crate) events: Events,
}

impl Desk {
    pub(crate) fn new(clock: Box<dyn Clock>) -> Self {
        Self { clock, events: Events::new() }
    }

    /// The exact time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An instant that has not passed yet, see [`Clock::soon`].
    #[inline]
    pub(crate) fn soon(&self) -> Timestamp {
        self.clock.soon()
    }

    /// Where a decision begins that depends on the exact time: with the one reading of it.
    pub(crate) fn at(&self) -> At<'_> {
        At { now: self.now(), notices: &self.events }
    }
}
