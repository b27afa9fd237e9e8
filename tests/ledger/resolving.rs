//! What an uncertain request really used comes to be known.

use std::sync::Arc;

use tollkeeper::{
    Alignment, Budget, Clock, Dimension, Fate, Outcome, Period, RecordId, ResolveError, Settling,
    UnknownOwner,
};

use crate::kit::{Kit, id, kit_with, minute, nanos, owner, second};
use crate::scene::{Scene, open, restarted, scene, topology, usage};

/// An uncertain record of an estimate.
fn uncertain(scene: &mut Scene, money: u64, tokens: u64) -> RecordId {
    drop(scene.charge(&usage(money, tokens)));
    scene.drain();
    let records = scene.records();
    let stored = records.iter().find(|stored| stored.record.outcome == Outcome::Uncertain);
    stored.unwrap().record.id
}

fn resolve(scene: &Scene, id: RecordId, money: u64, tokens: u64) -> Settling {
    scene.ledger.resolve(id, &usage(money, tokens)).unwrap()
}

#[test]
fn in_the_window_in_force_the_charge_becomes_what_was_used() {
    for (money, tokens) in [(60, 4), (100, 10), (150, 25), (0, 0)] {
        let mut scene = scene();
        let uncertain = uncertain(&mut scene, 100, 10);
        scene.assert_even([100, 10, 1, 100]);
        let settling = resolve(&scene, uncertain, money, tokens);
        assert_eq!(scene.memory(), [100, 10, 1, 100]);
        let record = scene.written(settling).record.unwrap();
        assert_eq!((record.outcome, record.corrects), (Outcome::Correction, Some(uncertain)));
        assert_eq!(record.usage, usage(money, tokens));
        scene.assert_even([money, tokens, 1, money]);
    }
}

#[test]
fn a_window_that_is_over_keeps_what_was_held_and_the_excess_is_charged_now() {
    for (used, then, now) in [(10, vec![30], 5), (30, vec![30], 5), (50, vec![30, 25], 25)] {
        let mut scene = scene();
        let uncertain = uncertain(&mut scene, 100, 30);
        scene.kit.advance(minute());
        let other = scene.charge(&usage(0, 5)).settle(&usage(0, 5));
        scene.written(other);
        let settling = resolve(&scene, uncertain, 60, used);
        scene.written(settling);
        let history = scene.history("rate", Dimension::Tokens);
        assert_eq!(history, if then.len() == 1 { vec![30, 5] } else { then });
        scene.assert_even([60, now, 2, 60]);
    }
}

#[test]
fn what_was_held_in_two_windows_is_what_was_used_beyond_the_one_that_is_over() {
    let mut scene = scene();
    let mut charge = scene.charge(&usage(100, 10));
    scene.kit.advance(minute());
    charge.extend(&usage(0, 20)).unwrap();
    drop(charge);
    scene.drain();
    assert_eq!(scene.history("rate", Dimension::Tokens), [10, 20]);
    let id = scene.records()[0].record.id;
    let settling = resolve(&scene, id, 100, 13);
    scene.written(settling);
    assert_eq!(scene.history("rate", Dimension::Tokens), [10, 3]);
    scene.assert_even([100, 3, 1, 100]);
}

#[test]
fn what_was_estimated_at_nothing_is_charged_too() {
    let mut scene = scene();
    let uncertain = uncertain(&mut scene, 0, 0);
    scene.assert_even([0, 0, 1, 0]);
    let settling = resolve(&scene, uncertain, 70, 7);
    scene.written(settling);
    scene.assert_even([70, 7, 1, 70]);
}

