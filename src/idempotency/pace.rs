//! Time and chance of a keeper.

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

/// Random numbers (SplitMix64): for claims' numbers and for jitter, not for secrets.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Half of it to all of it, so that those who wait for the same do not ask in step.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        let parts = u32::try_from(self.number() % 1_024).unwrap_or_default();
        time / 2 + time / 2 * parts / 1_024
    }
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
