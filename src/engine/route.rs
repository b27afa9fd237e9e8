//! Routes: the limits on a request's way, resolved once.

use std::fmt;
use std::ops::Deref;

use smallvec::{SmallVec, smallvec};

use crate::admission::Stops;
use crate::engine::Shared;
use crate::engine::desk::Desk;
use crate::engine::lineage::Lineage;
use crate::id::OwnerId;
use crate::store::Named;
use crate::sync::{Arc, ArcCell, AtomicU64, Lazy, Ordering};

/// The limits that apply to requests of the same owners, in the order in which they are checked.
///
/// A cheap handle to clone and keep, for the life of a key or a connection. It stays correct: when
/// owners, parents or limits change it resolves itself again before the next decision, at the cost
/// of one load of an atomic while nothing has changed. It holds nothing and counts nothing.
///
/// A route whose own limits or parents have changed since it was made is a little slower from then
/// on than one that is made anew; changes elsewhere leave it as fast as it was.
///
/// The order is that of the owners it was made from, each followed by its ancestors, nearest
/// first; then the pairs among all of them. An owner that is reached twice counts once.
#[derive(Clone)]
pub struct Route(Arc<Resolved>);

/// What a route was resolved to.
///
/// In this order: what every request reads does not share a cache line of the usual size with the
/// count of those who hold it, which stands before it and which every request writes.
#[repr(C)]
pub(crate) struct Resolved {
    /// Nearly always of one owner, whose ancestors are found by it.
    owners: SmallVec<[OwnerId; 1]>,
    /// What the route was resolved to since, if that is something else.
    newer: Lazy<ArcCell<Resolved>>,
    _apart: [u64; 2],
    /// The last version of the store of which it is known to be right.
    version: AtomicU64,
    /// Of its engine, so that a reservation needs no other handle than this: a count of handles
    /// that all requests of an engine raise and lower would be one that all its threads contend
    /// for.
    pub(crate) desk: Arc<Desk>,
    /// In the order in which they are held, each once.
    pub(crate) stops: Stops,
    /// Named owners that do not exist.
    pub(crate) unknown: Box<[OwnerId]>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(std::mem::offset_of!(Resolved, version) + 2 * size_of::<usize>() >= 64);

/// What a route resolves to at the moment.
pub(crate) enum Current<'a> {
    AsMade(&'a Arc<Resolved>),
    Newer(Arc<Resolved>),
}

impl Current<'_> {
    pub(crate) fn keep(self) -> Arc<Resolved> {
        match self {
            Current::AsMade(resolved) => Arc::clone(resolved),
            Current::Newer(resolved) => resolved,
        }
    }
}

impl Deref for Current<'_> {
    type Target = Resolved;

    fn deref(&self) -> &Resolved {
        match self {
            Current::AsMade(resolved) => resolved,
            Current::Newer(resolved) => resolved,
        }
    }
}

impl Route {
    pub(crate) fn new(owners: &[OwnerId], shared: &Shared) -> Self {
        Self(Arc::new(resolve(owners.into(), shared)))
    }

    /// The route of one owner, that the store keeps.
    pub(crate) fn kept(owner: &str, shared: &Shared) -> Option<Self> {
        let kept = shared.store.route(owner);
        match kept {
            Some(route) if route.is_of(shared.store.version()) => Some(Self(route)),
            _ => Self::kept_now(owner, kept, shared),
        }
    }

    #[cold]
    fn kept_now(owner: &str, kept: Option<Arc<Resolved>>, shared: &Shared) -> Option<Self> {
        let id: OwnerId = owner.parse().ok()?;
        // A pair may be asked for in either order, and is kept in one.
        if id.as_str() != owner {
            return Self::kept(id.as_str(), shared);
        }
        let now = resolve(smallvec![id], shared);
        if !now.unknown.is_empty() {
            if kept.is_some() {
                shared.store.forget_route(owner);
            }
            return None;
        }
        if let Some(kept) = kept.filter(|kept| kept.confirm(&now)) {
            return Some(Self(kept));
        }
        let now = Arc::new(now);
        shared.store.keep_route(&now);
        Some(Self(now))
    }

