//! The ledger: what was used, written durably and once, and the totals that a restart begins with.
//!
//! ```text
//!  Charge (a reservation whose end is recorded)
//!    │ settle(used): what memory would book is worked out, window by window (postings)
//!    ▼
//!  queue ─► Writer ─► LedgerStore::write(group)   one transaction: records, postings, totals
//!                        │ what was written
//!                        ▼
//!                     memory books exactly that (L10) ─► Receipt
//! ```

mod backoff;
mod builder;
mod charge;
pub(crate) mod columns;
mod correction;
mod desk;
mod draft;
mod entry;
mod front;
mod health;
mod ids;
mod memory;
mod outbox;
mod owners;
mod reconcile;
mod record;
mod restore;
mod settling;
mod store;
mod writer;

pub use builder::{LedgerBuilder, StartError};
pub use charge::{Charge, Unreserved};
pub use correction::ResolveError;
pub use draft::Draft;
pub use entry::{Entry, Fate, Nulled, Written};
pub use front::{Ledger, RemoveError};
pub use health::{Health, Rejected, Unpersisted};
pub use memory::MemoryLedger;
pub use outbox::WhenFull;
pub use reconcile::{Drift, Reconciled};
pub use record::{Outcome, Posting, RecordId, RecordIdError, UsageRecord};
pub use restore::Restored;
pub use settling::{Receipt, SettleError, Settling};
pub use store::{Filter, LedgerStore, StoreError, Stored, Total};
pub use writer::{Closed, Turn, Writer};
