//! State: all usage as one versioned document, to carry over a restart.
//!
//! Importing *sets*: what a counter reads afterwards is what the document says, however often it is
//! imported. It does so as a reset does, by beginning a window with the balance booked, so it may
//! race with traffic; what was booked before is in the totals of the windows that it closes.

use std::collections::HashSet;

use thiserror::Error;

use crate::counter::SETTLED_MAX;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::id::{LimitId, OwnerId};
use crate::plan::{COUNTERS, LimitKind};
use crate::snapshot::{Balance, Grant};
use crate::sync::Arc;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// The version of [`State`] documents that this version writes and reads.
const VERSION: u32 = 1;

/// All usage at an instant, as [`Engine::export`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct State {
    /// The version of the document's form.
    pub version: u32,
    /// When it was exported.
    pub exported_at: Timestamp,
    /// The limits, by id.
    pub limits: Vec<LimitState>,
}

/// One limit's usage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct LimitState {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// Its kind.
    pub kind: LimitKind,
    /// Where the lattice of its rolling periods begins.
    pub anchor: Timestamp,
    /// Its counters that have a window.
    pub counters: Vec<CounterState>,
}

/// One counter's usage in its window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct CounterState {
    /// The counter.
    pub dimension: Dimension,
    /// When the window began.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// What is booked in it. What is held is not exported: a hold ends with its process.
    pub settled: u64,
    /// What a prepaid budget was topped up by.
    #[cfg_attr(feature = "serde", serde(default))]
    pub credit: u64,
    /// A limit in place of the definition's.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub instead: Option<OverrideState>,
}

/// A limit in place of the definition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct OverrideState {
    /// What windows admit.
    pub limit: u64,
    /// The windows that begin before this.
    pub until: Timestamp,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Counters whose usage was set.
    pub restored: usize,
    /// Counters whose window had ended: their usage is left as it is.
    pub ended: usize,
    /// Limits of the document that the engine does not have.
    pub unknown: Vec<LimitId>,
}

/// Why a state document is not accepted. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StateError {
    /// A version that this one does not read.
    #[error("version: {found} is not supported; this release reads version {VERSION}")]
    Version {
        /// The document's version.
        found: u32,
    },
    /// A limit that is in it twice.
    #[error("limits[{index}].limit: {limit} is there twice")]
    Duplicate {
        /// The place of the second.
        index: usize,
        /// The limit.
        limit: LimitId,
    },
    /// A limit that is another kind in the engine.
    #[error(
        "limits[{index}].kind: {limit} is a {found} in the document and a {kind} in the engine"
    )]
    Kind {
        /// The place.
        index: usize,
        /// The limit.
        limit: LimitId,
        /// Its kind in the document.
        found: LimitKind,
        /// Its kind in the engine.
        kind: LimitKind,
    },
    /// A limit that another owner has in the engine.
    #[error("limits[{index}].owner: {limit} belongs to {owner} in the engine")]
    Owner {
        /// The place.
        index: usize,
        /// The limit.
        limit: LimitId,
        /// Its owner in the engine.
        owner: OwnerId,
    },
    /// A counter that its kind of limit does not have, or that is there twice.
    #[error("limits[{index}].counters[{counter}].dimension: a {kind} has no {dimension}, or twice")]
    Counter {
        /// The limit's place.
        index: usize,
        /// The counter's place in it.
        counter: usize,
        /// The limit's kind.
        kind: LimitKind,
        /// The counter's dimension.
        dimension: Dimension,
    },
    /// An amount that is more than can be counted.
    #[error("limits[{index}].counters[{counter}]: an amount is more than {SETTLED_MAX}")]
    Amount {
        /// The limit's place.
        index: usize,
        /// The counter's place in it.
        counter: usize,
    },
    /// A window that ends before it begins.
    #[error("limits[{index}].counters[{counter}].end: the window must end after it begins")]
    Window {
        /// The limit's place.
        index: usize,
        /// The counter's place in it.
        counter: usize,
    },
}

impl Engine {
    /// All usage of windows that are open now, with top-ups and overrides. Each counter is exact;
    /// together they are of one instant only while nothing is booked.
    pub fn export(&self) -> State {
        let now = self.now();
        let mut limits: Vec<LimitState> =
            self.shared.store.limits().iter().map(|entry| export(entry, now)).collect();
        limits.sort_by(|a, b| a.limit.cmp(&b.limit));
        State { version: VERSION, exported_at: now, limits }
    }

