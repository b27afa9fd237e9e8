//! Exact, lock-free budgets and rate limits for gateways.

mod id;
#[cfg(feature = "serde")]
mod serde_text;
mod sync;
mod time;
mod units;

pub use id::{IdError, LimitId, OwnerId};
pub use time::{
    Alignment, Clock, ManualClock, Period, PeriodError, Span, SystemClock, Timestamp,
    TimestampError, Weekday, Zone,
};
pub use units::{
    Accepted, DecimalError, Dimension, DimensionError, Money, MoneyError, Price, PriceError,
    PriceTable, TokenWeights, Usage, WeightError, parse_count,
};
