//! `stalled_store`: one decision in a hundred takes this long while the ledger's store does not
//! answer and a thousand settles wait for it, and otherwise.

use super::Group;
use crate::ours;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::waited;
use crate::scale::Scale;
use crate::side::median;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tollkeeper::{
    Credited, Dimension, Draft, Engine, Entry, Filter, Granted, Ledger, LedgerStore, LimitId,
    MemoryLedger, OverrideState, OwnerId, RecordId, Route, StoreError, Stored, Timestamp, TopUp,
    Total, Written,
};

pub const GROUP: Group = Group { rows: &["stalled_store"], measure: stall };

const DEPTH: usize = 5;
const WAITING: usize = 1_000;

fn stall(scale: &Scale, progress: &Progress, report: &mut Report) {
    let (door, memory) = (Arc::new(Mutex::new(())), MemoryLedger::default());
    let engine = Engine::new();
    let route = ours::chain(&engine, "one", DEPTH, &[ours::budget(), ours::rate_limit()]);
    let store = Door { door: Arc::clone(&door), memory };
    let ledger = Ledger::builder(&engine).start(store).expect("memory is there");
    let (mut calm, mut stalled) = (Vec::new(), Vec::new());
    progress.begin(2 * scale.stalls);
    decide(&ledger, &route);
    for _ in 0..scale.stalls {
        calm.push(decide(&ledger, &route));
        progress.step();
        let closed = door.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..WAITING {
            let charge = ledger.reserve(&route, &ours::estimate(), Draft::new());
            charge.expect("there is plenty").settle(&ours::used()).forget();
        }
        stalled.push(decide(&ledger, &route));
        assert_eq!(ledger.health().queued, WAITING as u64, "it is stalled all the time");
        drop(closed);
        while ledger.health().queued > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        progress.step();
    }
    let requests = ours::booked(&engine.route_usage(&route));
    assert_eq!(requests, (scale.stalls * WAITING) as u64);
    let (ours, theirs) = (median(stalled), median(calm));
    let row = Row::of("stalled_store", DEPTH, ours, "the same, it is not stalled", theirs);
    report.add(row.target(1.5));
}

const DECISIONS: usize = 20_000;
/// So many are left out if the thread waited for a core meanwhile.
const CHUNK: usize = 500;

/// The 99th percentile of a reserve and its void, in nanoseconds.
fn decide(ledger: &Ledger, route: &Route) -> f64 {
    let estimate = ours::estimate();
    let key: OwnerId = "key:one".parse().expect("an owner's text");
    let draft = Draft::new().api_key(&key).model("large");
    let mut latencies: Vec<u32> = Vec::with_capacity(DECISIONS);
    for _ in 0..DECISIONS / CHUNK {
        let (before, kept) = (waited(), latencies.len());
        for _ in 0..CHUNK {
            let draft = draft.clone();
            let began = Instant::now();
            let charge = ledger.reserve(route, black_box(&estimate), draft);
            charge.expect("there is plenty").void();
            let took = began.elapsed();
            latencies.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        }
        if waited() > before {
            latencies.truncate(kept);
        }
    }
    assert!(latencies.len() >= CHUNK, "this machine has no time to measure anything");
    let place = latencies.len() / 100 * 99;
    f64::from(*latencies.select_nth_unstable(place).1)
}

/// A store whose writes wait for a door.
struct Door {
    door: Arc<Mutex<()>>,
    memory: MemoryLedger,
}

impl LedgerStore for Door {
    fn write(&self, group: &[Entry]) -> Result<Vec<Written>, StoreError> {
        let _open = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.memory.write(group)
    }

    fn register(&self, owners: &[OwnerId]) -> Result<(), StoreError> {
        self.memory.register(owners)
    }

    fn unlink(&self, owner: &OwnerId, at_most: usize) -> Result<u64, StoreError> {
        self.memory.unlink(owner, at_most)
    }

    fn delete(&self, owner: &OwnerId) -> Result<bool, StoreError> {
        self.memory.delete(owner)
    }

    fn top_up(&self, top_up: &TopUp) -> Result<Credited, StoreError> {
        self.memory.top_up(top_up)
    }

    fn set_override(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        instead: Option<OverrideState>,
    ) -> Result<(), StoreError> {
        self.memory.set_override(limit, owner, dimension, instead)
    }

    fn grants(&self, each: &mut dyn FnMut(Granted)) -> Result<(), StoreError> {
        self.memory.grants(each)
    }

    fn open_totals(&self, now: Timestamp, each: &mut dyn FnMut(Total)) -> Result<(), StoreError> {
        self.memory.open_totals(now, each)
    }

    fn totals(&self, limit: &LimitId) -> Result<Vec<Total>, StoreError> {
        self.memory.totals(limit)
    }

    fn total_before(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        before: Timestamp,
    ) -> Result<Option<Total>, StoreError> {
        self.memory.total_before(limit, dimension, before)
    }

    fn record(&self, id: RecordId) -> Result<Option<Stored>, StoreError> {
        self.memory.record(id)
    }

    fn records(
        &self,
        filter: &Filter,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.memory.records(filter, after, at_most)
    }

    fn purge(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.memory.purge(before, at_most)
    }
}
