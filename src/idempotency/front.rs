//! The front: what a gateway asks, and what it is answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;

use super::desk::Ask;
use super::keeper::Keeper;
use super::key::{Fingerprint, Scope};
use super::lease::Lease;
use super::store::KeyStore;
use crate::ledger::{RecordId, StoreError};
use crate::promise::{Promise, promise};
use crate::sync::Arc;
use crate::task::{Spawn, Task};

const LEASE: Duration = Duration::from_secs(30);
const LEASE_MIN: Duration = Duration::from_millis(10);
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const TTL: Duration = Duration::from_secs(24 * 60 * 60);
const TTL_MIN: Duration = Duration::from_millis(1);
const RESULT_BYTES_MAX: usize = 1 << 20;

/// Idempotency keys of a gateway: a request that is sent again is executed once.
///
/// It hands what is asked to its [`Keeper`], which asks the store for all callers at once. Cheap
/// to clone; every clone is the same. It needs no async runtime: what it returns is a future for
/// tasks, and can be waited for by threads.
///
/// ```
/// use std::time::Duration;
/// use tollkeeper::{Fingerprint, Idempotency, MemoryKeys, Ran, Scope};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let keys = Idempotency::builder(|task| drop(tokio::spawn(task)));
/// let keys = keys.start(MemoryKeys::new(1_000))?;
///
/// let scope = Scope::new("acme", "POST /v1/chat", "8e03978e-40d5-43dd")?;
/// let asked = Fingerprint::of(&[b"POST", b"/v1/chat", b"{}"]);
/// let wait = Duration::from_secs(5);
/// let ran = keys.run(&scope, asked, wait, |_| async { Ok::<_, String>(b"42".to_vec()) }).await?;
/// assert_eq!(ran, Ran::Fresh(b"42"[..].into()));
///
/// let never = |_| async { Err::<Vec<u8>, _>("not executed") };
/// let again = keys.run(&scope, asked, wait, never).await?;
/// assert_eq!(again, Ran::Replayed(b"42"[..].into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Idempotency(Arc<Front>);

struct Front {
    asks: Sender<Ask>,
    terms: Terms,
    spawn: Spawn,
}

/// What holds for all keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    pub(super) ttl: Duration,
    pub(super) result_bytes_max: usize,
}

/// What an [`Idempotency`] is made of.
pub struct IdempotencyBuilder {
    terms: Terms,
    seed: u64,
    spawn: Spawn,
}

/// Why an [`Idempotency`] cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The lease is too short or too long.
    #[error("the lease is {lease:?}; accepted: {LEASE_MIN:?} to 24 hours")]
    Lease {
        /// As given.
        lease: Duration,
    },
    /// The time to live is too short.
    #[error("the time to live is {ttl:?}; accepted: {TTL_MIN:?} and more")]
    Ttl {
        /// As given.
        ttl: Duration,
    },
    /// The keeper's thread does not start.
    #[error("the keeper's thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// What a claim met.
#[derive(Debug)]
#[must_use]
pub enum Claim {
    /// The key is the caller's, who now executes the request and ends the lease.
    Owned(Lease),
    /// The request was executed before.
    Replay {
        /// What it resulted in. `None`: it was too large to be kept.
        result: Option<Arc<[u8]>>,
        /// The record id under which it was charged.
        charge: RecordId,
    },
    /// The request is being executed: HTTP's 409.
    InFlight {
        /// How long at least until it can be taken over, should its holder have crashed.
        lease_left: Duration,
    },
    /// The key was used for a request with another fingerprint: HTTP's 422.
    Mismatch,
}

/// Why a claim has no answer. Nothing was executed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The store did not answer in time, or refused.
    #[error("a key is not claimed: {0}")]
    Store(#[source] Arc<StoreError>),
    /// The store is bounded, and full of keys that have not expired.
    #[error("a key is not claimed: the store is full of keys that have not expired")]
    Full,
    /// The keeper has ended.
    #[error("a key is not claimed: the keeper has ended")]
    Stopped,
}

/// A claim's answer to come: a future, which a thread can [`wait`](Self::wait) for as well.
///
/// Dropping it withdraws the claim: if it is owned all the same, it is failed at once.
#[must_use]
pub struct Claiming(Promise<Result<Claim, ClaimError>>);

