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

pub(crate) mod columns;
mod entry;
mod memory;
mod record;
mod store;

pub use entry::{Entry, Fate, Nulled, Written};
pub use memory::MemoryLedger;
pub use record::{Outcome, Posting, RecordId, RecordIdError, UsageRecord};
pub use store::{Filter, LedgerStore, StoreError, Stored, Total};
