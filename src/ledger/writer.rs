//! The writer: takes what is queued to the store in groups, and books what was written.

mod ending;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::backoff::{Backoff, LONGEST};
use super::closed::Closed;
use super::desk::Books;
use super::entry::{Entry, Fate, Nulled, Written};
use super::gathering::Gathering;
use super::health::{Rejected, Unpersisted};
use super::ids::Ids;
use super::outbox::{Due, Message, Outbox, Pending, Queued};
use super::settling::{Receipt, SettleError};
use super::store::StoreError;
use crate::engine::{Engine, Settlement};
use crate::id::OwnerId;
use crate::promise::Owed;
use crate::sync::Arc;
use crate::time::{Clock, SystemClock, Timestamp};

/// Writes what is queued. A thread turns it, or a test does by hand.
///
/// While one group is written the next one gathers, so the more there is to write the larger the
/// groups, and the fewer the transactions.
pub struct Writer {
    engine: Engine,
    outbox: Arc<Outbox>,
    books: Arc<Books>,
    messages: Receiver<Message>,
    group_max: usize,
    /// What was taken from the queue and is not written: entries, and what is due for each.
    entries: VecDeque<Entry>,
    pending: VecDeque<Pending>,
    backoff: Backoff,
    gathering: Gathering,
    ids: Arc<Ids>,
    retry_at: Option<Timestamp>,
    closing: Option<(Timestamp, Owed<Closed>)>,
    /// What came of looking for windows that have moved, once it was done: before it leaves.
    last: Option<Result<(), StoreError>>,
    /// No message can come any more.
    alone: bool,
}

/// What one turn of the writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Entries that left the queue: written, found to be duplicates, or rejected.
    pub finished: usize,
    /// Whether the store failed in a way that may pass.
    pub failed: bool,
    /// Entries that are left.
    pub left: usize,
    /// When the next turn is due. `None` if there is nothing to do until something is queued.
    pub next: Option<Timestamp>,
}

impl Writer {
    pub(crate) fn new(
        (engine, outbox, books): (&Engine, &Arc<Outbox>, &Arc<Books>),
        messages: Receiver<Message>,
        group_max: usize,
        ids: &Arc<Ids>,
    ) -> Self {
        Self {
            engine: engine.clone(),
            outbox: Arc::clone(outbox),
            books: Arc::clone(books),
            messages,
            group_max: group_max.max(1),
            entries: VecDeque::new(),
            pending: VecDeque::new(),
            backoff: Backoff::new(ids.attempt()),
            gathering: Gathering::default(),
            ids: Arc::clone(ids),
            retry_at: None,
            closing: None,
            last: None,
            alone: false,
        }
    }

