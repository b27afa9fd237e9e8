//! Keys, and the order in which they are asked for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// All that is drawn, in every run.
const SEED: u64 = 2_026;

pub fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(SEED)
}

/// The id of an owner, of twelve bytes.
pub fn id(number: usize) -> String {
    format!("key:{number:08}")
}

/// The numbers below `count` in an order of chance.
pub fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..u32::try_from(count).expect("at most millions")).collect();
    for last in (1..numbers.len()).rev() {
        // Two in a billion off from even, for a million.
        let other = rng.next_u64() % (last as u64 + 1);
        numbers.swap(last, usize::try_from(other).expect("it is below the last"));
    }
    numbers
}

/// The ids of so many owners, drawn again and again: the n-th most frequent one time in n of the
/// most frequent (Zipf's law with exponent one), whichever ids those are.
pub struct Draws(Vec<String>);

impl Draws {
    pub fn new(draws: usize, owners: usize) -> Draws {
        let mut rng = rng();
        let ids = shuffled(owners, &mut rng);
        let zipf = Zipf::new(owners as f64, 1.0).expect("there are owners");
        // A rank is a whole number, at least one.
        let ranks = zipf.sample_iter(&mut rng).map(|rank: f64| rank as usize - 1);
        Draws(ranks.take(draws).map(|rank| id(ids[rank] as usize)).collect())
    }

    /// A way through the draws for each of so many threads and for each of so many sides, no two
    /// beginning at the same place, so that none finds in the caches what another just read.
    pub fn walk(&self, place: usize, of: usize) -> Walk<'_> {
        Walk { draws: &self.0, at: AtomicUsize::new(self.0.len() / of * place) }
    }
}

/// Where one thread of one side is.
pub struct Walk<'a> {
    draws: &'a [String],
    at: AtomicUsize,
}

impl Walk<'_> {
    /// Asks for the next so many keys.
    pub fn each(&self, times: u64, mut ask: impl FnMut(&String) -> bool) -> bool {
        // Relaxed: one thread walks at a time.
        let mut at = self.at.load(Ordering::Relaxed);
        let mut admitted = true;
        for _ in 0..times {
            admitted &= ask(&self.draws[at]);
            at += 1;
            if at == self.draws.len() {
                at = 0;
            }
        }
        self.at.store(at, Ordering::Relaxed);
        admitted
    }
}
