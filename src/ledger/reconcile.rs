//! Reconciling: what memory has and what the store has, compared when nothing is on its way.

use std::cmp::Ordering as Order;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::columns::instant;
use super::desk::signed;
use super::entry::Entry;
use super::front::Ledger;
use super::opening::{entries, is_on_the_lattice_of, opening};
use super::outbox::Due;
use super::record::Posting;
use super::restore::counted;
use super::settling::Settling;
use super::store::{StoreError, Total};
use crate::engine::{Line, Settlement};
use crate::id::LimitId;
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// What was seen last.
#[derive(Default)]
pub(crate) struct Seen {
    /// The differences, by counter and window.
    drifts: HashMap<Place, i64>,
    /// Where windows began that are later than those in force.
    later: HashMap<Counter, Timestamp>,
    /// What the store was told, and may not have taken yet.
    openings: Vec<Settling>,
}

type Counter = (LimitId, Dimension);
type Place = (LimitId, Dimension, Timestamp);
/// The last total of each counter.
type Totals = HashMap<Counter, Total>;

/// What reconciling found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// Whether it could compare at all: false if something was on its way to the store. Then
    /// only `moved` and `granted` say what was done.
    pub quiet: bool,
    /// Counters that were compared.
    pub compared: usize,
    /// Where memory and the store differ, by limit and dimension, as all that follows.
    pub drifts: Vec<Drift>,
    /// Windows that ended because another process had reset them, which was seen twice in a row.
    pub adopted: Vec<Adopted>,
    /// Counters that other processes count apart from this one, in windows that begin elsewhere.
    /// Nothing was changed: give the engines one [`anchor`](crate::EngineBuilder::anchor).
    pub apart: Vec<Apart>,
    /// So many windows had moved because their limits were changed, and the store is told so.
    pub moved: usize,
    /// So many counters had something else granted than the store has, and have that now: another
    /// process has topped up or overridden a limit.
    pub granted: usize,
}

/// A counter of which memory and the store differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The limit.
    pub limit: LimitId,
    /// The counter.
    pub dimension: Dimension,
    /// When its window began.
    pub window_start: Timestamp,
    /// What memory has booked, in the dimension's unit.
    pub memory: i64,
    /// What the store has, and what it would not take.
    pub ledger: i64,
    /// What memory was changed by. Zero when it is seen for the first time.
    pub repaired: i64,
}

/// A counter that began the window that another process had begun by a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The limit.
    pub limit: LimitId,
    /// The counter.
    pub dimension: Dimension,
    /// When the window began that has ended by this.
    pub ended: Timestamp,
    /// The window that is in force now.
    pub window: Span,
    /// What the store has settled in it.
    pub settled: i64,
}

/// A counter whose windows begin elsewhere in another process, so that each counts its own part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Apart {
    /// The limit.
    pub limit: LimitId,
    /// The counter.
    pub dimension: Dimension,
    /// The limit's anchor here.
    pub here: Timestamp,
    /// Its anchor where the store's last window was charged.
    pub ledger: Timestamp,
}

