//! What a ledger begins with: what is granted, and the totals of the windows that are open.

use super::builder::StartError;
use super::grant::set_grants;
use super::opening::opening_of;
use super::record::Posting;
use super::store::{LedgerStore, StoreError, Total};
use crate::counter::SETTLED_MAX;
use crate::engine::{CounterState, Engine, LimitState, State};
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
/// window of this clock, with what the store has of that, and the other one when its time comes.
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
        aside: Vec::new(),
        done: Restored { grants, ..Restored::default() },
        error: None,
        progress,
    };
    store.open_totals(now, &mut |total| restoring.sort(total))?;
    restoring.sort_group();
    restoring.import();
    for aside in std::mem::take(&mut restoring.aside) {
        let total = restoring.in_force(aside, store)?;
        // Limit by limit: windows end while the store reads.
        if restoring.totals.last().is_some_and(|last| last.limit != total.limit) {
            restoring.import();
        }
        restoring.add(total);
    }
    restoring.import();
    match restoring.error {
        Some(error) => Err(error),
        None => Ok((restoring.done, restoring.moved)),
    }
}

/// The last total of a counter, until it is known what counts here.
struct Aside {
    last: Total,
    /// That of its limit.
    anchor: Timestamp,
    /// The window that is in force here, if it is not that of the total.
    due: Option<Span>,
}

struct Restoring<'a> {
    engine: &'a Engine,
    /// The limits of the engine as they are, by id.
    known: Vec<LimitState>,
    /// The place in them of the limit that is likely to be next: totals come in their order.
    next: usize,
    /// The totals of one limit, as they come.
    group: Vec<Total>,
    /// Those of limits of which one is of a window that is not in force here yet.
    aside: Vec<Aside>,
    /// What is to be imported next.
    document: State,
    /// What it is made of.
    totals: Vec<Total>,
    moved: Vec<Posting>,
    done: Restored,
    error: Option<StartError>,
    progress: &'a mut dyn FnMut(u64),
}

impl Restoring<'_> {
    /// Takes a total, and all of a limit together: its counters are set at once.
    fn sort(&mut self, total: Total) {
        if self.group.last().is_some_and(|last| last.limit != total.limit) {
            self.sort_group();
        }
        self.group.push(total);
    }

    fn sort_group(&mut self) {
        let mut group = std::mem::take(&mut self.group);
        // A limit has one lattice: that of its first counter.
        let anchor = group.first().map_or(Timestamp::UNIX_EPOCH, |total| total.anchor);
        if group.iter().any(|total| self.window_before(total, anchor).is_some()) {
            let sorted = group.drain(..).map(|last| {
                let due = self.window_before(&last, anchor);
                Aside { last, anchor, due }
            });
            self.aside.extend(sorted.collect::<Vec<_>>());
        }
        group.drain(..).for_each(|total| self.add(total));
        self.group = group;
    }

    /// The window that is in force here, if that of the total is one that begins after it.
    fn window_before(&self, total: &Total, anchor: Timestamp) -> Option<Span> {
        if total.window.start <= self.document.exported_at {
            return None;
        }
        let (limit, now) = (&total.limit, self.engine.now());
        let due = self.engine.window_of(limit, total.dimension, anchor, now)?;
        // One that a reset began ends with it.
        (due.end <= total.window.start).then_some(due)
    }

    /// The total of the window that is in force here.
    fn in_force(
        &self,
        Aside { last, anchor, due }: Aside,
        store: &dyn LedgerStore,
    ) -> Result<Total, StoreError> {
        let Some(mut due) = due else { return Ok(last) };
        loop {
            let before = store.total_before(&last.limit, last.dimension, due.end)?;
            // Time passes while the store reads.
            match self.window_before(&last, anchor) {
                None => return Ok(last),
                Some(again) if again.end != due.end => due = again,
                Some(_) => {
                    let now = self.engine.now();
                    let counts = |total: &Total| {
                        let is_open = total.window.end > now || total.window.end == Timestamp::MAX;
                        is_open && total.owner == last.owner
                    };
                    let here = before.filter(counts);
                    let here = here.unwrap_or(Total { window: due, settled: 0, ..last });
                    return Ok(Total { anchor, ..here });
                }
            }
        }
    }

    fn add(&mut self, total: Total) {
        self.done.totals += 1;
        let place = self.find(&total.limit);
        let known = place
            .map(|place| &self.known[place])
            .filter(|known| known.owner == total.owner && counts(known.kind, total.dimension));
        let limits = &self.document.limits;
        let Some(known) = known else {
            self.done.unknown += 1;
            return;
        };
        let counted = counted(total.settled);
        self.done.out_of_range += u64::from(i64::try_from(counted) != Ok(total.settled));
        let mut now = known.counters.iter().filter(|now| now.dimension == total.dimension);
        let now = now.next();
        let counter = CounterState {
            dimension: total.dimension,
            start: total.window.start,
            end: total.window.end,
            settled: counted,
            credit: now.map_or(0, |now| now.credit),
            instead: now.and_then(|now| now.instead),
        };
        // The counters of a limit come one after the other.
        if limits.last().is_some_and(|last| last.limit == total.limit) {
            let last = self.document.limits.last_mut();
            last.into_iter().for_each(|last| last.counters.push(counter.clone()));
            self.totals.push(total);
            return;
        }
        let limit = LimitState {
            limit: total.limit.clone(),
            owner: total.owner.clone(),
            kind: known.kind,
            anchor: total.anchor,
            counters: vec![counter],
        };
        if limits.len() >= CHUNK {
            self.import();
        }
        self.document.limits.push(limit);
        self.totals.push(total);
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
        (self.progress)(self.done.totals);
    }
}

impl Restoring<'_> {
    /// The counters that nothing was restored of, of limits that the store knows: they are on the
    /// lattice of their limit now, and windows of that lattice have one name on all nodes.
    fn others(&self) -> State {
        let now = self.engine.now();
        let is_open =
            |counter: &CounterState, now| counter.end > now || counter.end == Timestamp::MAX;
        let others = self.document.limits.iter().filter_map(|limit| {
            let place = self.known.binary_search_by(|known| known.limit.cmp(&limit.limit)).ok()?;
            let known = &self.known[place];
            let usage = self.engine.usage(&limit.limit)?;
            let missing = known.counters.iter().filter(|known| {
                let mut restored = limit.counters.iter().filter(|counter| is_open(counter, now));
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
