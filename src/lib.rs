//! Exact, lock-free budgets and rate limits for gateways.

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

// Floor 2: one limit, and several at once.
mod admission;
mod budget;
mod concurrency;
mod entry;
mod limit;
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

#[cfg(test)]
mod tests;

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
pub use limit::Limit;
pub use plan::{LimitError, LimitKind};
pub use rate_limit::RateLimit;
pub use time::{
    Alignment, Clock, ManualClock, Period, PeriodError, Span, SystemClock, Timestamp,
    TimestampError, Weekday, Zone,
};
pub use units::{
    AcceptedNumber, DecimalError, Dimension, DimensionError, Money, MoneyError, Price, PriceError,
    PriceTable, TokenWeights, Usage, WeightError, parse_count,
};
