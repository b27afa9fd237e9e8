//! Waits end: at their deadline, by the lock, and whether anybody polls them or not.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tollkeeper::{
    Barrier, BarrierError, Clock, LockError, LockKey, LockRequest, ManualClock, RemoteGuard,
    RemoteLock, Timestamp,
};

use crate::hand::{SECOND, Tasks, WITHIN, hand, is_timeout, replica, scene, user};
use crate::simulated::{Server, SimLock};

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let (mut scene, user) = (scene(), user("u1"));
    let permit = scene.permit(&user);
    let mut second = scene.acquire(&user);
    let due = scene.clock.now() + WITHIN;
    scene.pass(SECOND);
    let mut third = scene.acquire(&user);
    assert!(second.waits() && third.waits());

    assert_eq!(scene.timer.turn(due.saturating_sub(Duration::from_nanos(1))), Some(due));
    assert!(second.waits() && second.woken() == 0);
    assert_eq!(scene.timer.turn(due), Some(due + SECOND));
    assert_eq!(second.woken(), 1);
    match second.ready() {
        Err(BarrierError::Timeout { user: whose, within }) => {
            assert_eq!((whose, within), (user.clone(), WITHIN));
        }
        unexpected => panic!("{unexpected:?}"),
    }
    assert!(third.waits());
    assert_eq!(scene.timer.turn(due + SECOND), None);
    assert!(is_timeout(&third.ready()));
    assert_eq!(scene.barrier.counts().timeouts, 2);

    // Who is inside is not interrupted, and nobody is let in beside it.
    assert_eq!(scene.counts(), (1, 0, 1));
    assert!(scene.acquire(&user).waits());
    drop(permit);
    drop(scene.permit(&user));
}

/// A future that nobody polls any more, and nobody drops, does not keep its user waiting.
#[test]
fn a_turn_that_nobody_takes_is_over_at_its_deadline() {
    let (mut scene, user) = (scene(), user("u1"));
    let mut forgotten = scene.acquire(&user);
    scene.pass(SECOND);
    let mut second = scene.acquire(&user);
    assert!(second.waits());
    scene.pass(WITHIN - SECOND);
    assert_eq!(second.woken(), 1);
    let permit = second.ready().unwrap();
    assert!(is_timeout(&forgotten.ready()));
    assert_eq!(scene.counts(), (1, 0, 1));
    drop(forgotten);
    assert_eq!(scene.counts(), (1, 0, 1), "what is over takes nothing with it");
    drop(permit);
}

#[test]
fn a_request_for_the_lock_is_given_up_at_the_deadline_before_the_next_is_made() {
    let server = Server::default();
    let elsewhere = replica(server.process(1));
    let mut scene = replica(server.process(0));
    let user = user("u1");
    let theirs = elsewhere.permit(&user);
    let mut first = scene.acquire(&user);
    scene.pass(SECOND);
    let mut second = scene.acquire(&user);
    assert!(first.waits() && second.waits());
    assert_eq!((server.asked(), server.connections()), (2, 2));

    scene.pass(WITHIN - SECOND);
    assert_eq!((first.woken(), second.woken()), (1, 1));
    assert_eq!(server.connections(), 1, "nobody polled, and still it is given up");
    assert!(second.waits());
    assert_eq!((server.asked(), server.connections()), (3, 2));
    assert!(is_timeout(&first.ready()));
    // Each was told how much of its time was left.
    assert_eq!(server.withins(), [WITHIN, WITHIN - SECOND, SECOND]);
    drop(theirs);
    drop(second.ready().unwrap());
    assert_eq!((server.connections(), server.most_for_a_key()), (0, 1));
    assert_eq!(scene.barrier.counts().timeouts, 1);
}

#[test]
fn a_lock_that_fails_fails_one_call_and_the_next_has_its_turn() {
    let server = Server::default();
    let scene = replica(server.process(0));
    let user = user("u1");
    let holder = scene.permit(&user);
    let mut calls: Vec<_> = (0..4).map(|_| scene.acquire(&user)).collect();
    assert!(calls.iter_mut().all(|call| call.waits()));
    drop(holder);

    server.set_down(true);
    match calls[0].ready() {
        Err(BarrierError::Remote(LockError::Unavailable(source))) => {
            assert_eq!(source.to_string(), "connection refused");
        }
        unexpected => panic!("{unexpected:?}"),
    }
    server.set_down(false);
    server.set_late(true);
    assert_eq!(calls[1].woken(), 1);
    assert!(is_timeout(&calls[1].ready()));
    assert_eq!(scene.barrier.counts().timeouts, 1);
    server.set_late(false);
    for call in &mut calls[2..] {
        drop(call.ready().unwrap());
    }
    assert_eq!(scene.counts(), (0, 0, 0));
    assert_eq!((server.connections(), server.most_for_a_key()), (0, 1));
}

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A lock in whose request something happens, at the very moment when it is polled.
struct Slow(SimLock, Hook);