    /// Sets usage to what a document says, for the limits that the engine has. A window that has
    /// ended meanwhile leaves nothing; usage of one that is still open is kept even if the limit's
    /// period is another one now.
    ///
    /// # Errors
    ///
    /// The document is wrong in itself or does not fit the engine's limits. It is checked whole
    /// before anything is set.
    pub fn import(&self, state: &State) -> Result<Imported, StateError> {
        let store = &self.shared.store;
        let mut imported = Imported::default();
        let mut found = Vec::new();
        check(state)?;
        for (index, limit) in state.limits.iter().enumerate() {
            match store.limit(&limit.limit) {
                None => imported.unknown.push(limit.limit.clone()),
                Some(entry) => {
                    check_entry(&entry, index, limit)?;
                    found.push((entry, limit));
                }
            }
        }
        self.shared.with_now(|at| {
            for (entry, limit) in found {
                let balances = balances(limit, at.now);
                imported.ended += limit.counters.iter().filter(|c| c.end <= at.now).count();
                imported.restored += limit.counters.iter().filter(|c| c.end > at.now).count();
                entry.set(limit.anchor, &balances, at);
            }
        });
        Ok(imported)
    }
}

fn export(entry: &Arc<Entry>, now: Timestamp) -> LimitState {
    let snapshot = entry.snapshot();
    let counters = (0..COUNTERS).filter_map(|counter| {
        let dimension = snapshot.dimension(counter).filter(|d| *d != Dimension::InFlight)?;
        let read = entry.read(counter, now);
        let grant = read.snapshot.grant(counter);
        Some(CounterState {
            dimension,
            start: read.window.span.start,
            end: read.window.span.end,
            settled: read.counts.settled,
            credit: grant.credit,
            instead: grant.instead.map(|(limit, until)| OverrideState { limit, until }),
        })
    });
    LimitState {
        limit: entry.id.clone(),
        owner: entry.owner.clone(),
        kind: snapshot.plan.kind,
        anchor: snapshot.anchor,
        counters: counters.collect(),
    }
}

fn slot(kind: LimitKind, dimension: Dimension) -> Option<usize> {
    match (kind, dimension) {
        (LimitKind::Budget, Dimension::Money) | (LimitKind::RateLimit, Dimension::Tokens) => {
            Some(0)
        }
        (LimitKind::RateLimit, Dimension::Requests) => Some(1),
        _ => None,
    }
}

/// What is wrong with a document in itself.
fn check(state: &State) -> Result<(), StateError> {
    if state.version != VERSION {
        return Err(StateError::Version { found: state.version });
    }
    let mut seen = HashSet::new();
    for (index, limit) in state.limits.iter().enumerate() {
        if !seen.insert(&limit.limit) {
            return Err(StateError::Duplicate { index, limit: limit.limit.clone() });
        }
        let mut slots = [false; COUNTERS];
        for (counter, usage) in limit.counters.iter().enumerate() {
            let (kind, dimension) = (limit.kind, usage.dimension);
            let free = slot(kind, dimension).filter(|&slot| !slots[slot]);
            let Some(slot) = free else {
                return Err(StateError::Counter { index, counter, kind, dimension });
            };
            slots[slot] = true;
            let instead = usage.instead.map_or(0, |instead| instead.limit);
            if [usage.settled, usage.credit, instead].iter().any(|&amount| amount > SETTLED_MAX) {
                return Err(StateError::Amount { index, counter });
            }
            if usage.end <= usage.start {
                return Err(StateError::Window { index, counter });
            }
        }
    }
    Ok(())
}

/// What does not fit the limit of that id.
fn check_entry(entry: &Entry, index: usize, state: &LimitState) -> Result<(), StateError> {
    let limit = state.limit.clone();
    let kind = entry.snapshot().plan.kind;
    if entry.owner != state.owner {
        return Err(StateError::Owner { index, limit, owner: entry.owner.clone() });
    }
    if kind != state.kind {
        return Err(StateError::Kind { index, limit, found: state.kind, kind });
    }
    Ok(())
}

fn balances(state: &LimitState, now: Timestamp) -> [Option<Balance>; COUNTERS] {
    let mut balances = [None; COUNTERS];
    for usage in &state.counters {
        let Some(slot) = slot(state.kind, usage.dimension) else { continue };
        balances[slot] = Some(Balance {
            span: Span { start: usage.start, end: usage.end },
            settled: (usage.end > now).then_some(usage.settled),
            grant: Grant {
                credit: usage.credit,
                instead: usage.instead.map(|instead| (instead.limit, instead.until)),
            },
        });
    }
    balances
}
