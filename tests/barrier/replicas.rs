//! Two processes with one lock between them, and what happens without either layer.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tollkeeper::{Barrier, LockKey, LockRequest, Loss, OwnerId, Permit, RemoteGuard, RemoteLock};

use crate::hand::{Scene, hand, replica, scene, scene_with, user};
use crate::simulated::Server;

#[test]
fn the_lock_excludes_replicas_and_each_has_its_turn() {
    let server = Server::default();
    let (here, there) = (replica(server.process(0)), replica(server.process(1)));
    let user = user("u1");
    let permit = here.permit(&user);
    let mut theirs = there.acquire(&user);
    let mut ours = here.acquire(&user);
    assert!(theirs.waits() && ours.waits());
    drop(permit);
    // The next one here asks behind the one that has asked before, there.
    assert!(ours.waits());
    let permit = theirs.ready().unwrap();
    assert!(ours.waits());
    drop(permit);
    drop(ours.ready().unwrap());
    assert_eq!((server.connections(), server.most_for_a_key()), (0, 1));
}

#[test]
fn only_the_first_in_each_queue_has_a_connection() {
    let server = Server::default();
    let replicas = [replica(server.process(0)), replica(server.process(1))];
    let users: Vec<OwnerId> = (0..3).map(|n| user(&format!("u{n}"))).collect();
    let mut calls = Vec::new();
    for _ in 0..8 {
        for replica in &replicas {
            calls.extend(users.iter().map(|user| replica.acquire(user)));
        }
    }
    let mut done = 0;
    while done < calls.len() {
        let mut permits: Vec<Permit> = Vec::new();
        for call in &mut calls {
            if call.woken() > 0 || done == 0 {
                if let std::task::Poll::Ready(permit) = call.poll() {
                    permits.push(permit.unwrap());
                }
                assert!(server.connections() <= 6, "one for each of 3 users and 2 processes");
            }
        }
        assert!((1..=3).contains(&permits.len()), "one for each user, and always some");
        done += permits.len();
    }
    assert_eq!((server.asked(), server.connections()), (48, 0));
    assert_eq!(server.most_for_a_key(), 1);
}

/// What the tests above would see without the lock: two inside.
#[test]
fn without_the_lock_replicas_do_not_exclude_each_other() {
    let (here, there, user) = (scene(), scene(), user("u1"));
    let permit = here.permit(&user);
    assert!(there.acquire(&user).ready().is_ok());
    drop(permit);
}

/// And without the queue: exclusion by the lock alone, and a connection for each call.
#[test]
fn without_the_queue_each_call_has_a_connection() {
    let server = Server::default();
    let no_queue: Vec<Scene> = (0..8).map(|_| replica(server.process(0))).collect();
    let user = user("u1");
    let mut calls: Vec<_> = no_queue.iter().map(|scene| scene.acquire(&user)).collect();
    let inside = calls.iter_mut().filter_map(|call| match call.poll() {
        std::task::Poll::Ready(permit) => Some(permit.unwrap()),
        std::task::Poll::Pending => None,
    });
    assert_eq!(inside.collect::<Vec<_>>().len(), 1);
    assert_eq!(server.most_for_a_key(), 8);
}

#[test]
fn a_lost_lock_is_noticed_counted_and_lets_the_other_replica_in() {
    let server = Server::default();
    let (here, there) = (replica(server.process(0)), replica(server.process(1)));
    let user = user("u1");
    let permit = here.permit(&user);
    let mut queued = here.acquire(&user);
    let mut theirs = there.acquire(&user);
    assert!(queued.waits() && theirs.waits());
    let (mut lost, mut also, mut gone) =
        (hand(permit.lost()), hand(permit.lost()), hand(permit.lost()));
    assert!(lost.waits() && also.waits() && gone.waits());
    assert!(!permit.is_lost());
    drop(gone);

    server.lose(LockKey::of(&user));
    assert!(permit.is_lost());
    assert_eq!((lost.woken(), also.woken()), (1, 1));
    lost.ready();
    also.ready();
    assert!(hand(permit.lost()).poll().is_ready());
    assert_eq!(theirs.woken(), 1);
    let theirs = theirs.ready().unwrap();
    // In its own process it excludes as before, until it is dropped.
    assert!(queued.waits());
    assert_eq!(here.barrier.counts().lost, 0);
    drop(permit);
    assert_eq!(here.barrier.counts().lost, 1);
    assert!(queued.waits());
    drop(theirs);
    let permit = queued.ready().unwrap();
    assert!(!permit.is_lost());
    drop(permit);
    assert_eq!((here.barrier.counts().lost, there.barrier.counts().lost), (1, 0));
    assert_eq!(server.connections(), 0);
}

#[test]
fn without_a_lock_nothing_is_lost() {
    let (scene, user) = (scene(), user("u1"));
    let permit = scene.permit(&user);
    assert!(!permit.is_lost() && hand(permit.lost()).waits());
}

/// A lock that looks at the barrier when it is released.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<(Weak<Barrier>, Vec<usize>)>>);

struct WatchedGuard(Loss, Watched);

impl RemoteLock for Watched {
    fn request(&self, _: LockKey, _: Duration) -> LockRequest {
        let guard: Box<dyn RemoteGuard> = Box::new(WatchedGuard(Loss::new(), self.clone()));
        Box::pin(async { Ok(guard) })
    }
}

impl RemoteGuard for WatchedGuard {
    fn loss(&self) -> &Loss {
        &self.0
    }
}

impl Drop for WatchedGuard {
    fn drop(&mut self) {
        let mut watched = self.1.0.lock().unwrap();
        let barrier = watched.0.upgrade().expect("it is there");
        watched.1.push(barrier.counts().holding);
    }
}

/// Otherwise the next call could ask while this one's connection is still in use.
#[test]
fn the_lock_is_released_before_the_place_is_given_on() {
    let watched = Watched::default();
    let scene = scene_with(|builder| builder.remote_lock(watched.clone()));
    let (barrier, user) = (Arc::new(scene.barrier), user("u1"));
    watched.0.lock().unwrap().0 = Arc::downgrade(&barrier);
    drop(hand(barrier.acquire(&user, None)).ready().unwrap());
    assert_eq!(watched.0.lock().unwrap().1, [1], "it still has its place");
    assert_eq!(barrier.counts().users, 0);
}

/// A lock whose request panics when it is made, and when it is polled.
struct Broken(bool);

impl RemoteLock for Broken {
    fn request(&self, _: LockKey, _: Duration) -> LockRequest {
        assert!(self.0, "broken when asked");
        Box::pin(async { panic!("broken when polled") })
    }
}

#[test]
fn a_lock_that_panics_takes_its_call_with_it_and_no_other() {
    for polled in [false, true] {
        let scene = scene_with(|builder| builder.remote_lock(Broken(polled)));
        let user = user("u1");
        let barrier: &Barrier = &scene.barrier;
        let mut first = hand(barrier.acquire(&user, None));
        let mut second = hand(barrier.acquire(&user, None));
        assert!(second.waits());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.poll()));
        assert!(panicked.is_err());
        assert_eq!(second.woken(), 1, "the place was left when it unwound");
        assert_eq!(scene.counts(), (1, 1, 0));
    }
}