struct SlowRequest(LockRequest, Hook);

impl RemoteLock for Slow {
    fn request(&self, key: LockKey, within: Duration) -> LockRequest {
        Box::pin(SlowRequest(self.0.request(key, within), Arc::clone(&self.1)))
    }
}

impl Future for SlowRequest {
    type Output = Result<Box<dyn RemoteGuard>, LockError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.0.as_mut().poll(context);
        if let Some(hook) = self.1.lock().unwrap().take() {
            hook();
        }
        polled
    }
}

#[test]
fn time_that_is_up_while_the_lock_answers_gives_the_lock_back() {
    for granted in [true, false] {
        let server = Server::default();
        let elsewhere = replica(server.process(1));
        let user = user("u1");
        let theirs = (!granted).then(|| elsewhere.permit(&user));
        let hook: Hook = Arc::default();
        let builder = Barrier::builder(Tasks::default().spawn()).wait_at_most(WITHIN);
        let clock = ManualClock::new(Timestamp::from_secs(1_000));
        let lock = Slow(server.process(0), Arc::clone(&hook));
        let (barrier, mut timer) =
            builder.remote_lock(lock).clock(clock.clone()).by_hand().unwrap();

        let mut call = hand(barrier.acquire(&user, None));
        let due = clock.now() + WITHIN;
        clock.advance(SECOND);
        let next = Arc::new(Mutex::new(hand(barrier.acquire(&user, None))));
        assert!(next.lock().unwrap().waits());
        let behind = Arc::clone(&next);
        *hook.lock().unwrap() = Some(Box::new(move || {
            timer.turn(due);
            let mut behind = behind.lock().unwrap();
            assert_eq!(behind.woken(), 0, "the request before it is not dropped yet");
            assert!(behind.waits());
        }));
        assert!(is_timeout(&call.ready()));
        assert_eq!(server.connections(), usize::from(!granted));
        assert_eq!((barrier.counts().timeouts, barrier.counts().users), (1, 1));
        drop(theirs);
        let mut next = next.lock().unwrap();
        assert_eq!(next.woken(), 1);
        drop(next.ready().unwrap());
        assert_eq!(server.most_for_a_key(), 1);
    }
}

/// With the timer's own thread, in real time. Without it the waits would never end: that fails.
#[test]
fn the_timers_thread_ends_waits_of_threads_and_of_nobody() {
    let (done, wait) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || {
        wait_in_real_time();
        done.send(()).unwrap();
    });
    let ended = wait.recv_timeout(Duration::from_secs(60));
    assert_ne!(ended, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "a wait has no end");
    waits.join().unwrap();
}

fn wait_in_real_time() {
    let within = Duration::from_millis(20);
    let builder = Barrier::builder(Tasks::default().spawn()).wait_at_most(within);
    let barrier = builder.start().unwrap();
    let user = user("u1");
    // Nobody takes this turn.
    let forgotten = barrier.acquire(&user, None);
    let permit = loop {
        match barrier.acquire(&user, None).wait() {
            Ok(permit) => break permit,
            Err(error) => assert!(matches!(error, BarrierError::Timeout { .. }), "{error}"),
        }
    };
    assert!(is_timeout(&barrier.acquire(&user, None).wait()));
    assert!(is_timeout(&forgotten.wait()));
    drop(permit);
    drop(barrier.acquire(&user, None).wait().unwrap());
}

#[test]
fn the_timers_thread_ends_with_the_barrier() {
    let server = Server::default();
    let lock = Arc::new(server.process(0));
    let builder = Barrier::builder(Tasks::default().spawn()).remote_lock(Arc::clone(&lock));
    let barrier = builder.start().unwrap();
    assert_eq!(Arc::strong_count(&lock), 2);
    drop(barrier);
    // The thread has the other one.
    while Arc::strong_count(&lock) > 1 {
        std::thread::yield_now();
    }
}

/// A waker that panics, as a runtime's might that has ended.
struct Panics;

impl std::task::Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("nobody is to be woken here");
    }
}

#[test]
fn a_waker_that_panics_does_not_end_the_timers_thread() {
    let within = Duration::from_millis(20);
    let builder = Barrier::builder(Tasks::default().spawn()).wait_at_most(within);
    let barrier = Arc::new(builder.start().unwrap());
    let user = user("u1");
    let _permit = barrier.acquire(&user, None).wait().unwrap();
    let mut broken = Box::pin(barrier.acquire(&user, None));
    let waker = std::task::Waker::from(Arc::new(Panics));
    assert!(broken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while barrier.counts().timeouts == 0 {
        std::thread::yield_now();
    }
    let (done, ended) = std::sync::mpsc::channel();
    let other = Arc::clone(&barrier);
    std::thread::spawn(move || done.send(is_timeout(&other.acquire(&user, None).wait())));
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true), "a wait has no end");
}
