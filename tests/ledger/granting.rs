//! What operators grant is written before it is in force, and is in force after a restart.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{
    Budget, Concurrency, Dimension, EventKind, GrantError, Granted, Lasts, Ledger, LedgerStore,
    MemoryLedger, OperatorError, Period, RateLimit, ToppedUp,
};

use crate::kit::{Kit, SETTLED_MAX, a_nano, id, kit, nanos, owner, per};
use crate::scene::{Fault, Scene, draft, open, record_id, restarted_with, usage};

const MONEY: Dimension = Dimension::Money;

fn limits(kit: &Kit) {
    kit.limit("customer:c", "prepaid", Budget::new(nanos(10), Period::NEVER));
    kit.limit("customer:c", "hourly", Budget::new(nanos(100), per("1h")));
    kit.limit("customer:c", "rate", RateLimit::new().tokens(100, per("1m")));
    kit.limit("customer:c", "in-flight", Concurrency::new(3));
}

fn scene() -> Scene {
    let kit = kit();
    limits(&kit);
    open(kit, Arc::default())
}

fn restarted(scene: Scene) -> Scene {
    restarted_with(scene, limits)
}

fn pay(scene: &Scene, number: u128, amount: u64) -> Result<ToppedUp, GrantError> {
    scene.ledger.top_up(&id("prepaid"), nanos(amount), record_id(number))
}

/// Whether it was added, and what is admitted.
fn paid(scene: &Scene, number: u128, amount: u64) -> (bool, u64) {
    let ToppedUp { added, admits, .. } = pay(scene, number, amount).unwrap();
    (added, admits.as_nanos())
}

fn admits(scene: &Scene, limit: &str) -> Option<u64> {
    scene.kit.read(limit).limit
}

fn spend(scene: &mut Scene, money: u64) {
    let route = scene.kit.route(&["customer:c"]);
    let settling = scene.ledger.record(&route, &usage(money, 0), draft());
    scene.answer(settling).unwrap();
}

fn stored(scene: &Scene) -> Vec<Granted> {
    let mut stored = Vec::new();
    scene.store.grants(&mut |granted| stored.push(granted)).unwrap();
    stored
}

#[test]
fn what_was_paid_is_there_after_a_restart_with_usage_and_without() {
    let scene = scene();
    assert_eq!(paid(&scene, 1, 90), (true, 100));
    let mut scene = restarted(scene);
    assert_eq!((admits(&scene, "prepaid"), scene.ledger.restored().grants), (Some(100), 1));
    assert!(scene.kit.admits(&["customer:c"], &usage(99, 0)));
    assert_eq!(paid(&scene, 2, 50), (true, 150));
    spend(&mut scene, 60);
    let scene = restarted(scene);
    assert_eq!((admits(&scene, "prepaid"), scene.kit.counts("prepaid")), (Some(150), (60, 0)));
    // Spent beyond the budget alone and within what was paid: nobody is told that it is used up.
    let exhausted = |what| matches!(what, EventKind::Exhausted { .. });
    let events = scene.kit.happened();
    assert!(!events.iter().any(|e| e.limit == id("prepaid") && exhausted(e.what)), "{events:?}");
}

#[test]
fn the_same_id_adds_once() {
    let scene = scene();
    assert_eq!(paid(&scene, 1, 90), (true, 100));
    assert_eq!(paid(&scene, 1, 90), (false, 100));
    let scene = restarted(scene);
    assert_eq!(paid(&scene, 1, 90), (false, 100));
    assert_eq!(paid(&scene, 2, 1), (true, 101));

    let taken = pay(&scene, 1, 91).unwrap_err();
    assert!(matches!(taken, GrantError::Taken { .. }), "{taken}");
    assert!(taken.to_string().contains("00000000-0000-0000-0000-000000000001"), "{taken}");
    assert_eq!(admits(&scene, "prepaid"), Some(101));
}

