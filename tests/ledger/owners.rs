//! Owners are deleted while requests of theirs are in flight, and others come to exist.

use std::sync::Arc;

use tollkeeper::{
    Budget, Dimension, Draft, Entry, Filter, GrantError, LedgerStore, Outcome, Period, RecordId,
    RemoveError, Stored, TopologyError, Usage, UsageRecord,
};

use crate::kit::{Kit, id, kit, nanos, owner, per};
use crate::scene::{
    Fault, Scene, draft, open, record_id, restarted, scene, topology, unavailable, usage,
};

#[test]
fn a_reference_that_another_process_deleted_is_not_charged_and_the_rest_is() {
    let mut scene = scene();
    scene.kit.limit("key:other", "other", Budget::new(nanos(1_000), per("1h")));
    let first = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    let route = scene.kit.route(&["key:other"]);
    let draft = Draft::new().api_key(&owner("key:other")).upstream(&owner("provider:p"));
    let second = scene.ledger.reserve(&route, &usage(50, 5), draft).unwrap();
    let second = second.settle(&usage(40, 4));
    assert!(scene.store.delete(&owner("key:k")).unwrap());

    let receipt = scene.written(first);
    assert!(receipt.nulled.api_key && !receipt.nulled.upstream);
    let record = receipt.record.unwrap();
    assert_eq!((record.api_key, record.upstream), (None, Some(owner("provider:p"))));
    assert!(!scene.written(second).nulled.any());
    // No ghost quota: what is not in the store is not in memory.
    scene.assert_even([0, 0, 0, 60]);
    assert_eq!(
        (scene.kit.counts("other"), scene.history("other", Dimension::Money)),
        ((40, 0), vec![40])
    );
    assert_eq!(scene.ledger.health().nulled, 1);
}

#[test]
fn both_references_may_be_deleted() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.store.delete(&owner("key:k")).unwrap();
    scene.store.delete(&owner("provider:p")).unwrap();
    let receipt = scene.written(settling);
    assert!(receipt.nulled.api_key && receipt.nulled.upstream);
    scene.assert_even([0, 0, 0, 60]);
}

#[test]
fn an_owner_that_was_removed_and_created_again_begins_at_zero() {
    let mut scene = scene();
    let before = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.written(before);
    let in_flight = scene.charge(&usage(100, 10));
    assert_eq!(scene.ledger.remove_owner(&owner("key:k")).unwrap().len(), 2);
    topology(&scene.kit);
    assert_eq!((scene.memory(), scene.stored()), ([0, 0, 0, 60], [0, 0, 0, 60]));

    // What was in flight belongs to the owner that is gone, whatever has its name now.
    let in_flight = in_flight.settle(&usage(30, 3));
    let receipt = scene.written(in_flight);
    assert!(receipt.nulled.api_key);
    assert_eq!(receipt.record.unwrap().api_key, None);
    scene.assert_even([0, 0, 0, 90]);

    // The new one is known to the store as soon as it is charged.
    let anew = scene.charge(&usage(100, 10)).settle(&usage(5, 5));
    assert!(!scene.written(anew).nulled.any());
    scene.assert_even([5, 5, 1, 95]);
}

#[test]
fn what_was_booked_unwritten_for_an_owner_that_is_gone_is_not_taken_from_the_new_one() {
    let mut scene = scene();
    scene.store.fail(&[crate::scene::Fault::Before]);
    let old = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    let next = scene.turn().next.unwrap();
    scene.ledger.remove_owner(&owner("key:k")).unwrap();
    topology(&scene.kit);
    let route = scene.kit.route(&["key:k", "provider:p"]);
    let new = scene.ledger.record(&route, &usage(70, 7), draft());
    scene.kit.clock.set(next);
    assert!(scene.written(old).nulled.api_key);
    scene.written(new);
    scene.assert_even([70, 7, 1, 130]);
}

#[test]
fn an_owner_that_no_record_refers_to_is_left_out_once_it_is_removed() {
    let mut scene = scene();
    let limit = |scene: &Scene| {
        scene.kit.limit("customer:c", "customer", Budget::new(nanos(1_000), per("1h")));
    };
    limit(&scene);
    let route = scene.kit.route(&["key:k", "customer:c"]);
    let charge = scene.ledger.reserve(&route, &usage(100, 10), draft()).unwrap();
    scene.ledger.remove_owner(&owner("customer:c")).unwrap();
    limit(&scene);
    let settling = charge.settle(&usage(60, 6));
    assert!(!scene.written(settling).nulled.any());
    assert_eq!(scene.kit.counts("customer"), (0, 0));
    assert!(scene.history("customer", Dimension::Money).is_empty());
    scene.assert_even([60, 6, 1, 60]);
}

