//! What a ledger begins with: what is granted, and the totals of the windows that are open.

use super::builder::StartError;
use super::grant::set_grants;
use super::opening::opening_of;
use super::record::Posting;
use super::store::{LedgerStore, StoreError, Total};
use crate::counter::SETTLED_MAX;
use crate::engine::{CounterState, Engine, LimitState, State};
use crate::gate::over;
use crate::id::LimitId;
use crate::plan::LimitKind;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// So many limits are restored at a time.
const CHUNK: usize = 4_096;

/// What was restored when the ledger was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Totals that the store has for windows that are open.
    pub totals: u64,
    /// Counters that were set by one.
    pub counters: u64,
    /// Totals of limits that the engine does not have, or has with another owner.
    pub unknown: u64,
    /// Totals below zero, which count as zero, or above what can be counted, which count as that.
    pub out_of_range: u64,
    /// Counters on which top-ups and overrides were set.
    pub grants: u64,
}

/// Sets what the engine's limits have used to what the store has for the windows that are open, and
/// what is granted to what it has of that; where it has nothing, that stays as the engine has it.
/// Says also which windows lie elsewhere than the store has them: their limits were changed since.
///
/// The store's last window is the one in force, but where somebody whose clock is ahead, or was,
/// has begun a later one. A boundary is the same instant everywhere (L13): what counts here is the
/// window of this clock, with what the store has of that. The later one begins here when its time
/// comes, and reconciling brings what the store has of it by then.
pub(crate) fn restore(
    engine: &Engine,
    store: &dyn LedgerStore,
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Result<(Restored, Vec<Posting>), StartError> {
    // First, so that what was paid for is no overdraft.
    let grants = set_grants(engine, store)?.set;
    let State { version, limits, .. } = engine.export();
    let mut restoring = Restoring {
        engine,
        document: State { version, exported_at: now, limits: Vec::new() },
        totals: Vec::new(),
        moved: Vec::new(),
        known: limits,
        next: 0,
        group: Vec::new(),
        ahead: Vec::new(),
        done: Restored { grants, ..Restored::default() },
        error: None,
        progress,
    };
    store.open_totals(now, &mut |total| restoring.take(total))?;
    restoring.end_limit();
    restoring.import();
    for lasts in std::mem::take(&mut restoring.ahead) {
        if restoring.error.is_none() {
            let mut here = restoring.in_force(&lasts, store)?;
            // At once: windows end while the store reads what is next.
            restoring.add(anchor_of(&lasts), &mut here);
            restoring.set();
        }
    }
    match restoring.error {
        Some(error) => Err(error),
        None => Ok((restoring.done, restoring.moved)),
    }
}

struct Restoring<'a> {
    engine: &'a Engine,
    /// The limits of the engine as they are, by id.
    known: Vec<LimitState>,
    /// The place in them of the limit that is likely to be next: totals come in their order.
    next: usize,
    /// The last totals of one limit, as they come.
    group: Vec<Total>,
    /// Those of limits of which one is of a window that is not in force here yet.
    ahead: Vec<Vec<Total>>,
    /// What is to be imported next.
    document: State,
    /// What it is made of.
    totals: Vec<Total>,
    moved: Vec<Posting>,
    done: Restored,
    error: Option<StartError>,
    progress: &'a mut dyn FnMut(u64),
}

/// The anchor of the limit that these are the totals of. It has one lattice: that of its first
/// counter.
fn anchor_of(totals: &[Total]) -> Timestamp {
    totals.first().map_or(Timestamp::UNIX_EPOCH, |total| total.anchor)
}