#[test]
fn nothing_is_in_force_that_is_not_written() {
    let scene = scene();
    let fail = |fault| scene.store.grant_faults.lock().unwrap().push_back(fault);
    let failed = |error| matches!(error, GrantError::Store { .. });
    let over = |instead| {
        let (limit, lasts) = (id("hourly"), Lasts::UntilCleared);
        scene.ledger.override_limit(&limit, MONEY, instead, lasts)
    };
    let clear = || scene.ledger.clear_override(&id("hourly"), MONEY);

    fail(Fault::Before);
    assert!(failed(pay(&scene, 1, 90).unwrap_err()));
    fail(Fault::Before);
    assert!(failed(over(7).unwrap_err()));
    assert_eq!((admits(&scene, "prepaid"), admits(&scene, "hourly")), (Some(10), Some(100)));
    assert_eq!(stored(&scene), []);

    // Written, and the answer is lost: it is in force once somebody knows.
    fail(Fault::After);
    assert!(failed(pay(&scene, 1, 90).unwrap_err()));
    assert_eq!(admits(&scene, "prepaid"), Some(10));
    assert_eq!(paid(&scene, 1, 90), (false, 100));
    over(7).unwrap();
    fail(Fault::Before);
    assert!(failed(clear().unwrap_err()));
    assert_eq!(admits(&scene, "hourly"), Some(7));
    clear().unwrap();
    assert_eq!(admits(&scene, "hourly"), Some(100));
}

#[test]
fn what_is_refused_is_not_written() {
    let scene = scene();
    let refused = |error| match error {
        GrantError::Operator(error) => error,
        error => panic!("{error}"),
    };
    let top_up = |limit, amount| {
        refused(scene.ledger.top_up(&id(limit), nanos(amount), record_id(1)).unwrap_err())
    };
    assert!(matches!(top_up("none", 1), OperatorError::UnknownLimit { .. }));
    assert!(matches!(top_up("hourly", 1), OperatorError::NotPrepaid { .. }));
    assert!(matches!(top_up("rate", 1), OperatorError::NotPrepaid { .. }));
    assert!(matches!(top_up("prepaid", SETTLED_MAX), OperatorError::TooLarge { .. }));
    let lasts = Lasts::UntilCleared;
    let over = |limit, dimension, instead| {
        refused(scene.ledger.override_limit(&id(limit), dimension, instead, lasts).unwrap_err())
    };
    assert!(matches!(over("none", MONEY, 1), OperatorError::UnknownLimit { .. }));
    assert!(matches!(over("rate", MONEY, 1), OperatorError::NotCounted { .. }));
    assert!(matches!(over("hourly", MONEY, SETTLED_MAX + 1), OperatorError::TooLarge { .. }));
    let clear = |limit| refused(scene.ledger.clear_override(&id(limit), MONEY).unwrap_err());
    assert!(matches!(clear("none"), OperatorError::UnknownLimit { .. }));
    assert!(matches!(clear("rate"), OperatorError::NotCounted { .. }));
    assert_eq!(stored(&scene), []);
    assert_eq!(paid(&scene, 1, SETTLED_MAX - 10), (true, SETTLED_MAX));
}

#[test]
fn overrides_are_there_after_a_restart_of_every_kind_of_counter() {
    let scene = scene();
    let all = [
        ("prepaid", MONEY, 10),
        ("hourly", MONEY, 100),
        ("rate", Dimension::Tokens, 100),
        ("in-flight", Dimension::InFlight, 3),
    ];
    let over = |scene: &Scene, instead| {
        for (limit, dimension, _) in all {
            let (limit, lasts) = (id(limit), Lasts::UntilCleared);
            scene.ledger.override_limit(&limit, dimension, instead, lasts).unwrap();
        }
    };
    let assert_all = |scene: &Scene, instead: Option<u64>| {
        for (limit, _, own) in all {
            assert_eq!(admits(scene, limit), Some(instead.unwrap_or(own)), "{limit}");
        }
    };
    over(&scene, 7);
    assert_all(&scene, Some(7));
    let mut scene = restarted(scene);
    assert_all(&scene, Some(7));
    assert_eq!(scene.ledger.restored().grants, 4);
    over(&scene, 8);
    spend(&mut scene, 5);
    let scene = restarted(scene);
    assert_all(&scene, Some(8));
    assert_eq!(scene.kit.counts("hourly"), (5, 0));
    for (limit, dimension, _) in all {
        scene.ledger.clear_override(&id(limit), dimension).unwrap();
    }
    assert_all(&scene, None);
    assert_all(&restarted(scene), None);
}

