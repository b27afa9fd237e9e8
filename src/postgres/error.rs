//! What the driver's errors mean. They are told apart by SQLSTATE and constraint name, never by
//! their words: those are translated, and differ between versions.

use std::error::Error;

use ::postgres::error::{DbError, SqlState};

use crate::ledger::StoreError;

/// The classes of SQLSTATE that are the data's fault: data exceptions, violated constraints and
/// checks, limits of the server, and what a trigger raises. Whatever else goes wrong is the
/// store's, and no reason to give up a charge.
const REJECTED: [&str; 5] = ["22", "23", "44", "54", "P0"];

/// The classes of SQLSTATE with which a connection ends: what it was doing may be done.
const ENDS: [&str; 2] = ["08", "57P"];

/// Why work on a connection ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver's error.
    Driver(::postgres::Error),
    /// One that is worked out already.
    Store(StoreError),
}

impl From<::postgres::Error> for Failure {
    fn from(error: ::postgres::Error) -> Self {
        Failure::Driver(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

impl Failure {
    /// As it leaves the store.
    pub(super) fn told(self, doing: &'static str) -> StoreError {
        match self {
            Failure::Store(error) => error,
            Failure::Driver(error) => told(doing, error),
        }
    }

    /// What the server has said of a statement, or of a commit, is that it was taken back.
    pub(super) fn certain(self, doing: &'static str) -> Failure {
        let passes = |said: &DbError| !is_of(said, &REJECTED) && !is_of(said, &ENDS);
        match self {
            Failure::Driver(error) if of_server(&error).is_some_and(passes) => {
                Failure::Store(StoreError::Undone { doing, source: error.into() })
            }
            other => other,
        }
    }

    /// The foreign key of this table (schema, name) that is violated, by name.
    pub(super) fn foreign_key_of(&self, (schema, table): (&str, &str)) -> Option<&str> {
        let Failure::Driver(error) = self else { return None };
        let error = of_server(error)?;
        let of_table = (error.schema(), error.table()) == (Some(schema), Some(table));
        let violated = *error.code() == SqlState::FOREIGN_KEY_VIOLATION && of_table;
        violated.then_some(error.constraint()?)
    }
}

/// An error of the driver, or around one of it, as it leaves the store.
pub(super) fn told(doing: &'static str, error: impl Error + Send + Sync + 'static) -> StoreError {
    let found = of_server(&error);
    if !found.is_some_and(|said| is_of(said, &REJECTED)) {
        return StoreError::Unavailable { doing, source: error.into() };
    }
    let constraint = found.and_then(DbError::constraint).map(str::to_owned);
    StoreError::Rejected { doing, constraint, source: error.into() }
}

/// Whether an error is of one of these classes.
fn is_of(error: &DbError, classes: &[&str]) -> bool {
    classes.iter().any(|class| error.code().code().starts_with(class))
}

/// What the server reported, however deep it is wrapped.
fn of_server<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DbError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
