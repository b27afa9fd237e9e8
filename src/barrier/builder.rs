//! How a barrier is set up.

use std::time::Duration;

use super::error::BarrierSetupError;
use super::lock::RemoteLock;
use super::queue::Queues;
use super::room::Room;
use super::timer::{BarrierTimer, Bell};
use super::{Barrier, BarrierMode, Front};
use crate::sync::Arc;
use crate::task::Spawn;
use crate::time::{Clock, SystemClock};

/// A barrier to be set up. Made by [`Barrier::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct BarrierBuilder {
    spawn: Spawn,
    mode: BarrierMode,
    permits: usize,
    waiters: usize,
    within: Duration,
    remote: Option<Box<dyn RemoteLock>>,
    clock: Box<dyn Clock>,
}

impl BarrierBuilder {
    pub(super) fn new(spawn: Spawn) -> BarrierBuilder {
        BarrierBuilder {
            spawn,
            mode: BarrierMode::default(),
            permits: 1,
            waiters: 32,
            within: Duration::from_secs(60),
            remote: None,
            clock: Box::new(SystemClock),
        }
    }

    /// Which calls are serialised. Those without an estimate by default.
    pub fn mode(mut self, mode: BarrierMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many calls of one user may be inside at the same time, in this process. 1 by default,
    /// and with a remote lock always.
    pub fn permits_per_user(mut self, permits: usize) -> Self {
        self.permits = permits;
        self
    }

    /// How many calls of one user may wait; the next one is refused. 32 by default. With 0 nobody
    /// waits for this process's calls.
    pub fn max_waiters_per_user(mut self, waiters: usize) -> Self {
        self.waiters = waiters;
        self
    }

    /// How long a call waits at most, in the queue and for the remote lock together. 60 seconds by
    /// default.
    pub fn wait_at_most(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The lock that all replicas share. Without one the barrier is that of one process.
    pub fn remote_lock(mut self, lock: impl RemoteLock) -> Self {
        self.remote = Some(Box::new(lock));
        self
    }

    /// The clock that deadlines are measured by. [`SystemClock`] by default; another one is for
    /// barriers [by hand](Self::by_hand), for the timer's thread sleeps in real time.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The barrier, with a thread that ends the waits whose time is up.
    ///
    /// # Errors
    ///
    /// [`BarrierSetupError`] if what was set up does not go together, or no thread can be started.
    pub fn start(self) -> Result<Barrier, BarrierSetupError> {
        let (barrier, timer) = self.by_hand()?;
        timer.start().map_err(BarrierSetupError::Thread)?;
        Ok(barrier)
    }

    /// The barrier, and its timer for the caller to turn: without that, no wait ends by itself.
    ///
    /// # Errors
    ///
    /// [`BarrierSetupError`] if what was set up does not go together.
    pub fn by_hand(self) -> Result<(Barrier, BarrierTimer), BarrierSetupError> {
        if self.permits == 0 {
            return Err(BarrierSetupError::NoPermits);
        }
        if self.permits > 1 && self.remote.is_some() {
            return Err(BarrierSetupError::PermitsWithLock { permits: self.permits });
        }
        let room = Arc::new(Room {
            queues: Queues::new(self.permits, self.waiters),
            remote: self.remote,
            clock: self.clock,
            bell: Bell::new(),
            within: self.within,
            waiters: self.waiters,
        });
        let timer = BarrierTimer::new(Arc::clone(&room));
        let front = Front { room, spawn: self.spawn, mode: self.mode };
        Ok((Barrier(Arc::new(front)), timer))
    }
}