#[test]
fn an_owner_that_cannot_be_removed_stays_in_the_store() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.written(settling);
    let error = scene.ledger.remove_owner(&owner("team:t")).unwrap_err();
    let RemoveError::Engine(TopologyError::HasChildren { .. }) = error else { panic!("{error}") };
    let error = scene.ledger.remove_owner(&owner("team:none")).unwrap_err();
    let RemoveError::Engine(TopologyError::UnknownOwner { .. }) = error else { panic!("{error}") };
    scene.assert_even([60, 6, 1, 60]);
}

#[test]
fn an_owner_that_comes_to_exist_later_is_registered_before_it_is_referred_to() {
    let mut scene = scene();
    scene.kit.limit("key:new", "new", Budget::new(nanos(1_000), per("1h")));
    let route = scene.kit.route(&["key:new"]);
    let draft = Draft::new().api_key(&owner("key:new")).upstream(&owner("provider:unknown"));
    let charge = scene.ledger.reserve(&route, &usage(9, 9), draft).unwrap();
    let settling = charge.settle(&usage(8, 8));
    let receipt = scene.written(settling);
    // What the engine does not know either is no owner.
    assert!(!receipt.nulled.api_key && receipt.nulled.upstream);
    assert_eq!(scene.history("new", Dimension::Money), [8]);
    assert_eq!(scene.kit.counts("new"), (8, 0));
}

/// Three processes with a key that may spend 1,000: one removes it from the store, one removes it
/// from its engine alone and creates it again, and one keeps what it had, but for a change.
fn created_again_without_the_ledger(
    create: impl Fn(&Kit),
    remove: impl Fn(&Kit),
    change: impl Fn(&Kit),
) {
    let store = Arc::default();
    let process = || {
        let kit = kit();
        create(&kit);
        open(kit, Arc::clone(&store))
    };
    let [mut again, mut stale, remover] = [process(), process(), process()];
    let money =
        |scene: &Scene| (scene.kit.counts("money"), scene.history("money", Dimension::Money));
    let first = again.charge(&usage(900, 1)).settle(&usage(900, 1));
    again.written(first);
    assert_eq!(money(&again), ((900, 0), vec![900]));

    remover.ledger.remove_owner(&owner("key:k")).unwrap();
    for change_before in [false, true] {
        if change_before {
            change(&stale.kit);
        }
        let settling = stale.charge(&usage(900, 1)).settle(&usage(900, 1));
        let receipt = stale.written(settling);
        assert!(receipt.nulled.api_key && !receipt.nulled.upstream);
        assert_eq!(money(&stale), ((0, 0), vec![]));
    }

    remove(&again.kit);
    create(&again.kit);
    assert_eq!(money(&again), ((0, 0), vec![]));
    let anew = again.charge(&usage(900, 1)).settle(&usage(900, 1));
    let receipt = again.written(anew);
    assert!(!receipt.nulled.any());
    assert_eq!(receipt.record.unwrap().api_key, Some(owner("key:k")));
    assert_eq!(money(&again), ((900, 0), vec![900]));
    assert!(again.reserve(&usage(101, 1), draft()).is_err());
    let rest = again.charge(&usage(100, 1)).settle(&usage(100, 1));
    again.written(rest);
    assert_eq!(money(&again), ((1_000, 0), vec![1_000]));

    // Removed here as well, it is the new one that is gone.
    again.ledger.remove_owner(&owner("key:k")).unwrap();
    assert!(again.history("money", Dimension::Money).is_empty());
}

#[test]
fn an_owner_that_others_deleted_and_the_engine_creates_again_is_charged() {
    let remove = |kit: &Kit| {
        kit.engine.remove_owner(&owner("key:k")).unwrap();
    };
    let change = |kit: &Kit| {
        kit.limit("key:k", "more", Budget::new(nanos(5_000), per("1d")));
        kit.owner("key:k", &[]);
    };
    created_again_without_the_ledger(topology, remove, change);
}

#[cfg(feature = "serde")]
#[test]
fn an_owner_that_others_deleted_and_a_document_creates_again_is_charged() {
    let apply = |kit: &Kit, key: &str| {
        let text = format!("[[owners]]\nid = 'provider:p'\n{key}");
        kit.engine.apply(&tollkeeper::Config::from_toml(&text).unwrap()).unwrap();
    };
    let money = "{ id = 'money', limit = '0.000001', period = '1h' }";
    let more = "{ id = 'more', limit = '1', period = '1d' }";
    let key = |budgets: &str| format!("[[owners]]\nid = 'key:k'\nbudgets = [{budgets}]\n");
    let create = |kit: &Kit| apply(kit, &key(money));
    let change = |kit: &Kit| apply(kit, &key(&format!("{money}, {more}")));
    created_again_without_the_ledger(create, |kit| apply(kit, ""), change);
}

