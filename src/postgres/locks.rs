//! Locks that replicas share: advisory locks of PostgreSQL, on connections of their own.
//!
//! ```text
//!  request ─► Ticket ─┬─► worker: a thread, a connection    BEGIN; pg_advisory_xact_lock(key)
//!             │       └─► waiting, while all are busy          │ granted ─► Held, the guard
//!             ▼                                                │    │ now and then: is it there?
//!          keeper: its deadline, whatever the server does      ▼    ▼ dropped
//!                                                            ROLLBACK ─► the next ticket
//! ```
//!
//! A lock is a transaction's, so its end, however it comes, is the lock's. Nothing here unlocks, so
//! no lock can stay behind on a connection that is used again, nor behind a pooler.
//!
//! Of one key a pool has one connection: a ticket for a key that is still being released, or whose
//! wait is being cancelled, waits for that worker. So a process has at most one connection for each
//! user with a call, and those that idle.

mod keeper;
mod pool;
mod ticket;
mod worker;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::session;
use crate::barrier::{LockError, LockKey, LockRequest, RemoteGuard, RemoteLock};
use crate::ledger::StoreError;
use crate::promise::{Promise, promise};
use crate::sync::Arc;
use pool::Pool;
use ticket::{Answer, Ticket};

/// The longest wait that is told apart from a longer one: 24 days are the server's limit too.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// How many connections locks may take, and how they are looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockPool {
    /// At most so many at once, at least one: one for each key that is held or waited for. Who
    /// asks for more waits until one is free. 32 by default.
    pub connections: usize,
    /// A lock that is held is looked after so often, and the answer waited for as long: so a lost
    /// connection is noticed within twice this time. 5 s by default, at least 10 ms.
    pub keep_alive: Duration,
    /// A connection that nobody has needed for so long is closed. 60 s by default.
    pub idle: Duration,
}

/// The cross-replica lock of a [`Barrier`](crate::Barrier) in PostgreSQL: `pg_advisory_xact_lock`
/// by the [`LockKey`], in the key space of one database.
///
/// Its connections are its own ([`LockPool`]), apart from those of [`Postgres`](crate::Postgres): a
/// lock is held while its holder works with the store. Each that is in use has a thread. Their
/// `application_name` is `tollkeeper-locks` if the URL names none. A held lock is a transaction
/// that is idle, and monitoring will show it. It holds no snapshot, so it does not hold up vacuum.
///
/// A process that dies releases its locks at once. One that stands still, or whose machine or
/// network is gone without a word, has them released by the server when that has heard nothing for
/// four times the keep-alive time, and for 5 s at least (`idle_in_transaction_session_timeout`,
/// whatever the database's own is).
///
/// Works behind a pooler in transaction mode; each held lock then occupies a connection of the
/// pooler to the server. Connections are without TLS, as those of [`Postgres`](crate::Postgres).
///
/// Dropping it ends the waits; locks that are held stay until their guards are dropped.
///
/// # What it is not
///
/// PostgreSQL keeps advisory locks in memory. After a failover, or while the server is unreachable,
/// two processes may have the same key; the one that had it is told through
/// [`Loss`](crate::Loss), within twice the keep-alive time. Nothing that must be right may depend
/// on it alone.
pub struct PostgresLocks {
    pool: Arc<Pool>,
}

impl Default for LockPool {
    fn default() -> LockPool {
        LockPool {
            connections: 32,
            keep_alive: Duration::from_secs(5),
            idle: Duration::from_secs(60),
        }
    }
}

impl PostgresLocks {
    /// Connects once, so that a wrong URL is found now, and keeps that connection for the first
    /// lock. It makes no tables and needs no privileges. May be called from a thread of an async
    /// runtime, which it blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] when the URL is malformed or wants TLS,
    /// [`StoreError::Unavailable`] when the server cannot be reached or refuses the user.
    ///
    /// ```no_run
    /// use tollkeeper::{LockPool, PostgresLocks};
    ///
    /// let url = "postgresql://gateway@db.internal/gateway";
    /// let pool = LockPool { connections: 64, ..LockPool::default() };
    /// let locks = PostgresLocks::connect(url, pool)?;
    /// # Ok::<(), tollkeeper::StoreError>(())
    /// ```
    pub fn connect(url: &str, pool: LockPool) -> Result<PostgresLocks, StoreError> {
        let config = session::configured(url, "tollkeeper-locks")?;
        Ok(PostgresLocks { pool: Pool::open(config, pool)? })
    }
}

impl RemoteLock for PostgresLocks {
    fn request(&self, key: LockKey, within: Duration) -> LockRequest {
        let (owed, promised) = promise();
        let deadline = Instant::now() + within.min(LONGEST);
        let ticket = Ticket::new(self.pool.number(), key.get(), deadline, owed);
        self.pool.admit(&ticket);
        Box::pin(Asked { promised, ticket, pool: Arc::clone(&self.pool) })
    }
}

impl Drop for PostgresLocks {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl fmt::Debug for PostgresLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLocks").field("pool", &self.pool.terms).finish()
    }
}

/// A lock that was asked for.
struct Asked {
    promised: Promise<Answer>,
    ticket: Arc<Ticket>,
    pool: Arc<Pool>,
}

impl Future for Asked {
    type Output = Result<Box<dyn RemoteGuard>, LockError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.promised).poll(context).map(|answer| match answer {
            Ok(answer) => answer.map(|held| Box::new(held) as Box<dyn RemoteGuard>),
            Err(_) => Err(LockError::Unavailable("its connections are being closed".into())),
        })
    }
}

/// Gives up what was not answered. What was answered meanwhile is released, because the answer is
/// dropped with the promise.
impl Drop for Asked {
    fn drop(&mut self) {
        self.pool.leave(&self.ticket);
        self.ticket.give_up(None);
    }
}
