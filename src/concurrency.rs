//! Concurrency limits: requests in flight.

use crate::plan::{CounterPlan, LimitError, LimitKind, Plan};
use crate::time::Period;
use crate::units::{Dimension, TokenWeights};

/// A concurrency limit: so many requests in flight at one time.
///
/// A request is in flight from its reservation until that ends, whichever way it ends. There is no
/// window, and nothing to reset.
///
/// ```
/// use tollkeeper::Concurrency;
///
/// let limit = Concurrency::new(8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    limit: u64,
}

impl Concurrency {
    /// At most `limit` requests at one time. Zero admits nothing.
    pub fn new(limit: u64) -> Self {
        Self { limit }
    }

    pub(crate) fn plan(&self) -> Result<Plan, LimitError> {
        let in_flight = CounterPlan::new(
            Dimension::InFlight,
            Some(self.limit),
            &Period::NEVER,
            TokenWeights::default(),
            &[],
        )?;
        Ok(Plan { kind: LimitKind::Concurrency, counters: [Some(in_flight), None] })
    }
}
