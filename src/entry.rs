//! One limit while it runs: a snapshot cell, and a counter word for each dimension.
//!
//! ```text
//!  entry ─┬─ cell ─► Snapshot (immutable): plan · windows (generation, span, limit) · grants
//!         └─ for each dimension a word (generation · held · settled), and a gate (terms)
//! ```
//!
//! This is the protocol; what the kinds of limit count is in their definitions (`budget`,
//! `rate_limit`, `concurrency`), and it runs over all of them alike.
//!
//! # Roles
//!
//! - **Booking** (`entry/booking.rs`): read the gate and change the word in its generation. If the
//!   gate is closed, the window over, or the word elsewhere: load the snapshot, roll it if it has
//!   ended, change the word in the snapshot's generation. Told that the word is behind, help; told
//!   that it has moved, load again.
//! - **Steering** (`entry/steering.rs`): build the next snapshot from the one that was seen and
//!   install it by compare-and-swap. A roll or a reset raises the generation of the windows that
//!   end; a change of the plan or of a grant raises none.
//! - **Catching up**: a word whose snapshot was replaced is moved on by whoever finds it behind, so
//!   nobody waits for a winner that was preempted between the two steps.
//!
//! # Invariants
//!
//! - I1: a word's generation is its snapshot's, or one less between the two steps. Steering catches
//!   the words up *before* it installs, so the distance never becomes two.
//! - I2: generations only rise.
//! - I3: usage is in the words and nowhere else. No snapshot carries any.
//! - I4: a gate shows what is in the cell, except while the call that replaces it is under way
//!   (`gate`).
//!
//! # Proof
//!
//! - **L1** The word's own (see `counter`): every change is in the window it was made in, whose
//!   total `close` makes final and the one successful `open` takes out.
//! - **L2, L3** A reset names the generation it ends. The swap of the cell succeeds once for each
//!   snapshot, and every snapshot after it has a higher generation there; so of all resets of one
//!   window one succeeds, and none touches a newer window. A swap that failed because something
//!   else changed (a limit, the other dimension) is tried again, because the window still stands.
//! - **L4** Each dimension has its own generation and word; the next snapshot copies the window of
//!   the dimension that does not end.
//! - **L8** A hold remembers its generation (as far as `holds` says). In the same generation it is
//!   replaced by the actual; in any other it has been taken out with its window's total, where it
//!   stays booked.
//! - **L9** By I3 a change of the plan moves no usage, whatever races with it.
//! - **L13** Whether a window is over is decided from its end and the caller's `now` by one
//!   function (`gate::over`), for the gate and for the snapshot alike; a `now` that lies before the
//!   window acts in the window. By the gate an instant that has not passed yet does as well: a
//!   window that is not over at it is not over now. What follows a window is a pure function of the
//!   period, the anchor and `now`.
//!
//! # Orderings
//!
//! All in `counter`, `gate` and `sync`. A thread that is told `Moved` has acquired the word's tag,
//! and with it the cell's newer snapshot, so it makes progress when it loads again.
//!
//! # Models
//!
//! `tests/loom_entry.rs`, `tests/loom_settle.rs`, `tests/loom_admission.rs`,
//! `tests/loom_both.rs`, `tests/loom_gate.rs`.

mod booking;
#[cfg(feature = "ledger")]
mod posting;
mod steering;

pub(crate) use booking::{Hold, Posted, Refusal, Refused, admit};
pub(crate) use steering::Reset;

use crate::alarm::{Alarm, EXHAUSTED, threshold};
use crate::counter::{Change, Counter, Counts, Elsewhere, Missed};
use crate::gate::{Gate, Terms};
use crate::id::{LimitId, OwnerId};
use crate::plan::{COUNTERS, CounterPlan, UNLIMITED};
use crate::snapshot::{NEVER_WAS, Snapshot, Window, share};
use crate::sync::{Arc, ArcCell, Lazy, Loaded};
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// One limit while it runs.
///
/// In this order: what is seldom read lies behind what every decision reads and changes, so that
/// the words of two limits never share a cache line of the usual size. Those of one limit do: who
/// changes one changes the other next.
#[repr(C)]
pub(crate) struct Entry {
    counters: [Counter; COUNTERS],
    gate: Gate<COUNTERS>,
    pub(crate) id: LimitId,
    pub(crate) owner: OwnerId,
    cell: ArcCell<Snapshot>,
    /// Which notices have gone out. Most limits never give one.
    alarms: Lazy<[Alarm; COUNTERS]>,
}

