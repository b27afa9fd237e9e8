//! The counter word: one dimension's usage in one window, and the one loop that changes it.
//!
//! # State
//!
//! Everything that must agree lives in one word, so no two atomics can ever disagree:
//!
//! ```text
//!   127  114 113                  64  63   62  61                 0
//!  ┌────────┬──────────────────────┬──────┬───┬─────────────────────┐
//!  │ tag 14 │ held              50 │closed│ 0 │ settled          62 │
//!  └────────┴──────────────────────┴──────┴───┴─────────────────────┘
//! ```
//!
//! No field crosses the middle, so each half is taken apart and put together as a word of the
//! machine.
//!
//! | field | meaning | at its edge |
//! |---|---|---|
//! | closed | set: the window is over and its counts are final | – |
//! | tag | low bits of the window's generation | wraps, see *Limits* |
//! | held | reserved and not yet booked | a hold that would pass [`HELD_MAX`] is refused |
//! | settled | booked | stays at [`SETTLED_MAX`]; the caller learns what did not fit |
//!
//! Units are the dimension's own: nano-units of the currency, weighted tokens, requests, requests
//! in flight.
//!
//! # Transitions
//!
//! | operation | from | to | does nothing when |
//! |---|---|---|---|
//! | [`Counter::update`] | open g, counts | open g, change(counts) | not open in g, or refused |
//! | [`Counter::close`] | open g, counts | closed g, counts | not in g |
//! | [`Counter::open`] | closed g, counts | open g+1, opening | not exactly that |
//!
//! # Proof
//!
//! **L1.** Counts change only by compare-and-swap from the exact word that was read, so no update
//! is overwritten; and they change only while the word is open. An update that comes before
//! `close` is in the counts that `close` makes final. One that comes after it is told
//! [`Elsewhere`] and is made again by its caller in the next window. There is no third place and no
//! crack between the two.
//!
//! **L2.** While a word is closed its counts stand still, so all who help to close a window read
//! the same total. Exactly one `open` succeeds, because it changes the word it requires; that
//! thread gives the notice.
//!
//! # Orderings
//!
//! The counts themselves publish nothing. A tag does: it stands for a snapshot that was installed
//! before it, and for the total of the window before, see [`Counter::open`].
//!
//! # Limits
//!
//! Lock-free, not wait-free: a failed swap means that another thread's succeeded. The tag repeats
//! after 2^14 windows. For that to be seen, one thread has to stand still between reading the terms
//! and its swap, which is a few instructions or a notice, while the window rolls an exact multiple
//! of 16,384 times (four and a half hours of one-second windows, 16 seconds of one-millisecond
//! ones) and the other threads keep running. Whatever lives longer, a reservation above all,
//! remembers more of the generation than the tag (`holds`).

use crate::sync::{AtomicWord, Bits, Ordering};

/// Widths of the fields. Under loom the word is half as wide, and the tag so narrow that tests
/// reach its wrap.
#[cfg(not(tollkeeper_loom))]
const WIDTHS: (u32, u32, u32) = (14, 50, 62);
#[cfg(tollkeeper_loom)]
const WIDTHS: (u32, u32, u32) = (3, 29, 30);

const TAG_BITS: u32 = WIDTHS.0;
const HELD_BITS: u32 = WIDTHS.1;
const SETTLED_BITS: u32 = WIDTHS.2;
/// The upper half has the tag and what is held, the lower one what is settled.
const HALF: u32 = Bits::BITS / 2;
/// The highest bit of the lower half: set while the word's window is closed.
const CLOSED: u64 = 1 << (HALF - 1);
const _: () = assert!(TAG_BITS + HELD_BITS == HALF && SETTLED_BITS + 1 < HALF);

/// The most that can be booked in one window.
pub(crate) const SETTLED_MAX: u64 = (1 << SETTLED_BITS) - 1;
/// The most that can be held at one time.
pub(crate) const HELD_MAX: u64 = (1 << HELD_BITS) - 1;

/// What one dimension has used in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Reserved and not yet booked. At most [`HELD_MAX`].
    pub(crate) held: u64,
    /// Booked. At most [`SETTLED_MAX`].
    pub(crate) settled: u64,
}

impl Counts {
    /// What admission compares with the limit.
    pub(crate) fn committed(self) -> u64 {
        // 50 and 62 bits: the sum fits in 63.
        self.held + self.settled
    }

