//! Owners, parents and limits: what may change while traffic runs.

use thiserror::Error;

use crate::engine::lineage::Lineage;
use crate::engine::reading::{LimitUsage, reading};
use crate::engine::{Changes, Engine, Store};
use crate::entry::{At, Entry};
use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::plan::{LimitError, LimitKind, Plan};
use crate::snapshot::Beginnings;
use crate::store::Owner;
use crate::sync::Arc;
use crate::time::Timestamp;

/// What an upsert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// It was not there and was created.
    Created,
    /// It was there and was changed. Its usage is what it was.
    Changed,
    /// It was there and was like that already.
    Unchanged,
}

/// Why owners or limits were not changed. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The owner does not exist.
    #[error("there is no owner {owner}; create it first")]
    UnknownOwner {
        /// The owner.
        owner: OwnerId,
    },
    /// The limit does not exist.
    #[error("there is no limit {limit}")]
    UnknownLimit {
        /// The limit.
        limit: LimitId,
    },
    /// A parent that does not exist.
    #[error("owner {owner} cannot have the parent {parent}: there is no such owner")]
    UnknownParent {
        /// The owner that was to have it.
        owner: OwnerId,
        /// The parent.
        parent: OwnerId,
    },
    /// A parent that is named twice.
    #[error("owner {owner} names the parent {parent} twice")]
    DuplicateParent {
        /// The owner.
        owner: OwnerId,
        /// The parent.
        parent: OwnerId,
    },
    /// An owner that would be its own ancestor.
    #[error("owner {owner} cannot have the parent {parent}: {owner} is among its ancestors")]
    Cycle {
        /// The owner that was to have the parent.
        owner: OwnerId,
        /// The parent.
        parent: OwnerId,
    },
    /// A pair with a parent, or as one.
    #[error("the pair {pair} can have no parents and be no parent: its members have theirs")]
    PairInHierarchy {
        /// The pair.
        pair: OwnerId,
    },
    /// An owner that others have for a parent.
    #[error("owner {owner} is a parent of {child}; give {child} other parents or remove it first")]
    HasChildren {
        /// The owner that was to be removed.
        owner: OwnerId,
        /// One of its children.
        child: OwnerId,
    },
    /// A limit's id that belongs to another owner.
    #[error("the limit {limit} belongs to {owner}; a limit stays with its owner, take another id")]
    LimitOfOther {
        /// The limit.
        limit: LimitId,
        /// The owner it belongs to.
        owner: OwnerId,
    },
    /// A limit that would become another kind of limit.
    #[error("the limit {limit} is a {kind}; a limit keeps its kind, take another id")]
    KindChanged {
        /// The limit.
        limit: LimitId,
        /// Its kind.
        kind: LimitKind,
    },
    /// A definition that is wrong in itself.
    #[error("the limit {limit} is not accepted: {error}")]
    Limit {
        /// The limit.
        limit: LimitId,
        /// What is wrong.
        #[source]
        error: LimitError,
    },
}

impl Engine {
    /// Creates an owner or changes its parents. Requests on routes through it see the change at
    /// their next admission; what is in flight is booked where it was admitted.
    ///
    /// # Errors
    ///
    /// A parent is unknown, named twice, a pair, or has the owner among its ancestors; or the owner
    /// is a pair and has parents.
    pub fn upsert_owner(
        &self,
        owner: &OwnerId,
        parents: &[OwnerId],
    ) -> Result<Upserted, TopologyError> {
        self.shared.store.change(|changes| {
            check_parents(&self.shared.store, owner, parents)?;
            Ok(set_parents(&self.shared.store, changes, owner, parents))
        })
    }

    /// Removes an owner and its limits. Reservations in flight on them end as usual and count
    /// nowhere else; requests that name the owner are unknown from now on.
    ///
    /// # Errors
    ///
    /// The owner is unknown, or a parent of another.
    pub fn remove_owner(&self, owner: &OwnerId) -> Result<Vec<LimitUsage>, TopologyError> {
        let store = &self.shared.store;
        // Before the turn: a clock may be a user's.
        let now = self.now();
        store.change(|changes| {
            let found = store
                .owner(owner.as_str())
                .ok_or_else(|| TopologyError::UnknownOwner { owner: owner.clone() })?;
            if found.children > 0 {
                let child = a_child(store, owner);
                return Err(TopologyError::HasChildren { owner: owner.clone(), child });
            }
            drop_owner(store, changes, owner);
            Ok(found.limits.iter().map(|entry| reading(entry, now)).collect())
        })
    }

