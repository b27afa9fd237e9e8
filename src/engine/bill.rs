//! Bills: what a request is booked for, worked out before it is booked.
//!
//! For those who must write down first what memory books then (a ledger). A bill is made of lines:
//! an amount on one counter in one window. It is made as of the moment of settling, and decides
//! there what the window of each hold has come to (L8). Booking follows it to the letter: a line is
//! booked in its own window or, if that is over by then, not at all, because what is in the total
//! of a window that is over does not change any more; what was held in it is part of that total.
//!
//! | the hold's window | line there | line in the window in force |
//! |---|---|---|
//! | is in force | what was used | – |
//! | is over | what was held: it stays booked | what was used beyond it, if anything |
//! | is not known | – | what was used |
//!
//! Not known it is when the windows of a counter ended twice or more between a hold and the next
//! moment of its thread: with windows that are shorter than a thread may be kept waiting. Then all
//! is charged where the request ends, so that no usage is lost.

use crate::admission::Stop;
use crate::counter::SETTLED_MAX;
use crate::engine::reservation::{Reservation, Settlement};
use crate::engine::route::Route;
use crate::engine::{Engine, Shared};
use crate::entry::{At, Entry, Hold, Posted};
use crate::id::{LimitId, OwnerId};
use crate::plan::COUNTERS;
use crate::snapshot::Window;
use crate::sync::Arc;
use crate::time::{Span, Timestamp};
use crate::units::{Dimension, Usage};

/// What a request is booked for, in the order of its route.
#[derive(Default)]
pub(crate) struct Bill {
    lines: Vec<Line>,
}

/// What is booked on one counter, in one window.
pub(crate) struct Line {
    /// The counter's place on the route.
    place: usize,
    entry: Arc<Entry>,
    counter: usize,
    dimension: Dimension,
    generation: u64,
    window: Span,
    anchor: Timestamp,
    amount: u64,
}

/// The windows that a reservation was admitted to.
#[derive(Default)]
pub(crate) struct Admitted {
    /// In the order of the route, and for one counter in the order of time: more than one if the
    /// reservation was extended over the end of a window.
    parts: Vec<Part>,
}

/// What is held in one window of one counter.
#[derive(Clone, Copy)]
struct Part {
    place: usize,
    generation: u64,
    /// `None` if it is over and nobody knows which it was.
    window: Option<Span>,
    anchor: Timestamp,
    amount: u64,
}

/// What names a window, and its end.
fn named(window: &Window) -> Span {
    Span { start: window.name, end: window.span.end }
}

impl Bill {
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds a line, unless it is of nothing. No more than can be counted is ever booked.
    fn add(&mut self, stop: &Stop, place: usize, part: Part) {
        if let (Some(window), 1..) = (part.window, part.amount) {
            self.lines.push(Line {
                place,
                entry: Arc::clone(&stop.entry),
                counter: stop.counter(),
                dimension: stop.dimension,
                generation: part.generation,
                window,
                anchor: part.anchor,
                amount: part.amount.min(SETTLED_MAX),
            });
        }
    }
}

impl Line {
    pub(crate) fn limit(&self) -> &LimitId {
        &self.entry.id
    }

    pub(crate) fn owner(&self) -> &OwnerId {
        &self.entry.owner
    }

    pub(crate) fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// The window. Its start is its name: where it was when it began.
    pub(crate) fn window(&self) -> Span {
        self.window
    }

    /// Where the lattice of the limit's rolling periods began.
    pub(crate) fn anchor(&self) -> Timestamp {
        self.anchor
    }

    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    /// Whether the anchor decides where windows begin.
    pub(crate) fn is_anchored(&self) -> bool {
        let snapshot = self.entry.snapshot();
        snapshot.plan.counters[self.counter].as_ref().is_some_and(|plan| !plan.period.is_calendar())
    }
}

impl Stop {
    /// The window in force, with nothing in it yet. `None` if there is none to book in: the limit
    /// does not have the counter any more, or it counts requests in flight.
    fn part(&self, place: usize, at: &At) -> Option<Part> {
        let snapshot = self.entry.in_force(at);
        let counter = self.counter();
        let counted = snapshot.dimension(counter) == Some(self.dimension);
        let window = &snapshot.windows[counter];
        (counted && self.dimension != Dimension::InFlight).then(|| Part {
            place,
            generation: window.generation,
            window: Some(named(window)),
            anchor: snapshot.anchor,
            amount: 0,
        })
    }
}

