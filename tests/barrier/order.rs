//! Who is inside, and who is next.

use std::time::Duration;

use tollkeeper::{Barrier, BarrierError, BarrierMode, BarrierSetupError, LockKey, Usage};

use crate::hand::{Tasks, hand, scene, scene_with, user};
use crate::simulated::Server;

#[test]
fn the_first_comes_first_and_wakes_the_next_one_only() {
    let (scene, user) = (scene(), user("u1"));
    let mut calls: Vec<_> = (0..4).map(|_| scene.acquire(&user)).collect();
    let mut permit = calls[0].ready().unwrap();
    assert!(calls[1..].iter_mut().all(|call| call.waits()));
    assert_eq!(scene.counts(), (1, 3, 1));
    for next in 1..4 {
        drop(permit);
        let woken: Vec<usize> = calls.iter().map(|call| call.woken()).collect();
        assert_eq!(woken, (0..4).map(|n| usize::from(n == next)).collect::<Vec<_>>());
        assert!(calls[next + 1..].iter_mut().all(|call| call.waits()), "nobody overtakes");
        permit = calls[next].ready().unwrap();
    }
    drop(permit);
    assert_eq!(scene.counts(), (0, 0, 0), "nothing is kept of an idle user");
}

/// First come, first served is by the order of the calls, not of the polls.
#[test]
fn a_place_is_taken_when_it_is_asked_for() {
    let (scene, user) = (scene(), user("u1"));
    let mut first = scene.acquire(&user);
    let mut second = scene.acquire(&user);
    assert!(second.waits());
    let permit = first.ready().unwrap();
    assert!(second.waits());
    drop(permit);
    assert!(second.ready().is_ok());
}

#[test]
fn users_do_not_wait_for_each_other() {
    let scene = scene();
    let users: Vec<_> = (0..200).map(|n| user(&format!("u{n}"))).collect();
    let permits: Vec<_> = users.iter().map(|user| scene.permit(user)).collect();
    assert_eq!(scene.counts(), (200, 0, 200));
    drop(permits);
    assert_eq!(scene.counts(), (0, 0, 0));
}

/// A waiter that leaves, from whichever position and whether it knows of its turn or not, takes
/// nobody with it.
#[test]
fn who_leaves_from_any_position_breaks_no_chain() {
    const CALLS: usize = 5;
    for remote in [false, true] {
        for leaver in 0..CALLS {
            for polled in [false, true] {
                let server = Server::default();
                let scene = scene_with(|builder| {
                    if remote { builder.remote_lock(server.process(0)) } else { builder }
                });
                let user = user("u1");
                let holder = scene.permit(&user);
                let mut calls: Vec<_> = (0..CALLS).map(|_| scene.acquire(&user)).collect();
                if polled {
                    assert!(calls.iter_mut().all(|call| call.waits()));
                }
                // The first has its turn before it leaves, the others have not.
                let holder = if leaver == 0 {
                    drop(holder);
                    None
                } else {
                    Some(holder)
                };
                drop(calls.remove(leaver));
                assert_eq!(scene.counts().1, CALLS - 1);
                drop(holder);
                for (place, call) in calls.iter_mut().enumerate() {
                    assert_eq!(call.woken(), usize::from(polled), "{remote} {leaver} {place}");
                    drop(call.ready().unwrap());
                }
                drop(calls);
                assert_eq!(scene.counts(), (0, 0, 0));
                assert_eq!(server.connections(), 0);
            }
        }
    }
}

#[test]
fn too_many_waiters_are_refused_until_one_has_left() {
    let scene = scene_with(|builder| builder.max_waiters_per_user(2));
    let (one, other) = (user("u1"), user("u2"));
    let holder = scene.permit(&one);
    let second = scene.acquire(&one);
    let mut third = scene.acquire(&one);
    match scene.acquire(&one).ready() {
        Err(BarrierError::QueueFull { user, waiting: 2 }) => assert_eq!(user, one),
        unexpected => panic!("{unexpected:?}"),
    }
    assert_eq!(scene.barrier.counts().refused, 1);
    drop(scene.permit(&other));

    drop(second);
    let mut fourth = scene.acquire(&one);
    assert!(third.waits() && fourth.waits());
    drop(holder);
    drop(third.ready().unwrap());
    drop(fourth.ready().unwrap());
    assert_eq!(scene.barrier.counts().refused, 1);
}

