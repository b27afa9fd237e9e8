//! What the ledger does on a real PostgreSQL that no other store has to do: other sessions, lost
//! connections, a server that dies, several processes on one database.

#![cfg(feature = "postgres")]

#[path = "support/postgres.rs"]
mod server;

#[path = "postgres/connections.rs"]
mod connections;
#[path = "postgres/entries.rs"]
mod entries;
#[path = "postgres/references.rs"]
mod references;
#[path = "postgres/removals.rs"]
mod removals;
#[path = "postgres/tables.rs"]
mod tables;
#[path = "postgres/totals.rs"]
mod totals;
