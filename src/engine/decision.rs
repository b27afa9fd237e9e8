//! Answers: admitted or denied, and a denial's whole reason.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use crate::admission::{RefusedBy, Stops};
use crate::counter::{Counts, HELD_MAX};
use crate::engine::reservation::Reservation;
use crate::engine::route::Resolved;
use crate::entry::{Entry, Reading, Refusal, Refused, admit};
use crate::id::{LimitId, OwnerId};
use crate::measure::Amounts;
use crate::plan::{CounterPlan, LimitKind};
use crate::snapshot::{Snapshot, Window};
use crate::sync::{Arc, keep};
use crate::time::{Span, Timestamp};
use crate::units::{Dimension, Usage, amount_text};

/// The answer to a request for admission.
#[derive(Debug)]
#[must_use = "a reservation that is dropped gives its hold back"]
#[allow(clippy::large_enum_variant)] // A box would be an allocation for every request admitted.
pub enum Decision {
    /// The estimate is held on every limit of the route.
    Admitted(Reservation),
    /// Nothing is held.
    Denied(Denied),
}

impl Decision {
    /// Holds an estimate on every limit of a route, or on none.
    pub(crate) fn reserve(route: Arc<Resolved>, estimate: &Usage) -> Decision {
        // Made where it is returned: what is held on a long route is not copied.
        let mut decision = Decision::Admitted(Reservation::new(route));
        if let Decision::Admitted(reservation) = &mut decision
            && let Err(denied) = reservation.begin(estimate)
        {
            decision = Decision::Denied(denied);
        }
        decision
    }

    /// The answer as a `Result`, for `?` and `match`.
    ///
    /// # Errors
    ///
    /// The denial, which is an answer and no fault.
    pub fn into_result(self) -> Result<Reservation, Denied> {
        match self {
            Decision::Admitted(reservation) => Ok(reservation),
            Decision::Denied(denied) => Err(denied),
        }
    }

    /// Whether the request was admitted.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Decision::Admitted(_))
    }
}

/// What a reservation would be answered, by [`Engine::peek`](crate::Engine::peek).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Peek {
    /// It would be admitted.
    WouldAdmit,
    /// It would be denied.
    WouldDeny(Denied),
}

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    now: Timestamp,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    UnknownOwner(OwnerId),
    /// The counter that refused, then whatever else binds. Never empty.
    Limits(Vec<Binding>),
}

/// One counter that denies a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// Its kind.
    pub kind: LimitKind,
    /// The counter of it that binds.
    pub dimension: Dimension,
    /// What the limit admits in this window, in the dimension's unit; `None` for a counter that
    /// does not deny for being full (uncapped, soft or shadow), which binds only when more would be
    /// held on it than can be counted: 2^50 - 1.
    pub limit_amount: Option<u64>,
    /// What is booked.
    pub settled: u64,
    /// What is held by requests under way.
    pub held: u64,
    /// What this request asked for.
    pub requested: u64,
    /// The window.
    pub window: Span,
    /// When to ask again, as far as this counter is concerned.
    pub retry: Retry,
}

/// When a denied request is worth asking for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// From this instant on it fits, unless others come first. Holds that are given back may make
    /// it fit earlier.
    At(Timestamp),
    /// When requests under way have ended: no clock tells when.
    OnRelease,
    /// When the budget is topped up.
    OnTopUp,
    /// As long as owners and limits are what they are, never: the request is larger than the limit.
    Never,
}

impl Retry {
    /// The later of two; what is not known is later than what is.
    fn later(self, other: Retry) -> Retry {
        let rank = |retry: &Retry| match retry {
            Retry::At(_) => 0,
            Retry::OnRelease => 1,
            Retry::OnTopUp => 2,
            Retry::Never => 3,
        };
        match (self, other) {
            (Retry::At(a), Retry::At(b)) => Retry::At(a.max(b)),
            (a, b) if rank(&a).cmp(&rank(&b)) == Ordering::Less => b,
            (a, _) => a,
        }
    }
}

impl Denied {
    pub(crate) fn unknown_owner_at(owner: &OwnerId, now: Timestamp) -> Self {
        Self { now, reason: Reason::UnknownOwner(owner.clone()) }
    }

    /// The owner that does not exist, if that is the reason.
    pub fn unknown_owner(&self) -> Option<&OwnerId> {
        match &self.reason {
            Reason::UnknownOwner(owner) => Some(owner),
            Reason::Limits(_) => None,
        }
    }

    /// Every counter on the route that denies the request. First the one that refused it; the
    /// others are what they were right after. Empty if an owner is unknown. A soft or shadow limit
    /// that is full is not among them.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        let bindings = match &self.reason {
            Reason::UnknownOwner(_) => [].as_slice(),
            Reason::Limits(bindings) => bindings.as_slice(),
        };
        bindings.iter()
    }

    /// The counter that refused the request.
    pub fn first(&self) -> Option<&Binding> {
        self.bindings().next()
    }

    /// When the whole request is worth asking for again: the latest of its bindings'.
    pub fn retry(&self) -> Retry {
        self.bindings().map(|binding| binding.retry).reduce(Retry::later).unwrap_or(Retry::Never)
    }

    /// How long after the decision that is, where a clock can tell.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::At(instant) => Some(instant.saturating_since(self.now)),
            _ => None,
        }
    }

    /// The instant of the decision.
    pub fn at(&self) -> Timestamp {
        self.now
    }
}

