//! All chance there is: one stream of numbers from one seed.

/// Splitmix64: small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number from `from` up to, and not including, `to`.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        assert!(from < to, "an empty range: {from}..{to}");
        from + self.draw() % (to - from)
    }

    /// So often out of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.draw() % 1_000 < per_mille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.index(from.len());
        &from[place]
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.draw() % len as u64).expect("less than a length")
    }

    /// A rate of a fault, itself drawn: none in one world of three, else at most `most`.
    pub fn rate(&mut self, most: u64) -> u64 {
        if self.chance(333) { 0 } else { self.range(1, most + 1) }
    }
}
