//! Telemetry: what happens, told to the `metrics` facade and to `tracing`.
//!
//! Two ways lead here, and neither goes through a decision of the engine or the ledger:
//!
//! - what a layer does with a request, it reports by plain functions: [`decided`], [`ended`],
//!   [`keyed`], and a [`Stopwatch`]. Without the features `metrics` and `tracing` they are empty;
//! - what limits and the ledger do is read by a `Telemetry`, in a thread of its own: events from a
//!   subscription, and everything that has a value.
//!
//! The values of labels are the names of variants here, and operations, which are `&'static str`:
//! there are as many as the program has. The only exception are the limits, and of those `n` are
//! shown.

#[cfg(feature = "metrics")]
mod counts;
#[cfg(feature = "metrics")]
mod gauges;
#[cfg(feature = "metrics")]
mod names;
#[cfg(feature = "http")]
mod report;
#[cfg(feature = "http")]
mod stopwatch;
#[cfg(feature = "tracing")]
mod told;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod turn;

#[cfg(feature = "http")]
pub(crate) use report::{Decided, Ended, Met, NO_OPERATION, broke_off, decided, ended, keyed};
#[cfg(feature = "http")]
pub(crate) use stopwatch::{Phase, Stopwatch};
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub use turn::Telemetry;
