//! The same with the writer's thread, on the machine's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tollkeeper::{
    Budget, Draft, Engine, Fate, Filter, Ledger, LimitId, OwnerId, Route, SettleError, Unreserved,
};

use crate::scene::{FORBIDDEN, Fault, Faulty, Scene, usage};

struct Threaded {
    engine: Engine,
    ledger: Ledger,
    store: Arc<Faulty>,
    key: OwnerId,
    route: Route,
}

fn threaded() -> Threaded {
    let (engine, store) = (Engine::new(), Arc::<Faulty>::default());
    let key: OwnerId = "key:k".parse().unwrap();
    engine.upsert_owner(&key, &[]).unwrap();
    let budget = Budget::new("$1000".parse().unwrap(), "1Y".parse().unwrap());
    engine.upsert_limit(&key, &LimitId::new("money").unwrap(), budget).unwrap();
    let ledger = Ledger::builder(&engine).start(Arc::clone(&store)).unwrap();
    let route = engine.route(std::slice::from_ref(&key));
    Threaded { engine, ledger, store, key, route }
}

impl Threaded {
    fn spend(&self, money: u64) -> tollkeeper::Settling {
        let draft = Draft::new().api_key(&self.key);
        let mut charge = self.ledger.reserve(&self.route, &usage(money, 0), draft).unwrap();
        charge.mark_dispatched();
        charge.settle(&usage(money, 0))
    }

    fn settled(&self) -> u64 {
        self.engine.usage(&LimitId::new("money").unwrap()).unwrap().counters[0].settled
    }

    fn stored(&self) -> i64 {
        let totals = self.ledger.totals(&LimitId::new("money").unwrap()).unwrap();
        totals.iter().map(|total| total.settled).sum()
    }
}

#[test]
fn threads_wait_for_what_they_settle_and_share_groups() {
    let scene = threaded();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    assert_eq!(scene.spend(3).wait().unwrap().fate, Fate::Now);
                }
            });
        }
    });
    assert_eq!((scene.settled(), scene.stored()), (3_000, 3_000));
    assert_eq!(scene.ledger.records(&Filter::default(), None, 2_000).unwrap().len(), 1_000);
    let closed = scene.ledger.close(Duration::from_secs(30));
    assert!(closed.is_clean(), "{closed:?}");
}

#[test]
fn a_store_that_stalls_slows_no_decision() {
    let scene = threaded();
    scene.store.stall(true);
    let first = scene.spend(1);
    while scene.store.groups.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    // The writer is in the store now, and stays there.
    let rest: Vec<_> = (0..1_000).map(|_| scene.spend(1)).collect();
    assert_eq!(scene.ledger.health().queued, 1_001);
    scene.store.stall(false);
    first.wait().unwrap();
    rest.into_iter().for_each(|settling| assert!(settling.wait().unwrap().is_written()));
    assert_eq!((scene.settled(), scene.stored()), (1_001, 1_001));
    // All that gathered meanwhile went in a few groups.
    assert!(scene.store.groups.lock().unwrap().len() <= 4);
}

#[test]
fn a_store_that_comes_back_gets_everything() {
    let scene = threaded();
    scene.store.fail(&[Fault::Before, Fault::After]);
    let settling = scene.spend(5);
    assert!(settling.wait().unwrap().is_written());
    assert_eq!((scene.settled(), scene.stored()), (5, 5));
    let health = scene.ledger.health();
    assert_eq!((health.written, health.attempts), (1, 3));
}

#[test]
fn closing_waits_for_what_is_queued() {
    let scene = threaded();
    for _ in 0..100 {
        scene.spend(1).forget();
    }
    scene.store.fail(&[Fault::Before]);
    let closed = scene.ledger.close(Duration::from_secs(30));
    assert!(closed.is_clean(), "{closed:?}");
    assert_eq!((scene.settled(), scene.stored()), (100, 100));
    // A second time there is nothing to close.
    assert!(scene.ledger.close(Duration::from_secs(30)).is_clean());
}

#[test]
fn closing_asks_a_store_again_that_could_not_be_read() {
    let scene = threaded();
    scene.store.unreadable.store(true, Ordering::Relaxed);
    scene.spend(1).forget();
    std::thread::scope(|threads| {
        let closing = threads.spawn(|| scene.ledger.close(Duration::from_secs(30)));
        while scene.store.unread.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        scene.store.unreadable.store(false, Ordering::Relaxed);
        let closed = closing.join().unwrap();
        assert!(closed.is_clean(), "{closed:?}");
    });
    assert_eq!(scene.stored(), 1);
}

