//! An engine with a ledger that is turned by hand, and a store whose faults are told beforehand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tollkeeper::{
    Budget, Charge, Clock, Credited, Dimension, Draft, Entry, Fate, Filter, Granted, Ledger,
    LedgerBuilder, LedgerStore, LimitId, MemoryLedger, Outcome, OverrideState, OwnerId, RateLimit,
    Receipt, RecordId, SettleError, Settling, StoreError, Stored, Timestamp, TopUp, Total, Turn,
    Unreserved, Usage, Writer, Written,
};

use crate::kit::{Kit, id, kit, nanos, owner, per};

/// What goes wrong with one call of `write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Before,
    /// It is written, and the answer is lost.
    After,
    /// Nothing is written, and nothing is answered.
    Panic,
}

/// A store in memory that fails as it is told.
#[derive(Default)]
pub struct Faulty {
    pub inner: MemoryLedger,
    /// Of the next calls of `write`, in order.
    pub faults: Mutex<VecDeque<Fault>>,
    /// Of the next calls that grant.
    pub grant_faults: Mutex<VecDeque<Fault>>,
    /// Of the next calls that delete.
    pub delete_faults: Mutex<VecDeque<Fault>>,
    /// The sizes of the groups that were tried.
    pub groups: Mutex<Vec<usize>>,
    /// Whether calls of `write` wait.
    pub stalled: Mutex<bool>,
    pub resumed: Condvar,
    /// Whether the forbidden model is accepted.
    pub permissive: AtomicBool,
    /// Whether entries without a record are rejected.
    pub reject_openings: AtomicBool,
    /// Whether corrections are rejected.
    pub reject_corrections: AtomicBool,
    /// What happens when totals are read the next time.
    pub meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// What happens while totals of earlier windows are read, call by call.
    pub meanwhile_before: Mutex<VecDeque<Box<dyn FnOnce() + Send>>>,
    /// What happens between reading what is granted and telling it, the next time.
    pub meanwhile_granted: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// How many were asked for at most, of each call of `unlink`.
    pub unlinks: Mutex<Vec<usize>>,
    /// What happens once the first references are unlinked, and what is said of it.
    pub meanwhile_unlinked: Mutex<Option<Meanwhile>>,
    /// Whether totals cannot be read.
    pub unreadable: AtomicBool,
    /// So many readings of totals were refused.
    pub unread: AtomicUsize,
}

type Meanwhile = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

/// The model whose records are rejected.
pub const FORBIDDEN: &str = "forbidden";

pub fn unavailable() -> StoreError {
    StoreError::Unavailable { doing: "writing", source: "the disk is on fire".into() }
}