impl Reservation {
    /// The windows that it is admitted to: to be asked for right after it was.
    pub(crate) fn admitted(&self) -> Admitted {
        let (route, holds) = (self.route(), self.holds());
        let mut parts = Vec::with_capacity(holds.len());
        for (place, stop) in route.stops.as_slice()[..holds.len()].iter().enumerate() {
            let hold = stop.held(holds, place);
            if hold.amount > 0 && stop.dimension != Dimension::InFlight {
                parts.push(admitted_to(stop, place, hold));
            }
        }
        Admitted { parts }
    }

    /// The same after it was extended.
    pub(crate) fn admitted_again(&self, admitted: &mut Admitted) {
        let (route, holds) = (self.route(), self.holds());
        for (place, stop) in route.stops.as_slice()[..holds.len()].iter().enumerate() {
            let hold = stop.held(holds, place);
            if hold.amount == 0 || stop.dimension == Dimension::InFlight {
                continue;
            }
            let known = admitted.parts.iter_mut().rfind(|part| part.place == place);
            if let Some(part) = known.filter(|part| hold.is_in(part.generation)) {
                part.amount = hold.amount;
                continue;
            }
            let part = admitted_to(stop, place, hold);
            let behind = admitted.parts.partition_point(|part| part.place <= place);
            admitted.parts.insert(behind, part);
        }
    }

    /// What it is booked for if this was used; for `None`, if nobody knows: as it was held. From
    /// here on it is not in flight any more.
    pub(crate) fn bill(&mut self, admitted: &Admitted, used: Option<&Usage>) -> Bill {
        let route = self.route();
        let (stops, at) = (&route.stops, route.desk.at());
        let used = used.map(|used| stops.actual(used));
        let mut bill = Bill::default();
        let mut parts = admitted.parts.as_slice();
        for (place, stop) in stops.as_slice()[..self.holds().len()].iter().enumerate() {
            let Some(now) = stop.part(place, &at) else {
                self.land(stop, place, &at);
                continue;
            };
            let (held, rest) = parts.split_at(parts.partition_point(|part| part.place <= place));
            parts = rest;
            let total = held.iter().fold(0_u64, |sum, part| sum.saturating_add(part.amount));
            let mut left = used.as_ref().map_or(total, |used| stop.amount(used));
            let is_over = |part: &&Part| part.generation != now.generation && part.window.is_some();
            for part in held.iter().filter(is_over) {
                left = left.saturating_sub(part.amount);
                bill.add(stop, place, *part);
            }
            bill.add(stop, place, Part { amount: left, ..now });
        }
        bill
    }

    /// Ends what is held in flight.
    fn land(&mut self, stop: &Stop, place: usize, at: &At) {
        if stop.dimension == Dimension::InFlight {
            let hold = stop.held(self.holds(), place);
            self.holds_mut().release(place);
            stop.entry.give_back(stop.counter(), hold, at);
        }
    }

    /// Ends it by exactly the lines of its bill that are kept. What is held for other lines, and on
    /// counters that there is no line for, is given back.
    pub(crate) fn book(mut self, bill: &Bill, keep: impl Fn(&Line) -> bool) -> Settlement {
        let route = self.route();
        let at = route.desk.at();
        let mut settlement = Settlement::default();
        let mut lines = bill.lines();
        while let Some(place) = self.holds().len().checked_sub(1) {
            let stop = &route.stops.as_slice()[place];
            let mut to_end = Some(stop.held(self.holds(), place));
            self.holds_mut().end_last();
            let (rest, mine) = lines.split_at(lines.partition_point(|line| line.place < place));
            lines = rest;
            for line in mine {
                let amount = if keep(line) { line.amount } else { 0 };
                let hold = to_end.take_if(|hold| hold.is_in(line.generation));
                let hold = hold.unwrap_or(Hold::NONE);
                let posted = line.entry.post(line.counter, hold, line.generation, amount, &at);
                // What it was booked in is over: it is in the window's total, as it was held.
                let late = Posted { late: true, ..Posted::default() };
                settlement.add(stop, posted.unwrap_or(late));
            }
            if let Some(hold) = to_end {
                stop.entry.give_back(stop.counter(), hold, &at);
            }
        }
        settlement.reverse();
        settlement
    }
}

/// The window of a hold that was just admitted.
fn admitted_to(stop: &Stop, place: usize, hold: Hold) -> Part {
    let snapshot = stop.entry.snapshot();
    let window = &snapshot.windows[stop.counter()];
    let generation = hold.generation(window.generation);
    let behind = window.generation.wrapping_sub(generation);
    let window = match behind {
        0 => Some(named(window)),
        1 => Some(window.before),
        _ => None,
    };
    Part { place, generation, window, anchor: snapshot.anchor, amount: hold.amount }
}

