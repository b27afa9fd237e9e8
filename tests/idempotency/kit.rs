//! A keeper by hand, a store that fails on demand, and a thread that waits for a future.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tollkeeper::{
    Claim, ClaimError, Claiming, Fingerprint, Idempotency, IdempotencyBuilder, Keeper, KeyAct,
    KeyAnswer, KeyOp, KeyStore, Lease, MemoryKeys, Scope, StoreError, Timestamp,
};

pub const LEASE: Duration = Duration::from_secs(30);
pub const AT_ONCE: Duration = Duration::ZERO;

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn scope(key: &str) -> Scope {
    Scope::new("acme", "POST /v1/chat", key).expect("a scope")
}

pub fn body(text: &str) -> Fingerprint {
    Fingerprint::of(&[b"POST", b"/v1/chat", text.as_bytes()])
}

/// What a store is to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Down,
    /// It is done, and an error is returned.
    LostAck,
    /// Nothing is done, and never will be, if the group is of more than one.
    RejectGroup,
}

/// Keys in memory that fail as they are told, and remember what was asked.
pub struct Shaky {
    pub keys: MemoryKeys,
    pub faults: Mutex<VecDeque<Fault>>,
    pub asked: Mutex<Vec<Vec<KeyOp>>>,
}

impl Shaky {
    pub fn new(keys_max: usize) -> Arc<Shaky> {
        let (faults, asked) = Default::default();
        Arc::new(Shaky { keys: MemoryKeys::new(keys_max), faults, asked })
    }

    /// What it does wrong next, call by call.
    pub fn fail(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.iter().copied().collect();
    }

    /// How many claims it was asked for, in how many calls.
    pub fn claims(&self) -> (usize, usize) {
        let asked = self.asked.lock().unwrap();
        let is_claim = |op: &&KeyOp| matches!(op.act, KeyAct::Claim { .. });
        (asked.iter().flatten().filter(is_claim).count(), asked.len())
    }

    pub fn heartbeats(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().flatten().filter(|op| matches!(op.act, KeyAct::Heartbeat { .. })).count()
    }
}

impl KeyStore for Shaky {
    fn apply(&self, ops: &[KeyOp], now: Timestamp) -> Result<Vec<KeyAnswer>, StoreError> {
        self.asked.lock().unwrap().push(ops.to_vec());
        let doing = "asking for keys";
        match self.faults.lock().unwrap().pop_front() {
            None => self.keys.apply(ops, now),
            Some(Fault::RejectGroup) if ops.len() == 1 => self.keys.apply(ops, now),
            Some(Fault::RejectGroup) => {
                Err(StoreError::Rejected { doing, constraint: None, source: "no".into() })
            }
            Some(fault) => {
                if fault == Fault::LostAck {
                    self.keys.apply(ops, now)?;
                }
                Err(StoreError::Unavailable { doing, source: "down".into() })
            }
        }
    }

    fn purge(&self, now: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        self.keys.purge(now, at_most)
    }
}

/// A front whose keeper is turned by hand.
pub struct Node {
    pub keys: Idempotency,
    pub keeper: Keeper,
    pub now: Timestamp,
}

impl Node {
    pub fn new(store: &Arc<Shaky>) -> Node {
        Node::of(store, 1, |builder| builder)
    }

    pub fn of(
        store: &Arc<Shaky>,
        seed: u64,
        with: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Node {
        let builder = with(Idempotency::builder(in_a_thread).seed(seed));
        let (keys, keeper) = builder.by_hand(store.clone()).expect("the terms are accepted");
        let mut node = Node { keys, keeper, now: Timestamp::from_secs(1_000_000) };
        node.turn();
        node
    }

    pub fn turn(&mut self) -> Timestamp {
        self.keeper.turn(self.now)
    }

    /// Lets time pass, turning the keeper whenever it wants to be.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now.saturating_add(time);
        let mut turns = 0;
        loop {
            let next = self.turn();
            turns += 1;
            assert!(turns < 100_000, "the keeper is turned for ever at {:?}", self.now);
            if next >= until {
                break;
            }
            self.now = self.now.max(next);
        }
        self.now = until;
        self.turn();
    }

    /// Asks for a claim, which waits.
    pub fn ask(&mut self, key: &str, text: &str, wait: Duration) -> Claiming {
        let claiming = self.keys.claim(&scope(key), body(text), wait);
        self.turn();
        claiming
    }

    /// A claim that is answered at once.
    pub fn claim(&mut self, key: &str, text: &str) -> Result<Claim, ClaimError> {
        answered(&mut self.ask(key, text, AT_ONCE))
    }

    pub fn own(&mut self, key: &str, text: &str) -> Lease {
        owned(self.claim(key, text))
    }

    pub fn complete(&mut self, lease: Lease, result: &str) {
        let mut ending = lease.complete(result.as_bytes());
        self.turn();
        answered(&mut ending).expect("it is completed");
    }

    pub fn fail(&mut self, lease: Lease) {
        let mut ending = lease.fail();
        self.turn();
        answered(&mut ending).expect("it is failed");
    }
}

/// What a future is answered, if it is.
pub fn now_or_never<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

pub fn answered<F: Future + Unpin>(future: &mut F) -> F::Output {
    now_or_never(future).expect("it is answered")
}

pub fn owned(claim: Result<Claim, ClaimError>) -> Lease {
    match claim {
        Ok(Claim::Owned(lease)) => lease,
        other => panic!("the key is not owned: {other:?}"),
    }
}

pub fn replayed(claim: Result<Claim, ClaimError>) -> Option<String> {
    match claim {
        Ok(Claim::Replay { result, .. }) => {
            result.map(|bytes| String::from_utf8(bytes.to_vec()).expect("a text"))
        }
        other => panic!("it is no replay: {other:?}"),
    }
}

pub fn in_flight(claim: Result<Claim, ClaimError>) -> Duration {
    match claim {
        Ok(Claim::InFlight { lease_left }) => lease_left,
        other => panic!("it is not in flight: {other:?}"),
    }
}

pub fn is_mismatch(claim: Result<Claim, ClaimError>) -> bool {
    matches!(claim, Ok(Claim::Mismatch))
}

/// Runs a task in a thread of its own.
pub fn in_a_thread(task: Pin<Box<dyn Future<Output = ()> + Send>>) {
    thread::spawn(|| block_on(task));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future in a thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
