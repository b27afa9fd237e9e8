//! The cost barrier: while no estimate is possible, a user's calls run one after another.
//!
//! A balance is checked before an upstream call and charged after it. Two calls of one user at the
//! same time both pass the check on the same balance. Where a reservation can hold an estimate that
//! cannot happen; where there is none, the barrier makes `check → upstream call → settle` one
//! critical section per user, and the overdraft is that of one call.
//!
//! ```text
//!            join          a seat is free          polled          granted
//!  (absent) ──────► QUEUED ───────────────► TURN ─────────► ASKING ────────► HELD
//!                     │                      │ │              │               ▲ │
//!                     │                      │ └─ no remote ──┼───────────────┘ │
//!                     │ dropped, late,       │ dropped, late, │ the same, or    │ dropped
//!                     │ closed               │ closed         │ the lock fails  │
//!                     ▼                      ▼                ▼                 ▼
//!                 (absent)            (absent), and the first that is QUEUED has its TURN
//! ```
//!
//! # Why at most one is inside
//!
//! - *In a process.* A user's line has as many seats as there are permits, one by default. A call
//!   has a permit only if it has a seat, and keeps the seat until the permit is dropped. Seats
//!   change hands under the lock of the user's shard ([`queue`]). Whoever waits came after those
//!   who have the seats, and the first that waits has the next seat: first come, first served.
//! - *Among processes.* Only who has the seat asks the remote lock, and releases it before the seat
//!   is given on. So a process asks for a user's key at most once at a time, and needs at most one
//!   connection for each user with a call, however many calls that user has.
//! - *Nobody waits for ever.* Whoever has no permit at the deadline loses its place, polled or not.
//!   Who has one is not interrupted: the calls behind it end by their own deadlines.
//!
//! # What the remote lock does not guarantee
//!
//! It excludes other processes as long as what keeps it is reachable and remembers it. A failover,
//! a restart or a lost connection may let another process in while this one is inside. That is told
//! ([`Permit::lost`]), and it is why nothing that is charged relies on the barrier: a record is
//! written once because of its id, not because of a lock.
//!
//! # Whose time
//!
//! Deadlines are instants of the barrier's clock. One that steps back lengthens the waits that
//! began before by as much.

mod acquire;
mod builder;
mod error;
mod line;
mod lock;
mod permit;
mod queue;
mod room;
mod section;
mod timer;

use std::fmt;
use std::future::Future;

pub use acquire::Acquire;
pub use builder::BarrierBuilder;
pub use error::{BarrierError, BarrierSetupError};
pub use lock::{LockError, LockKey, LockRequest, Loss, RemoteGuard, RemoteLock};
pub use permit::{Inside, Permit};
pub use queue::BarrierCounts;
pub use section::Section;
pub use timer::BarrierTimer;

use crate::task::{Spawn, Task};
use room::Room;

use crate::id::OwnerId;
use crate::sync::Arc;
use crate::units::Usage;

/// Which calls are serialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BarrierMode {
    /// None.
    Off,
    /// Those without an estimate, which no reservation can hold.
    #[default]
    WhenNoEstimate,
    /// All: a cap on the calls that a user has in flight.
    Always,
}

/// Lets the calls of a user in one after another, in the order in which they came. Users do not
/// wait for each other.
///
/// Ask for it after everything that can fail without cost, and do the check of the balance, the
/// upstream call and the settlement inside. Inside of it, use no other user's barrier: two calls
/// that do so crosswise wait for each other until their time is up.
///
/// Cheap to clone; every clone is the same. Dropping the last one ends all waits with
/// [`BarrierError::Closed`]. Who is inside stays inside.
///
/// ```
/// use tollkeeper::{Barrier, OwnerId};
///
/// // In a gateway on tokio, `|task| { tokio::spawn(task); }`.
/// let runtime = tokio::runtime::Runtime::new()?;
/// let handle = runtime.handle().clone();
/// let barrier = Barrier::builder(move |task| { handle.spawn(task); }).start()?;
/// let user: OwnerId = "user:u1".parse()?;
///
/// // Nothing is known of what the call will cost, so no estimate is given.
/// let answer = barrier.run(&user, None, |permit| async move {
///     // Check the balance here; then, if no other process can have come in meanwhile:
///     if permit.is_lost() { "try again" } else { "the upstream's answer, settled" }
/// });
/// assert_eq!(answer.wait()?, "the upstream's answer, settled");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Barrier(Arc<Front>);

/// What the handles of a barrier share.
struct Front {
    room: Arc<Room>,
    spawn: Spawn,
    mode: BarrierMode,
}

impl Barrier {
    /// A barrier to be set up. `spawn` runs a task to its end: a critical section must not be
    /// dropped with the request of a client that has gone.
    pub fn builder(spawn: impl Fn(Task) + Send + Sync + 'static) -> BarrierBuilder {
        BarrierBuilder::new(Arc::new(spawn))
    }

    /// Asks for a permit, as the mode demands it for a call with this estimate. The place in the
    /// queue is taken now.
    ///
    /// It is for threads, and for who brings the permit to an end in any case. A future that is
    /// dropped with its client drops the permit in the middle of the call: use
    /// [`run`](Self::run) there.
    ///
    /// # Errors
    ///
    /// What is returned comes to a [`BarrierError`] if the call is not let in.
    ///
    /// # Cost
    ///
    /// Two short locks of one of 32 shards; a clone of the user; a few nodes of trees.
    pub fn acquire(&self, user: &OwnerId, estimate: Option<&Usage>) -> Acquire {
        if self.serialises(estimate) { Acquire::join(&self.0.room, user) } else { Acquire::free() }
    }

    /// Runs a critical section when it is its turn, as the mode demands it for a call with this
    /// estimate. The place in the queue is taken now.
    ///
    /// The section is spawned when it has its permit, and is not affected if the client goes after
    /// that. A client that goes before leaves the queue, and the section never runs. The user's
    /// next call begins when the section has ended and the last clone of its permit is dropped: a
    /// section that answers with a stream gives a clone to the stream.
    ///
    /// # Errors
    ///
    /// [`BarrierError`] if the call is not let in, or the section does not come to its end. The
    /// section's own errors are part of its result; and how the release goes changes nothing of it.
    pub fn run<T, S>(
        &self,
        user: &OwnerId,
        estimate: Option<&Usage>,
        section: impl FnOnce(Arc<Permit>) -> S + Send + 'static,
    ) -> Section<T>
    where
        T: Send + 'static,
        S: Future<Output = T> + Send + 'static,
    {
        Section::new(self.acquire(user, estimate), Arc::clone(&self.0.spawn), section)
    }

    /// What goes on, and how calls ended. It locks each shard once and looks at every user who has
    /// a call.
    pub fn counts(&self) -> BarrierCounts {
        self.0.room.queues.counts()
    }

    /// Tells the [counts](Self::counts), and does not keep the barrier from being dropped.
    #[cfg(feature = "metrics")]
    pub(crate) fn counting(&self) -> impl Fn() -> BarrierCounts + Send + 'static {
        let room = Arc::clone(&self.0.room);
        move || room.queues.counts()
    }

    /// Whether a call with this estimate waits for its turn.
    pub(crate) fn serialises(&self, estimate: Option<&Usage>) -> bool {
        match self.0.mode {
            BarrierMode::Off => false,
            BarrierMode::WhenNoEstimate => estimate.is_none(),
            BarrierMode::Always => true,
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.room.bell.end();
        self.room.queues.close();
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        f.debug_struct("Barrier").field("mode", &self.0.mode).field("counts", &counts).finish()
    }
}
