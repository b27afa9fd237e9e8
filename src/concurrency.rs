//! Concurrency limits: requests in flight.

use crate::plan::{CounterPlan, Enforcement, LimitError, LimitKind, Plan};
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
    enforcement: Enforcement,
}

impl Concurrency {
    /// At most `limit` requests at one time. Zero admits nothing.
    pub fn new(limit: u64) -> Self {
        Self { limit, enforcement: Enforcement::Hard }
    }

    /// What it does with a request that does not fit. [`Enforcement::Hard`] unless said otherwise.
    #[must_use]
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    pub(crate) fn plan(&self) -> Result<Plan, LimitError> {
        let in_flight = CounterPlan::new(
            Dimension::InFlight,
            Some(self.limit),
            &Period::NEVER,
            TokenWeights::default(),
            &[],
        )?;
        let (kind, enforcement) = (LimitKind::Concurrency, self.enforcement);
        Ok(Plan { kind, enforcement, counters: [Some(in_flight), None] })
    }
}
