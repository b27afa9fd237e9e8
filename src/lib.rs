//! Exact, lock-free budgets and rate limits for gateways.

mod sync;
mod time;

pub use time::{
    Alignment, Clock, ManualClock, Period, PeriodError, Span, SystemClock, Timestamp,
    TimestampError, Weekday, Zone,
};
