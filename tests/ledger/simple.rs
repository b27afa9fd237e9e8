//! The way that most requests go.

use std::time::Duration;

use tollkeeper::{Fate, Nulled, Outcome};

use crate::kit::owner;
use crate::scene::{draft, record_id, scene, usage};

#[test]
fn what_was_used_is_written_then_booked_then_answered() {
    let mut scene = scene();
    let charge = scene.charge(&usage(300, 30));
    assert_eq!(scene.held(), [300, 30, 1, 300]);
    let mut settling = charge.settle(&usage(120, 20));
    // Held until it is written, and answered only then.
    assert_eq!((scene.held(), scene.memory()), ([300, 30, 1, 300], [0; 4]));
    assert!(settling.wait_timeout(Duration::ZERO).is_none());

    let turn = scene.turn();
    assert_eq!((turn.finished, turn.left, turn.next, turn.failed), (1, 0, None, false));
    let receipt = settling.wait_timeout(Duration::ZERO).unwrap().unwrap();
    assert_eq!((receipt.fate, receipt.nulled), (Fate::Now, Nulled::default()));
    scene.assert_even([120, 20, 1, 120]);

    let record = receipt.record.unwrap();
    assert_eq!(Some(record.id), settling.id());
    let stored = scene.ledger.get(record.id).unwrap().unwrap();
    assert_eq!(stored.record, record);
    assert_eq!(stored.postings.len(), 4);
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(record.api_key, Some(owner("key:k")));
    assert_eq!(record.upstream, Some(owner("provider:p")));
    assert_eq!((record.model.as_deref(), record.usage), (Some("m"), usage(120, 20)));
}

#[test]
fn a_task_waits_for_it_like_a_thread() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    let mut scene = scene();
    let mut settling = pin!(scene.charge(&usage(10, 1)).settle(&usage(10, 1)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(settling.as_mut().poll(&mut context).is_pending());
    scene.turn();
    let Poll::Ready(Ok(receipt)) = settling.poll(&mut context) else { panic!("it is written") };
    assert!(receipt.is_written());
}

#[test]
fn settlements_share_a_transaction_up_to_the_largest_group() {
    let mut scene = crate::scene::open_with(
        {
            let kit = crate::kit::kit();
            crate::scene::topology(&kit);
            kit
        },
        Default::default(),
        |builder| builder.group_max(3),
    );
    for _ in 0..7 {
        scene.charge(&usage(10, 1)).settle(&usage(10, 1)).forget();
    }
    let first = scene.turn();
    assert_eq!((first.finished, first.left), (3, 4));
    scene.drain();
    assert_eq!(*scene.store.groups.lock().unwrap(), [3, 3, 1]);
    scene.assert_even([70, 7, 7, 70]);
    let health = scene.ledger.health();
    assert_eq!((health.written, health.groups, health.attempts), (7, 3, 3));
}

#[test]
fn what_was_not_reserved_is_recorded_after_the_fact() {
    let mut scene = scene();
    let route = scene.kit.route(&["key:k"]);
    let settling = scene.ledger.record(&route, &usage(1_500, 5), draft());
    assert_eq!(scene.memory(), [0; 4]);
    let receipt = scene.written(settling);
    let over = receipt.settlement.overshoots();
    assert_eq!((over.len(), over[0].amount), (1, 500));
    scene.assert_even([1_500, 5, 1, 1_500]);
}

#[test]
fn more_than_was_held_is_charged_and_reported() {
    let mut scene = scene();
    let mut charge = scene.charge(&usage(100, 10));
    charge.extend(&usage(100, 10)).unwrap();
    assert_eq!(scene.held(), [200, 20, 2, 200]);
    let settling = charge.settle(&usage(1_100, 10));
    let receipt = scene.written(settling);
    assert_eq!(receipt.settlement.overshoots()[0].amount, 100);
    scene.assert_even([1_100, 10, 1, 1_100]);
}

#[test]
fn one_id_is_charged_once() {
    let mut scene = scene();
    let first = scene.charge_as(&usage(100, 10), draft().id(record_id(1)));
    let second = scene.charge_as(&usage(100, 10), draft().id(record_id(1)));
    let (first, second) = (first.settle(&usage(60, 6)), second.settle(&usage(70, 7)));
    // In one group, then in a later one.
    assert_eq!(scene.answer(first).unwrap().fate, Fate::Now);
    let receipt = scene.answer(second).unwrap();
    assert_eq!((receipt.fate, receipt.is_written()), (Fate::Duplicate, false));
    scene.assert_even([60, 6, 1, 60]);
    let third = scene.charge_as(&usage(100, 10), draft().id(record_id(1))).settle(&usage(80, 8));
    assert_eq!(scene.answer(third).unwrap().fate, Fate::Duplicate);
    let route = scene.kit.route(&["key:k"]);
    let bumped = scene.ledger.record(&route, &usage(1, 1), draft().id(record_id(1)));
    assert_eq!(scene.answer(bumped).unwrap().fate, Fate::Duplicate);
    scene.assert_even([60, 6, 1, 60]);
    assert_eq!((scene.records().len(), scene.ledger.health().duplicates), (1, 3));
}

#[test]
fn two_processes_on_one_store_charge_one_id_once() {
    let mut one = scene();
    let mut other = crate::scene::scene_on(one.store.clone());
    let first = one.charge_as(&usage(100, 10), draft().id(record_id(1))).settle(&usage(60, 6));
    let second = other.charge_as(&usage(100, 10), draft().id(record_id(1))).settle(&usage(70, 7));
    assert_eq!(one.answer(first).unwrap().fate, Fate::Now);
    assert_eq!(other.answer(second).unwrap().fate, Fate::Duplicate);
    one.assert_even([60, 6, 1, 60]);
    assert_eq!((other.memory(), other.held()), ([0; 4], [0; 4]));
}