#[test]
fn closing_gives_up_at_the_deadline() {
    let scene = threaded();
    scene.store.fail(&[Fault::Before; 100]);
    let settling = scene.spend(1);
    let closed = scene.ledger.close(Duration::from_millis(20));
    assert_eq!((closed.unwritten.len(), closed.stalled), (1, false));
    assert!(settling.wait().is_err());

    let scene = threaded();
    let draft = Draft::new().model(FORBIDDEN);
    scene.ledger.record(&scene.route, &usage(1, 0), draft).wait().unwrap_err();
    let groups = scene.store.groups.lock().unwrap().len();
    scene.store.stall(true);
    scene.spend(1).forget();
    while scene.store.groups.lock().unwrap().len() == groups {
        std::thread::yield_now();
    }
    let began = Instant::now();
    let closed = scene.ledger.close(Duration::from_millis(20));
    assert!(closed.stalled && began.elapsed() < Duration::from_secs(20));
    assert_eq!((closed.rejected.len(), scene.ledger.health().queued), (1, 1));
    scene.store.stall(false);
}

#[test]
fn what_ends_while_the_ledger_is_closed_is_told() {
    for round in 0..2_000 {
        let Scene { ledger, writer, kit, store } = crate::scene::scene();
        store.fail(&[Fault::Before]);
        let route = kit.route(&["key:k"]);
        // What is left is booked first, which takes its time.
        for _ in 0..20 {
            ledger.record(&route, &usage(1, 1), Draft::new()).forget();
        }
        let charge = ledger.reserve(&route, &usage(1, 1), Draft::new()).unwrap();
        let together = std::sync::Barrier::new(2);
        let closed = std::thread::scope(|threads| {
            threads.spawn(|| {
                together.wait();
                (0..round * 13 % 4_000).for_each(|_| std::hint::spin_loop());
                charge.settle(&usage(1, 1)).forget();
            });
            together.wait();
            writer.close(kit.engine.now())
        });
        assert!(closed.unwritten.len() as u64 + closed.open_charges > 20, "{round}: {closed:?}");
    }
}

#[test]
fn a_store_that_panics_ends_the_ledger_and_nothing_is_forgotten() {
    let scene = threaded();
    let open = scene.ledger.reserve(&scene.route, &usage(9, 0), Draft::new()).unwrap();
    scene.store.fail(&[Fault::Panic]);
    let first = scene.spend(5);
    let first_id = first.id();
    let error = first.wait().unwrap_err();
    assert!(matches!(error, SettleError::Closed { .. }), "{error}");
    // Nothing is admitted that could not be recorded.
    let refused = scene.ledger.reserve(&scene.route, &usage(1, 0), Draft::new()).unwrap_err();
    assert!(matches!(refused, Unreserved::Closed), "{refused}");
    let error = scene.ledger.health().last_error.unwrap();
    assert!(error.contains("panicked"), "{error}");
    // What was admitted before is charged.
    let second = open.settle(&usage(7, 0));
    let second_id = second.id();
    second.wait().unwrap_err();
    assert_eq!((scene.settled(), scene.stored()), (12, 0));
    assert_eq!(scene.ledger.health().unpersisted.entries, 2);

    let closed = scene.ledger.close(Duration::from_secs(30));
    assert!(!closed.is_clean());
    let ids = closed.unwritten.iter().map(|entry| entry.record.as_ref().map(|record| record.id));
    assert_eq!(ids.collect::<Vec<_>>(), [first_id, second_id]);
}

#[test]
fn what_is_queued_is_written_when_all_handles_are_gone() {
    let Threaded { ledger, store, route, key, .. } = threaded();
    let mut charge = ledger.reserve(&route, &usage(7, 0), Draft::new().api_key(&key)).unwrap();
    charge.mark_dispatched();
    let settling = charge.settle(&usage(7, 0));
    drop(ledger);
    assert!(settling.wait().unwrap().is_written());
    // The thread ends, and lets go of the store.
    let until = Instant::now() + Duration::from_secs(30);
    while Arc::strong_count(&store) > 1 {
        assert!(Instant::now() < until, "the writer goes on");
        std::thread::yield_now();
    }
}

/// Under steady traffic it compares each time, and finds nothing: what is written is booked for
/// whoever compares.
#[test]
fn reconciling_compares_while_everybody_settles() {
    let scene = threaded();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(scene.spend(1).wait().is_ok());
                }
            });
        }
        let mut found = scene.ledger.reconcile().unwrap();
        while scene.settled() < 5_000 && found.quiet && found.drifts.is_empty() {
            found = scene.ledger.reconcile().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(found.quiet && found.drifts.is_empty(), "{found:?}");
    });
    assert_eq!(i64::try_from(scene.settled()), Ok(scene.stored()));
}
