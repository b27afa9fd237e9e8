//! Crashes: processes that are killed while they settle, stores that go away under them, and what
//! is there afterwards.
//!
//! A test starts this same binary as a child, which settles under load and says of every record
//! that it is acknowledged, as soon as it is. The test kills it, opens the store itself, and holds
//! what it finds to what was said. Everything that a child does follows from a seed, so of every
//! record in a store it is known what must be in it. Clocks are turned by the work: windows end in
//! the middle of it, and every number is exact.
//!
//! `TOLLKEEPER_CRASH_ROUNDS` sets the rounds, `TOLLKEEPER_CRASH_SEED` the seed.
#![cfg(any(feature = "sqlite", feature = "postgres"))]

#[path = "crash/check.rs"]
mod check;
#[path = "crash/child.rs"]
mod child;
#[path = "crash/draw.rs"]
mod draw;
#[path = "crash/hand.rs"]
mod hand;
#[path = "crash/history.rs"]
mod history;
#[path = "crash/keys.rs"]
mod keys;
#[path = "crash/place.rs"]
mod place;
#[cfg(feature = "postgres")]
#[path = "crash/postgres.rs"]
mod postgres;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/rounds.rs"]
mod rounds;
#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod server;
#[path = "crash/shared.rs"]
mod shared;
#[cfg(feature = "sqlite")]
#[path = "crash/sqlite.rs"]
mod sqlite;
#[path = "crash/work.rs"]
mod work;
#[path = "crash/world.rs"]
mod world;
