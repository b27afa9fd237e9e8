//! Why a call was not let in, and why a barrier was not made.

use std::time::Duration;

use thiserror::Error;

use super::lock::LockError;
use crate::id::OwnerId;

/// Why a call was not let in, or came to no result. Nobody else's call is affected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The calls before it, in this process or another one, did not end in time.
    #[error("the calls of {user} before this one did not end within {within:?}")]
    Timeout {
        /// Whose call it is.
        user: OwnerId,
        /// How long a call waits at most.
        within: Duration,
    },
    /// As many of the user's calls wait already as may.
    #[error(
        "{waiting} calls of {user} wait already, and no more may; try again when one has ended"
    )]
    QueueFull {
        /// Whose call it is.
        user: OwnerId,
        /// How many may wait.
        waiting: usize,
    },
    /// It was asked for inside of a critical section of the same user, which would wait for itself.
    #[error(
        "a call of {user} asks for the barrier that it is inside of, and would wait for itself"
    )]
    Reentrant {
        /// Whose call it is.
        user: OwnerId,
    },
    /// The lock that replicas share failed.
    #[error("the barrier cannot exclude other processes: {0}")]
    Remote(#[source] LockError),
    /// The barrier was dropped.
    #[error("the barrier is closed")]
    Closed,
    /// The critical section began and was dropped before its end: it panicked, or the runtime that
    /// it was spawned on has ended.
    #[error("the critical section ended without a result: it panicked, or its runtime has ended")]
    Unfinished,
}

/// Why a barrier was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BarrierSetupError {
    /// Nobody would ever be let in.
    #[error("a user has no permits; accepted: 1 or more")]
    NoPermits,
    /// A lock that replicas share lets one call of a user through, not several.
    #[error(
        "a user has {permits} permits and a remote lock; accepted: 1 permit with a remote lock, or \
         any number without"
    )]
    PermitsWithLock {
        /// How many permits.
        permits: usize,
    },
    /// The timer's thread could not be started.
    #[error("the barrier's timer cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}
