//! Rate limits: tokens and requests, each in windows of its own.

use crate::plan::{CounterPlan, Enforcement, LimitError, LimitKind, Plan};
use crate::time::Period;
use crate::units::{Dimension, TokenWeights};

/// A rate limit: so many tokens, so many requests, or both, each in its own windows.
///
/// The two are independent: each has its period, and resetting one never touches the other.
///
/// ```
/// use tollkeeper::RateLimit;
///
/// let limit = RateLimit::new()
///     .tokens(100_000, "1m".parse()?)
///     .requests(60, "1m".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    tokens: Option<(Option<u64>, Period)>,
    requests: Option<(Option<u64>, Period)>,
    weights: TokenWeights,
    thresholds: Vec<u8>,
    enforcement: Enforcement,
}

impl RateLimit {
    /// A rate limit that counts nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts tokens, weighted, in windows of `period` and admits `limit` in each. `None` counts
    /// and never denies; zero admits nothing.
    #[must_use]
    pub fn tokens(mut self, limit: impl Into<Option<u64>>, period: Period) -> Self {
        self.tokens = Some((limit.into(), period));
        self
    }

    /// Counts requests in windows of `period` and admits `limit` in each. `None` counts and never
    /// denies; zero admits nothing.
    #[must_use]
    pub fn requests(mut self, limit: impl Into<Option<u64>>, period: Period) -> Self {
        self.requests = Some((limit.into(), period));
        self
    }

    /// What a token of each kind counts for. One each unless said otherwise.
    #[must_use]
    pub fn weights(mut self, weights: TokenWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Gives notice, once in a window and counter, when what is settled reaches each of these
    /// percentages of the limit: 1 to 100, at most eight.
    #[must_use]
    pub fn thresholds(mut self, percent: &[u8]) -> Self {
        self.thresholds = percent.to_vec();
        self
    }

    /// What it does with a request that does not fit. [`Enforcement::Hard`] unless said
    /// otherwise.
    #[must_use]
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    pub(crate) fn plan(&self) -> Result<Plan, LimitError> {
        if self.tokens.is_none() && self.requests.is_none() {
            return Err(LimitError::NothingCounted);
        }
        if self.tokens.is_some() && self.weights.is_zero() {
            return Err(LimitError::WeightlessTokens);
        }
        let plan = |dimension, part: &Option<(Option<u64>, Period)>| {
            part.as_ref()
                .map(|(limit, period)| {
                    CounterPlan::new(dimension, *limit, period, self.weights, &self.thresholds)
                })
                .transpose()
        };
        Ok(Plan {
            kind: LimitKind::RateLimit,
            enforcement: self.enforcement,
            counters: [
                plan(Dimension::Tokens, &self.tokens)?,
                plan(Dimension::Requests, &self.requests)?,
            ],
        })
    }
}
