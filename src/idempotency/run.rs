//! Executing a request once, and replaying it from then on.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;

use super::front::{Claim, ClaimError, Idempotency};
use super::key::{Fingerprint, Scope};
use super::lease::{EndError, Held, Lease};
use crate::ledger::RecordId;
use crate::promise::promise;
use crate::sync::{Arc, AtomicBool, Ordering};

/// What an execution is told about itself. Cheap to clone.
#[derive(Clone)]
pub struct Attempt {
    key: Held,
    uncharged: Arc<AtomicBool>,
}

impl Attempt {
    /// Whose key it is.
    pub fn scope(&self) -> &Scope {
        &self.key.scope
    }

    /// See [`Lease::fence`].
    pub fn fence(&self) -> u64 {
        self.key.holder.fence
    }

    /// The id of the ledger's record for this request. See [`Lease::charge`].
    pub fn charge(&self) -> RecordId {
        self.key.charge
    }

    /// See [`Lease::is_takeover`].
    pub fn is_takeover(&self) -> bool {
        self.fence() > 1
    }

    /// See [`Lease::is_lost`].
    pub fn is_lost(&self) -> bool {
        self.key.lost.get()
    }

    /// Says that nothing is charged for this execution, which is about to end with an error: its
    /// key is [given back](Lease::give_back) then.
    pub fn mark_uncharged(&self) {
        // Relaxed: read by the task that runs the execution, when it has ended.
        self.uncharged.store(true, Ordering::Relaxed);
    }
}

/// A request's result, and whether it was executed for this call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It was, and its key is completed.
    Fresh(Arc<[u8]>),
    /// It was executed before.
    Replayed(Arc<[u8]>),
}

/// Why a request has no result that counts.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The key was used for a request with another fingerprint: HTTP's 422. Nothing was executed.
    #[error("the key was used for another request")]
    Mismatch,
    /// It is being executed, and was so for as long as the call waited: HTTP's 409.
    #[error("the request with this key is still in flight")]
    InFlight {
        /// How long at least until it can be taken over, should its holder have crashed.
        lease_left: Duration,
    },
    /// It was executed before, and its result was too large to be kept.
    #[error("the request was executed; its result was too large to be kept")]
    NotKept {
        /// The record id under which it was charged.
        charge: RecordId,
    },
    /// There was no answer whether it may be executed. Nothing was.
    #[error(transparent)]
    Claim(ClaimError),
    /// The execution failed. The next call executes it again, under the same charge, unless it was
    /// [uncharged](Attempt::mark_uncharged).
    #[error("the request failed")]
    Failed(E),
    /// The execution panicked, or its task was dropped by whoever runs tasks. The next call
    /// executes it again, under the same charge.
    #[error("the execution of the request broke off")]
    BrokeOff,
    /// It was executed, and its key is not known to be completed: another claim took over, or the
    /// store did not answer. A gateway may well answer with the result: the charge is made once.
    #[error("the request was executed, but {error}")]
    NotCompleted {
        /// The result.
        result: Arc<[u8]>,
        /// Why it is not replayed.
        error: EndError,
    },
}

impl Idempotency {
    /// Executes a request once: the first call with a key executes it, all others get its result
    /// again.
    ///
    /// It waits so long at most for one that is in flight, and for a store that is unavailable. It
    /// takes over when the one in flight fails, or when its lease runs out. A client's deadline is
    /// a good choice.
    ///
    /// The execution is a task of its own, which goes on when this future is dropped. It has its
    /// request charged under [`Attempt::charge`]. If it panics, the key is failed.
    ///
    /// An execution that failed and was billed all the same ends with `Ok` and the answer that
    /// says so: that is replayed then. After an `Err` the next call executes the request again,
    /// under the same charge: what the upstream bills for that is charged to nobody. One that was
    /// charged nothing says so ([`Attempt::mark_uncharged`]), and its key is forgotten.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run<X, F, B, E>(
        &self,
        scope: &Scope,
        fingerprint: Fingerprint,
        wait: Duration,
        execute: X,
    ) -> impl Future<Output = Result<Ran, RunError<E>>> + Send + use<X, F, B, E>
    where
        X: FnOnce(Attempt) -> F + Send + 'static,
        F: Future<Output = Result<B, E>> + Send + 'static,
        B: Into<Arc<[u8]>>,
        E: Send + 'static,
    {
        let (keys, scope) = (self.clone(), scope.clone());
        async move {
            let lease = match keys.claim(&scope, fingerprint, wait).await {
                Ok(Claim::Owned(lease)) => lease,
                Ok(Claim::Replay { result: Some(result), .. }) => return Ok(Ran::Replayed(result)),
                Ok(Claim::Replay { result: None, charge }) => {
                    return Err(RunError::NotKept { charge });
                }
                Ok(Claim::InFlight { lease_left }) => {
                    return Err(RunError::InFlight { lease_left });
                }
                Ok(Claim::Mismatch) => return Err(RunError::Mismatch),
                Err(error) => return Err(RunError::Claim(error)),
            };
            let (owed, ran) = promise();
            keys.spawn(Box::pin(async move {
                // Nobody may wait any more: what was executed is completed all the same.
                drop(owed.give(execute_once(lease, execute).await));
            }));
            ran.await.unwrap_or(Err(RunError::BrokeOff))
        }
    }
}

async fn execute_once<F, B, E>(
    lease: Lease,
    execute: impl FnOnce(Attempt) -> F,
) -> Result<Ran, RunError<E>>
where
    F: Future<Output = Result<B, E>>,
    B: Into<Arc<[u8]>>,
{
    let uncharged = Arc::new(AtomicBool::new(false));
    let attempt = Attempt { key: lease.key().clone(), uncharged: Arc::clone(&uncharged) };
    let execution = Box::pin(async move { execute(attempt).await.map(Into::into) });
    let error = match Unwinding(execution).await {
        Some(Ok(result)) => {
            let result: Arc<[u8]> = result;
            return match lease.complete(result.clone()).await {
                Ok(()) => Ok(Ran::Fresh(result)),
                Err(error) => Err(RunError::NotCompleted { result, error }),
            };
        }
        Some(Err(error)) => RunError::Failed(error),
        None => RunError::BrokeOff,
    };
    // Relaxed: see `mark_uncharged`.
    let given_back = uncharged.load(Ordering::Relaxed);
    // Whether the key was still held does not matter to a request that failed.
    drop(if given_back { lease.give_back() } else { lease.fail() }.await);
    Err(error)
}

/// A future that ends with `None` when it panics.
struct Unwinding<F>(Pin<Box<F>>);

impl<F: Future> Future for Unwinding<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // It is not polled again after a panic, so nobody sees what that left half done.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}