    /// Creates a limit of an owner, or changes its definition and keeps its usage.
    ///
    /// A raised limit admits more from the next admission on; one lowered below its usage denies
    /// until the window ends. With another period the window becomes the one of the new period
    /// around now, with the usage so far. A rate limit that gives up a counter gives up its usage:
    /// given the counter back, it begins a new window.
    ///
    /// Rolling windows, and the one of a prepaid budget, are counted from when the limit is
    /// created. Where several processes share a ledger, they are to be counted from one instant in
    /// all of them: see [`EngineBuilder::anchor`](crate::EngineBuilder::anchor).
    ///
    /// # Errors
    ///
    /// The owner is unknown; the id belongs to another owner or to another kind of limit; the
    /// definition is wrong in itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollkeeper::{Concurrency, Engine, LimitId, OwnerId, Upserted};
    ///
    /// let engine = Engine::new();
    /// let key: OwnerId = "key:k1".parse()?;
    /// let id = LimitId::new("k1-in-flight")?;
    /// engine.upsert_owner(&key, &[])?;
    /// assert_eq!(engine.upsert_limit(&key, &id, Concurrency::new(8))?, Upserted::Created);
    /// assert_eq!(engine.upsert_limit(&key, &id, Concurrency::new(9))?, Upserted::Changed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upsert_limit(
        &self,
        owner: &OwnerId,
        limit: &LimitId,
        definition: impl Into<Limit>,
    ) -> Result<Upserted, TopologyError> {
        let plan = plan_of(limit, &definition.into())?;
        let store = &self.shared.store;
        let at = &self.shared.desk.at();
        store.change(|changes| {
            if store.owner(owner.as_str()).is_none() {
                return Err(TopologyError::UnknownOwner { owner: owner.clone() });
            }
            let found = check_limit(store, owner, limit, &plan)?;
            let (plan, mut beginnings) = (Arc::new(plan), self.shared.beginnings(at));
            let (entry, upserted) =
                put_limit(changes, found, (owner, limit), &plan, None, &mut beginnings, at);
            if upserted == Upserted::Created {
                let before = owned(store, owner);
                let limits = before.limits.iter().cloned().chain([entry]).collect();
                changes.set_owner(Owner { limits, ..before });
            }
            Ok(upserted)
        })
    }

    /// Removes a limit, and returns its last reading. Reservations in flight on it end as usual and
    /// count nowhere else.
    ///
    /// # Errors
    ///
    /// The limit is unknown.
    pub fn remove_limit(&self, limit: &LimitId) -> Result<LimitUsage, TopologyError> {
        let store = &self.shared.store;
        // Before the turn: a clock may be a user's.
        let now = self.now();
        store.change(|changes| {
            let entry = store
                .limit(limit.as_str())
                .ok_or_else(|| TopologyError::UnknownLimit { limit: limit.clone() })?;
            drop_limit(store, changes, &entry);
            Ok(reading(&entry, now))
        })
    }
}

/// The plan of a definition, or what is wrong with it.
pub(crate) fn plan_of(limit: &LimitId, definition: &Limit) -> Result<Plan, TopologyError> {
    definition.plan().map_err(|error| TopologyError::Limit { limit: limit.clone(), error })
}

/// The limit of this id, if there is one and it may be given this plan.
pub(crate) fn check_limit(
    store: &Store,
    owner: &OwnerId,
    limit: &LimitId,
    plan: &Plan,
) -> Result<Option<Arc<Entry>>, TopologyError> {
    let Some(entry) = store.limit(limit.as_str()) else { return Ok(None) };
    if entry.owner != *owner {
        let owner = entry.owner.clone();
        return Err(TopologyError::LimitOfOther { limit: limit.clone(), owner });
    }
    let kind = entry.snapshot().plan.kind;
    if kind != plan.kind {
        return Err(TopologyError::KindChanged { limit: limit.clone(), kind });
    }
    Ok(Some(entry))
}