    /// Books `amount`, as far as the word can count.
    pub(crate) fn book(self, amount: u64) -> Counts {
        Counts { settled: self.settled.saturating_add(amount).min(SETTLED_MAX), ..self }
    }

    /// Holds `amount` more. `None` if the word cannot count so much.
    pub(crate) fn hold(self, amount: u64) -> Option<Counts> {
        let held = self.held.checked_add(amount).filter(|&held| held <= HELD_MAX)?;
        Some(Counts { held, ..self })
    }

    /// Holds `amount` less. `None` if it is not held, which no caller that holds it sees.
    pub(crate) fn give_back(self, amount: u64) -> Option<Counts> {
        Some(Counts { held: self.held.checked_sub(amount)?, ..self })
    }
}

/// The word is in another window than the one the caller means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// Still in the window before: the snapshot was installed and the word not moved yet. Help.
    Behind,
    /// Past it: the caller's snapshot is old. Load it again.
    Moved,
}

/// Why an update changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed<E> {
    /// The word is in another window.
    Elsewhere(Elsewhere),
    /// The change refused, having seen these counts.
    Refused(Counts, E),
}

/// An update that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: Counts,
    pub(crate) after: Counts,
}

/// One dimension's word.
pub(crate) struct Counter {
    word: AtomicWord,
}

impl Counter {
    /// A counter open in `generation`, with `opening` already booked.
    pub(crate) fn new(generation: u64, opening: u64) -> Self {
        Self { word: AtomicWord::new(pack(generation, Counts { held: 0, settled: opening })) }
    }

    /// The counts, if the word is open in `generation`.
    pub(crate) fn read(&self, generation: u64) -> Result<Counts, Elsewhere> {
        // Acquire: pairs with the Release of `open`, as in `update`.
        open_in(self.word.load(Ordering::Acquire), generation)
    }

