//! The engine: the public face of budgets, rate limits and concurrency limits.

#[cfg(feature = "serde")]
mod apply;
#[cfg(feature = "ledger")]
mod bill;
mod decision;
mod desk;
mod events;
#[cfg(feature = "ledger")]
mod granting;
mod lineage;
mod operator;
mod reading;
mod reservation;
mod route;
mod state;
mod topology;

#[cfg(feature = "serde")]
pub use apply::Applied;
#[cfg(feature = "ledger")]
pub(crate) use bill::{Admitted, Bill, Line};
pub use decision::{Binding, Decision, Denied, Peek, Retry};
pub use events::{Event, EventKind, Subscription};
pub use operator::{Lasts, OperatorError, ResetOutcome, Sweep};
pub use reading::{CounterUsage, LimitUsage};
pub use reservation::{Overshoot, Reservation, Settlement};
pub use route::Route;
pub use state::{CounterState, Imported, LimitState, OverrideState, State, StateError};
pub use topology::{TopologyError, Upserted};

use std::fmt;

use crate::admission;
use crate::engine::desk::Desk;
use crate::entry::At;
use crate::id::OwnerId;
use crate::snapshot::Beginnings;
use crate::store;
use crate::sync::{Arc, ArcCell};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::units::{Money, Price, PriceError, PriceTable, Usage};

/// Budgets, rate limits and concurrency limits of one gateway process.
///
/// A cheap handle: clones share one engine. All operations may be called from any thread at any
/// time. Those that decide about a request on a kept route are lock-free (where the machine has a
/// 128-bit compare-and-swap) and, as long as they admit it and no window ends, allocate nothing.
///
/// ```
/// use tollkeeper::{Budget, Decision, Engine, LimitId, OwnerId, Usage};
///
/// let engine = Engine::new();
/// let team: OwnerId = "team:search".parse()?;
/// engine.upsert_owner(&team, &[])?;
/// let monthly = Budget::new("$500".parse()?, "1M".parse()?);
/// engine.upsert_limit(&team, &LimitId::new("search-monthly")?, monthly)?;
///
/// let route = engine.route(&[team]);
/// let estimate = Usage { cost: "$0.02".parse()?, requests: 1, ..Usage::default() };
/// match engine.reserve(&route, &estimate) {
///     Decision::Admitted(reservation) => {
///         let used = Usage { cost: "$0.013".parse()?, ..estimate };
///         let _ = reservation.settle(&used);
///     }
///     Decision::Denied(denied) => eprintln!("{denied}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// The store keeps routes as they were resolved.
type Store = store::Store<route::Resolved>;
type Changes<'a> = store::Changes<'a, route::Resolved>;

/// What the handles of an engine share.
pub(crate) struct Shared {
    desk: Arc<Desk>,
    unknown_owner: UnknownOwner,
    anchor: Option<Timestamp>,
    store: Store,
    prices: ArcCell<PriceTable>,
}

impl Shared {
    /// The first snapshots of limits that are created now.
    fn beginnings(&self, at: &At) -> Beginnings {
        Beginnings::at(at.now, self.anchor)
    }
}

/// What happens to a request that names an owner which does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownOwner {
    /// It is denied, and the denial names the owner.
    #[default]
    Deny,
    /// It is checked against the limits of the owners that exist.
    /// [`Engine::unknown_owners`] tells which do not.
    Admit,
}

/// Builds an [`Engine`] that differs from the default one.
///
/// ```
/// use tollkeeper::{Engine, ManualClock, Timestamp, UnknownOwner};
///
/// let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
/// let engine = Engine::builder().clock(clock.clone()).unknown_owner(UnknownOwner::Admit).build();
/// ```
#[must_use]
pub struct EngineBuilder {
    clock: Box<dyn Clock>,
    unknown_owner: UnknownOwner,
    anchor: Option<Timestamp>,
}

impl EngineBuilder {
    /// The clock that decisions read. [`SystemClock`] by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// What happens to a request that names an unknown owner. Denied by default.
    pub fn unknown_owner(mut self, policy: UnknownOwner) -> Self {
        self.unknown_owner = policy;
        self
    }

    /// Where the lattices of rolling periods begin, and the one window of prepaid budgets, of
    /// limits that a document gives no `anchor`. By default each begins when it is created.
    ///
    /// Processes that share a ledger count in the same windows only if these begin at the same
    /// instants: give all of them the same past instant, and keep it over restarts. Windows of the
    /// calendar need none.
    pub fn anchor(mut self, anchor: Timestamp) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// The engine, without owners and limits.
    pub fn build(self) -> Engine {
        Engine {
            shared: Arc::new(Shared {
                desk: Arc::new(Desk::new(self.clock)),
                unknown_owner: self.unknown_owner,
                anchor: self.anchor,
                store: Store::new(),
                prices: ArcCell::new(PriceTable::default()),
            }),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine on the system's clock that denies unknown owners.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An engine to be set up.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            clock: Box::new(SystemClock),
            unknown_owner: UnknownOwner::Deny,
            anchor: None,
        }
    }

    /// The instant that a decision would be made at now.
    pub fn now(&self) -> Timestamp {
        self.shared.desk.now()
    }

    /// Resolves the limits on the way of requests of these owners: theirs, their ancestors', and
    /// those of the pairs among all of them. Keep the route where requests repeat.
    ///
    /// Owners that do not exist are no error here: they may come to exist. A route of no owners has
    /// no limits and admits everything.
    pub fn route(&self, owners: &[OwnerId]) -> Route {
        Route::new(owners, &self.shared)
    }