/// Changes the plan of a limit that was found, or creates one, which is not its owner's yet.
pub(crate) fn put_limit(
    changes: &Changes,
    found: Option<Arc<Entry>>,
    (owner, limit): (&OwnerId, &LimitId),
    plan: &Arc<Plan>,
    anchor: Option<Timestamp>,
    beginnings: &mut Beginnings,
    at: &At,
) -> (Arc<Entry>, Upserted) {
    if let Some(entry) = found {
        if !entry.replan(plan, anchor, at) {
            return (entry, Upserted::Unchanged);
        }
        changes.replanned();
        return (entry, Upserted::Changed);
    }
    let first = beginnings.of(plan, anchor);
    let entry = Arc::new(Entry::new(limit.clone(), owner.clone(), first));
    changes.set_limit(&entry);
    (entry, Upserted::Created)
}

fn drop_limit(store: &Store, changes: &Changes, entry: &Entry) {
    let before = owned(store, &entry.owner);
    let limits = before.limits.iter().filter(|other| other.id != entry.id).cloned().collect();
    changes.set_owner(Owner { limits, ..before });
    changes.remove_limit(&entry.id);
}

/// Creates an owner or changes its parents, which have been checked.
fn set_parents(store: &Store, changes: &Changes, owner: &OwnerId, parents: &[OwnerId]) -> Upserted {
    let known = store.owner(owner.as_str());
    if let Some(before) = &known {
        if *before.parents == *parents {
            return Upserted::Unchanged;
        }
        count_children(store, changes, &before.parents, |children| children - 1);
    }
    changes.set_owner(Owner { parents: parents.into(), ..owned(store, owner) });
    count_children(store, changes, parents, |children| children + 1);
    if known.is_some() { Upserted::Changed } else { Upserted::Created }
}

/// Removes an owner that is no parent, and its limits.
fn drop_owner(store: &Store, changes: &Changes, owner: &OwnerId) {
    let gone = owned(store, owner);
    count_children(store, changes, &gone.parents, |children| children - 1);
    for entry in &gone.limits {
        changes.remove_limit(&entry.id);
    }
    changes.remove_owner(owner);
}

fn count_children(
    store: &Store,
    changes: &Changes,
    parents: &[OwnerId],
    count: impl Fn(u32) -> u32,
) {
    for parent in parents {
        let mut counted = owned(store, parent);
        counted.children = count(counted.children);
        changes.set_owner(counted);
    }
}

/// A copy of an owner to change, or one to begin with.
fn owned(store: &Store, owner: &OwnerId) -> Owner {
    store.owner(owner.as_str()).map_or_else(|| Owner::new(owner), |known| Owner::clone(&known))
}

fn a_child(store: &Store, owner: &OwnerId) -> OwnerId {
    let owners = store.owners();
    let child = owners.iter().find(|found| found.parents.contains(owner));
    child.expect("children are counted under the writer's lock").id.clone()
}

fn check_parents(store: &Store, owner: &OwnerId, parents: &[OwnerId]) -> Result<(), TopologyError> {
    if let Some(pair) =
        parents.iter().chain((!parents.is_empty()).then_some(owner)).find(|id| id.is_pair())
    {
        return Err(TopologyError::PairInHierarchy { pair: pair.clone() });
    }
    for (i, parent) in parents.iter().enumerate() {
        let (owner, parent) = (owner.clone(), parent.clone());
        if parents[..i].contains(&parent) {
            return Err(TopologyError::DuplicateParent { owner, parent });
        }
        if parent == owner || has_ancestor(store, &parent, &owner) {
            return Err(TopologyError::Cycle { owner, parent });
        }
        if store.owner(parent.as_str()).is_none() {
            return Err(TopologyError::UnknownParent { owner, parent });
        }
    }
    Ok(())
}

fn has_ancestor(store: &Store, of: &OwnerId, sought: &OwnerId) -> bool {
    let mut seen = Lineage::default();
    seen.add(of);
    let mut next = 0;
    while let Some(id) = seen.get(next) {
        next += 1;
        let Some(owner) = store.owner(id.as_str()) else { continue };
        if owner.parents.contains(sought) {
            return true;
        }
        owner.parents.iter().for_each(|parent| seen.add(parent));
    }
    false
}
