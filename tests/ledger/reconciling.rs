//! Memory and the store are compared, and memory is corrected by what is seen twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tollkeeper::{
    Alignment, Apart, Budget, Clock, Dimension, Drift, Enforcement, Engine, ManualClock, Period,
    UnknownOwner,
};

use crate::kit::{Kit, START, id, instant, kit, kit_with, minute, nanos, owner, per, second};
use crate::scene::{
    FORBIDDEN, Fault, Scene, draft, open, restarted_with, scene, scene_on, topology, usage,
};

/// Memory, the store and the correction of each drift.
fn drifts(scene: &Scene) -> Vec<(String, Dimension, i64, i64, i64)> {
    let found = scene.ledger.reconcile().unwrap();
    assert!(found.quiet);
    let told = |d: Drift| (d.limit.to_string(), d.dimension, d.memory, d.ledger, d.repaired);
    let mut drifts: Vec<_> = found.drifts.into_iter().map(told).collect();
    drifts.sort_unstable();
    drifts
}

fn spend(scene: &mut Scene, money: u64, tokens: u64) {
    let settling = scene.charge(&usage(money, tokens)).settle(&usage(money, tokens));
    scene.written(settling);
}

#[test]
fn what_is_even_is_left_alone() {
    let mut scene = scene();
    spend(&mut scene, 60, 6);
    // Held and in windows that are over: neither is settled in a window in force.
    let _open = scene.charge(&usage(5, 5));
    for _ in 0..3 {
        let found = scene.ledger.reconcile().unwrap();
        assert!(found.quiet && found.drifts.is_empty(), "{found:?}");
        assert_eq!(found.compared, 4);
        scene.kit.advance(minute());
    }
    assert_eq!(scene.memory(), [60, 0, 1, 60]);
}

#[test]
fn a_process_learns_what_another_one_spent() {
    let mut one = scene();
    let mut other = scene_on(Arc::clone(&one.store));
    spend(&mut one, 60, 6);
    spend(&mut other, 5, 1);
    let first = drifts(&other);
    assert_eq!(first[0], ("money".to_owned(), Dimension::Money, 5, 65, 0));
    assert_eq!(other.memory(), [5, 1, 1, 5]);
    assert_eq!(drifts(&other)[0].4, 60);
    other.assert_even([65, 7, 2, 65]);
    assert_eq!(drifts(&other), []);
    // The other way round.
    drifts(&one);
    drifts(&one);
    one.assert_even([65, 7, 2, 65]);
}

#[test]
fn of_two_differences_the_smaller_is_corrected() {
    let mut one = scene();
    let mut other = scene_on(Arc::clone(&one.store));
    spend(&mut one, 60, 0);
    drifts(&other);
    spend(&mut one, 40, 0);
    assert_eq!(drifts(&other)[0], ("money".to_owned(), Dimension::Money, 0, 100, 60));
    // What is left has been seen once.
    assert_eq!(drifts(&other)[0], ("money".to_owned(), Dimension::Money, 60, 100, 40));
    other.turn();
    other.assert_even([100, 0, 2, 100]);
}

#[test]
fn what_was_booked_past_the_ledger_is_taken_off() {
    let mut scene = scene();
    spend(&mut scene, 60, 6);
    scene.kit.bump(&["key:k"], &usage(30, 3));
    drifts(&scene);
    assert_eq!(scene.memory(), [90, 9, 2, 90]);
    assert_eq!(drifts(&scene)[0].4, -30);
    scene.assert_even([60, 6, 1, 60]);
}

#[test]
fn a_drift_that_turns_round_is_not_corrected() {
    let mut one = scene();
    let other = scene_on(Arc::clone(&one.store));
    spend(&mut one, 60, 0);
    drifts(&other);
    other.kit.bump(&["key:k"], &usage(100, 0));
    assert!(drifts(&other).iter().all(|drift| drift.4 == 0 || drift.1 == Dimension::Requests));
    assert_eq!(other.memory()[0], 100);
}

#[test]
fn a_window_that_has_ended_since_is_not_corrected() {
    let mut one = scene();
    let mut other = scene_on(Arc::clone(&one.store));
    spend(&mut one, 60, 6);
    drifts(&other);
    other.kit.advance(minute());
    let tokens = |drift: &(String, Dimension, i64, i64, i64)| drift.1 == Dimension::Tokens;
    assert!(!drifts(&other).iter().any(tokens));
    other.turn();
    other.assert_even([60, 0, 1, 60]);
}

