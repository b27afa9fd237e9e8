//! Futures polled by hand, and a barrier whose time and tasks are moved by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tollkeeper::{
    Acquire, Barrier, BarrierBuilder, BarrierError, BarrierTimer, ManualClock, OwnerId, Permit,
    RemoteLock, Timestamp,
};

pub const SECOND: Duration = Duration::from_secs(1);

/// How long calls wait at the barriers of these tests.
pub const WITHIN: Duration = Duration::from_secs(10);

/// Counts how often it was woken.
#[derive(Default)]
pub struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that is polled when the test says so.
pub struct Hand<F: Future> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

pub fn hand<F: Future>(future: F) -> Hand<F> {
    Hand { future: Box::pin(future), woken: Arc::default() }
}

impl<F: Future> Hand<F> {
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub fn waits(&mut self) -> bool {
        self.poll().is_pending()
    }

    #[track_caller]
    pub fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it is not ready"),
        }
    }

    /// How often it was woken since this was asked last.
    pub fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::SeqCst)
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that run when the test says so.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    pub fn spawn(&self) -> impl Fn(Task) + Send + Sync + 'static {
        let tasks = self.clone();
        move |task| tasks.0.lock().unwrap().push(task)
    }

    /// Polls every task once, and keeps those that are not done. One that panics is gone.
    pub fn turn(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        let mut context = Context::from_waker(Waker::noop());
        for mut task in tasks {
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let pending = task.as_mut().poll(&mut context).is_pending();
                pending.then_some(task)
            }));
            if let Ok(Some(pending)) = polled {
                self.0.lock().unwrap().push(pending);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The runtime ends, and drops what it has.
    pub fn end(&self) {
        let dropped = std::mem::take(&mut *self.0.lock().unwrap());
        drop(dropped);
    }
}

/// A barrier by hand.
pub struct Scene {
    pub barrier: Barrier,
    pub timer: BarrierTimer,
    pub clock: ManualClock,
    pub tasks: Tasks,
}

pub fn scene() -> Scene {
    scene_with(|builder| builder)
}

/// One of several processes that share a lock.
pub fn replica(lock: impl RemoteLock) -> Scene {
    scene_with(|builder| builder.remote_lock(lock))
}

pub fn scene_with(set_up: impl FnOnce(BarrierBuilder) -> BarrierBuilder) -> Scene {
    let clock = ManualClock::new(Timestamp::from_secs(1_000));
    let tasks = Tasks::default();
    let builder = Barrier::builder(tasks.spawn()).clock(clock.clone()).wait_at_most(WITHIN);
    let (barrier, timer) = set_up(builder).by_hand().unwrap();
    Scene { barrier, timer, clock, tasks }
}

impl Scene {
    pub fn acquire(&self, user: &OwnerId) -> Hand<Acquire> {
        hand(self.barrier.acquire(user, None))
    }

    /// A permit that is there at once.
    #[track_caller]
    pub fn permit(&self, user: &OwnerId) -> Permit {
        self.acquire(user).ready().unwrap()
    }

    /// Moves the time, and turns the timer.
    pub fn pass(&mut self, time: Duration) -> Option<Timestamp> {
        let now = self.clock.advance(time);
        self.timer.turn(now)
    }

    /// Users, waiting, holding.
    pub fn counts(&self) -> (usize, usize, usize) {
        let counts = self.barrier.counts();
        (counts.users, counts.waiting, counts.holding)
    }
}

pub fn user(name: &str) -> OwnerId {
    OwnerId::new("user", name).unwrap()
}

pub fn is_timeout(result: &Result<Permit, BarrierError>) -> bool {
    matches!(result, Err(BarrierError::Timeout { .. }))
}

/// A gate that tasks wait at until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub fn open(&self) {
        let wakers = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub async fn pass(&self) {
        std::future::poll_fn(|context| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    pub fn tell(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub fn so_far(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}
