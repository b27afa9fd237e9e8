//! The tables of a file: brought up to this release when it is opened.

use std::fmt::Display;
use std::thread;
use std::time::Duration;

use refinery::error::Kind;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::error::failed;
use crate::ledger::StoreError;

refinery::embed_migrations!("src/sqlite/migrations");

pub(super) const OPENING: &str = "opening the SQLite file";

/// `toll`, as the first migration writes it.
const APPLICATION: i64 = 0x746f_6c6c;

/// The table in which it stands which migrations were made.
const HISTORY: &str = "refinery_schema_history";

/// How often switching to WAL is tried, and how long is waited in between: five seconds in all.
const TRIES: u32 = 500;
const BETWEEN: Duration = Duration::from_millis(10);

/// Checks that the file is one of this crate, or empty, and brings its tables up to this release.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    check(connection)?;
    use_wal(connection)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    // All in one transaction, which is made or not. Whoever loses a race against another process
    // finds the tables there already; then all is done, which the second look finds.
    let runner = || migrations::runner().set_grouped(true);
    if runner().run(connection).is_err() {
        runner().run(connection).map_err(|error| unmigrated(&error))?;
    }
    check(connection)
}

fn check(connection: &Connection) -> Result<(), StoreError> {
    let application: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed(OPENING))?;
    let others: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE tbl_name <> ?1", [HISTORY], |row| {
            row.get(0)
        })
        .map_err(failed(OPENING))?;
    match (application, others) {
        (APPLICATION, _) | (0, 0) => Ok(()),
        (0, _) => Err(refused(&"a database of something else")),
        (id, _) => Err(refused(&format_args!("a database of something else (application {id})"))),
    }
}

/// Several readers beside one writer. Once it is set the file stays so.
fn use_wal(connection: &Connection) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        // Two who switch at the same moment are told so at once, instead of waiting.
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if tries < TRIES && is_busy(&error) => thread::sleep(BETWEEN),
            done => return done.map_err(failed(OPENING)),
        }
        tries += 1;
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn unmigrated(error: &refinery::Error) -> StoreError {
    match error.kind() {
        Kind::MissingVersion(there) => {
            refused(&format_args!("written by a newer release: {there}"))
        }
        Kind::DivergentVersion(there, _) => {
            refused(&format_args!("written by another release: {there} with other contents"))
        }
        kind => {
            let mut inner = std::error::Error::source(kind);
            while let Some(error) = inner {
                if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
                    return failed(OPENING)(again(error));
                }
                inner = error.source();
            }
            refused(&format_args!("not to be brought up to this release: {kind}"))
        }
    }
}

/// The same error once more: the driver's cannot be cloned, and refinery does not hand it out.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => {
            rusqlite::Error::SqliteFailure(*code, text.clone())
        }
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

/// A file that is not used, and why.
pub(super) fn refused(found: &dyn Display) -> StoreError {
    let runner = migrations::runner();
    let last = runner.get_migrations().last().map(ToString::to_string).unwrap_or_default();
    let accepted = format!(
        "a new file, or one of this crate up to {last}; open another file, or use a newer release"
    );
    StoreError::Schema { found: found.to_string(), accepted }
}
