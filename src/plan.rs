//! What a limit asks for, resolved from its definition: which dimensions it counts, up to where,
//! over which period.
//!
//! A plan never changes in place. A new definition is a new plan in a new snapshot; limits with the
//! same definition may share one.

use std::fmt;

use thiserror::Error;

use crate::counter::SETTLED_MAX;
use crate::sync::Arc;
use crate::time::Period;
use crate::units::{Dimension, TokenWeights};

/// A limit has at most this many counters: a rate limit counts tokens and requests.
pub(crate) const COUNTERS: usize = 2;

/// A limit may give notice at this many shares of itself.
const THRESHOLDS_MAX: usize = 8;

/// The sentinel of [`crate::snapshot::Window::limit`] for a counter that counts and never denies.
pub(crate) const UNLIMITED: u64 = u64::MAX;

/// The three kinds of limit. A limit keeps its kind for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LimitKind {
    /// Money in a period, or prepaid.
    Budget,
    /// Tokens and requests, a window each.
    RateLimit,
    /// Requests in flight.
    Concurrency,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitKind::Budget => "budget",
            LimitKind::RateLimit => "rate limit",
            LimitKind::Concurrency => "concurrency limit",
        })
    }
}

/// What a limit does with a request that does not fit under it. Whatever that is, it counts
/// everything alike, and gives the same notices; so it may be changed at any time, and usage stays.
///
/// One thing is always denied, because it could not be counted: more than 2^50 - 1 held on one
/// counter at one time.
///
/// ```
/// use tollkeeper::{Decision, Enforcement, Engine, LimitId, OwnerId, RateLimit, Usage};
///
/// let engine = Engine::new();
/// let key: OwnerId = "key:k1".parse()?;
/// engine.upsert_owner(&key, &[])?;
/// let one = RateLimit::new().requests(1, "1m".parse()?).enforcement(Enforcement::Shadow);
/// engine.upsert_limit(&key, &LimitId::new("one-a-minute")?, one)?;
///
/// let events = engine.subscribe(64);
/// let route = engine.route(&[key]);
/// let request = Usage { requests: 1, ..Usage::default() };
/// let first = engine.reserve(&route, &request);
/// let second = engine.reserve(&route, &request);
/// assert!(first.is_admitted() && second.is_admitted());
/// // That the limit is exhausted, and that a request passed it.
/// assert_eq!(events.drain().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// It denies the request.
    #[default]
    Hard,
    /// It admits the request, and reports it by
    /// [`EventKind::Passed`](crate::EventKind::Passed). Clients are shown the limit.
    Soft,
    /// The same, and clients are not shown the limit: to try one out on real traffic.
    Shadow,
}

impl Enforcement {
    /// All three.
    pub const ALL: [Enforcement; 3] = [Enforcement::Hard, Enforcement::Soft, Enforcement::Shadow];

    /// The name in texts and documents: `hard`, `soft`, `shadow`.
    pub const fn name(self) -> &'static str {
        match self {
            Enforcement::Hard => "hard",
            Enforcement::Soft => "soft",
            Enforcement::Shadow => "shadow",
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit as its entry counts it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: LimitKind,
    pub(crate) enforcement: Enforcement,
    /// A rate limit has tokens at 0 and requests at 1, either of which may be absent; the others
    /// have one counter at 0.
    pub(crate) counters: [Option<Arc<CounterPlan>>; COUNTERS],
}

// By hand: loom's `Arc` does not compare.
impl PartialEq for Plan {
    fn eq(&self, other: &Plan) -> bool {
        let mut counters = self.counters.iter().zip(&other.counters);
        let same = self.kind == other.kind && self.enforcement == other.enforcement;
        same && counters.all(|(one, two)| one.as_deref() == two.as_deref())
    }
}

impl Plan {
    /// Above which total it denies requests, where `limit` is in force.
    pub(crate) fn denies_above(&self, limit: u64) -> u64 {
        match self.enforcement {
            Enforcement::Hard => limit,
            Enforcement::Soft | Enforcement::Shadow => UNLIMITED,
        }
    }
}

/// One counter of a limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CounterPlan {
    pub(crate) dimension: Dimension,
    /// In the dimension's unit; [`UNLIMITED`] counts without ever denying.
    pub(crate) limit: u64,
    pub(crate) period: Period,
    /// What a token of each kind weighs; used by [`Dimension::Tokens`] alone.
    pub(crate) weights: TokenWeights,
    /// Percentages of the limit at which to give notice, ascending.
    pub(crate) thresholds: Box<[u8]>,
}

impl CounterPlan {
    /// One counter of a definition, checked. `limit` is `None` for a counter that only counts.
    pub(crate) fn new(
        dimension: Dimension,
        limit: Option<u64>,
        period: &Period,
        weights: TokenWeights,
        thresholds: &[u8],
    ) -> Result<Arc<CounterPlan>, LimitError> {
        if let Some(found) = limit.filter(|&limit| limit > SETTLED_MAX) {
            return Err(LimitError::TooLarge { dimension, found });
        }
        if thresholds.len() > THRESHOLDS_MAX {
            return Err(LimitError::Thresholds { found: thresholds.len() });
        }
        if let Some(&found) = thresholds.iter().find(|&&percent| !(1..=100).contains(&percent)) {
            return Err(LimitError::Threshold { found });
        }
        let mut thresholds = thresholds.to_vec();
        thresholds.sort_unstable();
        thresholds.dedup();
        Ok(Arc::new(CounterPlan {
            dimension,
            limit: limit.unwrap_or(UNLIMITED),
            period: period.clone(),
            weights,
            thresholds: thresholds.into(),
        }))
    }
}

/// Why a definition of a limit is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// The limit is more than a counter can count.
    #[error("a limit of {found} {dimension} is too large: at most {SETTLED_MAX} can be counted")]
    TooLarge {
        /// What it would limit.
        dimension: Dimension,
        /// The limit that was asked for.
        found: u64,
    },
    /// A rate limit that limits neither tokens nor requests.
    #[error("a rate limit needs tokens, requests, or both")]
    NothingCounted,
    /// Token weights that are all zero.
    #[error("at least one kind of token must weigh more than zero")]
    WeightlessTokens,
    /// A threshold outside 1 to 100 percent.
    #[error("a threshold of {found} percent is out of range: from 1 to 100 percent of the limit")]
    Threshold {
        /// The percentage that was asked for.
        found: u8,
    },
    /// More thresholds than a limit keeps track of.
    #[error("{found} thresholds are too many: at most {THRESHOLDS_MAX}")]
    Thresholds {
        /// How many were asked for.
        found: usize,
    },
}
