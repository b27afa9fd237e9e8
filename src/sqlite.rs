//! Stores in an SQLite file.
//!
//! ```text
//!  Sqlite ─┬─ Mutex: one connection that writes, and the windows it knows by their description
//!          └─ Mutex: one connection that reads; in WAL mode it never waits for the other
//! ```
//!
//! The file is in WAL mode and `synchronous = FULL`: what was acknowledged is there after a loss of
//! power. Several processes may use one file; they take turns at writing, so that several of them
//! are not faster than one.
//!
//! # Tables
//!
//! ```text
//! owners    who may be referred to                id
//! records   a settled request, or a correction    seq · id · api_key · upstream · model ·
//!                                                 outcome · reason · input_tokens ·
//!                                                 output_tokens · cached_tokens ·
//!                                                 cache_write_tokens · requests · cost ·
//!                                                 admitted_at · settled_at · corrects · nulled ·
//!                                                 attempt
//! windows   a window of a counter, its total      id · limit_id · dimension · window_start ·
//!                                                 window_end · anchor · owner · standing ·
//!                                                 settled · first_record · last_record
//! postings  what a record charges to a window     record · window_id · amount
//! grants    what operators granted on a counter   limit_id · dimension · owner · credit ·
//!                                                 instead · until
//! top_ups   a payment                             id · limit_id · amount · at
//! keys      an idempotency key                    tenant · operation · client_key ·
//!                                                 fingerprint · status · fence · attempt · born ·
//!                                                 charge · lease_until · expires_at · result
//! ```
//!
//! What each column holds is said in `migrations/`. A posting names its window by a number: limit,
//! owner and instants are written once for each window instead of once for each request.
//!
//! ```sql
//! -- What each limit came to, window by window:
//! SELECT limit_id, dimension, window_start, settled FROM windows WHERE standing > 0;
//! -- What a key was charged, request by request:
//! SELECT hex(r.id), r.outcome, w.limit_id, p.amount
//!   FROM windows w JOIN postings p
//!     ON p.record BETWEEN w.first_record AND w.last_record AND p.window_id = w.id
//!   JOIN records r ON r.seq = p.record WHERE w.owner = 'key:k1';
//! ```

mod error;
mod grants;
mod group;
mod keys;
mod ledger;
mod postings;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod windows;

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::ledger::StoreError;
use error::failed;
use windows::Windows;

/// How long a call waits for another process that is writing, before it is
/// [`StoreError::Unavailable`].
const WAIT: Duration = Duration::from_secs(5);

/// Prepared statements that each connection keeps: more than there are.
const STATEMENTS: usize = 64;

/// A [`LedgerStore`](crate::LedgerStore) and a [`KeyStore`](crate::KeyStore) in an SQLite file.
/// SQLite is built in.
///
/// Calls block, some for as long as the disk takes to make a group durable. Writing takes turns;
/// reading waits for other reading only.
///
/// ```
/// use tollkeeper::{LedgerStore, Sqlite};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("ledger.sqlite");
/// let store = Sqlite::open(&path)?;
/// store.register(&["key:k1".parse()?])?;
/// assert!(store.delete(&"key:k1".parse()?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sqlite {
    writer: Mutex<Writer>,
    reader: Mutex<Connection>,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    windows: Windows,
}

impl Sqlite {
    /// Opens a file, or makes it, and brings its tables up to this release. Any number of processes
    /// may do so at the same time.
    ///
    /// Beside the file there are two more while it is open, `-wal` and `-shm`: they belong to it. A
    /// file system that is shared by several machines does not do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] if the file is no database of this crate, or one that a newer release
    /// has written; [`StoreError::Unavailable`] if it cannot be opened or is locked for more than
    /// five seconds.
    pub fn open(path: impl AsRef<Path>) -> Result<Sqlite, StoreError> {
        let mut connection = connect(path.as_ref())?;
        schema::prepare(&mut connection)?;
        let reader = connect(path.as_ref())?;
        reader.pragma_update(None, "query_only", true).map_err(failed(schema::OPENING))?;
        let writer = Writer { connection, windows: Windows::default() };
        Ok(Sqlite { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    use rusqlite::OpenFlags;

    // A path is a path, also when it looks like a URI or is named as SQLite names memory.
    let path = &Path::new(".").join(path);
    let flags = OpenFlags::default() - OpenFlags::SQLITE_OPEN_URI;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(WAIT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    };
    open().map_err(failed(schema::OPENING))
}
