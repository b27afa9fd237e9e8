//! What the cases are made of.

use std::time::Duration;

use tollkeeper::{
    Fingerprint, Holder, KeyAct, KeyAnswer, KeyOp, KeyStore, RecordId, Scope, Timestamp,
};

/// A store of its own for one case.
pub trait Place: Sized + Sync {
    /// Whether it outlives the process.
    const DURABLE: bool;

    /// Whether what the store needs is on this machine. If not, it has said so.
    fn is_here() -> bool {
        true
    }

    fn fresh() -> Self;

    /// The store, by a connection of its own where it has any.
    fn open(&self) -> Box<dyn KeyStore>;

    /// The time that the store is told.
    fn now(&self) -> Timestamp;

    /// Lets time pass for the store.
    fn pass(&mut self, time: Duration);
}

/// A clock that a test moves, for stores that go by the time they are told.
#[derive(Debug)]
pub struct Told(pub Timestamp);

impl Default for Told {
    fn default() -> Told {
        Told(Timestamp::from_secs(1_000_000_000))
    }
}

pub const HOUR: Duration = Duration::from_secs(3_600);
/// Of what is to be over soon, also by a clock that cannot be moved.
pub const SHORT: Duration = Duration::from_millis(300);

pub fn scope(key: &str) -> Scope {
    Scope::new("acme", "POST /v1/chat", key).expect("a scope")
}

pub fn body(text: &str) -> Fingerprint {
    Fingerprint::of(&[text.as_bytes()])
}

pub fn op(key: &str, act: KeyAct) -> KeyOp {
    KeyOp { scope: scope(key), act }
}

pub fn claim(text: &str, attempt: u64, lease: Duration) -> KeyAct {
    KeyAct::Claim { fingerprint: body(text), attempt, lease }
}

pub fn peek(text: &str) -> KeyAct {
    KeyAct::Peek { fingerprint: body(text) }
}

pub fn beat(fence: u64, attempt: u64, lease: Duration) -> KeyAct {
    KeyAct::Heartbeat { holder: Holder { fence, attempt }, lease }
}

pub fn complete(fence: u64, attempt: u64, result: &[u8]) -> KeyAct {
    let result = Some(result.into());
    KeyAct::Complete { holder: Holder { fence, attempt }, result, ttl: HOUR }
}

pub fn fail(fence: u64, attempt: u64, ttl: Duration) -> KeyAct {
    KeyAct::Fail { holder: Holder { fence, attempt }, ttl }
}

/// Asks about the key `k`.
pub fn ask<P: Place>(place: &P, store: &dyn KeyStore, act: KeyAct) -> KeyAnswer {
    ask_of(place, store, "k", act)
}

pub fn ask_of<P: Place>(place: &P, store: &dyn KeyStore, key: &str, act: KeyAct) -> KeyAnswer {
    let answers = store.apply(&[op(key, act)], place.now()).expect("the store answers");
    let [answer] = <[KeyAnswer; 1]>::try_from(answers).expect("one answer");
    answer
}

/// Fence and charge of a claim that owns.
pub fn owned(answer: KeyAnswer) -> (u64, RecordId) {
    match answer {
        KeyAnswer::Owned { fence, charge } => (fence, charge),
        other => panic!("the key is not owned: {other:?}"),
    }
}

/// The fence of the one who holds it.
pub fn in_flight(answer: KeyAnswer) -> (u64, Duration) {
    match answer {
        KeyAnswer::InFlight { fence, lease_left } => (fence, lease_left),
        other => panic!("it is not in flight: {other:?}"),
    }
}

pub fn replayed(answer: KeyAnswer) -> (Option<Vec<u8>>, RecordId) {
    match answer {
        KeyAnswer::Replay { result, charge } => (result.map(|result| result.to_vec()), charge),
        other => panic!("it is no replay: {other:?}"),
    }
}
