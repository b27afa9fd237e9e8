//! Idempotency keys: a request that a client sends again is executed once and charged once.
//!
//! ```text
//!  run / claim ─► queue ─► Keeper ─► KeyStore::apply(group)    one transaction for all callers
//!                            │          └ transition(record, op, now) for each op, in its order
//!                            ├ Owned    ─► Lease, kept alive by heartbeats until it is ended
//!                            ├ Replay   ─► the first answer
//!                            ├ InFlight ─► told, or waited for: woken when the key ends here,
//!                            │             polled when it is held elsewhere
//!                            └ Mismatch ─► the key was used for another request
//! ```
//!
//! # The state machine
//!
//! It is one pure function, [`transition()`], which every store applies in a transaction that has
//! the key for itself; so stores cannot differ, and there is one winner of any race. A record whose
//! time to live is over is as good as absent.
//!
//! ```text
//!            claim                      complete (holder)
//!  absent ──────────► IN PROGRESS ──────────────────────────► COMPLETED ─► replayed
//!    ▲     fence 1     │   ▲  ▲ claim, the lease is over: fence + 1   │
//!    │    heartbeat ───┘   │  └─ the same charge                      │
//!    │    (holder)   fail  ▼ claim: fence + 1, the same charge        │
//!    │          (holder) FAILED                                       │
//!    └───────────────── time to live is over ─────────────────────────┘
//! ```
//!
//! A claim meets the fingerprint of the request in each of these states, and is a mismatch if it
//! is another one. Only the holder (the fence and the number of its claim) ends what is in
//! progress or prolongs it; what has ended stays as it ended.
//!
//! # Why a key is charged once (L12)
//!
//! Call a record's *life* the time from the claim that finds the key absent until its time to live
//! is over.
//!
//! 1. All attempts of one life get the same charge id. It is derived from the scope and the
//!    instant at which the life began, is in the record, and every transition keeps it.
//! 2. A life does not end while anybody may still execute. In progress it has no end: a record in
//!    progress is never purged and never expires, whoever crashed. It ends a time to live after
//!    its terminal state; or at once, when the only attempt that it had gives the key back: that
//!    says that it charges nothing, and there is no other.
//! 3. A ledger writes at most one record of an id ([`Fate::Duplicate`](crate::Fate::Duplicate)
//!    for any other). So however many attempts of a life reach the ledger (two holders after a
//!    lost lease, a crash between the charge and the completion, a retry after a failure), one
//!    of them charges.
//! 4. A completed life executes nothing more: its claims are replays.
//!
//! Fences and leases only save work and keep results apart. Nothing in 1 to 4 needs that a lease
//! is long enough, that clocks agree, or that a holder learns in time that it has lost it.
//!
//! The time to live is how long a key is remembered. What is claimed afterwards is a new request,
//! and an attempt of a failed life that sleeps through all of it charges that life's id.

pub(crate) mod columns;
mod desk;
mod front;
mod keeper;
mod key;
mod lease;
mod memory;
mod pace;
mod record;
mod run;
mod store;
mod transition;

pub use front::{Claim, ClaimError, Claiming, Idempotency, IdempotencyBuilder, IdempotencyError};
pub use keeper::Keeper;
#[cfg(feature = "http")]
pub(crate) use key::PART_BYTES_MAX;
pub use key::{Fingerprint, Scope, ScopeError};
pub use lease::{EndError, Ending, Lease};
pub use memory::MemoryKeys;
pub use record::{Holder, KeyRecord, KeyStatus};
pub use run::{Attempt, Ran, RunError};
pub use store::KeyStore;
pub use transition::{KeyAct, KeyAnswer, KeyOp, transition};