impl Ledger {
    /// Compares what memory has booked with what the store has, for every counter's window in
    /// force, and corrects memory by a difference that it has seen twice in a row: by the smaller
    /// one of the two, if they have one sign. Windows that are over are left alone. Where a window
    /// has moved because its limit was changed, and nothing was charged since, the store is told.
    ///
    /// Blocks while a group is written and while it reads the totals, some microseconds for each
    /// counter. Meanwhile nothing else is written: receipts wait, decisions and settling do not.
    ///
    /// Between calls of one process nothing differs, unless something was booked past the ledger
    /// ([`Engine::bump`](crate::Engine::bump)), or its clock has been ahead before a restart. On a
    /// store that several processes share this is how each of them learns what the others have
    /// spent and granted, and where they have reset a window: call it every few seconds, and the
    /// limits of all of them together are passed by no more than what they admit between two calls.
    /// While the store is in trouble it does not compare: then [`Reconciled::quiet`] is false.
    ///
    /// # Several processes
    ///
    /// They count in the same windows if those begin at the same instants. Windows of the calendar
    /// do. Those of rolling and prepaid limits begin at the limit's anchor, which is when the limit
    /// was created, in each process for itself, unless the store knows the limit by then: so give
    /// all engines one [`anchor`](crate::EngineBuilder::anchor), or the limits one each in the
    /// configuration document. Limits that count apart are told in [`Reconciled::apart`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Nothing was compared.
    pub fn reconcile(&self) -> Result<Reconciled, StoreError> {
        let (desk, mut seen) = (self.desk(), self.front().seen.lock());
        let granted = self.bring_grants()?;
        // What is queued is neither written nor booked, and what is written is booked: the two are
        // equal, unless something was booked that the store has not got.
        let turn = desk.books.turn.lock();
        let since = desk.books.deletions();
        let lines = desk.engine.booked();
        let mut totals = Totals::new();
        // Those as well that the store takes for over: their end may have moved.
        desk.books.store.open_totals(Timestamp::UNIX_EPOCH, &mut |total| {
            totals.insert((total.limit.clone(), total.dimension), total);
        })?;
        let quiet = desk.outbox.is_quiet();
        let refused = self.refused();
        let unopened = self.refused_openings();
        let mut found = Reconciled { granted, quiet, ..Reconciled::default() };
        if quiet {
            self.compare(&lines, &totals, &refused, &mut seen, &mut found);
        }
        drop(turn);
        // An opening that is refused would be refused again.
        let accepted = lines.iter().filter(|line| !unopened.contains(&place(line)));
        let moved = accepted.filter_map(|line| opening(line, totals.get(&counter(line))?));
        let mut moved: Vec<Posting> = moved.collect();
        // The engine's limits come in no particular order.
        moved.sort_by(|a, b| (&a.limit, a.dimension).cmp(&(&b.limit, b.dimension)));
        found.moved = self.open(moved, since, &mut seen);
        Ok(found)
    }

    fn compare(
        &self,
        lines: &[Line],
        totals: &Totals,
        refused: &HashMap<Place, i64>,
        seen: &mut Seen,
        found: &mut Reconciled,
    ) {
        let engine = &self.desk().engine;
        let now = engine.now();
        let (mut drifts, mut later) = (HashMap::new(), HashMap::new());
        for line in lines {
            let total = totals.get(&counter(line));
            let (limit, dimension) = counter(line);
            let settled = match last_of(line, total, now) {
                Last::Same(settled) => settled,
                Last::Apart(total) => {
                    let (here, ledger) = (line.anchor(), total.anchor);
                    found.apart.push(Apart { limit, dimension, here, ledger });
                    continue;
                }
                Last::Later(total) => {
                    let counter = (limit.clone(), dimension);
                    let start = total.window.start;
                    let again = seen.later.get(&counter) == Some(&start);
                    if !again || !engine.adopt(line, total.window, counted(total.settled)) {
                        later.insert(counter, start);
                        continue;
                    }
                    let (ended, settled) = (line.window().start, total.settled);
                    let window = total.window;
                    found.adopted.push(Adopted { limit, dimension, ended, window, settled });
                    continue;
                }
                Last::Elsewhere => continue,
            };
            found.compared += 1;
            let place = place(line);
            let memory = signed(line.amount());
            let ledger = settled.saturating_add(refused.get(&place).copied().unwrap_or(0)).max(0);
            let difference = ledger.saturating_sub(memory);
            if difference == 0 {
                continue;
            }
            let window_start = place.2;
            let mut repaired = smaller(seen.drifts.get(&place).copied().unwrap_or(0), difference);
            if repaired != 0 && !engine.adjust(&limit, dimension, window_start, repaired) {
                repaired = 0;
            }
            drifts.insert(place, difference - repaired);
            found.drifts.push(Drift { limit, dimension, window_start, memory, ledger, repaired });
        }
        (seen.drifts, seen.later) = (drifts, later);
        found.drifts.sort_by(|a, b| (&a.limit, a.dimension).cmp(&(&b.limit, b.dimension)));
        found.adopted.sort_by(|a, b| (&a.limit, a.dimension).cmp(&(&b.limit, b.dimension)));
        found.apart.sort_by(|a, b| (&a.limit, a.dimension).cmp(&(&b.limit, b.dimension)));
    }

