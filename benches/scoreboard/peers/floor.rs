//! The floor: bare `fetch_add` on words that share no cache line.

use crate::side::Side;
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
