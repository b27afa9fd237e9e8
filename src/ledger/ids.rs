//! Record ids and attempts, drawn from a seed.

use super::record::RecordId;
use crate::draws::mix;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

/// Draws ids that nobody else draws: two numbers of 64 bits make the seed, a counter the draw.
pub(crate) struct Ids {
    seed: [u64; 2],
    drawn: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: u128) -> Self {
        // A small seed spreads over both halves.
        let [high, low] = halves(seed);
        Self { seed: [mix(high ^ mix(low)), mix(low ^ !high)], drawn: AtomicU64::new(0) }
    }

    fn draw(&self) -> [u64; 2] {
        // Relaxed: only that no two draws are of the same number matters.
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let step = drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.seed.map(|seed| mix(seed.wrapping_add(step)))
    }

    /// A record id of the form of a UUID of version 7: ordered by the time.
    pub(crate) fn record(&self, now: Timestamp) -> RecordId {
        let [a, b] = self.draw();
        let millis = u128::from(now.as_nanos() / 1_000_000) & 0xffff_ffff_ffff;
        let high = u128::from(a & 0xfff);
        let low = u128::from(b & 0x3fff_ffff_ffff_ffff);
        RecordId::from_u128(millis << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low)
    }

    /// What an entry is recognised by when it is written again.
    pub(crate) fn attempt(&self) -> u64 {
        let [a, b] = self.draw();
        mix(a ^ b.rotate_left(32))
    }
}

#[allow(clippy::cast_possible_truncation)] // It is what is meant.
fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_ordered_by_time_repeat_with_the_seed_and_differ_otherwise() {
        let at = Timestamp::from_secs(1_800_000_000);
        let (one, same, other) = (Ids::new(1), Ids::new(1), Ids::new(2));
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let id = one.record(at);
            assert_eq!(id, same.record(at));
            assert!(seen.insert(id) && seen.insert(other.record(at)));
        }
        let later = one.record(at.saturating_add(std::time::Duration::from_millis(1)));
        assert!(seen.iter().all(|id| *id < later));
        assert_eq!(&later.to_string()[14..15], "7");
        assert_eq!(one.attempt(), {
            same.record(at);
            same.attempt()
        });
        assert_ne!(one.attempt(), other.attempt());
    }
}
