//! The outbox: what is settled and not written yet, and the slots that bound it.
//!
//! A charge takes its slot when it is reserved and keeps it until it is written, so a settlement
//! never finds the outbox full: only an admission can be refused.

use crossbeam_channel::{SendError, Sender};
use parking_lot::Mutex;

use super::closed::Closed;
use super::entry::{Entry, Nulled};
use super::health::{Health, Rejected, Unpersisted};
use super::settling::{Answer, Owing};
use crate::engine::{Bill, Reservation, Settlement};
use crate::promise::Owed;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::time::Timestamp;

/// What happens to a request when every slot of the outbox is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused, until the store has taken something.
    #[default]
    Refuse,
    /// It is admitted, and the outbox grows beyond its capacity.
    Admit,
}

/// What the writer is told.
pub(crate) enum Message {
    Entry(Box<Queued>),
    /// Write what there is until an instant, then say what is left.
    Close(Timestamp, Owed<Closed>),
}

/// An entry on its way, and what is to be done once it is written.
pub(crate) struct Queued {
    pub(crate) entry: Entry,
    pub(crate) pending: Pending,
}

/// What is to be done once an entry is written.
pub(crate) struct Pending {
    pub(crate) due: Due,
    /// Who waits for it. `None` once they have been answered.
    pub(crate) owed: Option<Owing>,
    /// So many deletions were known when it was admitted.
    pub(crate) since: u64,
    /// References that were left out before the store saw them.
    pub(crate) nulled: Nulled,
    /// What a crash would lose, if it is booked as if it were written.
    pub(crate) unpersisted: Option<Unpersisted>,
    /// Kept for as long as it waits.
    pub(crate) _slot: Slot,
}

/// What memory does once an entry is written.
pub(crate) enum Due {
    /// Ends a reservation by what was written of its bill.
    Held(Reservation, Bill),
    /// Books what was written of a bill.
    Used(Bill),
    /// Changes what is booked by the postings that were written.
    Correction,
    /// Nothing: there is nothing to book, or it is booked, and this is what came of it.
    Booked(Settlement),
}

impl Pending {
    /// Of an entry that books nothing and that nobody waits for.
    pub(crate) fn nothing(since: u64, slot: Slot) -> Self {
        let due = Due::Booked(Settlement::default());
        let nulled = Nulled::default();
        Self { due, owed: None, since, nulled, unpersisted: None, _slot: slot }
    }

    pub(crate) fn take_due(&mut self) -> Due {
        std::mem::replace(&mut self.due, Due::Booked(Settlement::default()))
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(owed) = self.owed.take() {
            // Whoever has forgotten it does not want to know.
            let _ = owed.give(answer);
        }
    }
}

/// The counts of an outbox, its list of what was rejected, and its health.
pub(crate) struct Outbox {
    capacity: u64,
    when_full: WhenFull,
    taken: AtomicU64,
    open: AtomicU64,
    closed: AtomicBool,
    /// Entries that were sent to the writer, and those it is done with.
    sent: AtomicU64,
    done: AtomicU64,
    /// Held for the time of a few assignments, never while a store is waited for.
    pub(crate) health: Mutex<Health>,
    pub(crate) rejected: Mutex<Vec<(Rejected, Pending)>>,
}

/// Why there is no slot.
pub(crate) enum NoSlot {
    Full(u64),
    Closed,
}

/// One slot of the outbox.
pub(crate) struct Slot(Arc<Outbox>);

impl Drop for Slot {
    fn drop(&mut self) {
        // Relaxed: a count that publishes nothing.
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts an open charge.
pub(crate) struct Open(Arc<Outbox>);

impl Drop for Open {
    fn drop(&mut self) {
        // Release: after its entry was sent, see `open_charges`.
        self.0.open.fetch_sub(1, Ordering::Release);
    }
}

impl Outbox {
    pub(crate) fn new(capacity: usize, when_full: WhenFull) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX).max(1),
            when_full,
            taken: zero(),
            open: zero(),
            closed: AtomicBool::new(false),
            sent: zero(),
            done: zero(),
            health: Mutex::new(Health::default()),
            rejected: Mutex::new(Vec::new()),
        })
    }

    /// A slot for a request that is not admitted yet.
    pub(crate) fn slot(self: &Arc<Self>) -> Result<Slot, NoSlot> {
        if self.is_closed() {
            return Err(NoSlot::Closed);
        }
        // Relaxed: a count that publishes nothing.
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(self));
        if taken >= self.capacity && self.when_full == WhenFull::Refuse {
            return Err(NoSlot::Full(self.capacity));
        }
        Ok(slot)
    }

    /// A slot for what has happened already and is not refused.
    pub(crate) fn slot_in_any_case(self: &Arc<Self>) -> Slot {
        // Relaxed: as above.
        self.taken.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(self))
    }

    pub(crate) fn open(self: &Arc<Self>) -> Open {
        // Relaxed: a statistic.
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Of a charge that is not counted any more, the entry is in the queue.
    pub(crate) fn open_charges(&self) -> u64 {
        // Acquire, pairs with the Release in `drop`.
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: whoever does not see it yet is answered by the writer.
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        // Relaxed: see `is_closed`.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Hands an entry to the writer. It comes back if that has gone: to drop it is to answer.
    pub(crate) fn send(
        &self,
        sender: &Sender<Message>,
        queued: Box<Queued>,
    ) -> Result<(), Box<Queued>> {
        self.count_sent();
        match sender.send(Message::Entry(queued)) {
            Err(SendError(Message::Entry(queued))) => {
                self.done(1);
                Err(queued)
            }
            _ => Ok(()),
        }
    }

    /// Takes note of an entry that is on its way.
    pub(crate) fn count_sent(&self) {
        // AcqRel: before anything that follows from the entry, see `health`.
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes note that the writer is done with entries: written and booked, or rejected.
    pub(crate) fn done(&self, entries: u64) {
        // AcqRel: after what was booked, see `health`.
        self.done.fetch_add(entries, Ordering::AcqRel);
    }

    /// Whether all that is booked and not written is on the list of what was rejected: what waits
    /// to be written while the store is in trouble is booked and on no list. The writer stands
    /// still meanwhile.
    pub(crate) fn is_quiet(&self) -> bool {
        let rejected = self.rejected.lock();
        let booked = rejected.iter().filter(|(_, pending)| pending.unpersisted.is_some()).count();
        u64::try_from(booked) == Ok(self.health.lock().unpersisted.entries)
    }

    pub(crate) fn health(&self) -> Health {
        // Acquire and Relaxed: statistics, `done` first so that the difference is not negative.
        let done = self.done.load(Ordering::Acquire);
        let queued = self.sent.load(Ordering::Relaxed).saturating_sub(done);
        let health = self.health.lock().clone();
        Health {
            open_charges: self.open_charges(),
            queued,
            // Relaxed: a statistic.
            taken: self.taken.load(Ordering::Relaxed),
            capacity: self.capacity,
            ..health
        }
    }
}
