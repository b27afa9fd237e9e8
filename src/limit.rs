//! A limit's definition: one of the three kinds.

use crate::budget::Budget;
use crate::concurrency::Concurrency;
use crate::plan::{LimitError, Plan};
use crate::rate_limit::RateLimit;

/// The definition of a limit, ready for
/// [`Engine::upsert_limit`](crate::Engine::upsert_limit). Each kind converts into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Money in a period, or prepaid.
    Budget(Budget),
    /// Tokens and requests, a window each.
    RateLimit(RateLimit),
    /// Requests in flight.
    Concurrency(Concurrency),
}

impl From<Budget> for Limit {
    fn from(budget: Budget) -> Self {
        Limit::Budget(budget)
    }
}

impl From<RateLimit> for Limit {
    fn from(rate_limit: RateLimit) -> Self {
        Limit::RateLimit(rate_limit)
    }
}

impl From<Concurrency> for Limit {
    fn from(concurrency: Concurrency) -> Self {
        Limit::Concurrency(concurrency)
    }
}

impl Limit {
    /// The plan by which entries count it.
    pub(crate) fn plan(&self) -> Result<Plan, LimitError> {
        match self {
            Limit::Budget(budget) => budget.plan(),
            Limit::RateLimit(rate_limit) => rate_limit.plan(),
            Limit::Concurrency(concurrency) => concurrency.plan(),
        }
    }
}
