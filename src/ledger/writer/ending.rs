//! How a writer ends: the store is told of windows that have moved, and what is left is said.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Writer;
use crate::ledger::closed::Closed;
use crate::ledger::opening::{entries, openings};
use crate::ledger::outbox::Pending;
use crate::ledger::store::StoreError;
use crate::sync::Arc;
use crate::time::Timestamp;

/// What [`Health::last_error`](crate::Health::last_error) says of a store that has panicked.
const PANICKED: &str = "the store panicked: the ledger is closed, and what is settled is kept in \
    memory until it is told by `close`";

impl Writer {
    /// The writer's thread.
    pub(crate) fn run(mut self) {
        // A store is other people's code.
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.give_up();
        }
        let closing = self.closing.take();
        let closed = self.leave();
        if let Some((_, owed)) = closing {
            // Whoever closed it may have given up waiting.
            let _ = owed.give(closed);
        }
    }

    /// Ends after a panic: nothing is admitted any more and nobody waits any longer, but what is
    /// settled is booked, and kept until the ledger is closed.
    fn give_up(&mut self) {
        self.outbox.close();
        {
            let mut health = self.outbox.health.lock();
            health.failures += 1;
            health.last_error = Some(PANICKED.to_owned());
        }
        let mut told = 0;
        let books = Arc::clone(&self.books);
        while self.closing.is_none() {
            {
                let _turn = books.turn.lock();
                for place in told..self.entries.len() {
                    self.book_unwritten(place);
                    self.pending[place].owed = None;
                }
            }
            told = self.entries.len();
            match self.messages.recv() {
                Ok(message) => self.take_in(message),
                Err(_) => return,
            }
        }
    }

    /// Closes the ledger by hand: takes in what is queued, tries once more to write it, and says
    /// what is left. What is settled from now on is not recorded.
    pub fn close(mut self, now: Timestamp) -> Closed {
        self.outbox.close();
        self.retry_at = None;
        while self.turn(now).next == Some(now) {}
        if self.entries.is_empty() {
            self.open_moved(now);
            while self.turn(now).next == Some(now) {}
        }
        self.leave()
    }

    /// Whether it is still to be found out which windows have moved: the store was not asked, or
    /// failed in a way that may pass.
    pub(super) fn has_to_look(&self) -> bool {
        let Some(looked) = &self.last else { return true };
        looked.as_ref().is_err_and(StoreError::is_transient)
    }

    /// Queues what the store is to know of windows that have moved.
    pub(super) fn open_moved(&mut self, now: Timestamp) {
        let since = self.books.deletions();
        let moved = openings(&self.engine, &*self.books.store);
        let failed = moved.as_ref().is_err_and(StoreError::is_transient);
        self.retry_at = failed.then(|| now.saturating_add(self.backoff.failed()));
        self.last = Some(moved.map(|moved| {
            for entry in entries(moved, &self.ids) {
                self.outbox.count_sent();
                self.entries.push_back(entry);
                let slot = self.outbox.slot_in_any_case();
                self.pending.push_back(Pending::nothing(since, slot));
            }
        }));
    }

    /// What is left, booked as if it were written. Whoever waits for it is told that it is not.
    pub(super) fn leave(mut self) -> Closed {
        // Counted first: a charge that ends after that is counted, and one that ended before it is
        // in the queue.
        let open_charges = self.outbox.open_charges();
        let books = Arc::clone(&self.books);
        let _turn = books.turn.lock();
        while let Ok(message) = self.messages.try_recv() {
            self.take_in(message);
        }
        for place in 0..self.entries.len() {
            self.book_unwritten(place);
        }
        let rejected = std::mem::take(&mut *self.outbox.rejected.lock());
        Closed {
            unwritten: self.entries.into(),
            rejected: rejected.into_iter().map(|(rejected, _)| rejected).collect(),
            open_charges,
            stalled: false,
            unread: self.last.and_then(Result::err),
        }
    }
}
