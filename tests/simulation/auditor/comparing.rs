//! What reconciling must find and do, and what entries of nothing must tell the store of windows:
//! both are worked out here first.

use std::collections::BTreeMap;

use tollkeeper::{
    CounterUsage, Dimension, Engine, Entry, LimitId, LimitUsage, OwnerId, Reconciled, Span,
    Timestamp,
};

use super::super::books::{Books, Sum};
use super::super::{Counter, involves};
use super::Memory;
use crate::hub::{Checked, breach};
use crate::tasks::Home;
use crate::topology::DAY;

/// A counter's window by its name.
type Place = (LimitId, Dimension, Timestamp);

/// A limit as it stands in an engine.
#[derive(Clone)]
pub struct Standing {
    pub usage: LimitUsage,
    pub anchor: Timestamp,
}

impl Standing {
    /// Where the window of a counter ends that an instant is in, if windows of the length of the
    /// one in force lie by this anchor.
    pub fn end_of(
        &self,
        dimension: Dimension,
        anchor: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let Span { start, end } = self.usage.counter(dimension)?.window;
        if end == Timestamp::MAX {
            return Some(end);
        }
        let nanos = |at: Timestamp| i128::from(at.as_nanos());
        let length = nanos(end) - nanos(start);
        let is_day = length == i128::try_from(DAY.as_nanos()).ok()?;
        let first = if is_day { 0 } else { nanos(anchor) };
        // Before the anchor there is no window.
        let passed = (nanos(now.max(anchor)) - first) / length;
        u64::try_from(first + (passed + 1) * length).ok().map(Timestamp::from_nanos)
    }
}

/// How all limits of an engine stand, in the order of their ids.
pub fn standing(engine: &Engine) -> Vec<Standing> {
    let mut limits: Vec<LimitUsage> = engine.usage_all().collect();
    limits.sort_by(|a, b| a.limit.cmp(&b.limit));
    let state = engine.export().limits;
    let each = limits.into_iter().zip(state).map(|(usage, state)| {
        assert_eq!(usage.limit, state.limit);
        Standing { usage, anchor: state.anchor }
    });
    each.collect()
}

/// An entry that is to tell the store of windows.
pub struct Opening {
    windows: BTreeMap<Place, (OwnerId, Timestamp, Timestamp)>,
    /// Whether it was sent because windows had moved.
    moved: bool,
}

impl Opening {
    fn is(&self, entry: &Entry) -> bool {
        let told: BTreeMap<_, _> = entry
            .postings
            .iter()
            .map(|posting| {
                let place = (posting.limit.clone(), posting.dimension, posting.window.start);
                (place, (posting.owner.clone(), posting.window.end, posting.anchor))
            })
            .collect();
        entry.postings.iter().all(|posting| posting.amount == 0) && told == self.windows
    }
}

/// What was seen by the comparison before.
#[derive(Default)]
pub struct Seen {
    drifts: BTreeMap<Place, i128>,
    later: BTreeMap<Counter, Timestamp>,
}

/// What reconciling finds and does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding {
    quiet: bool,
    compared: usize,
    moved: usize,
    granted: usize,
    /// What memory has, what the ledger has, what was repaired.
    drifts: BTreeMap<Place, (i128, i128, i128)>,
    /// What has ended, the window that is in force instead, what is settled there.
    adopted: BTreeMap<Counter, (Timestamp, Span, i128)>,
    /// The anchor here, and there.
    apart: BTreeMap<Counter, (Timestamp, Timestamp)>,
}

impl From<&Reconciled> for Finding {
    fn from(found: &Reconciled) -> Finding {
        let drifts = found.drifts.iter().map(|d| {
            let place = (d.limit.clone(), d.dimension, d.window_start);
            (place, (d.memory.into(), d.ledger.into(), d.repaired.into()))
        });
        let adopted = found.adopted.iter().map(|a| {
            let counter = (a.limit.clone(), a.dimension);
            (counter, (a.ended, a.window, a.settled.into()))
        });
        let apart = found.apart.iter().map(|a| {
            let counter = (a.limit.clone(), a.dimension);
            (counter, (a.here, a.ledger))
        });
        Finding {
            quiet: found.quiet,
            compared: found.compared,
            moved: found.moved,
            granted: found.granted,
            drifts: drifts.collect(),
            adopted: adopted.collect(),
            apart: apart.collect(),
        }
    }
}

/// A counter's window as it was when the totals were read.
struct At<'a> {
    standing: &'a Standing,
    counter: &'a CounterUsage,
    name: Timestamp,
    now: Timestamp,
}

impl At<'_> {
    fn key(&self) -> Counter {
        (self.standing.usage.limit.clone(), self.counter.dimension)
    }
}

impl Memory {
    /// The node reads the totals: this is how its limits stand.
    pub fn reads(&mut self, standing: Vec<Standing>) {
        self.standing = standing;
    }

