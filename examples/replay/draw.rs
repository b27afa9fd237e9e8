//! The dice: seeded, integers only, so that a run is the same on every machine.
//!
//! No logarithm and no exponential is taken anywhere: their last digit differs between maths
//! libraries, and one digit is enough to tip a decision. Distributions are given as quantiles with
//! straight lines between them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One part in a million.
pub const MILLION: u64 = 1_000_000;

/// What a stream of numbers is for. Each has its own, so that drawing more of one thing changes
/// nothing about the others.
#[derive(Clone, Copy)]
pub enum Purpose {
    Arrivals = 1,
    Sizes,
    Clients,
    Traits,
}

/// A point of a distribution: so many parts in a million of all values are below the value.
pub type Quantile = (u64, u64);

/// A stream of numbers drawn from a seed.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, purpose: Purpose) -> Dice {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(purpose as u64);
        Dice(stream)
    }

    /// A number from zero up to, and without, `end`. Zero if `end` is.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the high half of a 128-bit product fits 64 bits")
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True in so many cases of a million.
    pub fn chance(&mut self, of_a_million: u64) -> bool {
        self.below(MILLION) < of_a_million
    }

    /// The index of one of some weights, given as their running sums.
    pub fn pick(&mut self, running: &[u64]) -> usize {
        let total = running.last().copied().unwrap_or(0);
        let ticket = self.below(total);
        running.partition_point(|&sum| sum <= ticket)
    }

    /// A value of the distribution with these quantiles, which ascend and end with a million.
    pub fn quantile(&mut self, knots: &[Quantile]) -> u64 {
        let share = self.below(MILLION);
        let right = knots.partition_point(|&(upto, _)| upto <= share).clamp(1, knots.len() - 1);
        let ((from, low), (upto, high)) = (knots[right - 1], knots[right]);
        low + (high - low) * share.saturating_sub(from) / (upto - from)
    }
}

/// The running sums of some weights.
pub fn running_sums(weights: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let sum = |total: &mut u64, weight| {
        *total += weight;
        Some(*total)
    };
    weights.into_iter().scan(0, sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        let mut dice = Dice::new(7, Purpose::Sizes);
        let drawn: Vec<u64> = (0..4).map(|_| dice.below(1_000_000)).collect();
        assert_eq!(drawn, [300_128, 377_544, 249_143, 315_748]);
        let other = Dice::new(7, Purpose::Clients).below(1_000_000);
        assert_ne!(drawn[0], other, "purposes have streams of their own");
    }

    #[test]
    fn values_keep_to_their_quantiles() {
        let knots = [(0, 10), (500_000, 20), (1_000_000, 1_020)];
        let mut dice = Dice::new(1, Purpose::Sizes);
        let drawn: Vec<u64> = (0..20_000).map(|_| dice.quantile(&knots)).collect();
        assert!(drawn.iter().all(|value| (10..1_020).contains(value)));
        let low = drawn.iter().filter(|&&value| value < 20).count();
        assert!((9_800..10_200).contains(&low), "half of 20,000 are below the median, not {low}");
    }

    #[test]
    fn picks_follow_the_weights() {
        let sums = running_sums([1, 0, 3]);
        assert_eq!(sums, [1, 1, 4]);
        let mut dice = Dice::new(1, Purpose::Clients);
        let mut seen = [0; 3];
        (0..4_000).for_each(|_| seen[dice.pick(&sums)] += 1);
        assert_eq!(seen[1], 0, "a weight of zero is never picked");
        assert!((900..1_100).contains(&seen[0]), "a quarter of 4,000, not {}", seen[0]);
    }
}