    /// Takes in what is queued and writes one group, unless it is too early to ask a store again
    /// that failed. `now` is by the clock that turns it, and decides about nothing but that.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        let books = Arc::clone(&self.books);
        let _turn = books.turn.lock();
        while let Ok(message) = self.messages.try_recv() {
            self.take_in(message);
        }
        let waits = self.waits(now);
        let mut turn = Turn::default();
        if !waits && !self.entries.is_empty() {
            let before = self.entries.len();
            turn.failed = !self.write_group(now);
            turn.finished = before - self.entries.len();
        }
        turn.left = self.entries.len();
        turn.next = (turn.left > 0).then(|| self.retry_at.unwrap_or(now));
        turn
    }

    /// Whether it is too early to ask a store again that failed.
    fn waits(&self, now: Timestamp) -> bool {
        // A clock that has stepped back makes no wait longer than it can be.
        self.retry_at.is_some_and(|at| now < at && at.saturating_since(now) <= LONGEST)
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Entry(queued) => {
                let Queued { entry, pending } = *queued;
                self.entries.push_back(entry);
                self.pending.push_back(pending);
                if self.retry_at.is_some() {
                    self.book_unwritten(self.entries.len() - 1);
                }
            }
            Message::Close(deadline, owed) => self.closing = Some((deadline, owed)),
        }
    }

    /// Writes one group. False if the store failed in a way that may pass.
    fn write_group(&mut self, now: Timestamp) -> bool {
        let size = self.entries.len().min(self.group_max);
        match self.attempt(size) {
            Ok(written) => self.written(&written),
            Err(error) if error.is_transient() => self.failed(&error, now),
            // Something in it is not acceptable: each of it for itself, so that the rest lands.
            Err(error) if size == 1 => self.reject(error, now),
            Err(_) => {
                for _ in 0..size {
                    match self.attempt(1) {
                        Ok(written) => self.written(&written),
                        Err(error) if error.is_transient() => {
                            self.failed(&error, now);
                            break;
                        }
                        Err(error) => self.reject(error, now),
                    }
                }
            }
        }
        self.retry_at.is_none()
    }

    /// Tries to write the first entries, in one transaction.
    fn attempt(&mut self, size: usize) -> Result<Vec<Written>, StoreError> {
        let mut owners = self.books.owners_to_write(&self.engine)?;
        let entries = &mut self.entries.make_contiguous()[..size];
        for (entry, pending) in entries.iter_mut().zip(&mut self.pending) {
            let nulled = owners.leave_out(entry, pending.since);
            pending.nulled.api_key |= nulled.api_key;
            pending.nulled.upstream |= nulled.upstream;
        }
        // Owners come to exist after the start, or again, and the engine knows them first.
        let records = entries.iter().filter_map(|entry| entry.record.as_ref());
        let references = records.flat_map(|record| [&record.api_key, &record.upstream]).flatten();
        let new = references.filter_map(|owner| {
            let born = self.engine.owner_born(owner)?;
            (!owners.is_registered(owner, born)).then(|| (owner.clone(), born))
        });
        let new: BTreeMap<OwnerId, u32> = new.collect();
        self.outbox.health.lock().attempts += 1;
        if !new.is_empty() {
            self.books.store.register(&new.keys().cloned().collect::<Vec<_>>())?;
            owners.registered(new);
        }
        let written = self.books.store.write(entries)?;
        if written.len() == size {
            return Ok(written);
        }
        let found = format!("{} for {size} entries", written.len());
        Err(StoreError::Malformed {
            doing: "writing a group",
            what: "the number of answers",
            found,
        })
    }

    fn written(&mut self, written: &[Written]) {
        self.answered();
        {
            let mut health = self.outbox.health.lock();
            health.failures = 0;
            health.groups += 1;
        }
        for &written in written {
            let (entry, pending) = self.pop();
            self.finish(entry, pending, written);
        }
    }

    /// The store is there.
    fn answered(&mut self) {
        self.backoff.succeeded();
        self.retry_at = None;
        self.outbox.health.lock().retry_at = None;
    }

    fn pop(&mut self) -> (Entry, Pending) {
        let both = (self.entries.pop_front(), self.pending.pop_front());
        let (Some(entry), Some(pending)) = both else { unreachable!("what is written is there") };
        (entry, pending)
    }

    /// Books what was written of an entry (L10), then says so (L11).
    fn finish(&mut self, mut entry: Entry, mut pending: Pending, written: Written) {
        let exists = written.fate != Fate::Duplicate;
        let keeps = |owner: &OwnerId| exists && entry.keeps(written.nulled, owner);
        let settlement = match pending.take_due() {
            // What was held for an owner that is gone is held on a limit that is gone with it.
            Due::Held(reservation, bill) => reservation.book(&bill, |line| keeps(line.owner())),
            Due::Used(bill) => self.engine.book(&bill, |line| keeps(line.owner())),
            Due::Correction => {
                self.adjust(&entry, pending.since, 1, keeps);
                Settlement::default()
            }
            Due::Booked(settlement) => {
                if pending.unpersisted.is_some() {
                    self.adjust(&entry, pending.since, -1, |owner| !keeps(owner));
                }
                if exists { settlement } else { Settlement::default() }
            }
        };
        let nulled = Nulled {
            api_key: pending.nulled.api_key || written.nulled.api_key,
            upstream: pending.nulled.upstream || written.nulled.upstream,
        };
        self.count(written.fate, nulled, pending.unpersisted);
        if let Some(record) = entry.record.as_mut() {
            record.api_key.take_if(|_| written.nulled.api_key);
            record.upstream.take_if(|_| written.nulled.upstream);
        }
        let (record, fate) = (entry.record, written.fate);
        self.outbox.done(1);
        pending.answer(Ok(Receipt { record, fate, nulled, settlement }));
    }

    /// Changes what is booked by those postings of an entry, unless their limits are gone: there
    /// may be new ones of their ids.
    fn adjust(&self, entry: &Entry, since: u64, sign: i64, of: impl Fn(&OwnerId) -> bool) {
        for posting in entry.postings.iter().filter(|posting| of(&posting.owner)) {
            if !self.books.owners.lock().is_gone(&posting.owner, since) {
                let (limit, window) = (&posting.limit, posting.window.start);
                self.engine.adjust(limit, posting.dimension, window, sign * posting.amount);
            }
        }
    }

    fn count(&self, fate: Fate, nulled: Nulled, unpersisted: Option<Unpersisted>) {
        let mut health = self.outbox.health.lock();
        *(if fate == Fate::Duplicate { &mut health.duplicates } else { &mut health.written }) += 1;
        health.nulled += u64::from(nulled.any());
        if let Some(unpersisted) = unpersisted {
            health.unpersisted.take_off(&unpersisted);
        }
    }

    /// The store failed in a way that may pass: everything is booked as if it were written, and
    /// written later.
    fn failed(&mut self, error: &StoreError, now: Timestamp) {
        let retry_at = now.saturating_add(self.backoff.failed());
        self.retry_at = Some(retry_at);
        for place in 0..self.entries.len() {
            self.book_unwritten(place);
        }
        let mut health = self.outbox.health.lock();
        health.failures += 1;
        health.last_error = Some(error.to_string());
        health.retry_at = self.retry_at;
    }

    /// Turns what is held for an entry into what is booked.
    fn book_unwritten(&mut self, place: usize) {
        let pending = &mut self.pending[place];
        let settlement = match pending.take_due() {
            Due::Held(reservation, bill) => reservation.book(&bill, |_| true),
            Due::Used(bill) => self.engine.book(&bill, |_| true),
            due @ (Due::Correction | Due::Booked(_)) => {
                pending.due = due;
                return;
            }
        };
        pending.due = Due::Booked(settlement);
        let unpersisted = Unpersisted::of(&self.entries[place]);
        pending.unpersisted = Some(unpersisted);
        self.outbox.health.lock().unpersisted.add(&unpersisted);
    }

    /// The store will not take the first entry. It stays booked, and is listed.
    fn reject(&mut self, error: StoreError, now: Timestamp) {
        self.book_unwritten(0);
        self.answered();
        let (entry, mut pending) = self.pop();
        let (id, error) = (entry.record.as_ref().map(|record| record.id), Arc::new(error));
        {
            let mut health = self.outbox.health.lock();
            health.failures += 1;
            health.last_error = Some(error.to_string());
        }
        let source = Arc::clone(&error);
        let owed = pending.owed.take();
        self.outbox.rejected.lock().push((Rejected { entry, error, at: now }, pending));
        self.outbox.done(1);
        if let Some(owed) = owed {
            // Whoever has forgotten it does not want to know.
            let _ = owed.give(Err(SettleError::Rejected { id, source }));
        }
    }

    /// The loop of the writer's thread. It ends when the ledger is closed, or when nobody can
    /// queue anything any more and everything is written.
    fn work(&mut self) {
        loop {
            self.gather();
            let now = SystemClock.now();
            let turn = self.turn(now);
            if turn.finished > 0 {
                self.gathering.wrote(turn.finished, SystemClock.now().saturating_since(now));
            }
            if let Some(deadline) = self.closing.as_ref().map(|(deadline, _)| *deadline) {
                if deadline <= now || (turn.left == 0 && !self.has_to_look()) {
                    return;
                }
                if turn.left == 0 && !self.waits(now) {
                    self.open_moved(now);
                    continue;
                }
            }
            if self.alone && turn.left == 0 {
                return;
            }
            self.wait(turn.next.or(self.retry_at), now);
        }
    }

    /// Lets a group gather, unless it has to wait for the store anyway.
    fn gather(&self) {
        if self.retry_at.is_none() && self.closing.is_none() {
            let queued = || self.entries.len() + self.messages.len();
            self.gathering.wait(queued, std::thread::yield_now, std::thread::sleep);
        }
    }

    /// Waits for something to do.
    fn wait(&mut self, next: Option<Timestamp>, now: Timestamp) {
        let deadline = self.closing.as_ref().map(|(deadline, _)| *deadline);
        let until = next.into_iter().chain(deadline).min();
        let time = until.map(|until| until.saturating_since(now));
        if time == Some(Duration::ZERO) {
            return;
        }
        if self.alone {
            time.into_iter().for_each(std::thread::sleep);
            return;
        }
        let message = match time {
            Some(time) => self.messages.recv_timeout(time),
            None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(message) => {
                let books = Arc::clone(&self.books);
                let _turn = books.turn.lock();
                self.take_in(message);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.alone = true,
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("left", &self.entries.len())
            .field("retry_at", &self.retry_at)
            .finish_non_exhaustive()
    }
}
