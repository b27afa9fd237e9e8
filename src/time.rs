//! Instants, clocks, periods, and the windows that periods cut time into.
//!
//! A window is a pure function of (period, anchor, now): nothing in here remembers anything, so
//! every thread and every node that asks the same question gets the same answer. The calendar
//! library stays inside this room; only [`Timestamp`]s, [`Duration`](std::time::Duration)s and
//! texts leave it.

mod alignment;
mod calendar;
mod clock;
mod grammar;
mod period;
mod period_error;
mod span;
mod timestamp;
mod zone;

pub use alignment::{Alignment, Weekday};
pub use clock::{Clock, ManualClock, SystemClock};
pub use period::Period;
pub use period_error::PeriodError;
pub use span::Span;
pub use timestamp::{Timestamp, TimestampError};
pub use zone::Zone;
