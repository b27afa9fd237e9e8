//! A request that is sent again is executed once and charged once: the state machine of a key, the
//! keeper by hand with a clock of the test's own, and whole runs in threads and in a runtime.
#![cfg(feature = "ledger")]

#[path = "idempotency/charges.rs"]
mod charges;
#[path = "idempotency/kit.rs"]
mod kit;
#[path = "idempotency/leases.rs"]
mod leases;
#[path = "idempotency/machine.rs"]
mod machine;
#[path = "idempotency/names.rs"]
mod names;
#[path = "idempotency/runs.rs"]
mod runs;
#[path = "idempotency/table.rs"]
mod table;
#[path = "idempotency/trouble.rs"]
mod trouble;
#[path = "idempotency/waiting.rs"]
mod waiting;
