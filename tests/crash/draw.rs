//! Numbers that follow from a seed.

use std::ops::Range;

/// Draws numbers: splitmix64.
pub struct Draw(u64);

impl Draw {
    /// What is drawn follows from all of these.
    pub fn of(seeds: &[u64]) -> Draw {
        let mut draw = Draw(0x746f_6c6c);
        for seed in seeds {
            draw.0 ^= *seed;
            draw.0 = draw.next();
        }
        draw
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.within(0..100) < chance
    }
}
