//! Where owners and limits are found by their ids.
//!
//! The only room that names parking_lot. No guard leaves it:
//! lookups hand out an `Arc`, and nothing of a caller runs while a shard is locked, except that
//! [`Store::change`] holds the one writer's lock around a caller's changes, which lookups never
//! wait for.
//!
//! # Versions
//!
//! Every change of what a route may resolve to raises the version *after* it. Who resolves a route
//! reads the version *before*. So a route that was resolved from anything older than a change has a
//! version older than that change, and is resolved again. Versions are drawn from one sequence for
//! the whole process: a route of another store never has this one's.

mod shelf;

use std::cell::Cell;

use parking_lot::Mutex;

use crate::entry::Entry;
use crate::id::{LimitId, OwnerId};
use crate::sync::{Arc, AtomicU64, Ordering};

pub(crate) use shelf::Named;
use shelf::Shelf;

/// The last version drawn by any store.
static VERSIONS: AtomicU64 = AtomicU64::new(0);

/// So many owners have been created in any store.
static BIRTHS: AtomicU64 = AtomicU64::new(0);

/// An owner as it stands. Replaced whole when it changes, so nothing in it has room to grow.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) id: OwnerId,
    pub(crate) parents: Box<[OwnerId]>,
    /// In the order in which they were added.
    pub(crate) limits: Box<[Arc<Entry>]>,
    /// How many owners have this one for a parent.
    pub(crate) children: u32,
    /// Which one of its id it is: drawn when it is created, kept while it is changed. One that is
    /// removed and created again has another number. It takes the four bytes that are free beside
    /// `children`; for two of one id to share it, 2^32 owners must be created in between, exactly.
    #[cfg_attr(not(feature = "ledger"), allow(dead_code))]
    pub(crate) born: u32,
}

impl Owner {
    /// A new owner, without parents, limits and children.
    pub(crate) fn new(id: &OwnerId) -> Self {
        let (parents, limits) = (Box::default(), Box::default());
        Self { id: id.clone(), parents, limits, children: 0, born: draw_birth() }
    }
}

impl Named for Owner {
    fn name(&self) -> &str {
        self.id.as_str()
    }
}

impl Named for Entry {
    fn name(&self) -> &str {
        self.id.as_str()
    }
}

/// Owners and limits by id, and what is made of them for those who ask by an owner's name.
pub(crate) struct Store<R> {
    owners: Shelf<Owner>,
    limits: Shelf<Entry>,
    /// By their owners' names. None need be there, or be of owners that still are.
    routes: Shelf<R>,
    version: AtomicU64,
    /// How many owners are pairs. While there are none, no route looks for them.
    pairs: AtomicU64,
    writer: Mutex<()>,
}

impl<R: Named> Store<R> {
    pub(crate) fn new() -> Self {
        Self {
            owners: Shelf::new(),
            limits: Shelf::new(),
            routes: Shelf::new(),
            version: AtomicU64::new(draw_version()),
            pairs: AtomicU64::new(0),
            writer: Mutex::new(()),
        }
    }

    /// The version to mark a resolution with, read before resolving.
    pub(crate) fn version(&self) -> u64 {
        // Acquire: pairs with the Release at the end of `change`. Who reads a version sees every
        // change that came before it.
        self.version.load(Ordering::Acquire)
    }

    /// Makes changes as the only writer. Every change goes through here.
    pub(crate) fn change<T>(&self, changes: impl FnOnce(&Changes<R>) -> T) -> T {
        let _turn = self.writer.lock();
        changes(&Changes { store: self, made: Cell::new(false) })
    }

    pub(crate) fn owner(&self, id: &str) -> Option<Arc<Owner>> {
        self.owners.get(id)
    }

    /// The route that is kept for an owner.
    pub(crate) fn route(&self, owner: &str) -> Option<Arc<R>> {
        self.routes.get(owner)
    }

    /// Keeps a route in the place of the one of the same owner. If the owner was removed meanwhile,
    /// it is kept for nobody until somebody asks for it.
    pub(crate) fn keep_route(&self, route: &Arc<R>) {
        self.routes.put(Arc::clone(route));
    }

    pub(crate) fn forget_route(&self, owner: &str) {
        self.routes.remove(owner);
    }

    pub(crate) fn limit(&self, id: &str) -> Option<Arc<Entry>> {
        self.limits.get(id)
    }

    /// All owners there were at some moment of the call. Each that was there throughout is in it.
    pub(crate) fn owners(&self) -> Vec<Arc<Owner>> {
        self.owners.all()
    }

    /// How many owners there are.
    #[cfg(feature = "serde")]
    pub(crate) fn owners_len(&self) -> usize {
        self.owners.len()
    }

    /// How many limits there are.
    #[cfg(feature = "serde")]
    pub(crate) fn limits_len(&self) -> usize {
        self.limits.len()
    }

    /// All limits, as [`Store::owners`].
    pub(crate) fn limits(&self) -> Vec<Arc<Entry>> {
        self.limits.all()
    }

    pub(crate) fn has_pairs(&self) -> bool {
        // Relaxed: raised under the writer's lock before the version that announces the pair.
        self.pairs.load(Ordering::Relaxed) > 0
    }
}

/// The one writer's hand on a store.
pub(crate) struct Changes<'a, R> {
    store: &'a Store<R>,
    made: Cell<bool>,
}

impl<R: Named> Changes<'_, R> {
    /// Makes room for so many owners and limits in all.
    #[cfg(feature = "serde")]
    pub(crate) fn reserve(&self, owners: usize, limits: usize) {
        self.store.owners.reserve(owners);
        self.store.limits.reserve(limits);
    }

    pub(crate) fn set_owner(&self, owner: Owner) {
        self.made.set(true);
        let pair = owner.id.is_pair();
        let fresh = self.store.owners.put(Arc::new(owner)).is_none();
        if fresh && pair {
            // Relaxed: see `has_pairs`.
            self.store.pairs.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove_owner(&self, id: &OwnerId) {
        self.made.set(true);
        self.store.forget_route(id.as_str());
        let known = self.store.owners.remove(id.as_str()).is_some();
        if known && id.is_pair() {
            // Relaxed: see `has_pairs`.
            self.store.pairs.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_limit(&self, entry: &Arc<Entry>) {
        self.made.set(true);
        self.store.limits.put(Arc::clone(entry));
    }

    /// Says that a limit's plan has changed, which routes keep a copy of.
    pub(crate) fn replanned(&self) {
        self.made.set(true);
    }

    pub(crate) fn remove_limit(&self, id: &LimitId) {
        self.made.set(true);
        self.store.limits.remove(id.as_str());
    }
}

/// Announces what was changed, if anything was: also where a caller's panic ended the changes.
impl<R> Drop for Changes<'_, R> {
    fn drop(&mut self) {
        if self.made.get() {
            // Release: pairs with the Acquire in `version`.
            self.store.version.store(draw_version(), Ordering::Release);
        }
    }
}

fn draw_version() -> u64 {
    // Relaxed: only uniqueness matters; `version` orders what it stands for.
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

/// The number of an owner that is created now.
pub(crate) fn draw_birth() -> u32 {
    // Relaxed: only uniqueness matters.
    BIRTHS.fetch_add(1, Ordering::Relaxed) as u32
}
