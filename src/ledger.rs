//! The ledger: what was used, written durably and once, and the totals that a restart begins with.
//!
//! ```text
//!  Charge (a reservation whose end is recorded, and a slot of the outbox)
//!    │ settle(used): what memory would book is worked out, window by window: the bill
//!    ▼
//!  queue ─► Writer ─► LedgerStore::write(group)   one transaction: records, postings, totals
//!                        │ what was written
//!                        ▼
//!                     memory books exactly that (L10) ─► Receipt (L11)
//! ```
//!
//! # Proof
//!
//! - **L7** A charge is consumed by what ends it, or by `Drop`, which finds nothing to end then.
//!   Its reservation goes to the writer with its bill and is consumed there: booked by the bill,
//!   once, whatever happens to the entry later.
//! - **L8** The bill says which window is charged with what, as of the moment of settling. The
//!   store gets it to the letter, and so does memory, where a window that is over by then books
//!   nothing: its total is final, and the store's is the bill's.
//! - **L9** A window is known to the store by its name, which a change of its limit keeps; where it
//!   ends is known from what is charged to it, and where nothing is, from an opening (`opening`).
//! - **L10** For an entry that was written, memory books its bill's lines but those whose owner the
//!   store left out, by the rule that the store leaves them out by ([`Entry::keeps`]). For one that
//!   was not (a duplicate) it books nothing. Postings are made of the bill's lines and of nothing
//!   else, so they are the same amounts in the same windows. While the store is down, memory books
//!   as if all were written, and what turns out not to be is taken off by the same rule. An owner
//!   that this process deletes is left out of what was admitted before, by memory and by the entry:
//!   a deletion and a group exclude each other, so it is before the one or after it (`owners`). One
//!   whose answer was lost is done before the next group, whoever writes that.
//! - **L11** A receipt is given after the store has committed the entry, by nobody but the writer:
//!   its order is write, book, answer. An entry leaves the queue only with an answer of the store
//!   that will not change: it is there, another one is there, or it is refused; and what is refused
//!   is listed with its slot until somebody takes it.
//! - **Once** An entry keeps its record id and its attempt for all tries, so one whose answer was
//!   lost is recognised as its own, and any other of its record id is a duplicate.
//! - **A crash between the commit and the booking** is harmless because only memory has not booked:
//!   it is gone, and the next process begins with the store's totals, which have it. One before the
//!   commit forgets the entry, and nobody was told that it was written.
//! - **A store that stalls** is waited for by the writer alone. It holds the lock of `owners`
//!   meanwhile, which deleting an owner takes and no decision.
//!
//! # Limits
//!
//! What is held is gone with the process: a request in flight at a crash is charged nowhere, nor is
//! what was settled and not yet committed. Who must know asks for the receipt before answering.

mod backoff;
mod builder;
mod charge;
mod closed;
pub(crate) mod columns;
mod correction;
mod desk;
mod draft;
mod entry;
mod front;
mod gathering;
mod grant;
mod health;
mod ids;
mod memory;
mod opening;
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
pub use closed::Closed;
pub use correction::ResolveError;
pub use draft::Draft;
pub use entry::{Entry, Fate, Nulled, Written};
pub use front::{Ledger, RemoveError};
pub use grant::{Credited, GrantError, Granted, TopUp, ToppedUp};
pub use health::{Health, Rejected, Unpersisted};
pub use memory::MemoryLedger;
pub use outbox::WhenFull;
pub use reconcile::{Adopted, Apart, Drift, Reconciled};
pub use record::{Outcome, Posting, RecordId, RecordIdError, UsageRecord};
pub use restore::Restored;
pub use settling::{Receipt, SettleError, Settling};
pub use store::{Filter, LedgerStore, StoreError, Stored, Total};
pub use writer::{Turn, Writer};