impl Idempotency {
    /// A builder. What [`run`](Self::run) executes goes through `spawn`, so that it goes on when
    /// the client disconnects: `|task| drop(tokio::spawn(task))`, for one.
    pub fn builder(spawn: impl Fn(Task) + Send + Sync + 'static) -> IdempotencyBuilder {
        let terms = Terms { lease: LEASE, ttl: TTL, result_bytes_max: RESULT_BYTES_MAX };
        // Most of the bits of a time-ordered id are drawn at random.
        let drawn = RecordId::generate().as_u128();
        let seed = u64::try_from(drawn & u128::from(u64::MAX)).unwrap_or_default();
        IdempotencyBuilder { terms, seed, spawn: Arc::new(spawn) }
    }

    /// Claims a key for a request.
    ///
    /// It waits so long at most for somebody else who holds the key, and for a store that is
    /// unavailable: with [`Duration::ZERO`] it is told at once. A waiting claim takes the key
    /// over when it fails, or when its holder's lease runs out. The claim is made whether or not
    /// the future is polled.
    ///
    /// A store that hangs, instead of saying that it is unavailable, is waited for as long as it
    /// bounds its calls, whatever `wait` says: up to a minute or so for those of this crate.
    /// Dropping the future ends that as well, and withdraws the claim.
    pub fn claim(&self, scope: &Scope, fingerprint: Fingerprint, wait: Duration) -> Claiming {
        let (owed, promised) = promise();
        let (scope, front) = (scope.clone(), self.clone());
        self.ask(Ask::Claim { scope, fingerprint, wait, owed, front });
        Claiming(promised)
    }

    /// Hands it to the keeper. If that has ended, what is owed vanishes, and the wait ends.
    pub(super) fn ask(&self, ask: Ask) {
        drop(self.0.asks.send(ask));
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.0.terms
    }

    /// The largest result that is kept, in bytes.
    #[cfg(feature = "http")]
    pub(crate) fn result_bytes_max(&self) -> usize {
        self.0.terms.result_bytes_max
    }

    pub(super) fn spawn(&self, task: Task) {
        (self.0.spawn)(task);
    }
}

impl IdempotencyBuilder {
    /// For how long a key is held without a sign of life of its holder; 30 seconds, if not set.
    /// Accepted are 10 milliseconds to 24 hours.
    ///
    /// The keeper prolongs every lease by itself, each third of it, however long the execution
    /// takes. A shorter one lets others take over sooner when a process has crashed.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.terms.lease = lease;
        self
    }

    /// How long a key is remembered after it was completed or failed; 24 hours, if not set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// The largest result that is kept, in bytes; 1 MiB, if not set. The key of a larger one is
    /// completed all the same, and its replays say that the result is not there.
    pub fn max_result_bytes(mut self, bytes: usize) -> Self {
        self.terms.result_bytes_max = bytes;
        self
    }

    /// What the keeper draws its random numbers from, to have them again in a test; drawn, if not
    /// set. No two keepers of one store may have the same: claims are told apart by them.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts a keeper in a thread of its own, which ends after the last clone and lease.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError`].
    pub fn start(self, store: impl KeyStore) -> Result<Idempotency, IdempotencyError> {
        let (front, keeper) = self.by_hand(store)?;
        std::thread::Builder::new().name("tollkeeper-keys".into()).spawn(|| keeper.keep())?;
        Ok(front)
    }

    /// The same without a thread and without a clock: whatever is asked waits until the keeper is
    /// [turned](Keeper::turn). For tests and simulations.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError`].
    pub fn by_hand(self, store: impl KeyStore) -> Result<(Idempotency, Keeper), IdempotencyError> {
        let Terms { lease, ttl, .. } = self.terms;
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(IdempotencyError::Lease { lease });
        }
        if ttl < TTL_MIN {
            return Err(IdempotencyError::Ttl { ttl });
        }
        let (asks, inbox) = channel();
        let keeper = Keeper::new(Box::new(store), inbox, lease, self.seed);
        let front = Front { asks, terms: self.terms, spawn: self.spawn };
        Ok((Idempotency(Arc::new(front)), keeper))
    }
}

impl Claiming {
    /// Blocks the thread until the answer comes.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn wait(mut self) -> Result<Claim, ClaimError> {
        self.0.wait(None).unwrap_or(Err(ClaimError::Stopped))
    }
}

impl Future for Claiming {
    type Output = Result<Claim, ClaimError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(ClaimError::Stopped)))
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Idempotency").field(&self.0.terms).finish()
    }
}
