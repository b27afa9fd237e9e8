//! What all calls at a barrier share.

use std::time::Duration;

use super::lock::RemoteLock;
use super::queue::Queues;
use super::timer::Bell;
use crate::time::{Clock, Timestamp};

/// What a barrier, its timer, and its calls share.
pub(super) struct Room {
    pub(super) queues: Queues,
    pub(super) remote: Option<Box<dyn RemoteLock>>,
    pub(super) clock: Box<dyn Clock>,
    pub(super) bell: Bell,
    /// How long a call waits at most.
    pub(super) within: Duration,
    /// How many calls of a user wait at most.
    pub(super) waiters: usize,
}

impl Room {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
