//! What is in force for one limit: an immutable value that is replaced whole.
//!
//! A snapshot says what the limit is (its plan), where its windows stand, and what an operator
//! granted on top. It holds no usage: usage is in the counter words, which is why replacing a
//! snapshot can lose none (L9). Every next snapshot is a pure function of the one before and of the
//! arguments, so threads that race to install it build the same one (L13).

use std::collections::HashMap;

use crate::counter::SETTLED_MAX;
use crate::gate::{Terms, WHOLE, over};
use crate::plan::{COUNTERS, CounterPlan, Plan, UNLIMITED};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// What is in force for one limit.
pub(crate) struct Snapshot {
    pub(crate) plan: Arc<Plan>,
    /// Where the lattice of rolling periods begins.
    pub(crate) anchor: Timestamp,
    /// One for each counter of the plan; without meaning where the plan has none.
    pub(crate) windows: [Window; COUNTERS],
    /// Rare, so behind a pointer: most limits have none.
    pub(crate) grants: Option<Box<[Grant; COUNTERS]>>,
    /// The final total of the window before each window, written by whoever closes it and before
    /// the word opens. All who write it write the same.
    closed: [AtomicU64; COUNTERS],
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        // Relaxed: see `closed_total`; a snapshot is copied after its words were seen to be open.
        let copy = |total: &AtomicU64| AtomicU64::new(total.load(Ordering::Relaxed));
        Self {
            plan: Arc::clone(&self.plan),
            anchor: self.anchor,
            windows: self.windows,
            grants: self.grants.clone(),
            closed: [copy(&self.closed[0]), copy(&self.closed[1])],
        }
    }
}

/// What came before a counter's first window.
pub(crate) const NEVER_WAS: Span = Span { start: Timestamp::MAX, end: Timestamp::MAX };

/// One counter's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Counts the windows of this counter. Never repeats.
    pub(crate) generation: u64,
    /// Its start when it began, which names it for good: a change of the period or the anchor moves
    /// the span of a window, and keeps its generation and its usage. Names ascend, and are the same
    /// on every node.
    pub(crate) name: Timestamp,
    pub(crate) span: Span,
    /// The window before, for the notice of its closing.
    pub(crate) before: Span,
    /// Booked when the window began: zero, unless usage was imported.
    pub(crate) opening: u64,
    /// In force in this window, grants included; [`UNLIMITED`] if the counter only counts.
    pub(crate) limit: u64,
}

/// What an operator granted on top of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Topped up on a prepaid budget, added to its limit.
    pub(crate) credit: u64,
    /// In place of the limit, in windows that begin before the instant.
    pub(crate) instead: Option<(u64, Timestamp)>,
}

/// Usage to set on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    /// The window it was counted in.
    pub(crate) span: Span,
    /// `None` if that window is over: only the grant is set.
    pub(crate) settled: Option<u64>,
    pub(crate) grant: Grant,
}

impl Window {
    /// The span that this window has had when the next begins at `next`.
    fn closing(&self, next: Timestamp) -> Span {
        let Span { start, end } = self.span;
        // No window is empty but the one that stands for a counter which was never there.
        if start == end {
            return NEVER_WAS;
        }
        // An imported window may begin before the one that it ends.
        Span { start, end: end.min(next).max(start) }
    }

    /// What it admits; `None` if the counter only counts.
    pub(crate) fn limit(&self) -> Option<u64> {
        Some(self.limit).filter(|&limit| limit != UNLIMITED)
    }
}

impl CounterPlan {
    /// The window that follows `last`, over `span`.
    fn window(&self, last: &Window, span: Span, grant: Grant, opening: u64) -> Window {
        let after_last = last.name.as_nanos().saturating_add(1);
        let mut window = Window {
            generation: last.generation.wrapping_add(1),
            name: span.start.max(Timestamp::from_nanos(after_last)),
            span,
            before: last.closing(span.start),
            opening,
            ..*last
        };
        self.price(&mut window, grant);
        window
    }

    /// Writes into a window what it admits.
    fn price(&self, window: &mut Window, grant: Grant) {
        window.limit = match grant.instead {
            Some((limit, until)) if window.span.start < until => limit,
            _ if self.limit == UNLIMITED => UNLIMITED,
            // Credit is what a prepaid budget was topped up by; a budget that became a periodic one
            // keeps it for the day it is prepaid again.
            _ if !self.period.is_never() => self.limit,
            // No more than can be counted: past that a limit would never be reached.
            _ => self.limit.saturating_add(grant.credit).min(SETTLED_MAX),
        };
    }

    /// Below this share of the limit there is no notice to give: see [`Terms::share`].
    fn share(&self) -> u8 {
        let percent = self.thresholds.first().map_or(100, |&percent| u16::from(percent));
        u8::try_from(percent * u16::from(WHOLE) / 100).unwrap_or(WHOLE)
    }
}

