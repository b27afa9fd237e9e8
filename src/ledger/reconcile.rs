//! Reconciling: what memory has and what the store has, compared when nothing is on its way.

use std::collections::HashMap;

use super::desk::signed;
use super::front::Ledger;
use super::store::{StoreError, Total};
use crate::engine::Line;
use crate::id::LimitId;
use crate::time::Timestamp;
use crate::units::Dimension;

/// The differences that were seen last, by counter and window.
pub(crate) type Seen = HashMap<Place, i64>;
type Place = (LimitId, Dimension, Timestamp);

/// What reconciling found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// Whether it could compare at all: false if something was on its way to the store. Then
    /// nothing was done.
    pub quiet: bool,
    /// Counters that were compared.
    pub compared: usize,
    /// Where memory and the store differ.
    pub drifts: Vec<Drift>,
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

impl Ledger {
    /// Compares what memory has booked with what the store has, for every counter's window in
    /// force, and corrects memory by a difference that it has seen twice in a row: by the smaller
    /// one of the two, if they have one sign. Windows that are over are left alone. Blocks while it
    /// reads the totals.
    ///
    /// Between calls of one process nothing differs, unless something was booked past the ledger
    /// ([`Engine::bump`](crate::Engine::bump)). On a store that several processes share this is how
    /// each of them learns what the others have spent: call it every few seconds, and the limits of
    /// all of them together are passed by no more than what they admit between two calls.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Nothing was done.
    pub fn reconcile(&self) -> Result<Reconciled, StoreError> {
        let (desk, mut seen) = (self.desk(), self.front().seen.lock());
        let Some(before) = desk.outbox.quiet() else { return Ok(Reconciled::default()) };
        let booked = desk.engine.booked();
        let mut stored: HashMap<(LimitId, Dimension), Total> = HashMap::new();
        desk.books.store.open_totals(desk.engine.now(), &mut |total| {
            stored.insert((total.limit.clone(), total.dimension), total);
        })?;
        self.add_prolonged(&booked, &mut stored)?;
        let refused = self.refused();
        if desk.outbox.quiet() != Some(before) {
            return Ok(Reconciled::default());
        }
        let mut found = Reconciled { quiet: true, ..Reconciled::default() };
        let mut next = Seen::new();
        for line in &booked {
            let total = stored.get(&(line.limit().clone(), line.dimension()));
            let Some(settled) = settled_in(line, total) else { continue };
            found.compared += 1;
            let place = (line.limit().clone(), line.dimension(), line.window().start);
            let memory = signed(line.amount());
            let ledger = settled.saturating_add(refused.get(&place).copied().unwrap_or(0)).max(0);
            let difference = ledger.saturating_sub(memory);
            if difference == 0 {
                continue;
            }
            let mut repaired = smaller(seen.get(&place).copied().unwrap_or(0), difference);
            let (limit, dimension, window_start) = place.clone();
            if repaired != 0 && !desk.engine.adjust(&limit, dimension, window_start, repaired) {
                repaired = 0;
            }
            next.insert(place, difference - repaired);
            found.drifts.push(Drift { limit, dimension, window_start, memory, ledger, repaired });
        }
        *seen = next;
        Ok(found)
    }

    /// Adds the totals of windows that are in force and over by what the store knows: a longer
    /// period has moved their end, and nothing was charged since.
    fn add_prolonged(
        &self,
        booked: &[Line],
        stored: &mut HashMap<(LimitId, Dimension), Total>,
    ) -> Result<(), StoreError> {
        for line in booked.iter().filter(|line| line.amount() > 0) {
            let counter = (line.limit().clone(), line.dimension());
            let start = line.window().start;
            if stored.get(&counter).is_some_and(|total| total.window.start >= start) {
                continue;
            }
            let totals = self.desk().books.store.totals(line.limit())?.into_iter();
            let mut it = totals.filter(|total| total.dimension == counter.1);
            stored.extend(it.find(|total| total.window.start == start).map(|it| (counter, it)));
        }
        Ok(())
    }

    /// What the store would not take, and memory has booked.
    fn refused(&self) -> HashMap<Place, i64> {
        let mut refused = HashMap::new();
        for (rejected, _) in self.desk().outbox.rejected.lock().iter() {
            for posting in &rejected.entry.postings {
                let place = (posting.limit.clone(), posting.dimension, posting.window.start);
                *refused.entry(place).or_default() += posting.amount;
            }
        }
        refused
    }
}

/// What the store has for the window of a line. `None` if it knows a later one: then that is no
/// window to compare with.
fn settled_in(line: &Line, total: Option<&Total>) -> Option<i64> {
    match total {
        Some(total) if total.owner != *line.owner() => None,
        Some(total) if total.window.start > line.window().start => None,
        Some(total) if total.window.start == line.window().start => Some(total.settled),
        _ => Some(0),
    }
}

/// Of two numbers of one sign the smaller; otherwise zero.
fn smaller(one: i64, other: i64) -> i64 {
    match (one.signum(), other.signum()) {
        (1, 1) => one.min(other),
        (-1, -1) => one.max(other),
        _ => 0,
    }
}
