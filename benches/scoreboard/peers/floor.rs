//! The floor: bare `fetch_add` on words that share no cache line.

use crate::side::Side;
use portable_atomic::AtomicU128;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tollkeeper::{Clock, SystemClock};

/// A word that shares its cache line, and the one that is fetched with it, with nothing.
#[repr(align(128))]
#[derive(Default)]
pub struct Padded(AtomicU64);

impl Padded {
    /// Never false: it stands for an admission, so that what was read has a use.
    #[inline]
    pub fn add(&self) -> bool {
        // Relaxed: it counts and publishes nothing.
        self.0.fetch_add(1, Ordering::Relaxed) != u64::MAX
    }

    pub fn get(&self) -> u64 {
        // Relaxed: read when all is done.
        self.0.load(Ordering::Relaxed)
    }
}

/// One `fetch_add`.
pub fn fetch_add() -> Side<'static> {
    let word = Arc::new(Padded::default());
    let count = Arc::clone(&word);
    Side::new("fetch_add", move |_| word.add()).counting(move || count.get())
}

/// One `fetch_add`, and a reading of the clock that an engine reads.
pub fn fetch_add_and_clock() -> Side<'static> {
    let word = Arc::new(Padded::default());
    let count = Arc::clone(&word);
    Side::new("fetch_add and a clock reading", move |_| {
        black_box(SystemClock.now());
        word.add()
    })
    .counting(move || count.get())
}

/// A 128-bit word that shares its cache line, and the one that is fetched with it, with nothing.
#[repr(align(128))]
#[derive(Default)]
struct Wide(AtomicU128);

impl Wide {
    /// Read and compare-and-swapped until that succeeds: what a counter's word needs at least.
    #[inline]
    fn add(&self) -> bool {
        // Relaxed, here and below: it counts and publishes nothing.
        let mut word = self.0.load(Ordering::Relaxed);
        while let Err(current) = self.0.compare_exchange_weak(
            word,
            word + 1,
            // Relaxed: see above.
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            word = current;
        }
        word != u128::MAX
    }
}

/// A bare load and compare-and-swap of 128 bits on each of `WORDS` words, then the same ones again.
pub fn swap_twice<const WORDS: usize>() -> Side<'static> {
    let words: Arc<[Wide; WORDS]> = Arc::new(std::array::from_fn(|_| Wide::default()));
    let count = Arc::clone(&words);
    // Relaxed: read when all is done.
    let swaps = move || count.iter().map(|word| word.0.load(Ordering::Relaxed)).sum::<u128>();
    Side::new("128-bit swap, twice on each word", move |_| {
        let held = words.iter().fold(true, |admitted, word| admitted & word.add());
        words.iter().fold(held, |admitted, word| admitted & word.add())
    })
    .counting(move || u64::try_from(swaps()).expect("not that many") / (2 * WORDS as u64))
}

/// One `fetch_add` on each of `WORDS` words, then the same ones again, as a reservation holds and
/// settles. Each thread has one of the sets, which go round.
pub fn twice<const WORDS: usize>(sets: usize) -> Side<'static> {
    let row = || std::array::from_fn::<_, WORDS, _>(|_| Padded::default());
    let words: Arc<Vec<[Padded; WORDS]>> = Arc::new((0..sets).map(|_| row()).collect());
    let count = Arc::clone(&words);
    Side::new("fetch_add, twice on each word", move |thread| {
        let words = &words[thread % words.len()];
        let held = words.iter().fold(true, |admitted, word| admitted & word.add());
        words.iter().fold(held, |admitted, word| admitted & word.add())
    })
    .counting(move || count.iter().flatten().map(Padded::get).sum::<u64>() / (2 * WORDS as u64))
}