#[test]
fn nothing_is_compared_while_the_store_is_in_trouble() {
    let mut scene = scene();
    scene.kit.bump(&["key:k"], &usage(30, 3));
    drifts(&scene);
    scene.store.fail(&[Fault::Before]);
    scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
    let quiet = |scene: &Scene| scene.ledger.reconcile().unwrap().quiet;
    let next = scene.turn().next.unwrap();
    assert!(!quiet(&scene), "something is booked that is not written");
    scene.kit.clock.set(next);
    scene.drain();
    assert!(quiet(&scene));
    assert!(quiet(&scene));
    scene.assert_even([1, 1, 1, 1]);
}

#[test]
fn what_is_queued_is_neither_booked_nor_written_and_no_drift() {
    let mut scene = scene();
    scene.charge(&usage(7, 1)).settle(&usage(7, 1)).forget();
    let route = scene.kit.route(&["key:k"]);
    scene.ledger.record(&route, &usage(5, 0), draft()).forget();
    for _ in 0..3 {
        let found = scene.ledger.reconcile().unwrap();
        assert!(found.quiet && found.drifts.is_empty(), "{found:?}");
    }
    scene.drain();
    scene.assert_even([12, 1, 2, 12]);
}

#[test]
fn what_was_rejected_is_no_drift_until_it_is_taken_away() {
    let mut scene = scene();
    scene.charge_as(&usage(9, 9), draft().model(FORBIDDEN)).settle(&usage(2, 2)).forget();
    scene.drain();
    assert_eq!((drifts(&scene), drifts(&scene)), (vec![], vec![]));
    scene.ledger.take_rejected();
    drifts(&scene);
    drifts(&scene);
    scene.assert_even([0; 4]);
}

#[test]
fn a_correction_that_was_rejected_is_not_booked_before_it_is_written() {
    let mut scene = scene();
    drop(scene.charge(&usage(100, 10)));
    scene.drain();
    let uncertain = scene.records().remove(0).record.id;
    scene.store.reject_corrections.store(true, Ordering::Relaxed);
    let settling = scene.ledger.resolve(uncertain, &usage(60, 4)).unwrap();
    scene.answer(settling).unwrap_err();
    assert_eq!((drifts(&scene), drifts(&scene)), (vec![], vec![]));
    assert_eq!((scene.memory(), scene.stored()), ([100, 10, 1, 100], [100, 10, 1, 100]));
    scene.store.reject_corrections.store(false, Ordering::Relaxed);
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    scene.assert_even([60, 4, 1, 60]);
}

#[test]
fn what_was_rejected_of_an_owner_that_is_gone_is_not_charged_to_the_next_of_its_name() {
    let mut scene = scene();
    scene.charge_as(&usage(9, 9), draft().model(FORBIDDEN)).settle(&usage(2, 2)).forget();
    scene.drain();
    scene.ledger.remove_owner(&owner("key:k")).unwrap();
    topology(&scene.kit);
    assert_eq!((drifts(&scene), drifts(&scene)), (vec![], vec![]));
    assert_eq!(scene.memory(), [0, 0, 0, 2]);
    scene.store.permissive.store(true, Ordering::Relaxed);
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    scene.assert_even([0, 0, 0, 2]);
}

/// A process that has reset the money of a key, after both had spent 60.
fn reset_by_one() -> (Scene, Scene) {
    let mut one = scene();
    spend(&mut one, 60, 6);
    let other = scene_on(Arc::clone(&one.store));
    one.kit.clock.advance(second());
    other.kit.clock.advance(second());
    let (_, settling) = one.ledger.reset(&id("money"), None).unwrap();
    one.written(settling);
    (one, other)
}