/// Writes so many records of `key:k` beside the ledger.
fn much_used(scene: &Scene, records: u128) {
    let record = |number| UsageRecord {
        id: RecordId::from_u128(number),
        api_key: Some(owner("key:k")),
        upstream: Some(owner("provider:p")),
        model: None,
        outcome: Outcome::Completed,
        reason: None,
        usage: Usage::default(),
        admitted_at: scene.kit.engine.now(),
        settled_at: scene.kit.engine.now(),
        corrects: None,
    };
    let entry = |number| Entry { record: Some(record(number)), postings: Vec::new(), attempt: 1 };
    let group: Vec<Entry> = (1..=records).map(entry).collect();
    scene.store.register(&[owner("key:k"), owner("provider:p")]).unwrap();
    assert!(scene.store.write(&group).unwrap().iter().all(|written| !written.nulled.any()));
}

/// How many records refer to `key:k`, and how many to `provider:p`.
fn referring(scene: &Scene) -> (usize, usize) {
    let stored = scene.ledger.records(&Filter::default(), None, usize::MAX).unwrap();
    let count = |refers: &dyn Fn(&Stored) -> bool| stored.iter().filter(|of| refers(of)).count();
    (
        count(&|stored| stored.record.api_key == Some(owner("key:k"))),
        count(&|stored| stored.record.upstream == Some(owner("provider:p"))),
    )
}

#[test]
fn an_owner_of_many_records_is_removed_in_pieces_beside_which_others_write() {
    let mut scene = scene();
    much_used(&scene, 12_000);
    let settling = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    // The writer has its turn while the first piece is taken, and the owner is there still.
    let Scene { writer, store, ledger, .. } = scene;
    let writer = Arc::new(std::sync::Mutex::new(writer));
    let (turning, now) = (Arc::clone(&writer), scene.kit.engine.now());
    *store.meanwhile_unlinked.lock().unwrap() = Some(Box::new(move || {
        turning.lock().unwrap().turn(now);
        assert!(!settling.wait().unwrap().nulled.any());
        Ok(())
    }));
    ledger.remove_owner(&owner("key:k")).unwrap();
    assert_eq!(*store.unlinks.lock().unwrap(), [5_000; 3]);
    let writer = Arc::into_inner(writer).unwrap().into_inner().unwrap();
    scene = Scene { writer, store, ledger, kit: scene.kit };
    assert_eq!(referring(&scene), (0, 12_001));
    assert!(!scene.store.delete(&owner("key:k")).unwrap());
    assert!(scene.history("money", Dimension::Money).is_empty());
}

#[test]
fn a_removal_that_fails_halfway_goes_on_when_it_is_called_again() {
    let scene = scene();
    much_used(&scene, 12_000);
    let fails = Box::new(|| Err(unavailable()));
    *scene.store.meanwhile_unlinked.lock().unwrap() = Some(fails);
    let error = scene.ledger.remove_owner(&owner("key:k")).unwrap_err();
    let RemoveError::Store { .. } = error else { panic!("{error}") };
    assert_eq!(referring(&scene), (7_000, 12_000));
    assert_eq!(scene.kit.counts("money"), (0, 0));
    scene.ledger.remove_owner(&owner("key:k")).unwrap();
    assert_eq!(referring(&scene), (0, 12_000));

    // What the engine does not remove is not unlinked either.
    scene.store.unlinks.lock().unwrap().clear();
    scene.ledger.remove_owner(&owner("team:none")).unwrap_err();
    topology(&scene.kit);
    scene.ledger.remove_owner(&owner("team:t")).unwrap_err();
    assert!(scene.store.unlinks.lock().unwrap().is_empty());
}

/// A removal to which the store says nothing: `faults` are those of the calls that delete.
fn remove_unanswered(scene: &Scene, faults: &[Fault], of: &str) {
    scene.store.delete_faults.lock().unwrap().extend(faults);
    let error = scene.ledger.remove_owner(&owner(of)).unwrap_err();
    let RemoveError::Store { .. } = error else { panic!("{error}") };
}