/// The least amount that is `percent` of `limit`.
pub(crate) fn share(limit: u64, percent: u8) -> u64 {
    let amount = (u128::from(limit) * u128::from(percent)).div_ceil(100);
    u64::try_from(amount).unwrap_or(UNLIMITED)
}

/// The first snapshots of limits that are created at one moment. Those that begin alike share one,
/// until each has a next one of its own: a first one closes no window, so nothing is ever written
/// into it.
pub(crate) struct Beginnings {
    now: Timestamp,
    /// Of limits that are given none.
    anchor: Timestamp,
    /// By their plans, which they keep alive, and their anchors.
    known: HashMap<(*const Plan, Timestamp), Arc<Snapshot>>,
}

impl Beginnings {
    /// Limits that are given no anchor have this one, or the moment itself.
    pub(crate) fn at(now: Timestamp, anchor: Option<Timestamp>) -> Self {
        Self { now, anchor: anchor.unwrap_or(now), known: HashMap::new() }
    }

    /// The first snapshot of a limit of this plan, its lattice at `anchor` if it is given one.
    pub(crate) fn of(&mut self, plan: &Arc<Plan>, anchor: Option<Timestamp>) -> Arc<Snapshot> {
        let (now, anchor) = (self.now, anchor.unwrap_or(self.anchor));
        let first = || Arc::new(Snapshot::first(Arc::clone(plan), anchor, now));
        Arc::clone(self.known.entry((Arc::as_ptr(plan), anchor)).or_insert_with(first))
    }
}

impl Snapshot {
    /// The first snapshot of a limit that is created at `now`.
    pub(crate) fn first(plan: Arc<Plan>, anchor: Timestamp, now: Timestamp) -> Snapshot {
        let start = Span { start: now, end: now };
        let (name, limit) = (Timestamp::UNIX_EPOCH, 0);
        let blank = Window { generation: 0, name, span: start, before: start, opening: 0, limit };
        let closed = [AtomicU64::new(0), AtomicU64::new(0)];
        let mut snapshot =
            Snapshot { plan, anchor, windows: [blank; COUNTERS], grants: None, closed };
        for counter in 0..COUNTERS {
            if let Some(plan) = &snapshot.plan.counters[counter] {
                let span = plan.period.window_at(anchor, now);
                snapshot.windows[counter].name = span.start;
                snapshot.windows[counter].span = span;
                plan.price(&mut snapshot.windows[counter], Grant::default());
            }
        }
        snapshot
    }

    /// The final total of the window before. Known once the counter's word is in this snapshot's
    /// generation.
    pub(crate) fn closed_total(&self, counter: usize) -> u64 {
        // Relaxed: the Release of `Counter::open`, which came after the write, and the Acquire
        // load by which the caller saw the word open, order the two.
        self.closed[counter].load(Ordering::Relaxed)
    }

    /// Writes the final total of the window before.
    pub(crate) fn set_closed_total(&self, counter: usize, total: u64) {
        // Relaxed: published by the Release of `Counter::open`, see above.
        self.closed[counter].store(total, Ordering::Relaxed);
    }

    /// What decisions about a counter need to know.
    pub(crate) fn terms(&self, counter: usize) -> Terms {
        let Window { generation, span, limit, .. } = self.windows[counter];
        let plan = self.plan.counters[counter].as_ref();
        Terms { generation, end: span.end, limit, share: plan.map_or(WHOLE, |plan| plan.share()) }
    }

    /// The same for each counter of the plan.
    pub(crate) fn all_terms(&self) -> [Option<Terms>; COUNTERS] {
        let plans = &self.plan.counters;
        std::array::from_fn(|counter| plans[counter].as_ref().map(|_| self.terms(counter)))
    }

    pub(crate) fn dimension(&self, counter: usize) -> Option<Dimension> {
        self.plan.counters[counter].as_ref().map(|plan| plan.dimension)
    }

    pub(crate) fn grant(&self, counter: usize) -> Grant {
        self.grants.as_ref().map_or(Grant::default(), |grants| grants[counter])
    }

    /// Whether a window has ended that is still in force here.
    pub(crate) fn ended(&self, now: Timestamp) -> bool {
        self.plan
            .counters
            .iter()
            .zip(&self.windows)
            .any(|(p, w)| p.is_some() && over(w.span.end, now))
    }

    /// The window of a counter at `now`, whether or not it has been rolled into.
    pub(crate) fn window_at(&self, counter: usize, now: Timestamp) -> Window {
        let window = self.windows[counter];
        match &self.plan.counters[counter] {
            Some(plan) if over(window.span.end, now) => {
                let span = plan.period.window_at(self.anchor, now);
                plan.window(&window, span, self.grant(counter), 0)
            }
            _ => window,
        }
    }

