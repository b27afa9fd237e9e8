//! Putting a configuration document in force.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::config::{Config, ConfigError, OwnerConfig, path_of_limit};
use crate::engine::topology::{Upserted, check_limit, put_limit};
use crate::engine::{Changes, Engine, Store};
use crate::entry::{At, Entry};
use crate::id::{LimitId, OwnerId};
use crate::snapshot::Beginnings;
use crate::store::{Owner, draw_birth};
use crate::sync::Arc;

/// So many owners are put in force between two calls that tell how far it is: some milliseconds.
const TOLD_EVERY: usize = 4096;

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
        self.apply_with_progress(config, |_, _| ())
    }

    /// Does the same as [`apply`](Self::apply), and tells how far it is: a document of a million
    /// owners takes more than a second.
    ///
    /// `progress` is called with how many of the document's owners are in force and how many there
    /// are: every few thousand owners, and last of all, when everything is done, with the two
    /// equal. It is not called when the document is refused.
    ///
    /// Until the last call, other changes of owners and limits wait; decisions do not. So
    /// `progress` must not itself change owners or limits of this engine: it would wait for itself
    /// forever.
    ///
    /// # Errors
    ///
    /// As of [`apply`](Self::apply).
    ///
    /// # Panics
    ///
    /// Where `progress` does, once the whole document is in force; until then it is not called
    /// again.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollkeeper::{Config, Engine};
    ///
    /// let config = Config::from_toml("owners = [{ id = 'key:k1' }, { id = 'key:k2' }]")?;
    /// let mut last = None;
    /// Engine::new().apply_with_progress(&config, |done, of| {
    ///     eprint!("\r{done} of {of} owners");
    ///     last = Some((done, of));
    /// })?;
    /// assert_eq!(last, Some((2, 2)));
    /// # Ok::<(), tollkeeper::ConfigError>(())
    /// ```
    pub fn apply_with_progress(
        &self,
        config: &Config,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Applied, ConfigError> {
        let store = &self.shared.store;
        let prices = config.prices().clone();
        let all = config.owners_len();
        let at = &self.shared.desk.at();
        let mut panicked = None;
        let applied = store.change(|changes| {
            let found = check(store, config)?;
            // Half a document is none: what the caller throws is kept until it is all in force.
            let told = |done| {
                if panicked.is_none() {
                    panicked = catch_unwind(AssertUnwindSafe(|| progress(done, all))).err();
                }
            };
            let applied =
                put_in_force(store, changes, config, found, (at, self.shared.beginnings(at)), told);
            // In the same turn: of two documents one is in force, and not a mixture.
            self.set_prices(prices);
            Ok(applied)
        })?;
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        progress(all, all);
        Ok(applied)
    }
}

/// The limits of the document that there are, each in its place, if they may be as it says.
fn check(store: &Store, config: &Config) -> Result<Vec<Option<Arc<Entry>>>, ConfigError> {
    let mut found = Vec::with_capacity(config.limits_len());
    for (index, (owner, limits)) in config.entries().enumerate() {
        for (place, limit) in limits.iter().enumerate() {
            let entry = check_limit(store, &owner.id, &limit.id, &limit.definition.plan);
            let path = || path_of_limit(index, limits, place);
            found.push(entry.map_err(|error| ConfigError::at(path(), error))?);
        }
    }
    Ok(found)
}

fn put_in_force(
    store: &Store,
    changes: &Changes,
    config: &Config,
    found: Vec<Option<Arc<Entry>>>,
    (at, mut beginnings): (&At, Beginnings),
    mut progress: impl FnMut(usize),
) -> Applied {
    let mut applied = Applied::default();
    changes.reserve(config.owners_len(), config.limits_len());
    let children = count_children(config);
    let mut found = found.into_iter();
    for (done, (owner, limits)) in config.entries().enumerate() {
        if done > 0 && done.is_multiple_of(TOLD_EVERY) {
            progress(done);
        }
        let limits = limits.iter().zip(&mut found).map(|(limit, found)| {
            let (id, plan, anchor) = (&limit.id, &limit.definition.plan, limit.anchor.as_deref());
            let (ids, anchor) = ((&owner.id, id), anchor.copied());
            let put = put_limit(changes, found, ids, plan, anchor, &mut beginnings, at);
            match put.1 {
                Upserted::Created => applied.created.push(id.clone()),
                Upserted::Changed => applied.changed.push(id.clone()),
                Upserted::Unchanged => {}
            }
            put.0
        });
        let limits = limits.collect();
        let children = children.get(&owner.id).copied().unwrap_or_default();
        put_owner(store, changes, owner, limits, children);
    }
    remove_others(store, changes, config, &mut applied);
    applied
}

/// How many owners have each for a parent, of those that are parents.
fn count_children(config: &Config) -> HashMap<&OwnerId, u32> {
    let mut children = HashMap::new();
    for parent in config.owners().flat_map(|(_, parents)| parents) {
        *children.entry(parent).or_default() += 1;
    }
    children
}

/// Makes an owner the document's: its limits in the order of the document, in which they are
/// checked. Its parents may come after it: a decision meanwhile passes over one that is not there
/// yet, as it does over a limit that is not.
fn put_owner(
    store: &Store,
    changes: &Changes,
    owner: &OwnerConfig,
    limits: Box<[Arc<Entry>]>,
    children: u32,
) {
    let known = store.owner(owner.id.as_str());
    let same = |known: &Arc<Owner>| {
        let entries = known.limits.iter().map(Arc::as_ptr);
        known.children == children
            && known.parents == owner.parents
            && entries.eq(limits.iter().map(Arc::as_ptr))
    };
    if !known.as_ref().is_some_and(same) {
        let (id, parents) = (owner.id.clone(), owner.parents.clone());
        let born = known.map_or_else(draw_birth, |known| known.born);
        changes.set_owner(Owner { id, parents, limits, children, born });
    }
}

/// Removes what the document does not have. What it has is there by now, so where there is no more
/// than that, there is nothing to look for.
fn remove_others(store: &Store, changes: &Changes, config: &Config, applied: &mut Applied) {
    if store.owners_len() > config.owners_len() {
        let kept: HashSet<&OwnerId> = config.owners().map(|(id, _)| id).collect();
        for owner in store.owners().iter().filter(|owner| !kept.contains(&owner.id)) {
            changes.remove_owner(&owner.id);
            applied.owners_removed.push(owner.id.clone());
        }
    }
    if store.limits_len() > config.limits_len() {
        let kept: HashSet<&LimitId> = config.limits().map(|(_, id, _)| id).collect();
        for entry in store.limits().iter().filter(|entry| !kept.contains(&entry.id)) {
            changes.remove_limit(&entry.id);
            applied.removed.push(entry.id.clone());
        }
    }
    applied.owners_removed.sort();
    applied.removed.sort();
}
