//! Budgets: money in a period, or prepaid.

use crate::plan::{CounterPlan, Enforcement, LimitError, LimitKind, Plan};
use crate::time::Period;
use crate::units::{Dimension, Money, TokenWeights};

/// A budget: so much money in each window of a period, or, prepaid, until it is topped up.
///
/// Counts [`Usage::cost`](crate::Usage::cost) in nano-units of the currency.
///
/// ```
/// use tollkeeper::{Budget, Period};
///
/// let monthly = Budget::new("$12.50".parse()?, "1M".parse()?).thresholds(&[80, 95]);
/// let prepaid = Budget::prepaid("$20".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    limit: Option<Money>,
    period: Period,
    thresholds: Vec<u8>,
    enforcement: Enforcement,
}

impl Budget {
    /// A budget of `limit` in each window of `period`. A limit of zero admits nothing.
    pub fn new(limit: Money, period: Period) -> Self {
        Self { limit: Some(limit), ..Self::uncapped(period) }
    }

    /// A budget without a period: `limit` to begin with, more by
    /// [`Engine::top_up`](crate::Engine::top_up).
    pub fn prepaid(limit: Money) -> Self {
        Self::new(limit, Period::NEVER)
    }

    /// Counts what is spent in each window of `period` and never denies.
    pub fn uncapped(period: Period) -> Self {
        Self { limit: None, period, thresholds: Vec::new(), enforcement: Enforcement::Hard }
    }

    /// Gives notice, once in a window, when what is settled reaches each of these percentages of
    /// the limit: 1 to 100, at most eight.
    #[must_use]
    pub fn thresholds(mut self, percent: &[u8]) -> Self {
        self.thresholds = percent.to_vec();
        self
    }

    /// What it does with a request that does not fit. [`Enforcement::Hard`] unless said otherwise.
    #[must_use]
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    pub(crate) fn plan(&self) -> Result<Plan, LimitError> {
        let limit = self.limit.map(Money::as_nanos);
        let money = CounterPlan::new(
            Dimension::Money,
            limit,
            &self.period,
            TokenWeights::default(),
            &self.thresholds,
        )?;
        let (kind, enforcement) = (LimitKind::Budget, self.enforcement);
        Ok(Plan { kind, enforcement, counters: [Some(money), None] })
    }
}
