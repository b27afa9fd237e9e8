//! A key that somebody holds, and how that ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;

use super::desk::{Ask, End};
use super::front::Idempotency;
use super::key::Scope;
use super::record::Holder;
use super::transition::KeyAct;
use crate::ledger::{RecordId, StoreError};
use crate::promise::{Owed, Promise, promise};
use crate::sync::{Arc, AtomicBool, Ordering};

/// A key that the caller holds. The keeper prolongs it until it is ended.
///
/// Whoever has it executes the request, has it charged under [`charge`](Self::charge), and then
/// [completes](Self::complete) or [fails](Self::fail) it. Dropped, it is failed without waiting, so
/// that the next claim need not wait for the lease to run out.
#[must_use]
pub struct Lease {
    key: Held,
    front: Idempotency,
    ended: bool,
}

/// Which key is held by which claim.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) scope: Scope,
    pub(super) holder: Holder,
    pub(super) charge: RecordId,
    pub(super) lost: Lost,
}

/// Whether a lease has run out, as far as its keeper knows.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<AtomicBool>);

impl Lost {
    pub(super) fn set(&self, lost: bool) {
        // A hint: what the holder does is made safe by the store, not by this.
        self.0.store(lost, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        // A hint, as above.
        self.0.load(Ordering::Relaxed)
    }
}

/// Why it is not known that a key has ended as its holder wanted. What was executed was executed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EndError {
    /// The lease had run out and another claim took over, which may execute the request again. The
    /// charge is made once all the same, if it goes by [`Lease::charge`].
    #[error("the lease was lost: another claim has taken the key over")]
    LostLease,
    /// The store did not answer for as long as a lease lasts, or refused. Whether the key has
    /// ended is not known; if not, it can be taken over when its lease runs out.
    #[error("a key's end is not written: {0}")]
    Store(#[source] Arc<StoreError>),
    /// The keeper has ended. Whether the key has ended is not known.
    #[error("a key's end is not written: the keeper has ended")]
    Stopped,
}

/// What comes of ending a lease: a future, which a thread can [`wait`](Self::wait) for as well. The
/// end is written whether or not anybody waits for it; for a store that is unavailable it is tried
/// again for as long as a lease lasts.
#[must_use = "a lease may have been lost before it was ended"]
pub struct Ending(Promise<Result<(), EndError>>);

impl Lease {
    pub(super) fn new(key: Held, front: Idempotency) -> Lease {
        Lease { key, front, ended: false }
    }

    /// Whose key it is.
    pub fn scope(&self) -> &Scope {
        &self.key.scope
    }

    /// 1 for the first claim of the key, and one more for each that took over. What it is handed
    /// to can refuse a smaller one than it has seen.
    pub fn fence(&self) -> u64 {
        self.key.holder.fence
    }

    /// The id of the ledger's record for this request: the same for every attempt, so that the
    /// ledger charges one of them.
    pub fn charge(&self) -> RecordId {
        self.key.charge
    }

    /// Whether there were attempts before this one, which failed or whose lease ran out. They may
    /// have executed the request, and charged it.
    pub fn is_takeover(&self) -> bool {
        self.fence() > 1
    }

    /// Whether the lease has run out, as far as is known, or its keeper has ended: another claim
    /// has taken over or may do so any time. While the store is unavailable it may become untrue
    /// again.
    pub fn is_lost(&self) -> bool {
        self.key.lost.get()
    }

    /// Ends it with a result, which is replayed from now on for the time to live. One larger than
    /// [`max_result_bytes`](super::IdempotencyBuilder::max_result_bytes) is not kept.
    pub fn complete(self, result: impl Into<Arc<[u8]>>) -> Ending {
        let result = result.into();
        let fits = result.len() <= self.front.terms().result_bytes_max;
        let (holder, ttl) = (self.key.holder, self.front.terms().ttl);
        self.end(KeyAct::Complete { holder, result: fits.then_some(result), ttl })
    }

    /// Ends it without a result: the next claim of the same request executes it again, under the
    /// same charge. One that was billed is better [completed](Self::complete), with the answer that
    /// says how it failed: otherwise what its retries cost is charged to nobody.
    pub fn fail(self) -> Ending {
        let act = self.failing();
        self.end(act)
    }

    /// Ends it for a request that is charged nothing, such as one that is denied. If there were no
    /// attempts before, nothing has come of the key, and it is forgotten: the next claim may be of
    /// any request, under a charge of its own, and the store's next purge takes it away. Otherwise
    /// it is [failed](Self::fail), because those may have been charged.
    ///
    /// [`EndError::LostLease`] may also mean that it was given back and the acknowledgement lost.
    pub fn give_back(self) -> Ending {
        if self.is_takeover() {
            return self.fail();
        }
        let holder = self.key.holder;
        self.end(KeyAct::Fail { holder, ttl: Duration::ZERO })
    }

    pub(super) fn key(&self) -> &Held {
        &self.key
    }

    fn failing(&self) -> KeyAct {
        KeyAct::Fail { holder: self.key.holder, ttl: self.front.terms().ttl }
    }

    fn end(mut self, act: KeyAct) -> Ending {
        let (owed, promised) = promise();
        self.ask(act, Some(owed));
        Ending(promised)
    }

    fn ask(&mut self, act: KeyAct, owed: Option<Owed<Result<(), EndError>>>) {
        self.ended = true;
        let (scope, holder) = (self.key.scope.clone(), self.key.holder);
        self.front.ask(Ask::End(End { scope, holder, act, owed }));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ended {
            let act = self.failing();
            self.ask(act, None);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lease = f.debug_struct("Lease");
        lease.field("scope", &self.key.scope).field("holder", &self.key.holder);
        lease.field("charge", &self.key.charge).field("is_lost", &self.is_lost()).finish()
    }
}

impl Ending {
    /// Blocks the thread until it is known.
    ///
    /// # Errors
    ///
    /// [`EndError`].
    pub fn wait(mut self) -> Result<(), EndError> {
        self.0.wait(None).unwrap_or(Err(EndError::Stopped))
    }
}

impl Future for Ending {
    type Output = Result<(), EndError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = Pin::new(&mut self.0).poll(context);
        ended.map(|ended| ended.unwrap_or(Err(EndError::Stopped)))
    }
}
