//! The store is down, loses its answers, or will not take a record.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollkeeper::{Fate, LedgerStore, SettleError, Timestamp};

use crate::kit::{kit, minute, owner};
use crate::scene::{FORBIDDEN, Fault, Scene, draft, open_with, record_id, scene, topology, usage};

#[test]
fn while_the_store_is_down_holds_become_bookings_and_are_written_later() {
    let mut scene = scene();
    scene.store.fail(&[Fault::Before]);
    let first = scene.charge(&usage(300, 30)).settle(&usage(120, 20));
    let turn = scene.turn();
    let retry_at = turn.next.unwrap();
    assert!(turn.failed && turn.left == 1 && turn.finished == 0);
    assert_eq!((scene.memory(), scene.held()), ([120, 20, 1, 120], [0; 4]));
    assert_eq!(scene.stored(), [0; 4]);

    // What comes meanwhile is booked without asking the store.
    let second = scene.charge(&usage(300, 30)).settle(&usage(10, 1));
    assert_eq!(scene.turn().next, Some(retry_at));
    assert_eq!((scene.memory(), scene.held()), ([130, 21, 2, 130], [0; 4]));
    let health = scene.ledger.health();
    assert_eq!((health.queued, health.failures, health.attempts), (2, 1, 1));
    assert_eq!(health.retry_at, Some(retry_at));
    assert!(health.last_error.unwrap().contains("the disk is on fire"));
    let lost = health.unpersisted;
    assert_eq!((lost.entries, lost.money, lost.tokens, lost.requests), (2, 260, 21, 2));

    scene.kit.clock.set(retry_at);
    assert_eq!(scene.written(first).settlement, Default::default());
    assert!(scene.answer(second).unwrap().is_written());
    scene.assert_even([130, 21, 2, 130]);
    let health = scene.ledger.health();
    assert_eq!((health.failures, health.retry_at, health.written), (0, None, 2));
    assert_eq!(*scene.store.groups.lock().unwrap(), [1, 2]);
}

#[test]
fn a_lost_acknowledgement_charges_nothing_twice() {
    let mut scene = scene();
    scene.store.fail(&[Fault::After, Fault::Before, Fault::After]);
    let first = scene.charge(&usage(300, 30)).settle(&usage(120, 20));
    let second = scene.charge(&usage(300, 30)).settle(&usage(10, 1));
    let mut third = None;
    for _ in 0..3 {
        let next = scene.turn().next.unwrap();
        scene.kit.clock.set(next);
        third.get_or_insert_with(|| scene.charge(&usage(5, 5)).settle(&usage(5, 5)));
    }
    assert_eq!(scene.answer(first).unwrap().fate, Fate::Before);
    assert_eq!(scene.answer(second).unwrap().fate, Fate::Before);
    assert_eq!(scene.answer(third.unwrap()).unwrap().fate, Fate::Before);
    assert_eq!(scene.records().len(), 3);
    scene.assert_even([135, 26, 3, 135]);
}

#[test]
fn a_duplicate_that_was_booked_meanwhile_is_taken_off_again() {
    let mut scene = scene();
    scene.store.fail(&[Fault::Before]);
    for money in [60, 70] {
        let draft = draft().id(record_id(1));
        scene.charge_as(&usage(100, 10), draft).settle(&usage(money, 6)).forget();
    }
    let next = scene.turn().next.unwrap();
    assert_eq!(scene.memory(), [130, 12, 2, 130]);
    scene.kit.clock.set(next);
    scene.drain();
    scene.assert_even([60, 6, 1, 60]);
}

#[test]
fn a_reference_that_is_deleted_meanwhile_is_taken_off_again() {
    let mut scene = scene();
    scene.store.fail(&[Fault::Before]);
    let settling = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    let next = scene.turn().next.unwrap();
    assert_eq!(scene.memory(), [60, 6, 1, 60]);
    // By another process.
    assert!(scene.store.delete(&owner("key:k")).unwrap());
    scene.kit.clock.set(next);
    let receipt = scene.written(settling);
    assert_eq!(receipt.record.unwrap().api_key, None);
    assert!(receipt.nulled.api_key && !receipt.nulled.upstream);
    scene.assert_even([0, 0, 0, 60]);
}

#[test]
fn what_is_written_after_its_window_ended_stays_there() {
    let mut scene = scene();
    scene.store.fail(&[Fault::Before]);
    let settling = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.turn();
    scene.kit.advance(minute());
    scene.written(settling);
    assert_eq!(scene.history("rate", tollkeeper::Dimension::Tokens), [6]);
    scene.assert_even([60, 0, 1, 60]);
}

