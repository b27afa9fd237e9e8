//! Putting a configuration document in force.

use std::collections::{HashMap, HashSet};

use crate::config::{Config, ConfigError, OwnerConfig};
use crate::engine::Engine;
use crate::engine::topology::{
    Upserted, check_limit, drop_limit, drop_owner, set_limit, set_parents,
};
use crate::entry::At;
use crate::id::{LimitId, OwnerId};
use crate::store::{Changes, Owner, Store};

/// What applying a document changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Limits that were not there before.
    pub created: Vec<LimitId>,
    /// Limits whose definition changed. Their usage is what it was.
    pub changed: Vec<LimitId>,
    /// Limits that are gone: the document does not have them.
    pub removed: Vec<LimitId>,
    /// Owners that are gone.
    pub owners_removed: Vec<OwnerId>,
}

impl Engine {
    /// Makes owners, limits and prices those of the document, while traffic runs. Limits that it
    /// has and the engine had keep their usage; what it does not have is removed.
    ///
    /// The document is checked whole against the engine before anything is changed. While it is
    /// put in force a decision may meet some limits already changed and others not yet; each is
    /// wholly the old one or wholly the new one.
    ///
    /// # Errors
    ///
    /// A limit's id belongs to another owner or to another kind of limit in the engine.
    pub fn apply(&self, config: &Config) -> Result<Applied, ConfigError> {
        let store = &self.shared.store;
        let prices = config.prices.clone();
        self.shared.with_now(|at| {
            store.change(|changes| {
                check(store, config)?;
                let applied = put_in_force(store, changes, config, at);
                // In the same turn: of two documents one is in force, and not a mixture.
                self.set_prices(prices);
                Ok(applied)
            })
        })
    }
}

fn check(store: &Store, config: &Config) -> Result<(), ConfigError> {
    for (index, owner) in config.owners.iter().enumerate() {
        for (place, limit) in owner.limits.iter().enumerate() {
            check_limit(store, &owner.id, &limit.id, &limit.plan)
                .map_err(|error| ConfigError::at(owner.path_of_limit(index, place), error))?;
        }
    }
    Ok(())
}

fn put_in_force(store: &Store, changes: &Changes, config: &Config, at: &At) -> Applied {
    let mut applied = Applied::default();
    // All owners before any parents: a document may name them in any order.
    for owner in &config.owners {
        if store.owner(owner.id.as_str()).is_none() {
            changes.set_owner(Owner::new(&owner.id));
        }
    }
    for owner in &config.owners {
        set_parents(store, changes, &owner.id, &owner.parents);
        for limit in &owner.limits {
            let plan = &limit.plan;
            match set_limit(store, changes, &owner.id, &limit.id, plan, limit.anchor, at) {
                Upserted::Created => applied.created.push(limit.id.clone()),
                Upserted::Changed => applied.changed.push(limit.id.clone()),
                Upserted::Unchanged => {}
            }
        }
    }
    remove_others(store, changes, config, &mut applied);
    for owner in &config.owners {
        order_limits(store, changes, owner);
    }
    applied
}

/// Puts the limits of an owner in the order of the document: they are checked in that order.
fn order_limits(store: &Store, changes: &Changes, owner: &OwnerConfig) {
    let Some(found) = store.owner(owner.id.as_str()) else { return };
    if found.limits.iter().map(|entry| &entry.id).eq(owner.limits.iter().map(|limit| &limit.id)) {
        return;
    }
    let limits = owner.limits.iter().filter_map(|limit| store.limit(limit.id.as_str())).collect();
    changes.set_owner(Owner { limits, ..Owner::clone(&found) });
}

fn remove_others(store: &Store, changes: &Changes, config: &Config, applied: &mut Applied) {
    let kept: HashMap<&OwnerId, HashSet<&LimitId>> = config
        .owners
        .iter()
        .map(|owner| (&owner.id, owner.limits.iter().map(|limit| &limit.id).collect()))
        .collect();
    for entry in store.limits() {
        if !kept.get(&entry.owner).is_some_and(|limits| limits.contains(&entry.id)) {
            drop_limit(store, changes, &entry);
            applied.removed.push(entry.id.clone());
        }
    }
    let owners = store.owners();
    let gone = owners.iter().map(|owner| &owner.id).filter(|id| !kept.contains_key(id));
    let gone: Vec<OwnerId> = gone.cloned().collect();
    // An owner that stays has no parent that goes, so those that go have only each other.
    for owner in &gone {
        set_parents(store, changes, owner, &[]);
    }
    for owner in &gone {
        drop_owner(store, changes, owner);
    }
    applied.owners_removed = gone;
    applied.owners_removed.sort();
    applied.removed.sort();
}
