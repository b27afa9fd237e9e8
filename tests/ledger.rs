//! The front of the ledger: what is charged is written once, memory books what was written, and a
//! restart begins with it.
//!
//! Most of it is turned by hand, on a clock that stands still: every number is exact.

#[path = "ledger/ends.rs"]
mod ends;
#[path = "ledger/failing.rs"]
mod failing;
#[path = "ledger/full.rs"]
mod full;
#[path = "ledger/granting.rs"]
mod granting;
#[path = "support/kit.rs"]
mod kit;
#[path = "ledger/moving.rs"]
mod moving;
#[path = "ledger/owners.rs"]
mod owners;
#[path = "ledger/reconciling.rs"]
mod reconciling;
#[path = "ledger/resolving.rs"]
mod resolving;
#[path = "ledger/restarts.rs"]
mod restarts;
#[path = "ledger/scene.rs"]
mod scene;
#[path = "ledger/simple.rs"]
mod simple;
#[path = "ledger/threaded.rs"]
mod threaded;
#[path = "ledger/windows.rs"]
mod windows;
