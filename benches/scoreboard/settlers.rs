//! Settlers: threads that reserve, settle, and wait until it is durable, as a gateway's tasks do.

// All of it is for the stores that are built.
#![cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]

use crate::ours;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tollkeeper::{Draft, Engine, Ledger, LedgerStore, Limit, LimitId, OwnerId, Route};

/// So many keys there are: each settler has one, where there are as many.
pub const KEYS: usize = 64;
/// Of each request: three of its key and three of the team that all keys belong to.
pub const POSTINGS: usize = 6;

/// The name of a key.
pub fn key(number: usize) -> String {
    format!("key:{number:08}")
}

pub const TEAM: &str = "team:all";
pub const UPSTREAM: &str = "provider:upstream";
pub const MODEL: &str = "large";

/// A ledger of an engine with those keys.
pub struct Settlers {
    pub ledger: Ledger,
    keys: Vec<(Route, Draft)>,
    settled: u64,
}

impl Settlers {
    pub fn new(store: Arc<dyn LedgerStore>) -> Settlers {
        let engine = Engine::new();
        let limits: [Limit; 2] = [ours::budget(), ours::rate_limit()];
        let upstream = ours::add(&engine, UPSTREAM, &[], &[]);
        let team = ours::add(&engine, TEAM, &[], &limits);
        let keys: Vec<OwnerId> = (0..KEYS)
            .map(|number| ours::add(&engine, &key(number), std::slice::from_ref(&team), &limits))
            .collect();
        let ledger = Ledger::builder(&engine).start(store).expect("the store is there");
        let draft = |key| Draft::new().api_key(key).upstream(&upstream).model(MODEL);
        let keys =
            keys.iter().map(|key| (engine.route(std::slice::from_ref(key)), draft(key))).collect();
        Settlers { ledger, keys, settled: 0 }
    }

    /// So many settles, by so many threads at once: how long they took, and how many a group had.
    pub fn settle(&mut self, threads: usize, settles: usize) -> (Duration, f64) {
        let each = settles.div_ceil(threads);
        let before = self.ledger.health();
        let begin = Barrier::new(threads + 1);
        let settlers = &*self;
        let took = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        (0..each).for_each(|_| settlers.one(thread));
                    })
                })
                .collect();
            begin.wait();
            let began = Instant::now();
            for worker in workers {
                worker.join().expect("a settler does not panic");
            }
            began.elapsed()
        });
        self.settled += (each * threads) as u64;
        let after = self.ledger.health();
        assert_eq!(after.written, self.settled, "all that was acknowledged is written");
        let groups = (after.groups - before.groups) as f64;
        (took, (after.written - before.written) as f64 / groups)
    }

    fn one(&self, thread: usize) {
        let (route, draft) = &self.keys[thread % KEYS];
        let charge = self.ledger.reserve(route, &ours::estimate(), draft.clone());
        let mut charge = charge.expect("there is plenty");
        charge.mark_dispatched();
        let receipt = charge.settle(&ours::used()).wait().expect("the store takes it");
        assert!(receipt.is_written());
    }

    /// Memory has booked exactly what was settled, and the store has it.
    pub fn check(&self) {
        let team = LimitId::new(&format!("{TEAM}/0")).expect("the first limit of the team");
        let totals = self.ledger.totals(&team).expect("the store answers");
        let stored: i64 = totals.iter().map(|total| total.settled).sum();
        let used = i64::try_from(ours::used().cost.as_nanos()).expect("a small amount");
        assert_eq!(Ok(stored), i64::try_from(self.settled).map(|settled| settled * used));
        let reconciled = self.ledger.reconcile().expect("the store answers");
        assert!(reconciled.quiet && reconciled.drifts.is_empty(), "{reconciled:?}");
    }
}