#[test]
fn with_no_room_to_wait_a_second_call_is_refused_at_once() {
    let (scene, user) = (scene_with(|builder| builder.max_waiters_per_user(0)), user("u1"));
    let holder = scene.permit(&user);
    assert!(matches!(scene.acquire(&user).ready(), Err(BarrierError::QueueFull { .. })));
    drop(holder);
    drop(scene.permit(&user));
}

#[test]
fn as_many_are_inside_as_there_are_permits() {
    let (scene, user) = (scene_with(|builder| builder.permits_per_user(2)), user("u1"));
    let (first, second) = (scene.permit(&user), scene.permit(&user));
    let mut third = scene.acquire(&user);
    let mut fourth = scene.acquire(&user);
    assert!(third.waits() && fourth.waits());
    drop(second);
    assert!(fourth.waits());
    let third = third.ready().unwrap();
    assert!(fourth.waits());
    drop(first);
    let fourth = fourth.ready().unwrap();
    assert_eq!(scene.counts(), (1, 0, 2));
    drop((third, fourth));
    assert_eq!(scene.counts(), (0, 0, 0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let builder = || Barrier::builder(Tasks::default().spawn());
    let none = builder().permits_per_user(0).by_hand();
    assert!(matches!(none, Err(BarrierSetupError::NoPermits)));
    let lock = Server::default().process(0);
    let several = builder().permits_per_user(3).remote_lock(lock).start();
    assert!(matches!(several, Err(BarrierSetupError::PermitsWithLock { permits: 3 })));
}

#[test]
fn the_mode_says_which_calls_are_serialised() {
    let estimate = Usage { requests: 1, ..Usage::default() };
    for (mode, serialised) in [
        (BarrierMode::Off, [false, false]),
        (BarrierMode::WhenNoEstimate, [true, false]),
        (BarrierMode::Always, [true, true]),
    ] {
        for (estimate, serialised) in [None, Some(&estimate)].into_iter().zip(serialised) {
            let (scene, user) = (scene_with(|builder| builder.mode(mode)), user("u1"));
            let first = hand(scene.barrier.acquire(&user, estimate)).ready().unwrap();
            let mut second = hand(scene.barrier.acquire(&user, estimate));
            assert_eq!(second.waits(), serialised, "{mode:?} {estimate:?}");
            drop(first);
        }
    }
    assert_eq!(BarrierMode::default(), BarrierMode::WhenNoEstimate);
}

#[test]
fn who_asks_again_from_the_inside_is_told_and_keeps_what_it_has() {
    let (scene, elsewhere) = (scene(), scene_with(|builder| builder));
    let (one, other) = (user("u1"), user("u2"));
    let permit = scene.permit(&one);
    let inside = permit.enter();
    match scene.acquire(&one).ready() {
        Err(BarrierError::Reentrant { user }) => assert_eq!(user, one),
        unexpected => panic!("{unexpected:?}"),
    }
    assert_eq!(scene.counts(), (1, 0, 1));
    // Not another user, nor another barrier, nor another thread.
    drop(scene.permit(&other));
    drop(elsewhere.permit(&one));
    let waits = |scene: &crate::hand::Scene| scene.acquire(&one).waits();
    assert!(std::thread::scope(|threads| threads.spawn(|| waits(&scene)).join().unwrap()));
    // Entered twice is left twice.
    let again = permit.enter();
    drop(inside);
    assert!(matches!(scene.acquire(&one).ready(), Err(BarrierError::Reentrant { .. })));
    drop(again);
    assert!(waits(&scene));
}

#[test]
fn a_dropped_barrier_ends_the_waits_but_nobody_who_is_inside() {
    let server = Server::default();
    let scene = scene_with(|builder| builder.remote_lock(server.process(0)));
    let (one, other) = (user("u1"), user("u2"));
    let permit = scene.permit(&one);
    let mut queued = scene.acquire(&one);
    assert!(queued.waits());
    let elsewhere = scene_with(|builder| builder.remote_lock(server.process(1)));
    let theirs = elsewhere.permit(&other);
    let mut asking = scene.acquire(&other);
    assert!(asking.waits());
    assert_eq!(server.connections(), 3);

    drop(scene);
    assert_eq!((queued.woken(), asking.woken()), (1, 1));
    assert_eq!(server.connections(), 2, "the request is given up");
    assert!(matches!(queued.ready(), Err(BarrierError::Closed)));
    assert!(matches!(asking.ready(), Err(BarrierError::Closed)));
    assert!(!permit.is_lost());
    drop((permit, theirs));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_clone_is_the_same_barrier_and_the_last_one_ends_the_waits() {
    let (scene, user) = (scene(), user("u1"));
    let clone = scene.barrier.clone();
    let _permit = scene.permit(&user);
    let mut queued = hand(clone.acquire(&user, None));
    assert!(queued.waits());
    assert_eq!(clone.counts(), scene.barrier.counts());
    drop(scene);
    assert!(queued.waits());
    drop(clone);
    assert!(matches!(queued.ready(), Err(BarrierError::Closed)));
}

#[test]
fn threads_wait_for_a_permit_without_a_runtime() {
    let barrier = Barrier::builder(Tasks::default().spawn()).start().unwrap();
    let user = user("u1");
    let permit = barrier.acquire(&user, None).wait().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| barrier.acquire(&user, None).wait().map(drop));
        while barrier.counts().waiting == 0 {
            std::thread::yield_now();
        }
        drop(permit);
        assert!(waiting.join().unwrap().is_ok());
    });
    assert_eq!(barrier.counts().users, 0);
}