    /// Replaces the counts of `generation` by `change` of them: the one loop of every bump, hold,
    /// settle and void. `change` is pure and may be called several times.
    #[inline(always)]
    pub(crate) fn update<E>(
        &self,
        generation: u64,
        change: impl Fn(Counts) -> Result<Counts, E>,
    ) -> Result<Change, Missed<E>> {
        // Acquire: pairs with the Release of `close` and of `open`. Who sees what they wrote sees
        // the snapshot that was installed before it, so a caller that is told `Moved` finds a
        // newer one when it loads again.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let before = open_in(word, generation).map_err(Missed::Elsewhere)?;
            let after = change(before).map_err(|refusal| Missed::Refused(before, refusal))?;
            // Success is Relaxed: the counts publish no other memory, and a read-modify-write
            // carries on the release sequence of the `open` that wrote the tag.
            // Failure is Acquire: the word it returns is judged as the first load's was.
            match self.word.compare_exchange_weak(
                word,
                pack(generation, after),
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(Change { before, after }),
                Err(current) => word = current,
            }
        }
    }

    /// Closes the window of `generation`, or finds it closed, and returns its final counts. `None`
    /// if the word is in another window.
    pub(crate) fn close(&self, generation: u64) -> Option<Counts> {
        // Acquire: as in `update`.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let counts = match open_in(word & !Bits::from(CLOSED), generation) {
                Ok(counts) => counts,
                Err(_) => return None,
            };
            if word & Bits::from(CLOSED) != 0 {
                return Some(counts);
            }
            // Release: pairs with the Acquire loads of `update` and `read`: the snapshot of the
            // next generation was installed before this. Failure is Acquire as above.
            match self.word.compare_exchange_weak(
                word,
                word | Bits::from(CLOSED),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(counts),
                Err(current) => word = current,
            }
        }
    }

    /// Moves the word from the closed window of `generation`, with the final counts `closed`, into
    /// the next, with `opening` booked. True for the one thread that did it.
    pub(crate) fn open(&self, generation: u64, closed: Counts, opening: u64) -> bool {
        let opened = Counts { held: 0, settled: opening };
        // Release: pairs with the Acquire loads above; publishes the snapshot of the generation
        // that opens, and the closed total that the caller has written into it.
        // Failure is Relaxed: nothing is read from the word.
        self.word
            .compare_exchange(
                pack(generation, closed) | Bits::from(CLOSED),
                pack(generation.wrapping_add(1), opened),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

/// A window's tag, in its place in the upper half.
#[inline(always)]
fn tag(generation: u64) -> u64 {
    (generation & ((1 << TAG_BITS) - 1)) << HELD_BITS
}

#[inline(always)]
fn pack(generation: u64, counts: Counts) -> Bits {
    debug_assert!(counts.held <= HELD_MAX && counts.settled <= SETTLED_MAX);
    Bits::from(tag(generation) | counts.held) << HALF | Bits::from(counts.settled)
}

#[inline(always)]
fn open_in(word: Bits, generation: u64) -> Result<Counts, Elsewhere> {
    let (upper, lower) = (half(word >> HALF), half(word));
    let found = upper & !HELD_MAX;
    if found == tag(generation) && lower & CLOSED == 0 {
        return Ok(Counts { held: upper & HELD_MAX, settled: lower });
    }
    // Closed in this generation is past it: the next one's snapshot is installed.
    let before = found == tag(generation.wrapping_sub(1));
    Err(if before { Elsewhere::Behind } else { Elsewhere::Moved })
}

/// The lower half.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)]
fn half(word: Bits) -> u64 {
    word as u64 & (u64::MAX >> (u64::BITS - HALF))
}

#[cfg(all(test, not(tollkeeper_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(held: u64, settled: u64) -> Counts {
        Counts { held, settled }
    }

    proptest! {
        /// Every field comes back as it went in, at every width.
        #[test]
        fn fields_round_trip(generation: u64, held in 0..=HELD_MAX, settled in 0..=SETTLED_MAX) {
            let word = pack(generation, counts(held, settled));
            prop_assert_eq!(open_in(word, generation), Ok(counts(held, settled)));
            let (next, last) = (generation.wrapping_add(1), generation.wrapping_sub(1));
            prop_assert_eq!(open_in(word, next), Err(Elsewhere::Behind));
            prop_assert_eq!(open_in(word, last), Err(Elsewhere::Moved));
            prop_assert_eq!(open_in(word | Bits::from(CLOSED), generation), Err(Elsewhere::Moved));
            prop_assert_eq!(open_in(word | Bits::from(CLOSED), next), Err(Elsewhere::Behind));
        }
    }

    #[test]
    fn full_fields_do_not_touch_each_other() {
        let word = pack(0, counts(HELD_MAX, SETTLED_MAX));
        assert_eq!(open_in(word, 0), Ok(counts(HELD_MAX, SETTLED_MAX)));
        assert_eq!(counts(HELD_MAX, SETTLED_MAX).committed(), HELD_MAX + SETTLED_MAX);
    }

    #[test]
    fn booking_stops_at_the_edge() {
        assert_eq!(counts(0, SETTLED_MAX - 1).book(3), counts(0, SETTLED_MAX));
        assert_eq!(counts(5, 1).book(3), counts(5, 4));
    }

    #[test]
    fn an_update_of_another_window_changes_nothing() {
        let counter = Counter::new(7, 0);
        let add = |n: Counts| Ok::<_, ()>(n.book(1));
        assert_eq!(counter.update(6, add), Err(Missed::Elsewhere(Elsewhere::Moved)));
        assert_eq!(counter.update(8, add), Err(Missed::Elsewhere(Elsewhere::Behind)));
        assert_eq!(counter.update(7, add).map(|done| done.after), Ok(counts(0, 1)));
    }

    #[test]
    fn a_closed_window_stands_still_until_the_next_opens_and_it_opens_once() {
        let counter = Counter::new(u64::MAX, 3);
        let add = |n: Counts| Ok::<_, ()>(n.book(1));
        assert_eq!(counter.close(u64::MAX), Some(counts(0, 3)));
        assert_eq!(counter.update(u64::MAX, add), Err(Missed::Elsewhere(Elsewhere::Moved)));
        assert_eq!(counter.close(u64::MAX), Some(counts(0, 3)), "helpers read the same total");
        assert!(counter.open(u64::MAX, counts(0, 3), 9));
        assert!(!counter.open(u64::MAX, counts(0, 3), 9));
        assert_eq!(counter.close(u64::MAX), None);
        assert_eq!(counter.read(0), Ok(counts(0, 9)));
    }
}