#[test]
fn a_reset_of_another_process_is_taken_over_when_it_is_seen_twice() {
    let (mut one, mut other) = reset_by_one();
    let before = other.kit.read("money").window;
    let in_flight = other.charge(&usage(5, 0));
    spend(&mut one, 7, 0);
    let first = other.ledger.reconcile().unwrap();
    assert_eq!((first.adopted, first.apart), (vec![], vec![]));
    assert_eq!(other.memory()[0], 60);

    let found = other.ledger.reconcile().unwrap();
    let [adopted] = found.adopted.as_slice() else { panic!("{found:?}") };
    assert_eq!((adopted.limit.clone(), adopted.dimension), (id("money"), Dimension::Money));
    assert_eq!((adopted.ended, adopted.settled), (before.start, 7));
    assert_eq!(adopted.window, one.kit.read("money").window);
    assert_eq!(other.kit.read("money").window, adopted.window);
    assert_eq!(other.kit.counts("money"), (7, 0));

    // What is spent from now on is spent in one window, and what was held in the other one stays
    // there (L8).
    spend(&mut other, 20, 0);
    let settling = in_flight.settle(&usage(3, 0));
    other.written(settling);
    assert_eq!(one.history("money", Dimension::Money), [65, 27]);
    drifts(&one);
    drifts(&one);
    one.assert_even([27, 6, 4, 90]);
    drifts(&other);
    assert_eq!(drifts(&other), []);
    other.assert_even([27, 6, 4, 90]);
    // And so it is after a restart.
    crate::scene::restarted(other).assert_even([27, 6, 4, 90]);
}

/// Neither a correction nor a window that is taken over says anything of what a limit does.
#[test]
fn a_soft_limit_stays_soft_when_it_is_corrected_and_when_its_window_is_taken_over() {
    let (mut one, mut other) = reset_by_one();
    let soft = Budget::new(nanos(1_000), per("1h")).enforcement(Enforcement::Soft);
    other.kit.limit("key:k", "money", soft);
    let is_soft = |scene: &Scene| {
        let read = scene.kit.engine.usage(&id("money")).unwrap();
        assert_eq!(read.enforcement, Enforcement::Soft);
        scene.kit.engine.reserve(&scene.kit.route(&["key:k"]), &usage(1_001, 0)).is_admitted()
    };
    spend(&mut one, 7, 0);
    drifts(&other);
    assert_eq!(other.ledger.reconcile().unwrap().adopted.len(), 1);
    assert!(is_soft(&other));
    spend(&mut one, 20, 0);
    drifts(&other);
    drifts(&other);
    assert_eq!(other.memory()[0], 27);
    assert!(is_soft(&other));
    // What passes is recorded, and memory is what the records say.
    spend(&mut other, 2_000, 0);
    assert_eq!(other.memory()[0], 2_027);
    assert_eq!(other.stored()[0], 2_027);
}

#[test]
fn a_window_that_has_ended_here_in_between_is_not_taken_over() {
    let (_one, other) = reset_by_one();
    assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    other.kit.advance(second());
    other.kit.engine.reset(&id("money"), None).unwrap();
    let here = other.kit.read("money").window;
    for _ in 0..3 {
        assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    }
    assert_eq!(other.kit.read("money").window, here);
}

#[test]
fn a_window_that_ends_here_while_totals_are_read_is_not_taken_over() {
    let (_one, other) = reset_by_one();
    assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    other.kit.advance(second());
    let engine = other.kit.engine.clone();
    *other.store.meanwhile.lock().unwrap() = Some(Box::new(move || {
        engine.reset(&id("money"), None).unwrap();
    }));
    assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    let here = other.kit.read("money").window.start;
    assert_eq!(here, instant("2026-03-01T00:00:02Z"));
}

#[test]
fn of_two_resets_by_another_process_each_is_seen_twice() {
    let (mut one, other) = reset_by_one();
    assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    one.kit.advance(second());
    other.kit.advance(second());
    let (_, settling) = one.ledger.reset(&id("money"), None).unwrap();
    one.written(settling);
    assert_eq!(other.ledger.reconcile().unwrap().adopted, []);
    assert_eq!(other.ledger.reconcile().unwrap().adopted.len(), 1);
    assert_eq!(other.kit.read("money").window, one.kit.read("money").window);
}

#[test]
fn a_clock_that_has_stepped_back_takes_the_window_over_as_it_is() {
    let hour = minute() * 60;
    let mut one = scene();
    let mut other = scene_on(Arc::clone(&one.store));
    for scene in [&mut one, &mut other] {
        scene.kit.advance(hour);
        spend(scene, 60, 0);
    }
    one.kit.advance(second());
    let (_, settling) = one.ledger.reset(&id("money"), None).unwrap();
    one.written(settling);
    spend(&mut one, 7, 0);
    // To before the window that is in force here.
    other.kit.clock.set(instant(START) + minute() * 59);
    other.ledger.reconcile().unwrap();
    assert_eq!(other.ledger.reconcile().unwrap().adopted.len(), 1);
    let (here, there) = (other.kit.read("money"), one.kit.read("money"));
    assert_eq!((here.window, here.settled), (there.window, 7));
    // Where the clock comes to the beginning again, nothing begins.
    other.kit.advance(minute() * 2);
    let here = other.kit.read("money");
    assert_eq!((here.window, here.settled), (there.window, 7));
}

