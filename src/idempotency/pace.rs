//! The time of a keeper.

use std::time::Duration;

use crate::time::Timestamp;

/// Time that goes on when the clock steps back.
#[derive(Default)]
pub(super) struct Steady {
    pub(super) time: Timestamp,
    /// How much of it the clock has stepped back.
    ahead: Duration,
}

impl Steady {
    pub(super) fn follow(&mut self, now: Timestamp) {
        let time = now.saturating_add(self.ahead);
        self.ahead += self.time.saturating_since(time);
        self.time = self.time.max(time);
    }

    /// An instant as the clock shows it.
    pub(super) fn as_given(&self, time: Timestamp) -> Timestamp {
        time.saturating_sub(self.ahead)
    }
}

/// How long to sleep until `next` at the end of a turn that began at `begun`. It is not longer
/// because the clock has stepped back meanwhile.
pub(super) fn pause(begun: Timestamp, now: Timestamp, next: Timestamp) -> Duration {
    next.saturating_since(now.max(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_during_a_turn_lengthens_no_pause() {
        let at = Timestamp::from_secs;
        assert_eq!(pause(at(100), at(103), at(110)), Duration::from_secs(7));
        assert_eq!(pause(at(100), at(111), at(110)), Duration::ZERO);
        assert_eq!(pause(at(3_700), at(103), at(3_710)), Duration::from_secs(10));
    }
}
