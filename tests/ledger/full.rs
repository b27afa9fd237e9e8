//! The outbox is full, and the ledger is closed.

use std::time::Duration;

use tollkeeper::{Charge, SettleError, Unreserved, WhenFull};

use crate::kit::kit;
use crate::scene::{FORBIDDEN, Fault, Scene, draft, open_with, scene, topology, usage};

fn small(policy: WhenFull) -> Scene {
    let kit = kit();
    topology(&kit);
    open_with(kit, Default::default(), |builder| builder.outbox(2).when_full(policy))
}

fn full(scene: &Scene) -> bool {
    match scene.reserve(&usage(1, 1), draft()) {
        Ok(_) => false,
        Err(Unreserved::OutboxFull { capacity }) => capacity == 2,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_full_outbox_refuses_admissions_and_never_a_settlement() {
    let mut scene = small(WhenFull::Refuse);
    let (first, second) = (scene.charge(&usage(1, 1)), scene.charge(&usage(1, 1)));
    assert!(full(&scene));
    // Settled is not written: the slot is still taken.
    scene.store.fail(&[Fault::Before]);
    first.settle(&usage(1, 1)).forget();
    let next = scene.turn().next.unwrap();
    assert!(full(&scene));
    assert_eq!(scene.held(), [1, 1, 1, 1]);
    // A charge that leaves nothing gives its slot back at once.
    second.void();
    assert!(!full(&scene));
    scene.kit.clock.set(next);
    scene.drain();
    assert_eq!(scene.ledger.health().taken, 0);
    scene.assert_even([1, 1, 1, 1]);
}

#[test]
fn a_denial_takes_no_slot() {
    let scene = small(WhenFull::Refuse);
    for _ in 0..3 {
        let denied = scene.reserve(&usage(5_000, 1), draft()).unwrap_err();
        assert!(matches!(denied, Unreserved::Denied(_)), "{denied}");
    }
    assert_eq!(scene.ledger.health().taken, 0);
}

#[test]
fn what_has_happened_is_taken_by_a_full_outbox() {
    let mut scene = small(WhenFull::Refuse);
    let open = [scene.charge(&usage(1, 1)), scene.charge(&usage(1, 1))];
    let route = scene.kit.route(&["key:k"]);
    scene.ledger.record(&route, &usage(1, 1), draft()).forget();
    assert_eq!(scene.ledger.health().taken, 3);
    open.into_iter().for_each(Charge::void);
    scene.drain();
    scene.assert_even([1, 1, 1, 1]);
}

#[test]
fn the_other_policy_admits_beyond_the_capacity() {
    let mut scene = small(WhenFull::Admit);
    for _ in 0..5 {
        scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
    }
    let health = scene.ledger.health();
    assert_eq!((health.taken, health.capacity), (5, 2));
    scene.drain();
    scene.assert_even([5, 5, 5, 5]);
}

#[test]
fn what_is_rejected_keeps_its_slot() {
    let mut scene = small(WhenFull::Refuse);
    for _ in 0..2 {
        scene.charge_as(&usage(1, 1), draft().model(FORBIDDEN)).settle(&usage(1, 1)).forget();
    }
    scene.drain();
    assert!(full(&scene));
    scene.ledger.take_rejected();
    assert!(!full(&scene));
}

#[test]
fn closing_writes_what_there_is() {
    let Scene { kit, store, ledger, writer } = {
        let scene = scene();
        for _ in 0..3 {
            scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
        }
        scene
    };
    let closed = writer.close(kit.engine.now());
    assert!(closed.is_clean(), "{closed:?}");
    let refused = ledger.reserve(&kit.route(&["key:k"]), &usage(1, 1), draft()).unwrap_err();
    assert!(matches!(refused, Unreserved::Closed), "{refused}");
    assert_eq!(store.groups.lock().unwrap().iter().sum::<usize>(), 3);
}

#[test]
fn closing_says_what_it_could_not_write() {
    let Scene { kit, store, ledger, mut writer } = scene();
    let route = kit.route(&["key:k"]);
    let charge = |model: &str| {
        let mut charge = ledger.reserve(&route, &usage(9, 9), draft().model(model)).unwrap();
        charge.mark_dispatched();
        charge
    };
    charge(FORBIDDEN).settle(&usage(1, 1)).forget();
    writer.turn(kit.engine.now());
    store.fail(&[Fault::Before]);
    let mut settling = charge("m").settle(&usage(2, 2));
    let open = charge("m");
    let closed = writer.close(kit.engine.now());
    assert!(!closed.is_clean());
    let ids: Vec<_> =
        closed.unwritten.iter().map(|entry| entry.record.as_ref().map(|r| r.id)).collect();
    assert_eq!(ids, [settling.id()]);
    assert_eq!((closed.rejected.len(), closed.open_charges, closed.stalled), (1, 1, false));
    let error = settling.wait_timeout(Duration::ZERO).unwrap().unwrap_err();
    assert!(matches!(error, SettleError::Closed { id } if id == settling.id()), "{error}");
    // Booked all the same, and so is what ends later.
    assert_eq!(kit.counts("money"), (3, 9));
    let error = open.settle(&usage(4, 4)).wait().unwrap_err();
    assert!(matches!(error, SettleError::Closed { .. }), "{error}");
    assert_eq!(kit.read("money").held, 0);
}