    /// When windows to come begin, and what they admit: the one that follows `window`, and the
    /// first after a limit that is in place of the plan's. After those nothing changes any more.
    pub(crate) fn starts_after(
        &self,
        counter: usize,
        window: &Window,
    ) -> impl Iterator<Item = (Timestamp, u64)> {
        let grant = self.grant(counter);
        let plan = self.plan.counters[counter].as_ref();
        let priced = move |span: Span| {
            let mut window = Window { span, ..*window };
            if let Some(plan) = plan {
                plan.price(&mut window, grant);
            }
            (span.start, window.limit)
        };
        let from = move |instant: Timestamp| {
            let span = plan?.period.window_at(self.anchor, instant);
            if span.start >= instant {
                return Some(span);
            }
            // Nothing follows a window without end.
            (span.end < Timestamp::MAX)
                .then(|| plan.map(|plan| plan.period.window_at(self.anchor, span.end)))
                .flatten()
        };
        let until = grant.instead.map(|(_, until)| until).filter(|until| *until > window.span.end);
        let next = from(window.span.end);
        next.into_iter().chain(until.and_then(from)).map(priced)
    }

    /// The snapshot in which every window that ended by `now` has been followed by the one that
    /// contains `now`, however many passed in between.
    pub(crate) fn rolled(&self, now: Timestamp) -> Snapshot {
        let mut next = self.clone();
        for (counter, window) in next.windows.iter_mut().enumerate() {
            *window = self.window_at(counter, now);
        }
        next
    }

    /// The snapshot in which the window of `counter` has ended at `now`, whatever its boundary, and
    /// a new one runs up to that boundary with `opening` booked.
    pub(crate) fn reset(&self, counter: usize, now: Timestamp, opening: u64) -> Snapshot {
        let mut next = self.clone();
        if let Some(plan) = &self.plan.counters[counter] {
            let last = self.windows[counter];
            // A window's start names it, so starts ascend even where the clock does not.
            let least = Timestamp::from_nanos(last.span.start.as_nanos().saturating_add(1));
            let most = Timestamp::from_nanos(last.span.end.as_nanos().saturating_sub(1));
            let span = Span { start: now.max(least).min(most), end: last.span.end };
            next.windows[counter] = plan.window(&last, span, self.grant(counter), opening);
        }
        next
    }

    /// The snapshot with another plan and anchor. Windows keep their generation, and with it their
    /// usage; where the period or the anchor is another one, the window becomes the one of the new
    /// period around `now`. A counter that the old plan did not have begins a new window.
    pub(crate) fn replanned(&self, plan: Arc<Plan>, anchor: Timestamp, now: Timestamp) -> Snapshot {
        let mut next = Snapshot { plan, anchor, ..self.clone() };
        for counter in 0..COUNTERS {
            let (old, new) = (&self.plan.counters[counter], &next.plan.counters[counter]);
            let Some(new) = new else { continue };
            let window = &mut next.windows[counter];
            // A clock that is behind reopens nothing (L13). Another anchor is an operator's word,
            // and may take back one that lay in the future.
            let now = if anchor == self.anchor { now.max(window.span.start) } else { now };
            match old {
                Some(old) if old.period == new.period && anchor == self.anchor => {
                    new.price(window, self.grant(counter));
                }
                Some(_) => {
                    window.span = new.period.window_at(anchor, now);
                    new.price(window, self.grant(counter));
                }
                None => {
                    let span = new.period.window_at(anchor, now);
                    *window = new.window(&self.windows[counter], span, self.grant(counter), 0);
                }
            }
        }
        next
    }

    /// The snapshot in which each counter that has a balance begins a window with it. The window
    /// is the balance's own where it ends with the period's, as after an earlier reset. A counter
    /// that has none keeps its usage, in the window of the anchor's lattice: or its next window
    /// would begin before this one ends. A balance of a window that is not in force yet counts in
    /// the one that is, under the name of that: its own is the next one's.
    pub(crate) fn balanced(
        &self,
        anchor: Timestamp,
        now: Timestamp,
        balances: &[Option<Balance>; COUNTERS],
    ) -> Snapshot {
        // On the lattice of the document, counters without a balance too.
        let mut next = self.replanned(Arc::clone(&self.plan), anchor, now);
        for (counter, balance) in balances.iter().enumerate() {
            let Some(balance) = balance else { continue };
            next = next.granted(counter, balance.grant);
            let (Some(plan), Some(settled)) = (&next.plan.counters[counter], balance.settled)
            else {
                continue;
            };
            let due = plan.period.window_at(anchor, now);
            let span = if balance.span.end == due.end { balance.span } else { due };
            let last = &self.windows[counter];
            next.windows[counter] = plan.window(last, span, balance.grant, settled);
            let is_here = balance.span.start < span.end;
            next.windows[counter].name = if is_here { balance.span.start } else { span.start };
        }
        next
    }

    /// The snapshot with another grant on one counter.
    pub(crate) fn granted(&self, counter: usize, grant: Grant) -> Snapshot {
        let mut next = self.clone();
        let mut grants = self.grants.as_deref().copied().unwrap_or_default();
        grants[counter] = grant;
        next.grants = (grants != [Grant::default(); COUNTERS]).then(|| Box::new(grants));
        if let Some(plan) = &self.plan.counters[counter] {
            plan.price(&mut next.windows[counter], grant);
        }
        next
    }
}