    /// The owners that the route was made from.
    pub fn owners(&self) -> &[OwnerId] {
        &self.0.owners
    }

    /// What it resolves to now.
    #[inline]
    pub(crate) fn resolved(&self, shared: &Shared) -> Current<'_> {
        if self.0.is_of(shared.store.version()) {
            return Current::AsMade(&self.0);
        }
        self.resolved_since(shared)
    }

    fn resolved_since(&self, shared: &Shared) -> Current<'_> {
        let made = &self.0;
        let newer = match made.newer.get().map(ArcCell::load_full) {
            Some(newer) if newer.is_of(shared.store.version()) => return Current::Newer(newer),
            newer => newer,
        };
        let now = resolve(made.owners.clone(), shared);
        if made.confirm(&now) {
            return Current::AsMade(made);
        }
        if let Some(newer) = newer
            && newer.confirm(&now)
        {
            return Current::Newer(newer);
        }
        let now = Arc::new(now);
        // A racing thread may put an older resolution over this one: its version tells, and it is
        // resolved again.
        made.newer.get_or_make(|| ArcCell::of(Arc::clone(&now))).store(Arc::clone(&now));
        Current::Newer(now)
    }
}

/// Among the routes that the store keeps, each of one owner.
impl Named for Resolved {
    fn name(&self) -> &str {
        self.owners.first().map_or("", OwnerId::as_str)
    }
}

impl Resolved {
    fn is_of(&self, version: u64) -> bool {
        // Relaxed: what the version stands for was acquired with the store's own.
        self.version.load(Ordering::Relaxed) == version
    }

    /// Takes over the version of a later resolution, if that came to the same. A racing thread may
    /// put an older version over it: then it is resolved again, as by an older resolution.
    fn confirm(&self, later: &Resolved) -> bool {
        let same = Arc::ptr_eq(&self.desk, &later.desk)
            && self.stops == later.stops
            && self.unknown == later.unknown;
        if same {
            // Relaxed: it is compared and publishes nothing; see `is_of`.
            self.version.store(later.version.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        same
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.owners()).finish()
    }
}

fn resolve(named: SmallVec<[OwnerId; 1]>, shared: &Shared) -> Resolved {
    let store = &shared.store;
    // Before anything is looked up, see `store`.
    let version = store.version();
    let mut order = Lineage::default();
    let mut stops = Stops::default();
    let mut unknown = Vec::new();
    for owner in &named {
        // Breadth first: what is added while one is visited is visited after it.
        let mut next = order.as_slice().len();
        order.add(owner);
        while let Some(id) = order.get(next) {
            match store.owner(id.as_str()) {
                Some(found) => {
                    found.limits.iter().for_each(|limit| stops.add(limit));
                    found.parents.iter().for_each(|parent| order.add(parent));
                }
                // A parent that is not there was removed while this ran; the version will tell.
                None if named.contains(&id) => unknown.push(id),
                None => {}
            }
            next += 1;
        }
    }
    if store.has_pairs() {
        for (i, a) in order.as_slice().iter().enumerate() {
            for b in &order.as_slice()[i + 1..] {
                // Owners that are themselves pairs make none.
                let Ok(pair) = OwnerId::pair(a, b) else { continue };
                // A pair that was named has been visited.
                if let Some(found) = store.owner(pair.as_str()).filter(|_| !order.contains(&pair)) {
                    found.limits.iter().for_each(|limit| stops.add(limit));
                }
            }
        }
    }
    stops.shrink();
    Resolved {
        version: AtomicU64::new(version),
        desk: Arc::clone(&shared.desk),
        stops,
        owners: named,
        unknown: unknown.into(),
        newer: Lazy::new(),
        _apart: [0; 2],
    }
}