/// A denial is an answer. It is an error too for callers that pass it on with `?`.
impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::UnknownOwner(owner) => write!(f, "denied: there is no owner {owner}"),
            Reason::Limits(bindings) => {
                let mut by = "denied by";
                bindings.iter().try_for_each(|binding| {
                    write!(f, "{by} {binding}")?;
                    by = "; and by";
                    Ok(())
                })
            }
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |n| amount_text(self.dimension, n);
        let Self { limit, owner, .. } = self;
        write!(f, "{limit} of {owner}: {} requested, ", amount(self.requested))?;
        write!(f, "{} settled and {} held", amount(self.settled), amount(self.held))?;
        match self.limit_amount {
            Some(n) => write!(f, " of {} {}", amount(n), self.dimension)?,
            None => write!(f, ", no more {} can be held", self.dimension)?,
        }
        match self.retry {
            Retry::At(instant) => write!(f, "; fits from {instant}"),
            Retry::OnRelease => write!(f, "; fits when requests under way have ended"),
            Retry::OnTopUp => write!(f, "; fits when topped up"),
            Retry::Never => write!(f, "; larger than the limit, never fits"),
        }
    }
}

/// The denial of a request of these amounts that one limit refused. Amounts that `asks` is false of
/// ask nothing of a counter.
pub(crate) fn refused(
    stops: &Stops,
    by: &RefusedBy,
    amounts: &Amounts,
    asks: impl Fn(u64) -> bool,
) -> Denied {
    let now = by.now;
    let mut all = vec![binding(&stops.as_slice()[by.place].entry, &by.refused)];
    all.extend(bindings(stops, amounts, asks, now, Some(by.place)));
    Denied { now, reason: Reason::Limits(all) }
}

/// What a reservation would be answered.
pub(crate) fn peek(stops: &Stops, estimate: &Usage, now: Timestamp) -> Peek {
    let all = bindings(stops, &stops.estimate(estimate), |_| true, now, None);
    if all.is_empty() {
        return Peek::WouldAdmit;
    }
    Peek::WouldDeny(Denied { now, reason: Reason::Limits(all) })
}

/// Every counter that denies an amount, in the order of the route. An amount that does
/// not ask binds at none, not even at one that is exhausted.
fn bindings(
    stops: &Stops,
    amounts: &Amounts,
    asks: impl Fn(u64) -> bool,
    now: Timestamp,
    except: Option<usize>,
) -> Vec<Binding> {
    let mut found = Vec::new();
    for (place, stop) in stops.as_slice().iter().enumerate() {
        let requested = stop.amount(amounts);
        if except == Some(place) || !asks(requested) {
            continue;
        }
        let counter = stop.counter();
        let Reading { snapshot, window, counts } = stop.entry.read(counter, now);
        if snapshot.plan.counters[counter].is_none() {
            continue;
        }
        let above = snapshot.plan.denies_above(window.limit);
        if let Err(why) = admit(above, counts, requested) {
            let snapshot = keep(snapshot);
            let refused = Refused { snapshot, counter, requested, window, counts, why };
            found.push(binding(&stop.entry, &refused));
        }
    }
    found
}

fn binding(entry: &Entry, refused: &Refused) -> Binding {
    let Refused { ref snapshot, counter, requested, window, counts, why } = *refused;
    let plan = snapshot.plan.counters[counter].as_ref();
    let plan = plan.expect("only a counter that has a plan refuses");
    Binding {
        limit: entry.id.clone(),
        owner: entry.owner.clone(),
        kind: snapshot.plan.kind,
        dimension: plan.dimension,
        limit_amount: window.limit().filter(|&limit| snapshot.plan.denies_above(limit) == limit),
        settled: counts.settled,
        held: counts.held,
        requested,
        window: window.span,
        retry: match why {
            // No window and no limit has room for it.
            _ if requested > HELD_MAX => Retry::Never,
            Refusal::HeldFull => Retry::OnRelease,
            Refusal::Full => retry(snapshot, counter, plan, &window, counts, requested),
        },
    }
}

/// When `requested` fits under a counter, if nothing else comes.
fn retry(
    snapshot: &Snapshot,
    counter: usize,
    plan: &CounterPlan,
    window: &Window,
    counts: Counts,
    requested: u64,
) -> Retry {
    let fits = |limit: u64| requested.max(1) <= limit;
    if plan.period.is_never() {
        return match plan.dimension {
            // Only what is held may go away again.
            _ if fits(window.limit.saturating_sub(counts.settled)) => Retry::OnRelease,
            Dimension::Money => Retry::OnTopUp,
            _ => Retry::Never,
        };
    }
    let start = snapshot.starts_after(counter, window).find(|&(_, limit)| fits(limit));
    start.map_or(Retry::Never, |(start, _)| Retry::At(start))
}