// The distance from the last word or gate of an entry to the first word of one behind it, and what
// an entry takes.
#[cfg(all(not(tollkeeper_loom), target_pointer_width = "64", target_endian = "little"))]
const _: () = {
    let seldom = size_of::<Entry>() - std::mem::offset_of!(Entry, id) + 2 * size_of::<usize>();
    assert!(seldom >= 64 && size_of::<Entry>() <= 128);
};

/// The exact time of a decision that needs it, and where its notices go.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) now: Timestamp,
    pub(crate) notices: &'a dyn Notices,
}

/// Takes notices of entries. Called rarely, with nothing locked.
pub(crate) trait Notices {
    fn notice(&self, entry: &Entry, dimension: Dimension, notice: Notice, now: Timestamp);
}

/// Something that happened to a counter and happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A window closed with this total, of which `held` had not been settled: it stays booked.
    Closed { generation: u64, span: Span, total: u64, held: u64 },
    /// So much of a closed total was held for a request that was then refused further along its
    /// route, while the window closed. It is not part of the total.
    Withdrawn { generation: u64, amount: u64 },
    /// The settled total reached this share of the limit.
    Threshold { generation: u64, limit: u64, percent: u8, settled: u64 },
    /// The settled total reached the limit, or a request did not fit under it.
    Exhausted { generation: u64, limit: u64, counts: Counts },
    /// A request was admitted that did not fit under a limit which is not hard. What was settled
    /// and held before it.
    Passed { generation: u64, limit: u64, requested: u64, counts: Counts },
    /// An operator ended the window before; this one follows.
    Reset { window: Window },
}

/// What one counter reads at an instant.
pub(crate) struct Reading {
    /// What was in force.
    pub(crate) snapshot: Loaded<Snapshot>,
    /// The window of that instant, whether or not it has been rolled into.
    pub(crate) window: Window,
    pub(crate) counts: Counts,
}

impl Entry {
    /// A limit that begins with this snapshot.
    pub(crate) fn new(id: LimitId, owner: OwnerId, first: Arc<Snapshot>) -> Entry {
        Entry {
            counters: std::array::from_fn(|_| Counter::new(0, 0)),
            gate: Gate::new(),
            id,
            owner,
            cell: ArcCell::of(first),
            alarms: Lazy::new(),
        }
    }

    /// What is in force, without rolling anything.
    pub(crate) fn snapshot(&self) -> Loaded<Snapshot> {
        self.cell.load()
    }

    /// Reads one counter at `now`. Changes nothing: a window that has ended reads as the one that
    /// would follow it, empty.
    pub(crate) fn read(&self, counter: usize, now: Timestamp) -> Reading {
        loop {
            let snapshot = self.cell.load();
            let window = snapshot.window_at(counter, now);
            if window.generation != snapshot.windows[counter].generation {
                return Reading { snapshot, window, counts: Counts::default() };
            }
            match self.counters[counter].read(window.generation) {
                Ok(counts) => return Reading { snapshot, window, counts },
                Err(Elsewhere::Behind) => {
                    let counts = Counts { held: 0, settled: window.opening };
                    return Reading { snapshot, window, counts };
                }
                Err(Elsewhere::Moved) => {}
            }
        }
    }

    /// Rolls every window that has ended. Says whether there was one.
    pub(crate) fn roll(&self, at: &At) -> bool {
        let before = self.cell.load();
        let ended = before.ended(at.now);
        if ended {
            drop(before);
            self.current(at);
        }
        ended
    }

    /// The snapshot in force at `at.now`, in which no window has ended.
    fn current(&self, at: &At) -> Loaded<Snapshot> {
        loop {
            let seen = self.cell.load();
            if !seen.ended(at.now) {
                return seen;
            }
            self.catch_up(&seen, at);
            self.replace(&seen, seen.rolled(at.now), at);
        }
    }

    /// The same with its words caught up, so that the totals of the windows before are known.
    /// Steering begins here: it is what keeps I1.
    fn steady(&self, at: &At) -> Loaded<Snapshot> {
        let seen = self.current(at);
        self.catch_up(&seen, at);
        seen
    }

