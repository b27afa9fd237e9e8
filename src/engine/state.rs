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

impl CounterState {
    /// Whether its window has not ended. One that never ends has the last instant for its end.
    fn is_open(&self, now: Timestamp) -> bool {
        self.end > now || self.end == Timestamp::MAX
    }
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
    /// Counters whose usage was set. One that the limit does not have any more is passed over.
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
    #[error("limits[{index}].limit: {limit} is there twice; accepted: each limit once")]
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
    #[error("limits[{index}].owner: {limit} belongs to {owner} in the engine, not to {found}")]
    Owner {
        /// The place.
        index: usize,
        /// The limit.
        limit: LimitId,
        /// Its owner in the document.
        found: OwnerId,
        /// Its owner in the engine.
        owner: OwnerId,
    },
    /// A counter that its kind of limit does not have.
    #[error(
        "limits[{index}].counters[{counter}].dimension: a {kind} has no counter of {dimension}; \
         accepted: {}",
        counted(*kind)
    )]
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
    /// A counter that is there twice.
    #[error(
        "limits[{index}].counters[{counter}].dimension: {dimension} is there twice; accepted: \
         each counter once"
    )]
    DuplicateCounter {
        /// The limit's place.
        index: usize,
        /// The place of the second.
        counter: usize,
        /// The counter's dimension.
        dimension: Dimension,
    },
    /// An amount that is more than can be counted.
    #[error(
        "limits[{index}].counters[{counter}].{field}: {found} is more than can be counted; \
         accepted: at most {SETTLED_MAX}"
    )]
    Amount {
        /// The limit's place.
        index: usize,
        /// The counter's place in it.
        counter: usize,
        /// `settled`, `credit` or `instead.limit`.
        field: &'static str,
        /// The amount.
        found: u64,
    },
    /// A window that ends before it begins, or when it does.
    #[error(
        "limits[{index}].counters[{counter}].end: {end} is not after the window's start, {start}"
    )]
    Window {
        /// The limit's place.
        index: usize,
        /// The counter's place in it.
        counter: usize,
        /// When it begins.
        start: Timestamp,
        /// When it ends.
        end: Timestamp,
    },
}

/// The counters of a kind of limit that have a window, for an error.
fn counted(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Budget => "money",
        LimitKind::RateLimit => "tokens, requests",
        LimitKind::Concurrency => "none, what is in flight ends with its process",
    }
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
            match store.limit(limit.limit.as_str()) {
                None => imported.unknown.push(limit.limit.clone()),
                Some(entry) => {
                    check_entry(&entry, index, limit)?;
                    found.push((entry, limit));
                }
            }
        }
        let at = self.shared.desk.at();
        for (entry, limit) in found {
            let snapshot = entry.snapshot();
            let counts = |counter: &&CounterState| {
                (0..COUNTERS).any(|c| snapshot.dimension(c) == Some(counter.dimension))
            };
            for counter in limit.counters.iter().filter(counts) {
                let open = counter.is_open(at.now);
                *(if open { &mut imported.restored } else { &mut imported.ended }) += 1;
            }
            entry.set(limit.anchor, &balances(limit, at.now), &at);
        }
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
            let Some(slot) = slot(kind, dimension) else {
                return Err(StateError::Counter { index, counter, kind, dimension });
            };
            if std::mem::replace(&mut slots[slot], true) {
                return Err(StateError::DuplicateCounter { index, counter, dimension });
            }
            let instead = usage.instead.map_or(0, |instead| instead.limit);
            let amounts =
                [("settled", usage.settled), ("credit", usage.credit), ("instead.limit", instead)];
            if let Some((field, found)) = amounts.into_iter().find(|&(_, n)| n > SETTLED_MAX) {
                return Err(StateError::Amount { index, counter, field, found });
            }
            let (start, end) = (usage.start, usage.end);
            if end <= start {
                return Err(StateError::Window { index, counter, start, end });
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
        let (found, owner) = (state.owner.clone(), entry.owner.clone());
        return Err(StateError::Owner { index, limit, found, owner });
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
            settled: usage.is_open(now).then_some(usage.settled),
            grant: Grant {
                credit: usage.credit,
                instead: usage.instead.map(|instead| (instead.limit, instead.until)),
            },
        });
    }
    balances
}
