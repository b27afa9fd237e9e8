//! Exact, lock-free budgets and rate limits for gateways.
//!
//! A gateway asks an [`Engine`] before every upstream call whether the request may pass, against
//! every budget, rate limit and concurrency limit on its [`Route`]. The estimate is held on all of
//! them or on none, by a [`Reservation`], which is settled by what was really used:
//!
//! ```
//! use tollkeeper::{Decision, Engine, LimitId, OwnerId, RateLimit, Usage};
//!
//! let engine = Engine::new();
//! let key: OwnerId = "key:k1".parse()?;
//! engine.upsert_owner(&key, &[])?;
//! let rate = RateLimit::new().tokens(100_000, "1m".parse()?).requests(60, "1m".parse()?);
//! engine.upsert_limit(&key, &LimitId::new("k1-rate")?, rate)?;
//!
//! let route = engine.route(&[key]);
//! let estimate = Usage { input_tokens: 900, output_tokens: 256, requests: 1, ..Usage::default() };
//! match engine.reserve(&route, &estimate) {
//!     Decision::Admitted(reservation) => {
//!         let used = Usage { output_tokens: 210, ..estimate };
//!         let _ = reservation.settle(&used);
//!     }
//!     Decision::Denied(denied) => println!("{denied}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The [`guide`] shows how it goes into a gateway. All state is in the process's memory; every
//! operation may be called from any thread.
//!
//! # Features
//!
//! - `tz` (default): calendar windows in IANA time zones.
//! - `serde`: [`Config`] documents and serialisable [`State`].
//! - `ledger`: usage recorded durably and once; idempotency keys; the cost barrier.
//! - `sqlite`, `postgres`: where the ledger and the keys are kept, other than in memory.
//! - `http`: a tower layer that does all of it for a gateway, in [`http`].
//! - `metrics`, `tracing`: what happens, for the facades of these names.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Much of what is below the loom ceiling is used by what is above it, which is not there then.
#![cfg_attr(tollkeeper_loom, allow(dead_code, unused_imports))]

// Ground.
mod id;
#[cfg(feature = "serde")]
mod serde_text;
mod sync;
mod time;
mod units;

// Floor 1: what changes in place.
mod alarm;
mod counter;
mod gate;

// Floor 2: one limit, and several at once.
mod admission;
mod budget;
mod concurrency;
mod entry;
mod holds;
mod limit;
mod measure;
mod plan;
mod rate_limit;
mod snapshot;

// The loom ceiling. What is above is not modelled, so it is not there under loom.

// Floors 3 and 4.
#[cfg(all(feature = "serde", not(tollkeeper_loom)))]
mod config;
#[cfg(not(tollkeeper_loom))]
mod engine;
#[cfg(not(tollkeeper_loom))]
mod store;

// Floor 5.
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod barrier;
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod draws;
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod idempotency;
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod ledger;
#[cfg(all(feature = "postgres", not(tollkeeper_loom)))]
mod postgres;
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod promise;
#[cfg(all(feature = "sqlite", not(tollkeeper_loom)))]
mod sqlite;
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod task;
#[cfg(all(any(feature = "http", feature = "metrics", feature = "tracing"), not(tollkeeper_loom)))]
mod telemetry;

#[cfg(not(tollkeeper_loom))]
pub mod guide;
#[cfg(all(feature = "http", not(tollkeeper_loom)))]
pub mod http;
#[cfg(all(feature = "http", not(tollkeeper_loom)))]
pub mod openai;
#[cfg(all(feature = "http", not(tollkeeper_loom)))]
mod sse;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;

#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
pub use barrier::{
    Acquire, Barrier, BarrierBuilder, BarrierCounts, BarrierError, BarrierMode, BarrierSetupError,
    BarrierTimer, Inside, LockError, LockKey, LockRequest, Loss, Permit, RemoteGuard, RemoteLock,
    Section,
};
pub use budget::Budget;
pub use concurrency::Concurrency;
#[cfg(all(feature = "serde", not(tollkeeper_loom)))]
pub use config::{Config, ConfigError};
#[cfg(all(feature = "serde", not(tollkeeper_loom)))]
pub use engine::Applied;
#[cfg(not(tollkeeper_loom))]
pub use engine::{
    Binding, CounterState, CounterUsage, Decision, Denied, Engine, EngineBuilder, Event, EventKind,
    Imported, Lasts, LimitState, LimitUsage, OperatorError, OverrideState, Overshoot, Peek,
    Reservation, ResetOutcome, Retry, Route, Settlement, State, StateError, Subscription, Sweep,
    TopologyError, UnknownOwner, Upserted,
};
pub use id::{IdError, LimitId, OwnerId};
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
pub use idempotency::{
    Attempt, Claim, ClaimError, Claiming, EndError, Ending, Fingerprint, Holder, Idempotency,
    IdempotencyBuilder, IdempotencyError, Keeper, KeyAct, KeyAnswer, KeyOp, KeyRecord, KeyStatus,
    KeyStore, Lease, MemoryKeys, Ran, RunError, Scope, ScopeError, transition,
};
#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
pub use ledger::{
    Adopted, Apart, Charge, Closed, Credited, Draft, Drift, Entry, Fate, Filter, GrantError,
    Granted, Health, Ledger, LedgerBuilder, LedgerStore, MemoryLedger, Nulled, Outcome, Posting,
    Receipt, Reconciled, RecordId, RecordIdError, Rejected, RemoveError, ResolveError, Restored,
    SettleError, Settling, StartError, StoreError, Stored, TopUp, ToppedUp, Total, Turn,
    Unpersisted, Unreserved, UsageRecord, WhenFull, Writer, Written,
};
pub use limit::Limit;
pub use plan::{Enforcement, LimitError, LimitKind};
#[cfg(all(feature = "postgres", not(tollkeeper_loom)))]
pub use postgres::{LockPool, Postgres, PostgresLocks};
pub use rate_limit::RateLimit;
#[cfg(all(feature = "sqlite", not(tollkeeper_loom)))]
pub use sqlite::Sqlite;
#[cfg(all(any(feature = "metrics", feature = "tracing"), not(tollkeeper_loom)))]
pub use telemetry::Telemetry;
pub use time::{
    Alignment, Clock, ManualClock, Period, PeriodError, Span, SystemClock, Timestamp,
    TimestampError, Weekday, Zone,
};
pub use units::{
    AcceptedNumber, DecimalError, Dimension, DimensionError, Money, MoneyError, Price, PriceError,
    PriceTable, TokenWeights, Usage, WeightError, parse_count,
};