impl Faulty {
    pub fn fail(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn granting<T>(&self, grant: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        faced_with(&self.grant_faults, grant)
    }

    pub fn stall(&self, stalled: bool) {
        *self.stalled.lock().unwrap() = stalled;
        self.resumed.notify_all();
    }
}

/// A call that meets the next of these faults.
fn faced_with<T>(
    faults: &Mutex<VecDeque<Fault>>,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match faults.lock().unwrap().pop_front() {
        Some(Fault::Before) => Err(unavailable()),
        Some(Fault::After) => call().and(Err(unavailable())),
        Some(Fault::Panic) => panic!("as it was told"),
        None => call(),
    }
}

impl LedgerStore for Faulty {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        self.groups.lock().unwrap().push(group.len());
        let stalled = self.stalled.lock().unwrap();
        drop(self.resumed.wait_while(stalled, |stalled| *stalled).unwrap());
        let fault = self.faults.lock().unwrap().pop_front();
        assert_ne!(fault, Some(Fault::Panic), "as it was told");
        if fault == Some(Fault::Before) {
            return Err(unavailable());
        }
        let forbidden = |entry: &Entry| {
            entry.record.as_ref().is_some_and(|record| record.model.as_deref() == Some(FORBIDDEN))
        };
        if !self.permissive.load(Ordering::Relaxed) && group.iter().any(forbidden) {
            return Err(StoreError::Rejected {
                doing: "writing",
                constraint: Some("no_forbidden_model".to_owned()),
                source: "the model is forbidden".into(),
            });
        }
        let unwanted = |entry: &Entry| match &entry.record {
            None => self.reject_openings.load(Ordering::Relaxed),
            Some(record) => {
                let corrections = self.reject_corrections.load(Ordering::Relaxed);
                corrections && record.outcome == Outcome::Correction
            }
        };
        if group.iter().any(unwanted) {
            let source = "not wanted".into();
            return Err(StoreError::Rejected { doing: "writing", constraint: None, source });
        }
        let written = self.inner.write(group)?;
        if fault == Some(Fault::After) { Err(unavailable()) } else { Ok(written) }
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        self.inner.register(owners)
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        self.unlinks.lock().unwrap().push(at_most);
        let meanwhile = self.meanwhile_unlinked.lock().unwrap().take();
        let unlinked = self.inner.unlink(owner, at_most)?;
        meanwhile.map_or(Ok(unlinked), |happens| happens().map(|()| unlinked))
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        faced_with(&self.delete_faults, || self.inner.delete(owner))
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        self.granting(|| self.inner.top_up(top_up))
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        self.granting(|| self.inner.set_override(limit, owner, dimension, instead))
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        let mut granted = Vec::new();
        self.inner.grants(&mut |each| granted.push(each))?;
        let meanwhile = self.meanwhile_granted.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        granted.into_iter().for_each(each);
        Ok(())
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        if self.unreadable.load(Ordering::Relaxed) {
            self.unread.fetch_add(1, Ordering::Relaxed);
            return Err(unavailable());
        }
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        self.inner.open_totals(now, each)
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        self.inner.totals(limit)
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        let meanwhile = self.meanwhile_before.lock().unwrap().pop_front();
        meanwhile.into_iter().for_each(|happens| happens());
        self.inner.total_before(limit, dimension, before)
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        self.inner.record(id)
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.inner.records(filter, after, at_most)
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.inner.purge(before, at_most)
    }
}

/// One process.
pub struct Scene {
    pub kit: Kit,
    pub store: Arc<Faulty>,
    pub ledger: Ledger,
    pub writer: Writer,
}

/// A key of a team, with a budget for each, a rate limit for the key, and a provider without
/// limits.
pub fn topology(kit: &Kit) {
    kit.limit("team:t", "team", Budget::new(nanos(10_000), per("1h")));
    kit.owner("key:k", &["team:t"]);
    kit.limit("key:k", "money", Budget::new(nanos(1_000), per("1h")));
    let rate = RateLimit::new().tokens(100, per("1m")).requests(10, per("1h"));
    kit.limit("key:k", "rate", rate);
    kit.owner("provider:p", &[]);
}

pub fn scene() -> Scene {
    scene_on(Arc::new(Faulty::default()))
}

pub fn scene_on(store: Arc<Faulty>) -> Scene {
    let kit = kit();
    topology(&kit);
    open(kit, store)
}

/// The same process on an engine that is set up already.
pub fn open(kit: Kit, store: Arc<Faulty>) -> Scene {
    open_with(kit, store, |builder| builder)
}

pub fn open_with(
    kit: Kit,
    store: Arc<Faulty>,
    with: impl FnOnce(LedgerBuilder) -> LedgerBuilder,
) -> Scene {
    // A seed of its own for each process: they would take each other's records for their own.
    static PROCESSES: AtomicU64 = AtomicU64::new(0);
    let seed = PROCESSES.fetch_add(1, Ordering::Relaxed);
    let builder = with(Ledger::builder(&kit.engine).seed(seed));
    let (ledger, writer) = builder.by_hand(Arc::clone(&store)).unwrap();
    Scene { kit, store, ledger, writer }
}

/// A process that died, and the next one at the same time with the limits as they were.
pub fn restarted(scene: Scene) -> Scene {
    restarted_with(scene, topology)
}

pub fn restarted_with(scene: Scene, topology: impl FnOnce(&Kit)) -> Scene {
    let Scene { kit: old, store, ledger, writer } = scene;
    drop((ledger, writer));
    let kit = crate::kit::kit_with(old.clock.now(), tollkeeper::UnknownOwner::Deny);
    topology(&kit);
    open(kit, store)
}