    /// Tells the store where windows are, unless it has not taken yet what it was told before. Says
    /// how many.
    fn open(&self, moved: Vec<Posting>, since: u64, seen: &mut Seen) -> usize {
        seen.openings.retain_mut(|settling| settling.wait_timeout(Duration::ZERO).is_none());
        if !seen.openings.is_empty() {
            return 0;
        }
        let (desk, count) = (self.desk(), moved.len());
        for Entry { postings, .. } in entries(moved, &desk.ids) {
            let (due, slot) = (Due::Booked(Settlement::default()), desk.outbox.slot_in_any_case());
            seen.openings.push(desk.send(None, postings, due, since, slot));
        }
        count
    }

    /// What the store would not take, and memory has booked: corrections it has not, nor what was
    /// gone with an owner that was deleted since.
    fn refused(&self) -> HashMap<Place, i64> {
        let desk = self.desk();
        // First, because it is waited for: it is held while a group is written.
        let owners = desk.books.owners.lock();
        let mut refused = HashMap::new();
        for (rejected, pending) in desk.outbox.rejected.lock().iter() {
            let booked = rejected.entry.postings.iter().filter(|posting| {
                pending.unpersisted.is_some() && !owners.is_gone(&posting.owner, pending.since)
            });
            for posting in booked {
                let sum: &mut i64 = refused.entry(posting_place(posting)).or_default();
                *sum = sum.saturating_add(posting.amount);
            }
        }
        refused
    }

    /// The windows of which the store would not be told.
    fn refused_openings(&self) -> HashSet<Place> {
        let rejected = self.desk().outbox.rejected.lock();
        let entries = rejected.iter().map(|(rejected, _)| &rejected.entry);
        let openings = entries.filter(|entry| entry.record.is_none());
        openings.flat_map(|entry| entry.postings.iter().map(posting_place)).collect()
    }
}

/// What the store's last total of a counter says of its window in force.
enum Last<'a> {
    /// What is settled in it.
    Same(i64),
    /// Another process has ended it, and begun this one.
    Later(&'a Total),
    /// Another process counts in windows that begin elsewhere.
    Apart(&'a Total),
    /// Nothing: the limit is another's in the store, or defined otherwise in another process.
    Elsewhere,
}

fn last_of<'a>(line: &Line, total: Option<&'a Total>, now: Timestamp) -> Last<'a> {
    let Some(total) = total else { return Last::Same(0) };
    if total.owner != *line.owner() {
        return Last::Elsewhere;
    }
    let (here, there) = (line.window(), total.window);
    let is_open = there.end > now || there.end == Timestamp::MAX;
    match there.start.cmp(&here.start) {
        Order::Equal => Last::Same(total.settled),
        _ if is_open && !is_on_the_lattice_of(line, total) => Last::Apart(total),
        Order::Less => Last::Same(0),
        // One that a reset begins ends where the other would have.
        Order::Greater if is_open && instant(there.end) == instant(here.end) => Last::Later(total),
        Order::Greater => Last::Elsewhere,
    }
}

fn counter(line: &Line) -> Counter {
    (line.limit().clone(), line.dimension())
}

fn place(line: &Line) -> Place {
    (line.limit().clone(), line.dimension(), line.window().start)
}

fn posting_place(posting: &Posting) -> Place {
    (posting.limit.clone(), posting.dimension, posting.window.start)
}

/// Of two numbers of one sign the smaller; otherwise zero.
fn smaller(one: i64, other: i64) -> i64 {
    match (one.signum(), other.signum()) {
        (1, 1) => one.min(other),
        (-1, -1) => one.max(other),
        _ => 0,
    }
}