impl Engine {
    /// What this would be booked for, after the fact.
    pub(crate) fn bill(&self, route: &Route, used: &Usage) -> Bill {
        let route = route.resolved(&self.shared);
        let (used, at) = (route.stops.actual(used), self.shared.desk.at());
        let mut bill = Bill::default();
        for (place, stop) in route.stops.as_slice().iter().enumerate() {
            if let Some(part) = stop.part(place, &at) {
                bill.add(stop, place, Part { amount: stop.amount(&used), ..part });
            }
        }
        bill
    }

    /// Books exactly the lines of a bill that are kept.
    pub(crate) fn book(&self, bill: &Bill, keep: impl Fn(&Line) -> bool) -> Settlement {
        let mut settlement = Settlement::default();
        let at = self.shared.desk.at();
        for line in bill.lines().iter().filter(|line| keep(line)) {
            let posted =
                line.entry.post(line.counter, Hold::NONE, line.generation, line.amount, &at);
            settlement.add_on(&line.entry, line.dimension, posted.unwrap_or_default());
        }
        settlement
    }

    /// What this would be booked for on one counter alone; of no amount if it uses none of it.
    /// `None` if there is no such counter.
    pub(crate) fn bill_of(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        used: &Usage,
    ) -> Option<Line> {
        let entry = self.shared.store.limit(limit.as_str())?;
        let mut stops = crate::admission::Stops::default();
        stops.add(&entry);
        let used = stops.actual(used);
        let at = self.shared.desk.at();
        let stop = stops.as_slice().iter().find(|stop| stop.dimension == dimension)?;
        let part = stop.part(0, &at)?;
        let window = part.window?;
        Some(Line {
            place: 0,
            entry: Arc::clone(&entry),
            counter: stop.counter(),
            dimension,
            generation: part.generation,
            window,
            anchor: part.anchor,
            amount: stop.amount(&used).min(SETTLED_MAX),
        })
    }

    /// Changes what is booked on one counter in the window of this name, up or down. False if that
    /// window is not in force. It does not go below zero.
    pub(crate) fn adjust(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        window: Timestamp,
        by: i64,
    ) -> bool {
        let at = self.shared.desk.at();
        let Some(entry) = self.shared.store.limit(limit.as_str()) else { return false };
        let snapshot = entry.in_force(&at);
        let is_it = |&counter: &usize| snapshot.dimension(counter) == Some(dimension);
        let Some(counter) = (0..COUNTERS).find(is_it) else { return false };
        let Window { name, generation, .. } = snapshot.windows[counter];
        name == window && entry.adjust(counter, generation, by, &at)
    }

    /// Ends the window of a line and begins the one that another process has begun already, with
    /// what is settled there. False if the window of the line is over.
    pub(crate) fn adopt(&self, line: &Line, window: Span, settled: u64) -> bool {
        let at = self.shared.desk.at();
        line.entry.adopt(line.counter, line.generation, (window, settled), &at)
    }

    /// Every counter's window in force, by name, with what is booked in it.
    pub(crate) fn booked(&self) -> Vec<Line> {
        let at = self.shared.desk.at();
        let limits = self.shared.store.limits();
        limits.iter().flat_map(|entry| Shared::booked(entry, &at)).collect()
    }

    /// Which one of its id an owner is, if it is there: kept while it is changed, and another
    /// number once it has been removed and created again, in whatever way.
    pub(crate) fn owner_born(&self, owner: &OwnerId) -> Option<u32> {
        self.shared.store.owner(owner.as_str()).map(|owner| owner.born)
    }

    /// Whether it is there and no other owner's parent.
    pub(crate) fn is_removable(&self, owner: &OwnerId) -> bool {
        self.shared.store.owner(owner.as_str()).is_some_and(|owner| owner.children == 0)
    }

    /// All owners, each with which one of its id it is.
    pub(crate) fn owners_born(&self) -> Vec<(OwnerId, u32)> {
        self.shared.store.owners().iter().map(|owner| (owner.id.clone(), owner.born)).collect()
    }
}

impl Shared {
    fn booked(entry: &Arc<Entry>, at: &At) -> Vec<Line> {
        let line = |counter: usize| {
            entry.in_force(at);
            let read = entry.read(counter, at.now);
            let dimension = read.snapshot.dimension(counter)?;
            (dimension != Dimension::InFlight).then(|| Line {
                place: 0,
                entry: Arc::clone(entry),
                counter,
                dimension,
                generation: read.window.generation,
                window: named(&read.window),
                anchor: read.snapshot.anchor,
                amount: read.counts.settled,
            })
        };
        (0..COUNTERS).filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests;