/// So much money, so many tokens, one request.
pub fn usage(money: u64, tokens: u64) -> Usage {
    Usage { cost: nanos(money), input_tokens: tokens, requests: 1, ..Usage::default() }
}

pub fn draft() -> Draft {
    Draft::new().api_key(&owner("key:k")).upstream(&owner("provider:p")).model("m")
}

pub fn record_id(number: u128) -> RecordId {
    RecordId::from_u128(number)
}

impl Scene {
    pub fn reserve(&self, estimate: &Usage, draft: Draft) -> Result<Charge, Unreserved> {
        self.ledger.reserve(&self.kit.route(&["key:k", "provider:p"]), estimate, draft)
    }

    /// A request that was sent to the upstream.
    pub fn charge(&self, estimate: &Usage) -> Charge {
        self.charge_as(estimate, draft())
    }

    pub fn charge_as(&self, estimate: &Usage, draft: Draft) -> Charge {
        let mut charge = self.reserve(estimate, draft).unwrap();
        charge.mark_dispatched();
        charge
    }

    pub fn turn(&mut self) -> Turn {
        self.writer.turn(self.kit.clock.now())
    }

    /// Turns until there is nothing left to do now.
    pub fn drain(&mut self) {
        while self.turn().next == Some(self.kit.clock.now()) {}
    }

    /// Turns until an answer is there.
    pub fn answer(&mut self, mut settling: Settling) -> Result<Receipt, SettleError> {
        self.drain();
        settling.wait_timeout(Duration::ZERO).expect("it is answered")
    }

    pub fn written(&mut self, settling: Settling) -> Receipt {
        let receipt = self.answer(settling).unwrap();
        assert_eq!(receipt.fate, Fate::Now);
        receipt
    }

    /// Settled of the budget, tokens and requests of the key, and the budget of the team.
    pub fn memory(&self) -> [u64; 4] {
        self.booked(|counter| counter.settled)
    }

    pub fn held(&self) -> [u64; 4] {
        self.booked(|counter| counter.held)
    }

    fn booked(&self, of: impl Fn(tollkeeper::CounterUsage) -> u64) -> [u64; 4] {
        COUNTERS.map(|(limit, dimension)| of(self.kit.counter(limit, dimension)))
    }

    /// What the store has of the same counters in the windows in force.
    pub fn stored(&self) -> [u64; 4] {
        let mut totals = Vec::new();
        let now = self.kit.clock.now();
        self.store.open_totals(now, &mut |total| totals.push(total)).unwrap();
        COUNTERS.map(|(limit, dimension)| {
            let it = |t: &&Total| t.limit == id(limit) && t.dimension == dimension;
            totals.iter().find(it).map_or(0, |total| total.settled.try_into().unwrap())
        })
    }

    /// What the store has of a limit in all windows, oldest first.
    pub fn history(&self, limit: &str, dimension: Dimension) -> Vec<i64> {
        let totals = self.ledger.totals(&id(limit)).unwrap();
        let of_it = totals.into_iter().filter(|total| total.dimension == dimension);
        of_it.map(|total| total.settled).collect()
    }

    pub fn records(&self) -> Vec<Stored> {
        self.ledger.records(&Filter::default(), None, 1_000).unwrap()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.records().into_iter().map(|stored| stored.record.outcome).collect()
    }

    /// Memory is what the store has, nothing is held, and nothing is on its way (L10).
    pub fn assert_even(&self, expected: [u64; 4]) {
        assert_eq!(self.memory(), expected, "in memory");
        assert_eq!(self.stored(), expected, "in the store");
        assert_eq!(self.held(), [0; 4], "held");
        let health = self.ledger.health();
        assert_eq!((health.queued, health.taken, health.open_charges), (0, 0, 0));
        assert_eq!(health.unpersisted.entries, 0);
        assert_eq!(health.unpersisted.money, 0);
    }
}

const COUNTERS: [(&str, Dimension); 4] = [
    ("money", Dimension::Money),
    ("rate", Dimension::Tokens),
    ("rate", Dimension::Requests),
    ("team", Dimension::Money),
];