#[test]
fn one_that_is_rejected_is_listed_and_the_rest_of_its_group_lands() {
    let mut scene = scene();
    let first = scene.charge(&usage(100, 10)).settle(&usage(1, 1));
    let bad = scene.charge_as(&usage(100, 10), draft().model(FORBIDDEN)).settle(&usage(2, 2));
    let last = scene.charge(&usage(100, 10)).settle(&usage(4, 4));
    let bad_id = bad.id();
    assert!(scene.answer(first).unwrap().is_written());
    assert!(scene.answer(last).unwrap().is_written());
    let error = scene.answer(bad).unwrap_err();
    let SettleError::Rejected { id, .. } = &error else { panic!("{error}") };
    assert_eq!(*id, bad_id);
    // The driver's error, unchanged, at the end of the chain.
    let store = error.source().unwrap();
    assert_eq!(store.source().unwrap().to_string(), "the model is forbidden");

    assert_eq!((scene.memory(), scene.stored()), ([7, 7, 3, 7], [5, 5, 2, 5]));
    let health = scene.ledger.health();
    assert_eq!((health.rejected, health.queued, health.taken), (1, 0, 1));
    assert_eq!(health.unpersisted.money, 4);
    assert_eq!(scene.ledger.rejected()[0].id(), bad_id);

    // Tried again it is rejected again, until the store takes it.
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    assert_eq!(scene.ledger.rejected().len(), 1);
    scene.store.permissive.store(true, Ordering::Relaxed);
    assert_eq!(scene.ledger.retry_rejected(), 1);
    scene.drain();
    scene.assert_even([7, 7, 3, 7]);
    assert_eq!(scene.ledger.health().rejected, 0);
}

#[test]
fn what_is_rejected_may_be_taken_away() {
    let mut scene = scene();
    scene.charge_as(&usage(9, 9), draft().model(FORBIDDEN)).settle(&usage(2, 2)).forget();
    scene.drain();
    let taken = scene.ledger.take_rejected();
    assert_eq!((taken.len(), taken[0].entry.postings.len()), (1, 4));
    let health = scene.ledger.health();
    assert_eq!((health.rejected, health.taken, health.unpersisted.entries), (0, 0, 0));
    assert_eq!((scene.memory(), scene.stored()), ([2, 2, 1, 2], [0; 4]));
}

#[test]
fn what_is_rejected_stays_so_when_nobody_writes_any_more() {
    let Scene { ledger, mut writer, kit, .. } = scene();
    let route = kit.route(&["key:k"]);
    ledger.record(&route, &usage(2, 2), draft().model(FORBIDDEN)).forget();
    writer.turn(kit.engine.now());
    drop(writer);
    assert_eq!((ledger.retry_rejected(), ledger.rejected().len()), (0, 1));
    let health = ledger.health();
    assert_eq!((health.taken, health.queued, health.unpersisted.entries), (1, 0, 1));
}

/// When a store that does not come back is asked.
fn waits(seed: u64) -> Vec<Duration> {
    let kit = kit();
    topology(&kit);
    let mut scene = open_with(kit, Default::default(), |builder| builder.seed(seed));
    scene.store.fail(&[Fault::Before; 12]);
    scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (now, turn) = (scene.kit.engine.now(), scene.turn());
        let next = turn.next.unwrap();
        // Not before.
        let nearly = Timestamp::from_nanos(next.as_nanos() - 1);
        assert_eq!(scene.writer.turn(nearly).next, Some(next));
        waits.push(next.saturating_since(now));
        scene.kit.clock.set(next);
    }
    assert_eq!(scene.ledger.health().attempts, 12);
    scene.drain();
    scene.assert_even([1, 1, 1, 1]);
    waits
}

#[test]
fn the_waits_grow_and_are_drawn_from_the_seed() {
    let (one, other) = (waits(1), waits(2));
    assert_eq!(one, waits(1));
    assert_ne!(one, other);
    let millis = |place: usize| one[place].as_millis();
    assert!((50..=100).contains(&millis(0)) && (100..=200).contains(&millis(1)), "{one:?}");
    assert!((5_000..=10_000).contains(&millis(11)), "{one:?}");
}

#[test]
fn a_clock_that_steps_back_does_not_prolong_a_wait() {
    let mut scene = scene();
    scene.store.fail(&[Fault::Before]);
    scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
    let retry_at = scene.turn().next.unwrap();
    let earlier = retry_at.saturating_sub(Duration::from_secs(3_600));
    assert_eq!(scene.writer.turn(earlier).finished, 1);
}