#[test]
fn a_window_of_another_period_is_left_alone() {
    let mut one = scene();
    spend(&mut one, 60, 6);
    let mut other = scene_on(Arc::clone(&one.store));
    // A change that has reached one process only.
    one.kit.limit("key:k", "money", Budget::new(nanos(1_000), per("1m")));
    one.kit.advance(minute());
    other.kit.advance(minute());
    spend(&mut one, 1, 0);
    for _ in 0..3 {
        let found = other.ledger.reconcile().unwrap();
        assert_eq!((found.adopted, found.apart), (vec![], vec![]));
    }
    other.turn();
    assert_eq!(other.memory()[0], 60);
}

#[test]
fn processes_that_count_apart_are_told_so_and_nothing_is_changed() {
    let mut one = scene();
    let late = kit();
    late.advance(second());
    topology(&late);
    let mut other = crate::scene::open(late, Arc::clone(&one.store));
    one.kit.advance(second());
    spend(&mut one, 60, 6);
    spend(&mut other, 5, 1);
    for scene in [&one, &other] {
        let memory = scene.memory();
        for _ in 0..3 {
            let found = scene.ledger.reconcile().unwrap();
            assert_eq!((found.adopted, found.drifts, found.moved), (vec![], vec![], 0));
            // Of the one that began last, what it has charged is what the store knows last.
            let apart = if std::ptr::eq(scene, &one) { 4 } else { 0 };
            assert_eq!(found.apart.len(), apart);
            let anchors = |apart: &Apart| (apart.here, apart.ledger);
            let expected = (instant(START), instant("2026-03-01T00:00:01Z"));
            assert!(found.apart.iter().map(anchors).all(|anchors| anchors == expected));
        }
        assert_eq!(scene.memory(), memory);
    }
    assert_eq!((one.memory(), other.memory()), ([60, 6, 1, 60], [5, 1, 1, 5]));
}

#[cfg(feature = "serde")]
#[test]
fn with_an_anchor_processes_count_together_whenever_they_start() {
    let text = r#"
        [[owners]]
        id = "key:k"
        budgets = [
            { id = "money", limit = "1", period = "1h", anchor = "2026-01-01T00:00:00Z" },
            { id = "prepaid", limit = "1", anchor = "2026-01-01T00:00:00Z", period = "never" },
        ]
    "#;
    let store = Arc::default();
    let begun = |after| {
        let kit = kit();
        kit.advance(after);
        kit.engine.apply(&tollkeeper::Config::from_toml(text).unwrap()).unwrap();
        crate::scene::open(kit, Arc::clone(&store))
    };
    let mut one = begun(std::time::Duration::ZERO);
    let other = begun(second());
    one.kit.advance(second());
    let settling = one.ledger.record(&one.kit.route(&["key:k"]), &usage(60, 0), draft());
    one.written(settling);
    for _ in 0..2 {
        assert_eq!(other.ledger.reconcile().unwrap().apart, []);
    }
    for limit in ["money", "prepaid"] {
        assert_eq!(other.kit.counts(limit), (60, 0), "{limit}");
    }
}

#[test]
fn a_window_that_a_longer_period_prolonged_keeps_its_usage() {
    let mut scene = scene();
    spend(&mut scene, 60, 0);
    scene.kit.limit("key:k", "money", Budget::new(nanos(1_000), per("3h")));
    // By what the store knows the window is over by now.
    scene.kit.advance(minute() * 120);
    assert_eq!(scene.memory()[0], 60);
    assert_eq!(drifts(&scene), []);
    scene.drain();
    assert_eq!(drifts(&scene), []);
    assert_eq!(scene.memory()[0], 60);
    assert_eq!(scene.stored()[0], 60);
}

#[test]
fn processes_that_began_at_different_times_have_windows_of_the_same_names() {
    let mut one = scene();
    // Tokens, and no request: of the requests the store knows nothing.
    let settling = one.charge(&usage(5, 5)).settle_partial(&usage(5, 5));
    one.written(settling);
    let kit = kit_with(one.kit.clock.now().saturating_add(second()), UnknownOwner::Deny);
    topology(&kit);
    let mut other = open(kit, Arc::clone(&one.store));
    spend(&mut other, 60, 6);
    drifts(&one);
    drifts(&one);
    assert_eq!(one.memory(), [65, 11, 1, 65]);
}

