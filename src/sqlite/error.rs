//! What the driver's errors mean.

use rusqlite::{Error, ErrorCode, ffi};

use crate::ledger::StoreError;

/// What an error of the driver is to a caller who was doing this.
pub(super) fn failed(doing: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(code) if passes(code) => StoreError::Unavailable { doing, source: error.into() },
        Some(ErrorCode::NotADatabase) => {
            super::schema::refused(&"a file that is no SQLite database")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Malformed { doing, what: "the file", found: error.to_string() }
        }
        // SQLite names violated constraints in its messages only, which are the source's to tell.
        _ => StoreError::Rejected { doing, constraint: None, source: error.into() },
    }
}

/// Whether the same call may succeed later.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::OutOfMemory
            | ErrorCode::SchemaChanged
    )
}

/// Whether it is that a reference refers to nothing: by the code, whatever the message.
pub(super) fn is_missing_reference(error: &Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
