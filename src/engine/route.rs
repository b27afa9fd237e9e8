//! Routes: the limits on a request's way, resolved once.

use std::fmt;

use crate::admission::Stop;
use crate::engine::Shared;
use crate::engine::lineage::Lineage;
use crate::id::OwnerId;
use crate::sync::{Arc, ArcCell};

/// The limits that apply to requests of the same owners, in the order in which they are checked.
///
/// A cheap handle to clone and keep, for the life of a key or a connection. It stays correct: when
/// owners, parents or limits change it resolves itself again before the next decision, at the cost
/// of one load of an atomic while nothing has changed. It holds nothing and counts nothing.
///
/// The order is that of the owners it was made from, each followed by its ancestors, nearest
/// first; then the pairs among all of them. An owner that is reached twice counts once.
#[derive(Clone)]
pub struct Route(Arc<Inner>);

struct Inner {
    owners: Box<[OwnerId]>,
    resolved: ArcCell<Resolved>,
}

/// What a route was resolved to, at one version of the store.
pub(crate) struct Resolved {
    version: u64,
    /// The engine, so that a reservation needs no other handle than this: a count of handles that
    /// all requests of an engine raise and lower would be one that all its threads contend for.
    pub(crate) shared: Arc<Shared>,
    /// In the order in which they are held, each once.
    pub(crate) stops: Box<[Stop]>,
    /// Named owners that do not exist.
    pub(crate) unknown: Box<[OwnerId]>,
}

impl Route {
    pub(crate) fn new(owners: &[OwnerId], shared: &Arc<Shared>) -> Self {
        let resolved = ArcCell::new(resolve(owners, shared));
        Self(Arc::new(Inner { owners: owners.into(), resolved }))
    }

    /// The owners that the route was made from.
    pub fn owners(&self) -> &[OwnerId] {
        &self.0.owners
    }

    /// What it resolves to now.
    pub(crate) fn resolved(&self, shared: &Arc<Shared>) -> Arc<Resolved> {
        let resolved = self.0.resolved.load_full();
        if resolved.version == shared.store.version() {
            return resolved;
        }
        drop(resolved);
        let resolved = Arc::new(resolve(&self.0.owners, shared));
        // A racing thread may put an older resolution over this one: its version tells, and it is
        // resolved again.
        self.0.resolved.store(Arc::clone(&resolved));
        resolved
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.0.owners).finish()
    }
}

fn resolve(named: &[OwnerId], shared: &Arc<Shared>) -> Resolved {
    let store = &shared.store;
    // Before anything is looked up, see `store`.
    let version = store.version();
    let mut order = Lineage::default();
    let mut stops = Vec::new();
    let mut unknown = Vec::new();
    for owner in named {
        // Breadth first: what is added while one is visited is visited after it.
        let mut next = order.as_slice().len();
        order.add(owner);
        while let Some(id) = order.get(next) {
            match store.owner(id.as_str()) {
                Some(found) => {
                    stops.extend(found.limits.iter().flat_map(Stop::of));
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
                    stops.extend(found.limits.iter().flat_map(Stop::of));
                }
            }
        }
    }
    Resolved { version, shared: Arc::clone(shared), stops: stops.into(), unknown: unknown.into() }
}