    /// Makes `next` what is in force, if `seen` still is and its words are caught up with it.
    /// Returns it if so, with every window that it ended closed and its total known.
    fn replace(&self, seen: &Loaded<Snapshot>, next: Snapshot, at: &At) -> Option<Arc<Snapshot>> {
        let next = Arc::new(next);
        if !self.cell.compare_and_swap(seen, Arc::clone(&next)) {
            return None;
        }
        // After the swap and before anything else: see `gate`.
        self.gate.close();
        // If `next` was replaced already, whoever replaced it caught up with it before, and this
        // finds nothing to do.
        self.catch_up(&next, at);
        Some(next)
    }

    /// Moves every word that is behind its snapshot into the snapshot's window. The thread whose
    /// swap opens the window gives the notice that the one before has closed.
    fn catch_up(&self, snapshot: &Snapshot, at: &At) {
        for (counter, word) in self.counters.iter().enumerate() {
            let window = &snapshot.windows[counter];
            let generation = window.generation.wrapping_sub(1);
            let Some(counts) = word.close(generation) else { continue };
            let total = counts.committed();
            snapshot.set_closed_total(counter, total);
            // A counter that the limit did not have until now closes a window that never was.
            let was = window.before != NEVER_WAS || total > 0;
            if word.open(generation, counts, window.opening) && was {
                let held = counts.held;
                let notice = Notice::Closed { generation, span: window.before, total, held };
                self.notice(snapshot, counter, notice, at);
            }
        }
    }

    /// Changes one counter in the window in force, by the snapshot: the way of whoever finds the
    /// gate closed. `snapshot` is brought up to date on the way, and is the one in which the change
    /// was made or refused.
    fn update<E>(
        &self,
        snapshot: &mut Loaded<Snapshot>,
        counter: usize,
        at: &At,
        change: impl Fn(&Snapshot, Counts) -> Result<Counts, E>,
    ) -> Result<Change, (Counts, E)> {
        self.gate.open(|| self.cell.load().all_terms());
        loop {
            let window = &snapshot.windows[counter];
            let word = &self.counters[counter];
            match word.update(window.generation, |counts| change(snapshot, counts)) {
                Ok(done) => return Ok(done),
                Err(Missed::Refused(counts, refusal)) => return Err((counts, refusal)),
                Err(Missed::Elsewhere(Elsewhere::Behind)) => self.catch_up(snapshot, at),
                Err(Missed::Elsewhere(Elsewhere::Moved)) => *snapshot = self.current(at),
            }
        }
    }

    /// Gives the notices that a settled total calls for.
    fn sound(&self, plan: &CounterPlan, counter: usize, terms: &Terms, counts: Counts, at: &At) {
        let Terms { generation, limit, .. } = *terms;
        if counts.settled < terms.alarm() || limit == UNLIMITED {
            return;
        }
        let alarm = self.alarm(counter, generation);
        for &percent in &plan.thresholds {
            let reached = counts.settled >= share(limit, percent);
            if reached && alarm.ring(generation, threshold(percent)) {
                let settled = counts.settled;
                let notice = Notice::Threshold { generation, limit, percent, settled };
                at.notices.notice(self, plan.dimension, notice, at.now);
            }
        }
        if counts.settled >= limit {
            self.exhausted(plan, counter, terms, counts, at);
        }
    }

    /// The notices of a counter. Made when the first one is due: from the window on that it is due
    /// in, which may be over by now, and the other counter's from the one in force.
    fn alarm(&self, counter: usize, generation: u64) -> &Alarm {
        let alarms = self.alarms.get_or_make(|| {
            let mut generations = self.cell.load().windows.map(|window| window.generation);
            generations[counter] = generation;
            generations.map(Alarm::new)
        });
        &alarms[counter]
    }

    /// Gives notice that a limit is exhausted, once in its window.
    fn exhausted(
        &self,
        plan: &CounterPlan,
        counter: usize,
        terms: &Terms,
        counts: Counts,
        at: &At,
    ) {
        let Terms { generation, limit, .. } = *terms;
        if self.alarm(counter, generation).ring(generation, EXHAUSTED) {
            let notice = Notice::Exhausted { generation, limit, counts };
            at.notices.notice(self, plan.dimension, notice, at.now);
        }
    }

    fn notice(&self, snapshot: &Snapshot, counter: usize, notice: Notice, at: &At) {
        if let Some(dimension) = snapshot.dimension(counter) {
            at.notices.notice(self, dimension, notice, at.now);
        }
    }
}
