//! A change of a limit moves its window and charges nothing: the store is told all the same, so
//! that a restart does not take the window for over (L9).

use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{Budget, Dimension, Ledger, LedgerStore, MemoryLedger, StoreError};

use crate::kit::{Kit, id, kit, kit_with, nanos, per};
use crate::scene::{Fault, Scene, draft, open, restarted_with, scene_on, usage};

const MONEY: Dimension = Dimension::Money;

fn daily(kit: &Kit) {
    kit.limit("key:k", "money", Budget::new(nanos(1_000), per("1d")));
}

fn monthly(kit: &Kit) {
    kit.limit("key:k", "money", Budget::new(nanos(1_000), per("1M")));
}

/// A process that has spent 60 of a daily budget.
fn spent() -> Scene {
    let kit = kit();
    daily(&kit);
    let mut scene = open(kit, Arc::default());
    let route = scene.kit.route(&["key:k"]);
    let settling = scene.ledger.record(&route, &usage(60, 0), draft());
    scene.written(settling);
    scene
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 3_600)
}

/// Memory and the store have the window, and it is the month's.
fn assert_kept(scene: &Scene) {
    assert_eq!(scene.kit.counts("money"), (60, 0));
    let totals = scene.ledger.totals(&id("money")).unwrap();
    assert_eq!(totals.len(), 1);
    assert_eq!(totals[0].settled, 60);
    assert_eq!(totals[0].window.end, scene.kit.read("money").window.end);
}

#[test]
fn reconciling_tells_the_store() {
    let mut scene = spent();
    monthly(&scene.kit);
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 1);
    // Told once, for as long as it is on its way and when it is there.
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 0);
    scene.drain();
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 0);
    assert_kept(&scene);
    scene.kit.advance(a_day());
    let scene = restarted_with(scene, monthly);
    assert_kept(&scene);
}

#[test]
fn reconciling_tells_it_while_something_is_on_its_way() {
    let mut scene = spent();
    monthly(&scene.kit);
    scene.kit.limit("key:k", "other", Budget::new(nanos(1_000), per("1h")));
    scene.store.fail(&[Fault::Before]);
    let route = scene.kit.route(&["key:k"]);
    scene.ledger.record(&route, &usage(0, 0), draft()).forget();
    let found = scene.ledger.reconcile().unwrap();
    assert_eq!((found.quiet, found.moved), (true, 1));
    let next = scene.turn().next.unwrap();
    scene.kit.clock.set(next);
    scene.drain();
    assert_kept(&scene);
}

#[test]
fn reconciling_after_the_end_that_the_store_knows_takes_nothing_off() {
    let mut scene = spent();
    monthly(&scene.kit);
    scene.kit.advance(a_day());
    for _ in 0..3 {
        let found = scene.ledger.reconcile().unwrap();
        assert!(found.quiet && found.drifts.is_empty(), "{found:?}");
        scene.drain();
    }
    assert_kept(&scene);
    let scene = restarted_with(scene, monthly);
    assert_kept(&scene);
}

#[test]
fn closing_tells_the_store() {
    let scene = spent();
    monthly(&scene.kit);
    let Scene { kit, store, ledger, writer } = scene;
    assert!(writer.close(kit.engine.now()).is_clean());
    drop(ledger);
    kit.advance(a_day());
    let next = kit_with(kit.engine.now(), tollkeeper::UnknownOwner::Deny);
    monthly(&next);
    assert_kept(&open(next, store));
}

#[test]
fn closing_says_what_it_could_not_tell() {
    let scene = spent();
    monthly(&scene.kit);
    let Scene { kit, store, ledger: _ledger, writer } = scene;
    store.fail(&[Fault::Before]);
    let closed = writer.close(kit.engine.now());
    assert!(!closed.is_clean());
    assert_eq!(closed.unwritten.len(), 1);
    assert_eq!(closed.unwritten[0].postings[0].window, kit.read("money").window);

    let scene = open(kit, store);
    daily(&scene.kit);
    scene.store.unreadable.store(true, std::sync::atomic::Ordering::Relaxed);
    let closed = scene.writer.close(scene.kit.engine.now());
    assert!(!closed.is_clean());
    assert!(matches!(closed.unread, Some(StoreError::Unavailable { .. })), "{closed:?}");
}

#[test]
fn a_ledger_with_a_thread_tells_it_when_it_is_closed() {
    let store = Arc::new(MemoryLedger::default());
    let (first, second) = (kit(), kit());
    daily(&first);
    let ledger = Ledger::builder(&first.engine).start(Arc::clone(&store)).unwrap();
    let settling = ledger.record(&first.route(&["key:k"]), &usage(60, 0), draft());
    settling.wait().unwrap();
    monthly(&first);
    assert!(ledger.close(Duration::from_secs(60)).is_clean());
    second.advance(a_day());
    monthly(&second);
    let ledger = Ledger::builder(&second.engine).start(Arc::clone(&store)).unwrap();
    assert_eq!((ledger.restored().counters, second.counts("money")), (1, (60, 0)));
}

