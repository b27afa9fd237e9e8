//! Exclusion among processes: one trait, for PostgreSQL and whatever else several replicas share.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::id::OwnerId;
use crate::sync::Arc;

/// What separates these keys from those of anything else that takes locks in the same place.
const NAMESPACE: &[u8] = b"tollkeeper cost barrier";

/// What is locked for a user: 64 bits, as `pg_advisory_xact_lock(bigint)` takes them.
///
/// The first eight bytes, big-endian and signed, of the SHA-256 of the namespace
/// `tollkeeper cost barrier`, a zero byte, and the user's text. It is the same in every process and
/// every version. Two users of one key (one pair among a million users with a probability of
/// 3 in 10^8) only wait for each other.
///
/// ```
/// use tollkeeper::LockKey;
///
/// let key = LockKey::of(&"user:u1".parse()?);
/// assert_eq!(key.get(), -6_217_708_169_573_623_801);
/// # Ok::<(), tollkeeper::IdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockKey(i64);

impl LockKey {
    /// The key of a user.
    pub fn of(user: &OwnerId) -> LockKey {
        let mut hash = Sha256::new();
        hash.update(NAMESPACE);
        hash.update([0]);
        hash.update(user.to_string());
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        LockKey(i64::from_be_bytes(first))
    }

    /// The key as a number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A lock that replicas share: of all processes that ask for a key, one has it at a time.
///
/// A [`Barrier`](super::Barrier) asks for the key of a user only on behalf of the call whose turn
/// it is in this process, and never twice at the same time. It never asks, drops a request or drops
/// a guard while it holds a lock of its own.
///
/// # What every lock guarantees
///
/// - **Exclusion** while the connection to what keeps the lock lives. When the connection is lost,
///   another process may get the key while this one still works: no lock can prevent that. It is
///   noticed within seconds, also while nothing is asked, and told through the guard's
///   [`Loss`].
/// - **Nothing blocks.** [`request`](Self::request), polling what it returns, dropping that and
///   dropping a guard return at once; what waits for a network does so elsewhere. Anything may be
///   called on any thread, in a runtime or outside.
/// - **Cancellation.** Dropping the request gives up the wait. A key that is granted at that very
///   moment is released.
/// - **Release.** Dropping the guard releases the key without waiting for anything else, and never
///   panics. A release that fails is not reported to the holder, whose work is done; the connection
///   is closed, which releases the key as well.
/// - **Connections of its own**, apart from those that the holder's work needs: otherwise as many
///   holders as there are connections wait for each other for ever. A key occupies at most one: who
///   asks for it while the process still cancels or releases it waits for that.
pub trait RemoteLock: Send + Sync + 'static {
    /// Asks for a key, and stops waiting for it after `within`, with [`LockError::Timeout`].
    ///
    /// The wait may begin when this is called or when the request is polled first.
    fn request(&self, key: LockKey, within: Duration) -> LockRequest;
}

impl<L: RemoteLock> RemoteLock for Arc<L> {
    fn request(&self, key: LockKey, within: Duration) -> LockRequest {
        (**self).request(key, within)
    }
}

/// A key that was asked for, and is granted or refused later. Dropping it cancels it.
///
/// It may be polled in any runtime and by a bare thread, and from a different one each time.
pub type LockRequest =
    Pin<Box<dyn Future<Output = Result<Box<dyn RemoteGuard>, LockError>> + Send + 'static>>;

/// A key that this process has. Dropping it releases the key.
pub trait RemoteGuard: Send + Sync + 'static {
    /// What is told when the key is lost before it is released. The same for the guard's life.
    fn loss(&self) -> &Loss;
}

/// Why a key was not granted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it, and the time is up.
    #[error("another process holds the user's lock and did not release it in time")]
    Timeout,
    /// What keeps the lock cannot be reached, all of its connections are in use until the time is
    /// up, or the connection broke during the wait.
    #[error("the lock that replicas share is not available: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// News that comes once, if ever: a key was lost. A future that is ready when it did; clones are of
/// the same news.
///
/// ```
/// use tollkeeper::Loss;
///
/// let held = Loss::new();
/// let watched = held.clone();
/// assert!(!watched.is_told());
/// held.tell();
/// assert!(watched.is_told());
/// ```
pub struct Loss {
    shared: Arc<Mutex<News>>,
    /// Under which number this clone's waker is kept.
    number: Option<u64>,
}

#[derive(Default)]
struct News {
    told: bool,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Loss {
    /// News that has not come.
    pub fn new() -> Loss {
        Loss { shared: Arc::default(), number: None }
    }

    /// Tells it, and wakes all that wait for it. Telling it again changes nothing.
    pub fn tell(&self) {
        let wakers = {
            let mut news = self.shared.lock();
            news.told = true;
            std::mem::take(&mut news.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        self.shared.lock().told
    }
}

impl Default for Loss {
    fn default() -> Loss {
        Loss::new()
    }
}

impl Clone for Loss {
    fn clone(&self) -> Loss {
        Loss { shared: Arc::clone(&self.shared), number: None }
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // Dropped outside of the lock: a waker is someone else's code.
        let waker = self.shared.lock().wakers.remove(&number);
        drop(waker);
    }
}

impl Future for Loss {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waker = context.waker().clone();
        let mut news = this.shared.lock();
        if news.told {
            return Poll::Ready(());
        }
        let number = *this.number.get_or_insert_with(|| {
            news.next += 1;
            news.next
        });
        let before = news.wakers.insert(number, waker);
        drop(news);
        drop(before);
        Poll::Pending
    }
}

impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loss").field("told", &self.is_told()).finish()
    }
}