/// The keys are part of what replicas of different releases agree on.
#[test]
fn keys_are_the_same_for_ever_and_no_other_locks_keys() {
    let key = |name: &str| LockKey::of(&user(name)).get();
    assert_eq!(key("u1"), -6_217_708_169_573_623_801);
    assert_eq!(key("u1"), key("u1"));
    let signs: Vec<bool> = (0..64).map(|n| key(&format!("u{n}")) < 0).collect();
    assert!(signs.contains(&true) && signs.contains(&false), "all of the 64 bits are used");
    let distinct: std::collections::BTreeSet<i64> =
        (0..1_000).map(|n| key(&n.to_string())).collect();
    assert_eq!(distinct.len(), 1_000);
    // The same text hashed without the namespace, or with it but not apart from it.
    assert_ne!(key("u1"), BARE);
    assert_ne!(key("u1"), GLUED);
}

/// The first eight bytes of the SHA-256 of `user:u1`, and of `tollkeeper cost barrieruser:u1`.
const BARE: i64 = 7_903_643_327_208_758_382;
const GLUED: i64 = -7_631_466_697_330_667_099;

#[test]
fn errors_say_whose_call_it_was_and_what_was_allowed() {
    let user = user("u1");
    let within = Duration::from_secs(60);
    let shown = [
        BarrierError::Timeout { user: user.clone(), within }.to_string(),
        BarrierError::QueueFull { user: user.clone(), waiting: 32 }.to_string(),
        BarrierError::Reentrant { user }.to_string(),
        BarrierSetupError::PermitsWithLock { permits: 3 }.to_string(),
    ];
    assert_eq!(
        shown,
        [
            "the calls of user:u1 before this one did not end within 60s",
            "32 calls of user:u1 wait already, and no more may; try again when one has ended",
            "a call of user:u1 asks for the barrier that it is inside of, and would wait for \
             itself",
            "a user has 3 permits and a remote lock; accepted: 1 permit with a remote lock, or any \
             number without",
        ]
    );
}
