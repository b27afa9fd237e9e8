//! What decisions need of the snapshot, copied beside the words that they change.
//!
//! The snapshot in the cell is the truth; this is a copy of a few numbers of it, so that the usual
//! decision reads one or two cache lines and follows no pointer. A gate is open or closed. Who
//! finds it closed goes by the snapshot, and opens it again on the way.
//!
//! # State
//!
//! One word says what the numbers are worth, and the numbers are beside it:
//!
//! ```text
//!  ┌──────────────────────────────────┬─────────┬────────┐
//!  │ how often it was closed       62 │ writing │ closed │
//!  └──────────────────────────────────┴─────────┴────────┘
//! ```
//!
//! # Transitions
//!
//! | operation | from | to |
//! |---|---|---|
//! | [`Gate::close`] | n | n+1, closed; writing as it was |
//! | [`Gate::open`] claims | n, closed | n, closed, writing |
//! | … writes and opens | n, closed, writing | n |
//! | … gives up | n+m, closed, writing | n+m, closed |
//!
//! # Proof
//!
//! - **What is read is whole.** The numbers are written only under the claim, by one thread, while
//!   the gate is closed; a reader that finds the same open word before and after has read them
//!   between two writings.
//! - **What is open was in the cell.** A writer loads the snapshot after its claim and opens only
//!   if nothing was closed since. Who replaces a snapshot closes the gate after the swap of the
//!   cell and before it returns. If the writer loaded the old snapshot, the swap, and with it the
//!   closing, came after the load: either the word has changed and the gate is not opened, or it
//!   is closed right after.
//! - So a gate shows an older snapshot than the cell's only while the call that replaces it is
//!   under way. A decision made by it comes before that call: it is made by the snapshot that was
//!   in force, and it is kept out of a window that has ended by the generation in the word
//!   (`counter`), as every thread is that comes with an older snapshot.
//!
//! # Limits
//!
//! A writer that stands still leaves the gate closed: the others go by the snapshot, which is
//! slower and nothing else. So does a generation of more than 56 bits, which nobody lives to see.

use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

const CLOSED: u64 = 1;
const WRITING: u64 = 2;
const ONCE: u64 = 4;

/// What a decision needs to know of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) generation: u64,
    /// Exclusive; the last instant for a window without end. In what a gate is read to be, the end
    /// of the first window of its limit that ends.
    pub(crate) end: Timestamp,
    pub(crate) limit: u64,
    /// Below this share of the limit, in 128ths, no settled total calls for a notice. Rounded down.
    pub(crate) share: u8,
}

/// The whole of a limit, as a share of it.
pub(crate) const WHOLE: u8 = 1 << SHARE_SHIFT;
const SHARE_SHIFT: u32 = 7;

/// Whether a window with this end is over at `now`. For every decision, by this one function (L13).
pub(crate) fn over(end: Timestamp, now: Timestamp) -> bool {
    now >= end && end != Timestamp::MAX
}

impl Terms {
    /// The least settled total that there may be a notice to give of.
    #[inline(always)]
    pub(crate) fn alarm(&self) -> u64 {
        let alarm = (u128::from(self.limit) * u128::from(self.share)) >> SHARE_SHIFT;
        u64::try_from(alarm).unwrap_or(u64::MAX)
    }
}

/// A copy of the terms in force for each of `N` counters, or none.
pub(crate) struct Gate<const N: usize> {
    state: AtomicU64,
    end: AtomicU64,
    counters: [Numbers; N],
}

/// What is copied for one counter.
struct Numbers {
    limit: AtomicU64,
    /// The generation, and the share in the lowest byte.
    window: AtomicU64,
}

/// In the place of a share: the limit does not have the counter.
const ABSENT: u8 = u8::MAX;

impl<const N: usize> Gate<N> {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let numbers = |_| Numbers { limit: zero(), window: zero() };
        Self { state: AtomicU64::new(CLOSED), end: zero(), counters: std::array::from_fn(numbers) }
    }

    /// The terms in force for a counter at `now`. `None` if the gate is closed, the limit does not
    /// have the counter, or the first window of the limit has ended.
    #[inline(always)]
    pub(crate) fn read(&self, counter: usize, now: Timestamp) -> Option<Terms> {
        let numbers = &self.counters[counter];
        // Acquire: pairs with the Release that opens the gate in `open`; the numbers it wrote are
        // seen.
        let state = self.state.load(Ordering::Acquire);
        if state & (CLOSED | WRITING) != 0 {
            return None;
        }
        // Acquire, three times: each pairs with the Release that writes the number. Who reads what
        // a later writer wrote sees the state that writer claimed before, below.
        let end = Timestamp::from_nanos(self.end.load(Ordering::Acquire));
        let limit = numbers.limit.load(Ordering::Acquire);
        let window = numbers.window.load(Ordering::Acquire);
        // Relaxed: the Acquire loads before it keep it after them.
        let same = self.state.load(Ordering::Relaxed) == state;
        let [share, ..] = window.to_le_bytes();
        let terms = Terms { generation: window >> u8::BITS, end, limit, share };
        (same && !over(end, now) && share != ABSENT).then_some(terms)
    }

    /// Closes the gate: the snapshot it may show is not in force any more.
    pub(crate) fn close(&self) {
        // Relaxed: the loop below decides.
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            // Release: pairs with the Acquire of the claim in `open`: who claims after this loads
            // the snapshot that was installed before it. Failure is Relaxed: tried again.
            match self.state.compare_exchange_weak(
                state,
                state.wrapping_add(ONCE) | CLOSED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(current) => state = current,
            }
        }
    }

    /// Opens the gate with the terms that `load` finds in force for each counter that there is,
    /// unless it is open, somebody else is about to, or it was closed meanwhile. It ends with the
    /// first of their windows, so that whoever comes to one counter of a limit sees that another's
    /// has ended.
    pub(crate) fn open(&self, load: impl FnOnce() -> [Option<Terms>; N]) {
        // Relaxed: the claim below decides.
        let state = self.state.load(Ordering::Relaxed);
        if state & (CLOSED | WRITING) != CLOSED {
            return;
        }
        // Acquire: pairs with the Release of `close`, see there, and with the Release of the writer
        // before, whose numbers are overwritten. Failure is Relaxed: nothing is read.
        let claim = self.state.compare_exchange(
            state,
            state | WRITING,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if claim.is_err() {
            return;
        }
        // Release: pairs with the first load of `read`. Failure is Relaxed: it was closed.
        let opened = self.write(load())
            && self
                .state
                .compare_exchange(
                    state | WRITING,
                    state & !CLOSED,
                    // Release: see above.
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !opened {
            // Release: pairs with the Acquire of the next claim.
            self.state.fetch_and(!WRITING, Ordering::Release);
        }
    }

    /// Writes the numbers, under the claim. False if they do not fit.
    fn write(&self, all: [Option<Terms>; N]) -> bool {
        let mut end = Timestamp::MAX;
        for (numbers, terms) in self.counters.iter().zip(&all) {
            let (limit, window) = match terms {
                Some(terms) if terms.generation > u64::MAX >> u8::BITS => return false,
                Some(terms) => {
                    end = end.min(terms.end);
                    (terms.limit, terms.generation << u8::BITS | u64::from(terms.share))
                }
                None => (0, u64::from(ABSENT)),
            };
            // Release, here and below: each pairs with the Acquire load of its number in `read`,
            // and carries the claim with it.
            numbers.limit.store(limit, Ordering::Release);
            numbers.window.store(window, Ordering::Release);
        }
        // Release: see above.
        self.end.store(end.as_nanos(), Ordering::Release);
        true
    }
}