#[test]
fn an_override_of_some_windows_ends_with_them_whatever_restarts() {
    let scene = scene();
    let two = Lasts::Windows(NonZeroU16::new(2).unwrap());
    scene.ledger.override_limit(&id("hourly"), MONEY, 7, two).unwrap();
    let mut scene = restarted(scene);
    spend(&mut scene, 1);
    scene.kit.advance(Duration::from_secs(3_600));
    assert_eq!(admits(&scene, "hourly"), Some(7));
    spend(&mut scene, 1);
    let scene = restarted(scene);
    scene.kit.advance(Duration::from_secs(3_600) - a_nano());
    assert_eq!(admits(&scene, "hourly"), Some(7));
    scene.kit.advance(a_nano());
    assert_eq!(admits(&scene, "hourly"), Some(100));
    assert_eq!(admits(&restarted(scene), "hourly"), Some(100));
}

#[test]
fn an_override_begins_with_the_window_in_force_though_nobody_came_to_it() {
    let mut scene = scene();
    let one = Lasts::Windows(NonZeroU16::MIN);
    for _ in 0..2 {
        // The window that was in force is over, and nobody has asked since.
        scene.kit.advance(Duration::from_secs(3_600));
        scene.ledger.override_limit(&id("hourly"), MONEY, 7, one).unwrap();
        assert_eq!(admits(&scene, "hourly"), Some(7));
        scene = restarted(scene);
        assert_eq!(admits(&scene, "hourly"), Some(7));
    }
    scene.kit.advance(Duration::from_secs(3_600));
    assert_eq!(admits(&scene, "hourly"), Some(100));
}

#[test]
fn what_another_process_grants_is_brought_here() {
    let one = scene();
    let kit = kit();
    limits(&kit);
    let mut other = open(kit, Arc::clone(&one.store));
    let brought = |scene: &Scene| scene.ledger.reconcile().unwrap().granted;
    paid(&one, 1, 90);
    let lasts = Lasts::UntilCleared;
    one.ledger.override_limit(&id("rate"), Dimension::Tokens, 7, lasts).unwrap();
    assert_eq!((admits(&other, "prepaid"), admits(&other, "rate")), (Some(10), Some(100)));
    // Also while something is on its way.
    let route = other.kit.route(&["customer:c"]);
    other.ledger.record(&route, &usage(1, 0), draft()).forget();
    assert_eq!(brought(&other), 2);
    assert_eq!((admits(&other, "prepaid"), admits(&other, "rate")), (Some(100), Some(7)));
    other.drain();
    assert_eq!((brought(&other), brought(&one)), (0, 0));
    // The sum of both, whoever has added.
    assert_eq!(paid(&other, 2, 50), (true, 150));
    assert_eq!(paid(&one, 3, 50), (true, 200));
    assert_eq!(paid(&other, 3, 50), (false, 200));
    other.ledger.clear_override(&id("rate"), Dimension::Tokens).unwrap();
    assert_eq!((brought(&one), admits(&one, "rate")), (1, Some(100)));
    // What was granted past the ledger stays where the store has nothing to say.
    one.kit.engine.override_limit(&id("hourly"), MONEY, 9, lasts).unwrap();
    assert_eq!((brought(&one), admits(&one, "hourly")), (0, Some(9)));
}