    /// What the last comparison found is what there was to find. From here on memory is as it has
    /// left it.
    pub fn reconciled(
        &mut self,
        (home, quiet, now): (Home, bool, Timestamp),
        found: &Reconciled,
        books: &Books,
    ) -> Checked {
        let mut must = Finding { quiet, granted: self.regranted, ..Finding::default() };
        let (mut seen, mut moved) = (Seen::default(), BTreeMap::new());
        if quiet {
            self.compared.clear();
        }
        let all = std::mem::take(&mut self.standing);
        for standing in &all {
            for counter in &standing.usage.counters {
                let name = self.name(&standing.usage.limit, counter);
                let at = At { standing, counter, name, now };
                let last =
                    books.last(&at.key()).filter(|_| counter.dimension != Dimension::InFlight);
                if let Some((start, sum)) = last
                    && start == name
                    && self.has_moved(standing, counter, sum)
                {
                    let told = (sum.owner.clone(), counter.window.end, standing.anchor);
                    moved.insert((at.key().0, at.key().1, name), told);
                }
                if quiet && counter.dimension != Dimension::InFlight {
                    self.compare(&at, last, &mut seen, &mut must);
                }
            }
        }
        if self.openings.iter().any(|opening| opening.moved) {
            moved.clear();
        }
        must.moved = moved.len();
        if quiet {
            self.seen = seen;
            must.compared = self.compared.len();
        }
        if !moved.is_empty() {
            self.openings.push(Opening { windows: moved, moved: true });
        }
        let found = Finding::from(found);
        if found == must {
            return Ok(());
        }
        breach("I13", format!("node {} finds {found:?}, and there is {must:?}", home.node))
    }

    fn compare(
        &mut self,
        at: &At<'_>,
        last: Option<(Timestamp, &Sum)>,
        seen: &mut Seen,
        must: &mut Finding,
    ) {
        let (key, here) = (at.key(), at.counter.window);
        let settled = match last {
            None => 0,
            Some((_, sum)) if sum.owner != at.standing.usage.owner => return,
            Some((start, sum)) if start == at.name => sum.settled,
            Some((start, sum)) => {
                let never = sum.end == Timestamp::MAX;
                let is_open = sum.end > at.now || never;
                if is_open && !self.is_on_one_lattice(at.standing, sum) {
                    must.apart.insert(key, (at.standing.anchor, sum.anchor));
                    return;
                }
                if start > at.name {
                    if is_open && sum.end == here.end {
                        self.adopt(at, (start, sum), seen, must);
                    }
                    return;
                }
                0
            }
        };
        self.compared.insert(key.clone());
        let place = (key.0.clone(), key.1, at.name);
        let booked = self.booked_in(&key, at.name);
        let ledger = (settled + self.refused_in(&key, at.name)).max(0);
        let difference = ledger - booked;
        if difference == 0 {
            return;
        }
        let before = self.seen.drifts.get(&place).copied().unwrap_or(0);
        let both = before.signum() == difference.signum();
        let is_over = here.end <= at.now && here.end != Timestamp::MAX;
        let repaired = match difference.signum() {
            _ if !both || is_over => 0,
            1 => difference.min(before),
            _ => difference.max(before),
        };
        seen.drifts.insert(place.clone(), difference - repaired);
        must.drifts.insert(place, (booked, ledger, repaired));
        *self.booked.entry(key.clone()).or_default().entry(at.name).or_default() += repaired;
        self.raise(&key, at.name, Some(0), repaired.max(0));
    }

    /// Another process has ended the window by a reset. Who has seen that twice goes on in the one
    /// that follows, with what is settled there.
    fn adopt(
        &mut self,
        at: &At<'_>,
        (start, sum): (Timestamp, &Sum),
        seen: &mut Seen,
        must: &mut Finding,
    ) {
        let key = at.key();
        if self.seen.later.get(&key) != Some(&start) {
            seen.later.insert(key, start);
            return;
        }
        let settled = sum.settled.max(0);
        self.names.insert((key.0.clone(), key.1, at.counter.generation + 1), start);
        self.booked.entry(key.clone()).or_default().insert(start, settled);
        self.raise(&key, start, Some(0), settled);
        must.adopted.insert(key, (at.name, Span { start, end: sum.end }, sum.settled));
    }

    /// What is booked although the store will not have it.
    fn refused_in(&self, counter: &Counter, name: Timestamp) -> i128 {
        let refused = self.rejected.iter().filter_map(|key| self.queued.get(key));
        let lines = refused.filter(|queued| queued.booked).flat_map(|queued| &queued.lines);
        let here = lines.filter(|line| {
            line.stop.counter == *counter && line.window == name && self.is_current(&line.stop)
        });
        here.map(|line| line.amount).sum()
    }