impl Restoring<'_> {
    /// Takes the next total. Those of a limit come one after the other, and are set together.
    fn take(&mut self, total: Total) {
        self.done.totals += 1;
        let known = self.find(&total.limit).map(|place| &self.known[place]);
        let is_its =
            |known: &LimitState| known.owner == total.owner && counts(known.kind, total.dimension);
        if !known.is_some_and(is_its) {
            self.done.unknown += 1;
            return;
        }
        if self.group.last().is_some_and(|last| last.limit != total.limit) {
            self.end_limit();
        }
        self.group.push(total);
    }

    fn end_limit(&mut self) {
        let mut group = std::mem::take(&mut self.group);
        let (anchor, now) = (anchor_of(&group), self.engine.now());
        if group.iter().any(|last| self.earlier(last, anchor, now).is_some()) {
            self.ahead.push(group);
        } else {
            self.add(anchor, &mut group);
            self.group = group;
        }
    }

    /// The window that is in force here, if it is an earlier one than that of the total.
    fn earlier(&self, last: &Total, anchor: Timestamp, now: Timestamp) -> Option<Span> {
        if last.window.start <= now {
            return None;
        }
        let here = self.engine.window_of(&last.limit, last.dimension, anchor, now)?;
        // One that a reset began ends with it.
        (here.end <= last.window.start).then_some(here)
    }

    /// The totals of the windows that are in force here, in place of these, of one limit.
    fn in_force(&self, lasts: &[Total], store: &dyn LedgerStore) -> Result<Vec<Total>, StoreError> {
        let anchor = anchor_of(lasts);
        loop {
            let now = self.engine.now();
            let mut here = Vec::new();
            for last in lasts {
                let Some(window) = self.earlier(last, anchor, now) else {
                    here.push(last.clone());
                    continue;
                };
                let before = store.total_before(&last.limit, last.dimension, window.end)?;
                let counts =
                    |total: &Total| !over(total.window.end, now) && total.owner == last.owner;
                let nothing = || Total { window, settled: 0, ..last.clone() };
                here.push(before.filter(counts).unwrap_or_else(nothing));
            }
            // Windows end while the store reads, at the latest all before the last one.
            let then = self.engine.now();
            let stays = |last| self.earlier(last, anchor, now) == self.earlier(last, anchor, then);
            if lasts.iter().all(stays) {
                return Ok(here);
            }
        }
    }

    /// Adds a limit to what is to be imported, and takes its totals.
    fn add(&mut self, anchor: Timestamp, totals: &mut Vec<Total>) {
        let Some(first) = totals.first() else { return };
        let Some(place) = self.find(&first.limit) else { return };
        if self.document.limits.len() >= CHUNK {
            self.import();
        }
        let known = &self.known[place];
        let mut limit = LimitState {
            limit: known.limit.clone(),
            owner: known.owner.clone(),
            kind: known.kind,
            anchor,
            counters: Vec::with_capacity(totals.len()),
        };
        for total in totals.drain(..) {
            let counted = counted(total.settled);
            self.done.out_of_range += u64::from(i64::try_from(counted) != Ok(total.settled));
            let mut now = known.counters.iter().filter(|now| now.dimension == total.dimension);
            let now = now.next();
            limit.counters.push(CounterState {
                dimension: total.dimension,
                start: total.window.start,
                end: total.window.end,
                settled: counted,
                credit: now.map_or(0, |now| now.credit),
                instead: now.and_then(|now| now.instead),
            });
            self.totals.push(total);
        }
        self.document.limits.push(limit);
    }

    /// The place of a limit among those of the engine.
    fn find(&mut self, limit: &LimitId) -> Option<usize> {
        let is_it = |place: &usize| self.known.get(*place).is_some_and(|l| l.limit == *limit);
        let near = [self.next.saturating_sub(1), self.next].into_iter().find(is_it);
        let search = || self.known.binary_search_by(|known| known.limit.cmp(limit)).ok();
        let place = near.or_else(search)?;
        self.next = place + 1;
        Some(place)
    }

    fn import(&mut self) {
        self.set();
        (self.progress)(self.done.totals);
    }

    fn set(&mut self) {
        if self.error.is_none() {
            let imported = self.engine.import(&self.document);
            let others = imported.and_then(|imported| {
                self.done.counters += imported.restored as u64;
                self.engine.import(&self.others())
            });
            self.error = others.err().map(StartError::from);
        }
        self.document.limits.clear();
        let moved = self.totals.drain(..).filter_map(|total| opening_of(self.engine, &total));
        self.moved.extend(moved);
    }
}

impl Restoring<'_> {
    /// The counters that nothing was restored of, of limits that the store knows: they are on the
    /// lattice of their limit now, and windows of that lattice have one name on all nodes.
    fn others(&self) -> State {
        let now = self.engine.now();
        let others = self.document.limits.iter().filter_map(|limit| {
            let place = self.known.binary_search_by(|known| known.limit.cmp(&limit.limit)).ok()?;
            let known = &self.known[place];
            let usage = self.engine.usage(&limit.limit)?;
            let missing = known.counters.iter().filter(|known| {
                let mut restored = limit.counters.iter().filter(|counter| !over(counter.end, now));
                restored.all(|restored| restored.dimension != known.dimension)
            });
            let counters = missing.filter_map(|known| {
                let window = usage.counter(known.dimension)?.window;
                Some(CounterState { start: window.start, end: window.end, ..known.clone() })
            });
            Some(LimitState { counters: counters.collect(), ..limit.clone() })
        });
        let limits = others.filter(|limit| !limit.counters.is_empty()).collect();
        State { limits, ..self.document.clone() }
    }
}

/// A total as a counter counts it.
pub(crate) fn counted(settled: i64) -> u64 {
    u64::try_from(settled).unwrap_or(0).min(SETTLED_MAX)
}

/// Whether a kind of limit has a counter of that dimension that the ledger knows.
fn counts(kind: LimitKind, dimension: Dimension) -> bool {
    match kind {
        LimitKind::Budget => dimension == Dimension::Money,
        LimitKind::RateLimit => matches!(dimension, Dimension::Tokens | Dimension::Requests),
        LimitKind::Concurrency => false,
    }
}