#[test]
fn what_was_granted_goes_with_its_owner() {
    let scene = scene();
    paid(&scene, 1, 90);
    let lasts = Lasts::UntilCleared;
    scene.ledger.override_limit(&id("hourly"), MONEY, 7, lasts).unwrap();
    scene.ledger.remove_owner(&owner("customer:c")).unwrap();
    assert_eq!(stored(&scene), []);
    limits(&scene.kit);
    assert_eq!(scene.ledger.reconcile().unwrap().granted, 0);
    assert_eq!((admits(&scene, "prepaid"), admits(&scene, "hourly")), (Some(10), Some(100)));
    // The payment was made for the one that is gone.
    assert_eq!(paid(&scene, 1, 90), (false, 10));
    assert_eq!(paid(&scene, 2, 5), (true, 15));
    assert_eq!(admits(&restarted(scene), "prepaid"), Some(15));
}

#[test]
fn what_is_read_is_not_set_on_a_limit_that_was_created_again_since() {
    let scene = scene();
    paid(&scene, 1, 90);
    let (done, waits) = std::sync::mpsc::channel();
    let (ledger, engine) = (scene.ledger.clone(), scene.kit.engine.clone());
    let remove = move || {
        ledger.remove_owner(&owner("customer:c")).unwrap();
        engine.upsert_owner(&owner("customer:c"), &[]).unwrap();
        let prepaid = Budget::new(nanos(10), Period::NEVER);
        engine.upsert_limit(&owner("customer:c"), &id("prepaid"), prepaid).unwrap();
        // Nobody may wait for it any more.
        let _ = done.send(());
    };
    let (remover, removing) = std::sync::mpsc::channel();
    *scene.store.meanwhile_granted.lock().unwrap() = Some(Box::new(move || {
        remover.send(std::thread::spawn(remove)).unwrap();
        // It cannot come in between, however long it is waited for.
        assert!(waits.recv_timeout(Duration::from_millis(100)).is_err());
    }));
    assert_eq!(scene.ledger.reconcile().unwrap().granted, 0);
    removing.recv().unwrap().join().unwrap();
    assert_eq!((admits(&scene, "prepaid"), stored(&scene)), (Some(10), vec![]));
}

#[test]
fn what_was_granted_to_another_owner_is_not_restored() {
    let scene = scene();
    paid(&scene, 1, 90);
    let mut scene = restarted_with(scene, |kit| {
        kit.limit("customer:d", "prepaid", Budget::new(nanos(10), Period::NEVER));
    });
    assert_eq!((admits(&scene, "prepaid"), scene.ledger.restored().grants), (Some(10), 0));
    assert_eq!(scene.ledger.reconcile().unwrap().granted, 0);
    assert_eq!(paid(&scene, 2, 5), (true, 15));
    scene.drain();
    assert_eq!(stored(&scene).len(), 1);
}

#[test]
fn payments_from_many_threads_are_all_in_force_while_replicas_reconcile() {
    let store = Arc::new(MemoryLedger::default());
    let kits = [kit(), kit()];
    kits.iter().for_each(limits);
    let ledgers =
        kits.each_ref().map(|kit| Ledger::builder(&kit.engine).start(Arc::clone(&store)).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8_u128 {
            let ledger = &ledgers[usize::from(thread % 2 == 0)];
            scope.spawn(move || {
                for number in 0..50 {
                    let payment = record_id(1_000 * thread + number);
                    for again in [false, true] {
                        let done = ledger.top_up(&id("prepaid"), nanos(1), payment).unwrap();
                        assert_eq!(done.added, !again);
                    }
                    if number % 10 == 0 {
                        ledger.reconcile().unwrap();
                    }
                }
            });
        }
    });
    for (ledger, kit) in ledgers.iter().zip(&kits) {
        ledger.reconcile().unwrap();
        assert_eq!(kit.read("prepaid").limit, Some(10 + 8 * 50));
    }
}