    fn is_on_one_lattice(&self, standing: &Standing, sum: &Sum) -> bool {
        let rule = self.rules.get(&standing.usage.limit);
        standing.anchor == sum.anchor || rule.and_then(|rule| rule.period()) == Some(DAY)
    }

    /// Whether a window is elsewhere than the store knows.
    fn has_moved(&self, standing: &Standing, counter: &CounterUsage, sum: &Sum) -> bool {
        sum.owner == standing.usage.owner
            && (sum.end != counter.window.end || !self.is_on_one_lattice(standing, sum))
    }

    /// A window that was taken over is in force, and ends where the other would have: by no clock
    /// it is an earlier one (L13).
    pub fn check_adopted(found: &Reconciled, limits: &[LimitUsage]) -> Checked {
        for adopted in &found.adopted {
            let usage = limits.iter().find(|usage| usage.limit == adopted.limit);
            let counter = usage.and_then(|usage| usage.counter(adopted.dimension));
            if counter.is_none_or(|counter| counter.window.end != adopted.window.end) {
                return breach("L13", format!("{adopted:?} is in force as {counter:?}"));
            }
        }
        Ok(())
    }

    /// The store knows where the windows end that it has totals of, and so does who begins with
    /// them: no longer period is forgotten, and no shorter one (L9).
    pub fn check_ends(&self, home: Home, standing: &[Standing], books: &Books) -> Checked {
        for standing in standing {
            for counter in &standing.usage.counters {
                let (limit, dimension) = (&standing.usage.limit, counter.dimension);
                let name = self.name(limit, counter);
                let last = books.last(&(limit.clone(), dimension));
                let Some((_, sum)) = last.filter(|(start, _)| *start == name) else { continue };
                if self.has_moved(standing, counter, sum) {
                    let what = format!(
                        "node {}: {limit} {dimension} in {name:?} ends at {:?} by {:?}; the store \
                         has {sum:?}",
                        home.node, counter.window.end, standing.anchor
                    );
                    return breach("L9", what);
                }
            }
        }
        Ok(())
    }

    /// The same of what a node has just begun with.
    pub fn check_restored_ends(&self, home: Home, standing: &[Standing], books: &Books) -> Checked {
        let mut restored = standing.to_vec();
        for Standing { usage, .. } in &mut restored {
            usage.counters.retain(|counter| {
                let name = (usage.limit.clone(), counter.dimension, counter.generation);
                self.names.contains_key(&name)
            });
        }
        self.check_ends(home, &restored, books)
    }

    /// An operator has ended windows: these were in force, and these are.
    pub fn reset(&mut self, home: Home, before: &LimitUsage, after: &Standing) -> Checked {
        self.before_change(before);
        let mut windows = BTreeMap::new();
        for (was, is) in before.counters.iter().zip(&after.usage.counters) {
            if is.generation != was.generation + 1 || is.window.end != was.window.end {
                let what = format!("node {}: {was:?} is reset to {is:?}", home.node);
                return breach("L8", what);
            }
            let name = self.remember(&before.limit, is);
            let told = (before.owner.clone(), is.window.end, after.anchor);
            windows.insert((before.limit.clone(), is.dimension, name), told);
        }
        self.openings.push(Opening { windows, moved: false });
        Ok(())
    }

    /// What is deleted is not told.
    pub(super) fn opens_no_more(&mut self, owner: &OwnerId) {
        for opening in &mut self.openings {
            opening.windows.retain(|_, (whose, ..)| !involves(whose, owner));
        }
    }

    /// The store is asked to write an entry of nothing.
    pub(super) fn asked_to_open(&self, entry: &Entry) -> Checked {
        let is_known = self.openings.iter().any(|opening| opening.is(entry));
        if is_known || (self.closing && self.is_standing(entry)) {
            return Ok(());
        }
        breach("L9", format!("the store is told of {:?}, which is nowhere so", entry.postings))
    }

    /// Whether an entry tells of windows as they were when the totals were read.
    fn is_standing(&self, entry: &Entry) -> bool {
        entry.postings.iter().all(|posting| {
            let of = |standing: &&Standing| standing.usage.limit == posting.limit;
            let Some(Standing { usage, anchor }) = self.standing.iter().find(of) else {
                return false;
            };
            let Some(counter) = usage.counter(posting.dimension) else { return false };
            let window = Span { start: self.name(&usage.limit, counter), ..counter.window };
            (&posting.owner, posting.window, posting.anchor) == (&usage.owner, window, *anchor)
                && posting.amount == 0
        })
    }

    /// From here on it tells what is left to tell.
    pub fn closes(&mut self) {
        self.closing = true;
    }

    pub(super) fn opened(&mut self, entry: &Entry) {
        let place = self.openings.iter().position(|opening| opening.is(entry));
        place.map(|place| self.openings.remove(place));
    }
}
