//! Chance that repeats: numbers drawn from a seed.

use std::time::Duration;

/// Random numbers (SplitMix64): for jitter and for numbers that tell attempts apart, not for
/// secrets.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Half of it to all of it, so that those who wait for the same do not ask in step.
    pub(crate) fn about(&mut self, time: Duration) -> Duration {
        let parts = u32::try_from(self.number() % 1_024).unwrap_or_default();
        time / 2 + time / 2 * parts / 1_024
    }
}

/// The finalizer of splitmix64: a permutation in which every bit depends on every bit.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