#[test]
fn a_record_is_resolved_once() {
    let mut scene = scene();
    let uncertain = uncertain(&mut scene, 100, 10);
    // Two at the same time.
    let (first, second) = (resolve(&scene, uncertain, 60, 6), resolve(&scene, uncertain, 50, 5));
    assert_eq!(scene.answer(first).unwrap().fate, Fate::Now);
    assert_eq!(scene.answer(second).unwrap().fate, Fate::Duplicate);
    scene.assert_even([60, 6, 1, 60]);
    // And one later, after a restart.
    let scene = restarted(scene);
    let error = scene.ledger.resolve(uncertain, &usage(1, 1)).unwrap_err();
    let ResolveError::AlreadyResolved { id, by } = error else { panic!("{error}") };
    assert_eq!((id, by.record.usage), (uncertain, usage(60, 6)));
    scene.assert_even([60, 6, 1, 60]);
    let uncorrected = tollkeeper::Filter { uncorrected: true, ..Default::default() };
    assert_eq!(scene.ledger.records(&uncorrected, None, 10).unwrap(), []);
}

#[test]
fn it_is_resolved_after_a_restart_and_a_failure() {
    let mut scene = scene();
    let uncertain = uncertain(&mut scene, 100, 10);
    let mut scene = restarted(scene);
    scene.store.fail(&[crate::scene::Fault::After]);
    let settling = resolve(&scene, uncertain, 60, 6);
    let next = scene.turn().next.unwrap();
    assert_eq!(scene.memory(), [100, 10, 1, 100]);
    scene.kit.clock.set(next);
    assert_eq!(scene.answer(settling).unwrap().fate, Fate::Before);
    scene.assert_even([60, 6, 1, 60]);
}

#[test]
fn only_an_uncertain_record_is_resolved() {
    let mut scene = scene();
    let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
    let id = settling.id().unwrap();
    let error = scene.ledger.resolve(id, &usage(1, 1)).unwrap_err();
    assert!(matches!(error, ResolveError::Unknown { .. }), "{error}");
    scene.written(settling);
    let error = scene.ledger.resolve(id, &usage(1, 1)).unwrap_err();
    let ResolveError::NotUncertain { outcome, .. } = error else { panic!("{error}") };
    assert_eq!(outcome, Outcome::Completed);
    scene.assert_even([1, 1, 1, 1]);
}

#[test]
fn a_limit_that_is_gone_keeps_what_was_held() {
    let mut scene = scene();
    let uncertain = uncertain(&mut scene, 100, 10);
    scene.kit.engine.remove_limit(&id("money")).unwrap();
    let settling = resolve(&scene, uncertain, 60, 6);
    scene.written(settling);
    assert_eq!(scene.history("money", Dimension::Money), [100]);
    assert_eq!(scene.history("team", Dimension::Money), [60]);
    assert_eq!(scene.kit.counts("team"), (60, 0));
}

#[test]
fn an_owner_that_was_removed_meanwhile_is_not_corrected() {
    let mut scene = scene();
    let uncertain = uncertain(&mut scene, 100, 10);
    scene.ledger.remove_owner(&owner("key:k")).unwrap();
    scene.kit.advance(second());
    crate::scene::topology(&scene.kit);
    let settling = resolve(&scene, uncertain, 150, 15);
    scene.written(settling);
    scene.assert_even([0, 0, 0, 150]);
}

#[test]
fn a_process_that_began_later_corrects_what_is_in_the_same_day() {
    let day = |kit: &Kit| {
        let period = Period::calendar("1d", &Alignment::new()).unwrap();
        kit.limit("key:k", "day", Budget::new(nanos(1_000), period));
    };
    let mut one = scene();
    day(&one.kit);
    let kit = kit_with(one.kit.clock.now().saturating_add(second()), UnknownOwner::Deny);
    topology(&kit);
    day(&kit);
    let mut other = open(kit, Arc::clone(&one.store));
    let uncertain = uncertain(&mut one, 100, 10);
    assert_eq!(one.history("day", Dimension::Money), [100]);
    let settling = resolve(&other, uncertain, 60, 10);
    other.written(settling);
    assert_eq!(one.history("day", Dimension::Money), [60]);
}