#[test]
fn where_a_window_ends_by_now_is_told_before_a_restart_goes_by_it() {
    let mut scene = scene();
    spend(&mut scene, 60, 0);
    let longer = |kit: &Kit| {
        kit.limit("key:k", "money", Budget::new(nanos(1_000), per("3h")));
    };
    longer(&scene.kit);
    drifts(&scene);
    scene.drain();
    scene.kit.advance(minute() * 120);
    let scene = restarted_with(scene, |kit| {
        topology(kit);
        longer(kit);
    });
    assert_eq!(scene.memory()[0], 60);
}

#[test]
fn a_correction_that_is_rejected_is_not_booked_and_not_taken_for_booked() {
    let mut scene = scene();
    scene.store.permissive.store(true, Ordering::Relaxed);
    drop(scene.charge_as(&usage(9, 9), draft().model(FORBIDDEN)));
    scene.drain();
    scene.store.permissive.store(false, Ordering::Relaxed);
    let uncertain = scene.records()[0].record.id;
    scene.ledger.resolve(uncertain, &usage(2, 3)).unwrap().forget();
    scene.drain();
    assert_eq!(scene.ledger.rejected().len(), 1);
    for _ in 0..2 {
        assert_eq!(drifts(&scene), []);
    }
    assert_eq!(scene.memory(), [9, 9, 1, 9]);
    scene.store.permissive.store(true, Ordering::Relaxed);
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    scene.assert_even([2, 3, 1, 2]);
}

#[test]
fn what_was_rejected_for_an_owner_that_is_gone_is_not_counted_for_the_next_of_its_name() {
    let calendar = || Period::calendar("1d", &Alignment::new()).unwrap();
    let limited = |kit: &Kit| {
        kit.limit("key:k", "money", Budget::new(nanos(1_000), calendar()));
    };
    let kit = kit();
    limited(&kit);
    kit.owner("provider:p", &[]);
    let mut scene = open(kit, Arc::default());
    scene.charge_as(&usage(9, 9), draft().model(FORBIDDEN)).settle(&usage(9, 9)).forget();
    scene.drain();
    assert_eq!((scene.ledger.rejected().len(), scene.kit.counts("money")), (1, (9, 0)));
    scene.ledger.remove_owner(&owner("key:k")).unwrap();
    // The day is called as it was.
    limited(&scene.kit);
    for _ in 0..3 {
        assert_eq!(drifts(&scene), []);
    }
    assert_eq!(scene.kit.counts("money"), (0, 0));
}

#[test]
fn a_record_that_is_rejected_keeps_no_window_from_being_told() {
    let mut scene = scene();
    spend(&mut scene, 60, 0);
    scene.charge_as(&usage(9, 0), draft().model(FORBIDDEN)).settle(&usage(9, 0)).forget();
    scene.drain();
    assert_eq!(scene.ledger.rejected().len(), 1);
    scene.kit.limit("key:k", "money", Budget::new(nanos(1_000), per("3h")));
    assert_eq!(scene.ledger.reconcile().unwrap().moved, 1);
    scene.drain();
    let end = scene.kit.read("money").window.end;
    assert_eq!(scene.ledger.totals(&id("money")).unwrap()[0].window.end, end);
}

#[test]
fn engines_of_one_anchor_count_together_whenever_they_start() {
    let began = |after: u32| {
        let clock = ManualClock::new(instant(START) + minute() * after);
        let engine = Engine::builder().clock(clock.clone()).anchor(instant("2020-01-01T00:00:00Z"));
        let engine = engine.build();
        let events = engine.subscribe(10);
        let kit = Kit { engine, clock, events };
        topology(&kit);
        kit
    };
    let mut one = open(began(0), Default::default());
    let mut other = open(began(7), Arc::clone(&one.store));
    one.kit.advance(minute() * 7);
    spend(&mut one, 60, 6);
    spend(&mut other, 5, 1);
    for scene in [&one, &other] {
        for _ in 0..2 {
            assert_eq!(scene.ledger.reconcile().unwrap().apart, []);
        }
        assert_eq!(scene.memory(), [65, 7, 2, 65]);
    }
}