#[test]
fn a_change_while_it_was_down_is_told_at_the_start() {
    let scene = restarted_with(spent(), monthly);
    assert_kept(&scene);
    // It dies at once, and the day has passed when the next one starts.
    scene.kit.advance(a_day());
    let scene = restarted_with(scene, monthly);
    assert_kept(&scene);
    // Back again: the day in which it is now has the usage of before, and it ends.
    let scene = restarted_with(scene, daily);
    assert_kept(&scene);
    scene.kit.advance(a_day());
    let scene = restarted_with(scene, daily);
    assert_eq!(scene.kit.counts("money"), (0, 0));
}

#[test]
fn what_has_ended_while_it_was_down_stays_over() {
    let scene = spent();
    scene.kit.advance(a_day());
    let scene = restarted_with(scene, monthly);
    assert_eq!(scene.kit.counts("money"), (0, 0));
    assert_eq!(scene.history("money", MONEY), [60]);
}

#[test]
fn many_windows_are_told_in_pieces() {
    let limits = 3_000;
    let with = |period: &'static str| {
        move |kit: &Kit| {
            for n in 0..limits {
                let (key, limit) = (format!("key:{n}"), format!("l{n}"));
                kit.limit(&key, &limit, Budget::new(nanos(1_000), per(period)));
            }
        }
    };
    let kit = kit();
    with("1d")(&kit);
    let mut scene = open(kit, Arc::default());
    for n in 0..limits {
        let route = scene.kit.route(&[&format!("key:{n}")]);
        scene.ledger.record(&route, &usage(n + 1, 0), tollkeeper::Draft::new()).forget();
    }
    scene.drain();
    let told = scene.store.groups.lock().unwrap().len();
    let scene = restarted_with(scene, with("1M"));
    assert_eq!(scene.store.groups.lock().unwrap()[told..], [12]);
    scene.kit.advance(a_day());
    let scene = restarted_with(scene, with("1M"));
    assert_eq!(scene.ledger.restored().counters, limits);
    for n in 0..limits {
        assert_eq!(scene.kit.counts(&format!("l{n}")), (n + 1, 0));
    }
}

#[cfg(feature = "serde")]
#[test]
fn another_anchor_is_told_as_well() {
    let with = |anchor: &str| {
        let anchor = anchor.to_owned();
        move |kit: &Kit| {
            let text = format!(
                r#"
                [[owners]]
                id = "key:k"
                budgets = [{{ id = "money", limit = "1", period = "1d", anchor = "{anchor}" }}]
                "#
            );
            let config = tollkeeper::Config::from_toml(&text).unwrap();
            kit.engine.apply(&config).unwrap();
        }
    };
    let mut scene = spent();
    // Until 18:00 of the same day, and then until 06:00 of the next.
    with("2026-02-28T18:00:00Z")(&scene.kit);
    with("2026-02-28T06:00:00Z")(&scene.kit);
    scene.kit.advance(Duration::from_secs(5 * 3_600));
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 1);
    scene.drain();
    let scene = restarted_with(scene, with("2026-02-28T06:00:00Z"));
    assert_kept(&scene);
    scene.kit.advance(Duration::from_secs(3_600));
    assert_eq!(scene.kit.counts("money"), (0, 0));
}

#[test]
fn calendar_windows_that_began_at_different_times_are_not_told_again_and_again() {
    let calendar = || tollkeeper::Period::calendar("1d", &tollkeeper::Alignment::new()).unwrap();
    let limit = |kit: &Kit| {
        kit.limit("key:k", "money", Budget::new(nanos(1_000), calendar()));
    };
    let one = kit();
    limit(&one);
    let mut one = open(one, Arc::default());
    let other = kit();
    other.advance(Duration::from_secs(1));
    limit(&other);
    let other = open(other, Arc::clone(&one.store));
    let settling = one.ledger.record(&one.kit.route(&["key:k"]), &usage(60, 0), draft());
    one.written(settling);
    for _ in 0..2 {
        let found = other.ledger.reconcile().unwrap();
        assert_eq!((found.moved, found.apart.len()), (0, 0));
    }
    assert_eq!(other.kit.counts("money"), (60, 0));
}

#[test]
fn what_the_store_refuses_is_not_told_again() {
    let store = Arc::default();
    let mut scene = scene_on(store);
    let settling = scene.charge(&usage(60, 6)).settle(&usage(60, 6));
    scene.written(settling);
    scene.kit.limit("key:k", "money", Budget::new(nanos(1_000), per("1M")));
    scene.store.reject_openings.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 1);
    scene.drain();
    assert_eq!(scene.ledger.rejected().len(), 1);
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 0);
    scene.store.reject_openings.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    scene
        .store
        .open_totals(scene.kit.engine.now(), &mut |total| {
            if total.limit == id("money") {
                assert_eq!(total.window, scene.kit.read("money").window);
            }
        })
        .unwrap();
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 0);
}