#[test]
fn a_deletion_whose_answer_is_lost_is_done_before_anything_more_is_written() {
    // It was done, or it was not.
    for fault in [Fault::After, Fault::Before] {
        let mut scene = scene();
        let budget = || Budget::new(nanos(1_000), per("1h"));
        scene.kit.limit("customer:c", "customer", budget());
        let route = scene.kit.route(&["key:k", "customer:c"]);
        let charge = |scene: &Scene| {
            let charge = scene.ledger.reserve(&route, &usage(100, 10), draft()).unwrap();
            charge.settle(&usage(60, 6))
        };
        let first = charge(&scene);
        scene.written(first);
        // Of these two no record refers to the one; the other is a reference.
        remove_unanswered(&scene, &[fault], "customer:c");
        remove_unanswered(&scene, &[fault], "key:k");
        // Until something is written they are as they were: what they have used still counts.
        assert_eq!((scene.memory(), scene.kit.counts("customer").0), ([60, 6, 1, 60], 60));
        let next = charge(&scene);
        let receipt = scene.written(next);
        assert!(receipt.nulled.api_key);
        assert_eq!(receipt.record.unwrap().api_key, None);

        assert!(scene.history("customer", Dimension::Money).is_empty());
        assert!(scene.history("money", Dimension::Money).is_empty());
        assert_eq!(scene.history("team", Dimension::Money), [120]);
        assert!(scene.reserve(&usage(1, 1), draft()).is_err());
        // Asked again, it says what was removed; after that it is unknown.
        for (of, limits) in [("customer:c", 1), ("key:k", 2)] {
            assert_eq!(scene.ledger.remove_owner(&owner(of)).unwrap().len(), limits);
            let error = scene.ledger.remove_owner(&owner(of)).unwrap_err();
            let RemoveError::Engine(TopologyError::UnknownOwner { .. }) = error else {
                panic!("{error}")
            };
        }
        // Created again, they begin at zero, and are charged.
        topology(&scene.kit);
        scene.kit.limit("customer:c", "customer", budget());
        let anew = charge(&scene);
        assert!(!scene.written(anew).nulled.any());
        scene.assert_even([60, 6, 1, 180]);
        assert_eq!(scene.history("customer", Dimension::Money), [60]);
        scene = restarted(scene);
        scene.assert_even([60, 6, 1, 180]);
    }
}

#[test]
fn nothing_is_written_while_it_is_not_known_whether_an_owner_is_deleted() {
    let mut scene = scene();
    let first = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.written(first);
    remove_unanswered(&scene, &[Fault::After, Fault::Before, Fault::After], "key:k");
    let mut settling = scene.charge(&usage(100, 10)).settle(&usage(30, 3));
    for _ in 0..2 {
        let turn = scene.turn();
        assert!(turn.failed);
        assert!(settling.wait_timeout(std::time::Duration::ZERO).is_none());
        // Booked as if it were written.
        assert_eq!((scene.memory(), scene.stored()), ([90, 9, 2, 90], [0, 0, 0, 60]));
        scene.kit.clock.set(turn.next.unwrap());
    }
    assert!(scene.written(settling).nulled.api_key);
    topology(&scene.kit);
    scene.assert_even([0, 0, 0, 90]);
}

#[test]
fn a_removal_that_is_asked_for_again_is_done_then() {
    for fault in [Fault::After, Fault::Before] {
        let mut scene = scene();
        let first = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
        scene.written(first);
        let in_flight = scene.charge(&usage(100, 10));
        remove_unanswered(&scene, &[fault, Fault::Before], "key:k");
        remove_unanswered(&scene, &[], "key:k");
        assert_eq!(scene.ledger.remove_owner(&owner("key:k")).unwrap().len(), 2);
        topology(&scene.kit);
        let settling = in_flight.settle(&usage(30, 3));
        assert!(scene.written(settling).nulled.api_key);
        scene.assert_even([0, 0, 0, 90]);
    }
}

#[test]
fn nothing_is_granted_that_a_deletion_takes_away_which_was_asked_for_before() {
    let scene = scene();
    scene.kit.limit("customer:c", "prepaid", Budget::new(nanos(10), Period::NEVER));
    let top_up = |number| scene.ledger.top_up(&id("prepaid"), nanos(90), record_id(number));
    assert!(top_up(1).unwrap().added);
    remove_unanswered(&scene, &[Fault::Before], "customer:c");
    let error = top_up(2).unwrap_err();
    assert!(matches!(error, GrantError::Operator(_)), "{error}");
    assert_eq!(scene.ledger.remove_owner(&owner("customer:c")).unwrap().len(), 1);
}

#[test]
fn an_owner_that_is_another_by_now_or_has_a_child_is_not_removed_with_the_one_before() {
    let mut scene = scene();
    let first = scene.charge(&usage(100, 10)).settle(&usage(60, 6));
    scene.written(first);
    // Created again past the ledger.
    remove_unanswered(&scene, &[Fault::After], "key:k");
    scene.kit.engine.remove_owner(&owner("key:k")).unwrap();
    topology(&scene.kit);
    let anew = scene.charge(&usage(100, 10)).settle(&usage(30, 3));
    assert!(!scene.written(anew).nulled.any());
    scene.assert_even([30, 3, 1, 90]);

    remove_unanswered(&scene, &[Fault::After], "provider:p");
    scene.kit.owner("model:m", &["provider:p"]);
    let served = scene.charge(&usage(100, 10)).settle(&usage(30, 3));
    assert!(!scene.written(served).nulled.any());
    scene.assert_even([60, 6, 2, 120]);
}
