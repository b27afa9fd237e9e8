//! Opening a ledger: owners are registered, totals restored, the writer started.

use std::thread;

use crossbeam_channel::Receiver;
use thiserror::Error;

use super::desk::{Books, Desk};
use super::front::{Front, Ledger};
use super::ids::Ids;
use super::opening::entries;
use super::outbox::{Message, Outbox, WhenFull};
use super::record::RecordId;
use super::restore::restore;
use super::store::{LedgerStore, StoreError};
use super::writer::Writer;
use crate::engine::{Engine, StateError};
use crate::id::OwnerId;
use crate::sync::Arc;

/// So many owners are registered at a time.
const CHUNK: usize = 65_536;

/// So many openings are written in one transaction.
const OPENINGS: usize = 16;

/// Opens a [`Ledger`]. See [`Ledger::builder`].
#[must_use]
pub struct LedgerBuilder {
    engine: Engine,
    outbox: usize,
    when_full: WhenFull,
    group_max: usize,
    seed: u128,
    progress: Box<dyn FnMut(u64) + Send>,
}

/// Why a ledger was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store does not answer, or not as it should.
    #[error("opening the ledger: {0}")]
    Store(#[from] StoreError),
    /// The store's totals are not what an engine can restore. Some may be restored.
    #[error("restoring the ledger's totals: {0}")]
    Totals(#[from] StateError),
    /// The writer's thread could not be started.
    #[error("starting the ledger's writer: {0}")]
    Thread(#[from] std::io::Error),
}

impl LedgerBuilder {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            outbox: 100_000,
            when_full: WhenFull::default(),
            group_max: 512,
            seed: RecordId::generate().as_u128(),
            progress: Box::new(|_| {}),
        }
    }

    /// How many requests in flight, records that wait for the store, and rejected records there
    /// may be together, at least one. 100,000 by default; each takes about a kilobyte meanwhile.
    pub fn outbox(mut self, capacity: usize) -> Self {
        self.outbox = capacity;
        self
    }

    /// What happens to a request when the outbox is full. It is refused by default.
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// How many records are written in one transaction at most, at least one. 512 by default.
    pub fn group_max(mut self, records: usize) -> Self {
        self.group_max = records;
        self
    }

    /// What the ids of records, the marks by which a ledger knows its own writes again, and the
    /// waits for a store that failed are drawn from. By default it is random.
    ///
    /// For tests. Every ledger that is ever opened on a store needs a seed of its own, after a
    /// restart too: with one seed they take each other's records for their own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed.into();
        self
    }

    /// Is told from time to time how many totals have been restored.
    pub fn progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Registers the engine's owners with the store, sets the engine's usage to the store's totals
    /// and what was topped up and overridden to what it has of that, tells the store where windows
    /// end by the limits as they are now, and starts the writer's thread. The engine should have
    /// its limits by now and no traffic yet. Each counter goes on in the window of this process's
    /// clock, also where another one's is ahead and has begun the next: what that has charged there
    /// comes by [`Ledger::reconcile`].
    ///
    /// A database server may still commit the last group of a process that was killed when the
    /// next one starts: what was acknowledged is restored, and what comes in so late is found by
    /// [`Ledger::reconcile`].
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(self, store: impl LedgerStore) -> Result<Ledger, StartError> {
        let (ledger, writer) = self.open(store, false)?;
        let name = "tollkeeper-ledger".to_owned();
        thread::Builder::new().name(name).spawn(move || writer.run())?;
        Ok(ledger)
    }

    /// The same without a thread: nothing is written but by [`Writer::turn`]. With a
    /// [`ManualClock`](crate::ManualClock) and a [seed](Self::seed) everything is repeatable.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn by_hand(self, store: impl LedgerStore) -> Result<(Ledger, Writer), StartError> {
        self.open(store, true)
    }

    fn open(
        mut self,
        store: impl LedgerStore,
        by_hand: bool,
    ) -> Result<(Ledger, Writer), StartError> {
        let engine = self.engine;
        let books = Arc::new(Books::new(Arc::new(store)));
        let mut owners = engine.owners_born();
        // In the order of a store's index: in an order of chance each would be another page.
        owners.sort_unstable();
        for chunk in owners.chunks(CHUNK) {
            let ids: Vec<OwnerId> = chunk.iter().map(|(id, _)| id.clone()).collect();
            books.store.register(&ids)?;
        }
        books.owners.lock().registered(owners);
        let ids = Arc::new(Ids::new(self.seed));
        let now = engine.now();
        let (restored, moved) = restore(&engine, &*books.store, now, &mut self.progress)?;
        for group in entries(moved, &ids).chunks(OPENINGS) {
            books.store.write(group)?;
        }
        let outbox = Outbox::new(self.outbox, self.when_full);
        let (sender, messages): (_, Receiver<Message>) = crossbeam_channel::unbounded();
        let parts = (&engine, &outbox, &books);
        let writer = Writer::new(parts, messages, self.group_max, &ids);
        let desk = Arc::new(Desk { engine, outbox, books, ids, sender });
        Ok((Ledger::new(Front::new(desk, restored, by_hand)), writer))
    }
}

impl std::fmt::Debug for LedgerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerBuilder")
            .field("outbox", &self.outbox)
            .field("when_full", &self.when_full)
            .field("group_max", &self.group_max)
            .finish_non_exhaustive()
    }
}
