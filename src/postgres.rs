//! The ledger and idempotency keys in PostgreSQL, for any number of processes.
//!
//! ```text
//!  Postgres ─┬─ Session (writing) ─┐                 tollkeeper.owners ◄── api_key, upstream ─┐
//!            ├─ Session (reading) ─┼─► one server ─► tollkeeper.records ──────────────────────┘
//!            └─ Session (keys) ────┘                 tollkeeper.postings, tollkeeper.totals
//!                                                    tollkeeper.grants, tollkeeper.top_ups
//!                                                    tollkeeper.keys
//! ```

mod error;
mod grants;
mod keys;
mod ledger;
mod locks;
mod reading;
mod rows;
mod schema;
mod session;
mod writing;

use std::fmt;

use crate::ledger::StoreError;
pub use locks::{LockPool, PostgresLocks};
use session::Session;

/// A ledger and idempotency keys in a PostgreSQL database, in a schema of its own, `tollkeeper`.
///
/// Any number of processes may use one database at the same time. Three connections at most are
/// open: one that writes to the ledger, one that reads it, and one for keys, so that neither waits
/// for the other; each is made again by the next call after it broke. A call that finds its
/// connection broken is [`StoreError::Unavailable`].
///
/// # What bounds a call
///
/// | | |
/// |---|---|
/// | making a connection | 10 s, or the URL's `connect_timeout` |
/// | waiting for another session's lock | 10 s (`lock_timeout`) |
/// | a statement | 30 s (`statement_timeout`) |
/// | a transaction whose process is stuck | 60 s (`idle_in_transaction_session_timeout`) |
/// | a peer that is gone | 60 s (TCP keep-alive and user timeout), unless the URL sets them |
///
/// A server that is stopped in its tracks (`SIGSTOP`) on the same machine is not noticed.
///
/// # Durability
///
/// What is acknowledged is on the server's disk: where `synchronous_commit` is `off` it is turned
/// on for these connections; stricter settings stay. `fsync` is the server's own matter.
///
/// # Poolers
///
/// Connections keep settings and prepare no statements: a pooler in session mode is fine, one in
/// transaction mode loses the time limits above.
///
/// # No TLS
///
/// Connections are not encrypted. A URL with `sslmode=require` is refused rather than connected in
/// the clear. Reach a distant server through a tunnel or a local pooler that speaks TLS.
pub struct Postgres {
    writing: Session,
    reading: Session,
    keys: Session,
}

impl Postgres {
    /// Connects, and makes the tables or brings them up to this release. Several processes may do
    /// so at once: they wait for each other.
    ///
    /// The URL is `postgresql://user:password@host:port/database?name=value`, or the key-value
    /// form of libpq. `application_name` is `tollkeeper` if the URL names none. The first time the
    /// user must be allowed to create a schema in the database; later, when nothing is to be
    /// changed, reading and writing its tables is enough.
    ///
    /// May be called from a thread of an async runtime, which it blocks, as all calls do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] when the URL is malformed or wants TLS,
    /// [`StoreError::Unavailable`] when the server cannot be reached or refuses the user,
    /// [`StoreError::Schema`] when the tables are those of another release.
    ///
    /// ```no_run
    /// use tollkeeper::Postgres;
    ///
    /// let store = Postgres::connect("postgresql://gateway@db.internal/gateway")?;
    /// # Ok::<(), tollkeeper::StoreError>(())
    /// ```
    pub fn connect(url: &str) -> Result<Postgres, StoreError> {
        let config = session::configured(url, "tollkeeper")?;
        let writing = Session::new(config.clone());
        writing.call("preparing the tables", schema::prepare)?;
        Ok(Postgres { writing, reading: Session::new(config.clone()), keys: Session::new(config) })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}