    /// The route of the owner of this text, as [`route`](Self::route) makes it of its id; `None` if
    /// there is no such owner. The engine keeps it, so asking again costs a lookup: for gateways
    /// that keep no routes themselves. A text that is no owner's id is no owner.
    ///
    /// # Cost
    ///
    /// A hash of the text and a look into one shard under its reader's lock. The first time, and
    /// after the owner's limits or parents have changed, it resolves the route, allocates, and
    /// takes the writer's lock: some 250 bytes are kept for each owner that was asked for. A name
    /// that is no owner's is looked for every time.
    ///
    /// ```
    /// use tollkeeper::{Concurrency, Decision, Engine, LimitId, OwnerId, Usage};
    ///
    /// let engine = Engine::new();
    /// let key: OwnerId = "key:k1".parse()?;
    /// engine.upsert_owner(&key, &[])?;
    /// engine.upsert_limit(&key, &LimitId::new("k1-in-flight")?, Concurrency::new(8))?;
    ///
    /// let route = engine.owner_route("key:k1").expect("it was created above");
    /// assert!(engine.reserve(&route, &Usage::default()).is_admitted());
    /// assert!(engine.owner_route("key:k2").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner_route(&self, owner: &str) -> Option<Route> {
        Route::kept(owner, &self.shared)
    }

    /// The owners of a route that do not exist at present.
    pub fn unknown_owners(&self, route: &Route) -> Vec<OwnerId> {
        route.resolved(&self.shared).unknown.to_vec()
    }

    /// Holds an estimate on every limit of the route, or on none.
    ///
    /// An estimate of nothing still asks: an exhausted limit denies it. A limit that is
    /// [soft or shadow](crate::Enforcement) denies only what it could not count (more than 2^50 - 1
    /// held at one time), and reports what passes it.
    ///
    /// # Consistency
    ///
    /// No hard limit is passed at any moment (L5). A request may be denied because of a hold of
    /// another one that is itself denied further along its route and takes its hold back.
    ///
    /// # Cost
    ///
    /// One clock reading, of the coarse clock where there is one; for each counter a few loads of
    /// one or two cache lines and one compare-and-swap. Lock-free. The exact time is read when a
    /// window ends or soon will, something does not fit, or a notice may be due. Allocates when it
    /// denies, when a window ends, and on routes of more than twenty-four counters or two ways to
    /// weigh tokens. While a soft or shadow limit is full, every request takes the exact way
    /// there, with the exact time, and tells every subscriber: a few times the usual cost of the
    /// counter. The other counters of the route go the usual way.
    pub fn reserve(&self, route: &Route, estimate: &Usage) -> Decision {
        let route = route.resolved(&self.shared);
        match self.unknown(&route) {
            Some(denied) => Decision::Denied(denied),
            None => Decision::reserve(route.keep(), estimate),
        }
    }

    /// What [`reserve`](Self::reserve) would answer at this moment. Changes nothing and begins no
    /// window.
    pub fn peek(&self, route: &Route, estimate: &Usage) -> Peek {
        let route = route.resolved(&self.shared);
        match self.unknown(&route) {
            Some(denied) => Peek::WouldDeny(denied),
            None => decision::peek(&route.stops, estimate, self.now()),
        }
    }

    /// Books what was used, after the fact and unconditionally: a limit may be passed, and by how
    /// much is reported. Owners that do not exist are passed over, whatever the policy: see
    /// [`unknown_owners`](Self::unknown_owners).
    ///
    /// Where a user's clock panics on the way, the limits before the one that needed the exact time
    /// are booked, once each.
    pub fn bump(&self, route: &Route, used: &Usage) -> Settlement {
        let route = route.resolved(&self.shared);
        let mut settlement = Settlement::default();
        let desk = &self.shared.desk;
        admission::bump(
            &route.stops,
            used,
            desk.soon(),
            || desk.at(),
            |stop, posted| {
                settlement.add(stop, posted);
            },
        );
        settlement
    }

    /// Subscribes to events from now on, with a queue for `capacity` of them (at least one). The
    /// queue is allocated whole, now: a capacity beyond the memory there is panics or aborts.
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        self.shared.desk.events.subscribe(capacity)
    }

    /// What a usage costs by the price table in force.
    ///
    /// # Errors
    ///
    /// The model has no price, or the cost is more than can be counted.
    pub fn cost(&self, model: &str, usage: &Usage) -> Result<Money, PriceError> {
        self.shared.prices.load().cost(model, usage)
    }

    /// A model's price by the price table in force. `None` as long as the table is empty: then
    /// money is not counted.
    ///
    /// # Errors
    ///
    /// [`PriceError::UnknownModel`] when there are prices, but none for this model.
    pub fn price(&self, model: &str) -> Result<Option<Price>, PriceError> {
        let prices = self.shared.prices.load();
        if prices.is_empty() { Ok(None) } else { prices.get(model).copied().map(Some) }
    }

    /// Whether any model has a price.
    #[cfg(feature = "http")]
    pub(crate) fn has_prices(&self) -> bool {
        !self.shared.prices.load().is_empty()
    }

    /// A copy of the price table in force: the one that was applied last; empty at first.
    pub fn prices(&self) -> PriceTable {
        PriceTable::clone(&self.shared.prices.load())
    }

    /// Replaces the price table.
    pub fn set_prices(&self, prices: PriceTable) {
        self.shared.prices.store(Arc::new(prices));
    }

    #[inline]
    fn unknown(&self, route: &route::Resolved) -> Option<Denied> {
        let owner = route.unknown.first()?;
        match self.shared.unknown_owner {
            UnknownOwner::Deny => Some(Denied::unknown_owner_at(owner, self.now())),
            UnknownOwner::Admit => None,
        }
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("unknown_owner", &self.unknown_owner).finish()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("unknown_owner", &self.shared.unknown_owner).finish()
    }
}
