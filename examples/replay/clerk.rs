//! The clerk: settles what ends through a ledger, and waits until it is durable.
//!
//! On one thread the clerk turns the ledger's writer itself, so that virtual time stands still
//! until what has ended is written: each end is a transaction. On many threads the ledger's own
//! thread writes, and the more of them wait the more there is in one transaction.

use super::failure::Failure;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tollkeeper::{
    Binding, Charge, Clock, Draft, Engine, Health, Ledger, LedgerStore, Reconciled, RecordId,
    Restored, Route, Settlement, Settling, StoreError, SystemClock, Unreserved, Usage, WhenFull,
    Writer,
};

/// How long the last entries may take.
const AT_MOST: Duration = Duration::from_secs(30);

/// A ledger, and what was given to it.
pub struct Clerk {
    ledger: Ledger,
    /// Where the ledger has no thread of its own.
    writer: Option<Mutex<Writer>>,
    notes: Mutex<Vec<Note>>,
    faults: Mutex<Vec<String>>,
    began: Instant,
    complained: AtomicBool,
}

/// Which record a request has.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub request: usize,
    pub record: RecordId,
}

/// What a clerk leaves.
pub struct Closed {
    pub notes: Vec<Note>,
    /// What went wrong, in words.
    pub faults: Vec<String>,
    pub restored: Restored,
    pub reconciled: Result<Reconciled, StoreError>,
    pub health: Health,
}

impl Clerk {
    /// Opens the ledger of an engine that has its limits: what they have used is restored.
    pub fn open(
        engine: &Engine,
        store: Arc<dyn LedgerStore>,
        by_hand: bool,
    ) -> Result<Clerk, Failure> {
        let builder = Ledger::builder(engine).when_full(WhenFull::Admit);
        let opened = match by_hand {
            true => builder.by_hand(store).map(|(ledger, writer)| (ledger, Some(writer))),
            false => builder.start(store).map(|ledger| (ledger, None)),
        };
        let (ledger, writer) = opened.map_err(|why| Failure::Input(format!("--ledger: {why}")))?;
        Ok(Clerk {
            ledger,
            writer: writer.map(Mutex::new),
            notes: Mutex::default(),
            faults: Mutex::default(),
            began: Instant::now(),
            complained: AtomicBool::new(false),
        })
    }

    /// Reserves, and marks as dispatched: the upstream is called right away.
    pub fn reserve(
        &self,
        route: &Route,
        estimate: &Usage,
        draft: &Draft,
    ) -> Result<(Charge, RecordId), Vec<Binding>> {
        let record = RecordId::generate();
        match self.ledger.reserve(route, estimate, draft.clone().id(record)) {
            Ok(mut charge) => {
                charge.mark_dispatched();
                Ok((charge, record))
            }
            Err(Unreserved::Denied(denied)) => Err(denied.bindings().cloned().collect()),
            Err(why) => {
                self.fault(why.to_string());
                Err(Vec::new())
            }
        }
    }

    /// Charges what nothing is held for.
    pub fn charge(&self, route: &Route, used: &Usage, draft: &Draft) -> Settling {
        self.ledger.record(route, used, draft.clone().id(RecordId::generate()))
    }

    /// Waits until the end of a request is durable, and says what was booked.
    pub fn written(&self, request: usize, settling: Settling) -> Settlement {
        let record = settling.id();
        self.turn();
        match settling.wait() {
            Ok(receipt) => {
                if !receipt.is_written() {
                    self.fault(format!("the record of request {request} was there already"));
                }
                record.into_iter().for_each(|record| self.note(request, record));
                receipt.settlement
            }
            Err(why) => {
                self.fault(format!("request {request}: {why}"));
                Settlement::default()
            }
        }
    }

    /// Takes note of a charge that was dropped. Nobody waits for those.
    pub fn dropped(&self, request: usize, record: RecordId) {
        self.turn();
        self.note(request, record);
    }

    /// Waits until all is written that was settled.
    pub fn flush(&self) {
        self.turn();
        while self.ledger.health().queued > 0 {
            self.complain();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What is durable so far, in words.
    pub fn progress(&self) -> String {
        self.complain();
        let written = self.ledger.health().written;
        let each_second = written as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        format!(", {written} durable, {each_second:.0} a second")
    }

    /// Compares and closes. Nothing is to be on its way any more.
    pub fn close(self) -> Closed {
        let reconciled = self.ledger.reconcile();
        let (health, restored) = (self.ledger.health(), self.ledger.restored());
        let closed = match self.writer {
            Some(writer) => {
                let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
                writer.close(SystemClock.now())
            }
            None => self.ledger.close(AT_MOST),
        };
        let mut faults = held(&self.faults).clone();
        if !closed.is_clean() {
            faults.push(format!("the ledger was closed and had not written all: {closed:?}"));
        }
        let notes = held(&self.notes).clone();
        Closed { notes, faults, restored, reconciled, health }
    }

    /// Writes what is queued, if there is nobody else to do so.
    fn turn(&self) {
        let Some(writer) = &self.writer else { return };
        let mut writer = held(writer);
        loop {
            let now = SystemClock.now();
            match writer.turn(now).next {
                None => return,
                Some(at) => {
                    self.complain();
                    std::thread::sleep(at.saturating_since(now));
                }
            }
        }
    }

    /// Says once that the store does not answer: who waits for nothing should know.
    fn complain(&self) {
        let health = self.ledger.health();
        if let (Some(_), Some(error)) = (health.retry_at, health.last_error) {
            // Relaxed: twice would do no harm.
            if !self.complained.swap(true, Ordering::Relaxed) {
                eprintln!("replay: {error}; trying again until it answers");
            }
        }
    }

    fn note(&self, request: usize, record: RecordId) {
        held(&self.notes).push(Note { request, record });
    }

    fn fault(&self, what: String) {
        held(&self.faults).push(what);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
