//! The reference: what the engine promises, done in the dumbest way that is exact.
//!
//! One thread, maps and vectors, 128-bit sums. What is held is nowhere stored: it is the sum of
//! what open reservations hold, counted anew whenever somebody asks. Of the engine it borrows
//! `Period::window_at`, for where windows begin and end, and nothing else. What operators do is in
//! `steering.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use tollkeeper::{Dimension, Enforcement, LimitKind, Period, Timestamp};

use super::operations::{
    Amounts, Definition, HELD_MAX, OWNERS, PERIODS, SETTLED_MAX, THRESHOLDS, WEIGHTS,
};

/// The periods of the table.
static PERIOD: LazyLock<Vec<Period>> = LazyLock::new(|| {
    PERIODS.iter().map(|text| text.parse().expect("the table is of periods")).collect()
});

/// The end of a window that never ends.
pub const NEVER: u64 = u64::MAX;

/// One process' budgets, rate limits and concurrency limits.
#[derive(Default)]
pub struct Reference {
    pub now: u64,
    pub deny_unknown: bool,
    pub owners: BTreeMap<u8, Owner>,
    /// The entry of each limit that exists.
    pub limits: BTreeMap<u8, usize>,
    /// Every limit there ever was; those that were removed live on for their reservations.
    pub entries: Vec<Entry>,
    pub tickets: Vec<Option<Ticket>>,
    pub events: Vec<Event>,
}

/// An owner: its parents, and its limits in the order in which they came.
#[derive(Clone, Default)]
pub struct Owner {
    pub parents: Vec<u8>,
    pub entries: Vec<usize>,
}

/// One limit.
pub struct Entry {
    pub limit: u8,
    pub owner: u8,
    pub kind: LimitKind,
    pub definition: Definition,
    pub enforcement: Enforcement,
    pub anchor: u64,
    pub counters: [Counter; 2],
}

/// One counter, with or without a rule in force.
#[derive(Clone, Default)]
pub struct Counter {
    pub rule: Option<Rule>,
    pub generation: u64,
    pub start: u64,
    pub end: u64,
    pub settled: u128,
    pub credit: u128,
    /// A limit instead of the rule's, in windows that begin before an instant.
    pub instead: Option<(u128, u64)>,
    /// What was given notice of in this window.
    pub rung: BTreeSet<Bell>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bell {
    Threshold(u8),
    Exhausted,
}

/// What a counter counts, up to where, over which period.
#[derive(Clone, PartialEq)]
pub struct Rule {
    pub dimension: Dimension,
    pub limit: Option<u64>,
    pub period: usize,
    pub thresholds: &'static [u8],
    pub weights: [u32; 4],
}

/// A reservation that has not ended.
pub struct Ticket {
    /// The counters of its route that it was admitted to.
    pub slots: Vec<(usize, usize)>,
    /// The rules by which it was admitted, in the order of the slots.
    pub rules: Vec<Rule>,
    pub pieces: Vec<Piece>,
    pub dispatched: bool,
}

/// An amount held in one window of one counter.
#[derive(Clone, Copy)]
pub struct Piece {
    pub slot: (usize, usize),
    pub generation: u64,
    pub amount: u128,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: u64,
    pub limit: u8,
    pub owner: u8,
    pub dimension: Dimension,
    pub generation: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Threshold { percent: u8, settled: u64, limit: u64 },
    Exhausted { settled: u64, held: u64, limit: u64 },
    Passed { requested: u64, settled: u64, held: u64, limit: u64 },
    Closed { start: u64, end: u64, total: u64, held: u64 },
    Reset { start: u64, end: u64 },
    Uncertain { amount: u64 },
}

/// What a counter reads.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub enforcement: Enforcement,
    pub dimension: Dimension,
    pub settled: u64,
    pub held: u64,
    pub limit: Option<u64>,
    pub start: u64,
    pub end: u64,
    pub generation: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Admitted,
    Unknown(u8),
    Denied(Vec<Bound>),
}

/// A counter that a request does not fit under.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub limit: u8,
    pub owner: u8,
    pub kind: LimitKind,
    pub view: (Dimension, Option<u64>, u64, u64, u64, u64),
    pub requested: u64,
    pub retry: Later,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Later {
    At(u64),
    OnRelease,
    OnTopUp,
    Never,
}

/// What a booking came to: limit, dimension, overshoot, uncounted; and whether it was late.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub overshoots: Vec<(u8, Dimension, u64, u64)>,
    pub late: bool,
}

/// How a reservation ends.
#[derive(Clone, Copy)]
pub enum Ending {
    Used(Amounts),
    Nothing,
    AsHeld,
}

impl Rule {
    /// The window around an instant, and `None` for the one after a window without end.
    pub fn window(&self, anchor: u64, now: u64) -> (u64, u64) {
        let (anchor, now) = (Timestamp::from_nanos(anchor), Timestamp::from_nanos(now));
        let span = PERIOD[self.period].window_at(anchor, now);
        (span.start.as_nanos(), span.end.as_nanos())
    }

    /// What a request is booked for.
    pub fn actual(&self, used: &Amounts) -> u128 {
        match self.dimension {
            Dimension::Money => used.cost.into(),
            Dimension::Requests => used.requests.into(),
            Dimension::InFlight => 0,
            Dimension::Tokens => {
                let weighed = used.tokens.iter().zip(self.weights);
                let sum: u128 = weighed.map(|(&n, w)| u128::from(n) * u128::from(w)).sum();
                sum.div_ceil(1000).min(u64::MAX.into())
            }
        }
    }

    /// What a request of that estimate holds.
    pub fn estimate(&self, estimate: &Amounts) -> u128 {
        if self.dimension == Dimension::InFlight { 1 } else { self.actual(estimate) }
    }
}

impl Definition {
    pub fn kind(&self) -> LimitKind {
        match self {
            Definition::Budget { .. } => LimitKind::Budget,
            Definition::RateLimit { .. } => LimitKind::RateLimit,
            Definition::Concurrency { .. } => LimitKind::Concurrency,
        }
    }

    pub fn rules(&self) -> [Option<Rule>; 2] {
        let rule = |dimension, limit, period: u8, thresholds: u8, weights: u8| Rule {
            dimension,
            limit,
            period: usize::from(period),
            thresholds: THRESHOLDS[usize::from(thresholds)],
            weights: WEIGHTS[usize::from(weights)],
        };
        match *self {
            Definition::Budget { limit, period, thresholds } => {
                [Some(rule(Dimension::Money, limit, period, thresholds, 0)), None]
            }
            Definition::RateLimit { tokens, requests, weights, thresholds } => [
                tokens.map(|(n, period)| rule(Dimension::Tokens, n, period, thresholds, weights)),
                requests
                    .map(|(n, period)| rule(Dimension::Requests, n, period, thresholds, weights)),
            ],
            Definition::Concurrency { limit } => {
                [Some(rule(Dimension::InFlight, Some(limit), 5, 0, 0)), None]
            }
        }
    }
}

impl Counter {
    /// What a window that begins at `start` admits.
    pub fn limit(&self, start: u64) -> Option<u128> {
        match (self.instead, &self.rule) {
            (Some((limit, until)), _) if start < until => Some(limit),
            (_, Some(Rule { limit: Some(limit), period, .. })) => {
                let credit = if PERIOD[*period].is_never() { self.credit } else { 0 };
                Some((u128::from(*limit) + credit).min(SETTLED_MAX.into()))
            }
            _ => None,
        }
    }

    pub fn ended(&self, now: u64) -> bool {
        self.rule.is_some() && self.end != NEVER && now >= self.end
    }
}

fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).expect("counters are narrower than 64 bits")
}

/// Whether an amount is admitted; if not, whether it is for want of limit (`true`) or of width.
fn refusal(limit: Option<u128>, settled: u128, held: u128, amount: u128) -> Option<bool> {
    if limit.is_some_and(|limit| settled + held + amount.max(1) > limit) {
        return Some(true);
    }
    (held + amount > u128::from(HELD_MAX)).then_some(false)
}

impl Reference {
    pub fn counter(&self, (entry, counter): (usize, usize)) -> &Counter {
        &self.entries[entry].counters[counter]
    }

    pub fn counter_mut(&mut self, (entry, counter): (usize, usize)) -> &mut Counter {
        &mut self.entries[entry].counters[counter]
    }

    /// What open reservations hold on a counter in a window of it.
    pub fn held(&self, slot: (usize, usize), generation: u64) -> u128 {
        let open = self.tickets.iter().flatten().flat_map(|ticket| &ticket.pieces);
        open.filter(|p| p.slot == slot && p.generation == generation).map(|p| p.amount).sum()
    }

    /// What a counter reads now: a window that is over reads as the empty one that follows.
    pub fn view(&self, slot: (usize, usize)) -> Option<View> {
        let counter = self.counter(slot);
        let rule = counter.rule.as_ref()?;
        let enforcement = self.entries[slot.0].enforcement;
        let view = |generation, start, end, settled: u128, held: u128| View {
            enforcement,
            dimension: rule.dimension,
            settled: narrow(settled),
            held: narrow(held),
            limit: counter.limit(start).map(narrow),
            start,
            end,
            generation,
        };
        Some(if counter.ended(self.now) {
            let (start, end) = rule.window(self.entries[slot.0].anchor, self.now);
            view(counter.generation + 1, start, end, 0, 0)
        } else {
            let held = self.held(slot, counter.generation);
            view(counter.generation, counter.start, counter.end, counter.settled, held)
        })
    }

    /// What a limit reads now.
    pub fn views(&self, entry: usize) -> Vec<View> {
        (0..2).filter_map(|counter| self.view((entry, counter))).collect()
    }

    pub fn event(&mut self, slot: (usize, usize), generation: u64, what: What) {
        let Some(rule) = &self.counter(slot).rule else { return };
        self.event_of(slot, rule.dimension, generation, what);
    }

    fn event_of(
        &mut self,
        slot: (usize, usize),
        dimension: Dimension,
        generation: u64,
        what: What,
    ) {
        let entry = &self.entries[slot.0];
        let (limit, owner) = (entry.limit, entry.owner);
        self.events.push(Event { at: self.now, limit, owner, dimension, generation, what });
    }

    /// Closes a counter's window and begins one.
    pub fn begin(&mut self, slot: (usize, usize), (start, end): (u64, u64), opening: u128) {
        let last = self.counter(slot).clone();
        let held = self.held(slot, last.generation);
        let counter = self.counter_mut(slot);
        (counter.start, counter.end, counter.settled) = (start, end, opening);
        counter.generation += 1;
        counter.rung.clear();
        let ended = last.end.min(start).max(last.start);
        let (total, held) = (narrow(last.settled + held), narrow(held));
        let what = What::Closed { start: last.start, end: ended, total, held };
        // A counter that was not there closes a window that never was.
        if last.start < last.end || total > 0 {
            self.event(slot, last.generation, what);
        }
    }

    /// Follows every window of a limit that is over by the one around now.
    pub fn roll(&mut self, entry: usize) -> bool {
        let mut rolled = false;
        for counter in 0..2 {
            let slot = (entry, counter);
            if self.counter(slot).ended(self.now) {
                let rule = self.counter(slot).rule.clone().expect("one without never ends");
                self.begin(slot, rule.window(self.entries[entry].anchor, self.now), 0);
                rolled = true;
            }
        }
        rolled
    }

    fn ring(&mut self, slot: (usize, usize), bell: Bell, what: What) {
        let generation = self.counter(slot).generation;
        if self.counter_mut(slot).rung.insert(bell) {
            self.event(slot, generation, what);
        }
    }

    /// Gives the notices that what is settled calls for.
    pub fn sound(&mut self, slot: (usize, usize)) {
        let counter = self.counter(slot);
        let (Some(rule), Some(limit)) = (counter.rule.clone(), counter.limit(counter.start)) else {
            return;
        };
        let (settled, held) = (counter.settled, self.held(slot, counter.generation));
        for &percent in rule.thresholds {
            if settled * 100 >= limit * u128::from(percent) {
                let (settled, limit) = (narrow(settled), narrow(limit));
                let what = What::Threshold { percent, settled, limit };
                self.ring(slot, Bell::Threshold(percent), what);
            }
        }
        if settled >= limit {
            let (settled, held, limit) = (narrow(settled), narrow(held), narrow(limit));
            self.ring(slot, Bell::Exhausted, What::Exhausted { settled, held, limit });
        }
    }

    /// The limits on the way of some owners, and the owners that do not exist.
    pub fn route(&self, named: &[u8]) -> (Vec<usize>, Vec<u8>) {
        let (mut order, mut entries, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for &owner in named {
            let mut queue = vec![owner];
            while !queue.is_empty() {
                let owner = queue.remove(0);
                if order.contains(&owner) {
                    continue;
                }
                order.push(owner);
                match self.owners.get(&owner) {
                    Some(found) => {
                        entries.extend(&found.entries);
                        queue.extend(&found.parents);
                    }
                    None => unknown.push(owner),
                }
            }
        }
        // The only pair in the table is that of `key:a` and `model:m`.
        let pair = u8::try_from(OWNERS.len() - 1).expect("the table is short");
        if order.contains(&0) && order.contains(&5) && !order.contains(&pair) {
            entries.extend(self.owners.get(&pair).iter().flat_map(|found| &found.entries));
        }
        (entries, unknown)
    }

    fn unknown(&self, unknown: &[u8]) -> Option<Answer> {
        let first = unknown.first().filter(|_| self.deny_unknown)?;
        Some(Answer::Unknown(*first))
    }

    /// The counter as a reason for a denial, if the amount does not fit under it. One that is not
    /// hard is a reason only for amounts that cannot be counted.
    fn bound(&self, slot: (usize, usize), requested: u128) -> Option<Bound> {
        let view = self.view(slot)?;
        let hard = view.enforcement == Enforcement::Hard;
        let limit = view.limit.map(u128::from).filter(|_| hard);
        let full = refusal(limit, view.settled.into(), view.held.into(), requested)?;
        let entry = &self.entries[slot.0];
        let retry = match full {
            _ if requested > u128::from(HELD_MAX) => Later::Never,
            false => Later::OnRelease,
            true => self.later(slot, &view, requested),
        };
        let View { dimension, settled, held, start, end, .. } = view;
        let limit = view.limit.filter(|_| hard);
        Some(Bound {
            limit: entry.limit,
            owner: entry.owner,
            kind: entry.kind,
            view: (dimension, limit, settled, held, start, end),
            requested: narrow(requested),
            retry,
        })
    }

    /// When an amount that does not fit now would, if nothing else came.
    fn later(&self, slot: (usize, usize), view: &View, requested: u128) -> Later {
        let (counter, anchor) = (self.counter(slot), self.entries[slot.0].anchor);
        let rule = counter.rule.as_ref().expect("it refused");
        let fits = |limit: Option<u128>| limit.is_none_or(|limit| requested.max(1) <= limit);
        if PERIOD[rule.period].is_never() {
            let limit = view.limit.map(u128::from);
            let unheld = refusal(limit, view.settled.into(), 0, requested).is_none();
            return match rule.dimension {
                _ if unheld => Later::OnRelease,
                Dimension::Money => Later::OnTopUp,
                _ => Later::Never,
            };
        }
        let after = |(_, end): (u64, u64)| (end != NEVER).then(|| rule.window(anchor, end));
        let Some(next) = after((view.start, view.end)) else { return Later::Never };
        if fits(counter.limit(next.0)) {
            return Later::At(next.0);
        }
        // The next one has the limit of an override, or it has the rule's as all after it have.
        let Some((_, until)) = counter.instead.filter(|&(_, until)| next.0 < until) else {
            return Later::Never;
        };
        let around = rule.window(anchor, until);
        let first = if around.0 >= until { Some(around) } else { after(around) };
        match first.filter(|window| fits(counter.limit(window.0))) {
            Some(window) => Later::At(window.0),
            None => Later::Never,
        }
    }

    /// Every counter of these that its amount does not fit under. `None` asks nothing.
    fn bounds(&self, asked: &[((usize, usize), Option<u128>)]) -> Vec<Bound> {
        let bound = |&(slot, amount): &(_, Option<u128>)| self.bound(slot, amount?);
        asked
            .iter()
            .filter(|(slot, _)| self.counter(*slot).rule.is_some())
            .filter_map(bound)
            .collect()
    }

    /// The counters of these limits, and what a request of that estimate asks of each.
    fn asked(&self, entries: &[usize], estimate: &Amounts) -> Vec<((usize, usize), Option<u128>)> {
        let slots = entries.iter().flat_map(|&entry| [(entry, 0), (entry, 1)]);
        let ask = |slot| Some((slot, Some(self.counter(slot).rule.as_ref()?.estimate(estimate))));
        slots.filter_map(ask).collect()
    }

    pub fn peek(&self, named: &[u8], estimate: &Amounts) -> Answer {
        let (entries, unknown) = self.route(named);
        if let Some(answer) = self.unknown(&unknown) {
            return answer;
        }
        let bounds = self.bounds(&self.asked(&entries, estimate));
        if bounds.is_empty() { Answer::Admitted } else { Answer::Denied(bounds) }
    }

    /// Notes whether an amount does not fit under this counter: the limit is exhausted, unless the
    /// amount is too large for an empty window too. Says what there is to say of it if the request
    /// is admitted.
    fn full(&mut self, slot: (usize, usize), amount: u128) -> Option<What> {
        let View { settled, held, limit, .. } = self.view(slot).expect("it was asked");
        let most = limit.map(u128::from);
        if refusal(most, settled.into(), held.into(), amount) != Some(true) {
            return None;
        }
        let limit = limit.expect("what is unlimited is not full");
        if most.is_some_and(|most| amount.max(1) <= most) {
            self.ring(slot, Bell::Exhausted, What::Exhausted { settled, held, limit });
        }
        Some(What::Passed { requested: narrow(amount), settled, held, limit })
    }

    /// Asks each of these for its amount, in order. What each would hold, or who refused first.
    fn ask(&mut self, asked: &[((usize, usize), Option<u128>)]) -> Asked {
        let (mut pieces, mut passed) = (Vec::new(), Vec::new());
        for &(slot, amount) in asked {
            self.roll(slot.0);
            let there = self.counter(slot).rule.is_some();
            let Some(amount) = amount.filter(|_| there) else { continue };
            let (bound, full) = (self.bound(slot, amount), self.full(slot, amount));
            if bound.is_some() {
                return Err(slot);
            }
            let generation = self.counter(slot).generation;
            pieces.push(Piece { slot, generation, amount });
            passed.extend(full.map(|what| (slot, generation, what)));
        }
        for (slot, generation, what) in passed {
            self.event(slot, generation, what);
        }
        Ok(pieces)
    }

    pub fn reserve(&mut self, named: &[u8], estimate: &Amounts) -> Answer {
        let (entries, unknown) = self.route(named);
        if let Some(answer) = self.unknown(&unknown) {
            return answer;
        }
        let asked = self.asked(&entries, estimate);
        match self.ask(&asked) {
            Ok(pieces) => {
                let slots: Vec<_> = pieces.iter().map(|piece| piece.slot).collect();
                let rule = |&slot| self.counter(slot).rule.clone().expect("it was asked");
                let rules = slots.iter().map(rule).collect();
                self.tickets.push(Some(Ticket { slots, rules, pieces, dispatched: false }));
                Answer::Admitted
            }
            Err(_) => Answer::Denied(self.bounds(&asked)),
        }
    }

    pub fn extend(&mut self, ticket: usize, more: &Amounts) -> Answer {
        let Ticket { slots, rules, .. } = self.tickets[ticket].as_ref().expect("it is open");
        let of = |rule: &Rule| Some(rule.actual(more)).filter(|&amount| amount > 0);
        let asked: Vec<_> = slots.iter().copied().zip(rules.iter().map(of)).collect();
        match self.ask(&asked) {
            Ok(pieces) => {
                self.tickets[ticket].as_mut().expect("it is open").pieces.extend(pieces);
                Answer::Admitted
            }
            Err(_) => Answer::Denied(self.bounds(&asked)),
        }
    }

    /// Books an amount in the window in force, of which `excess` was not held.
    fn book(&mut self, slot: (usize, usize), amount: u128, excess: u128, outcome: &mut Outcome) {
        let Some(rule) = self.counter(slot).rule.clone() else { return };
        let before = self.counter(slot).settled;
        let after = (before + amount).min(SETTLED_MAX.into());
        self.counter_mut(slot).settled = after;
        // A total that has not risen calls for nothing, not even where the limit is zero.
        if amount > 0 {
            self.sound(slot);
        }
        let counter = self.counter(slot);
        let committed = after + self.held(slot, counter.generation);
        let limit = counter.limit(counter.start);
        let above = limit.map_or(0, |limit| committed.saturating_sub(limit)).min(excess);
        let uncounted = amount - (after - before);
        if above > 0 || uncounted > 0 {
            let limit = self.entries[slot.0].limit;
            outcome.overshoots.push((limit, rule.dimension, narrow(above), narrow(uncounted)));
        }
    }

    pub fn bump(&mut self, named: &[u8], used: &Amounts) -> Outcome {
        let mut outcome = Outcome::default();
        for entry in self.route(named).0 {
            self.roll(entry);
            for slot in [(entry, 0), (entry, 1)] {
                let amount = self.counter(slot).rule.as_ref().map_or(0, |rule| rule.actual(used));
                if amount > 0 {
                    self.book(slot, amount, amount, &mut outcome);
                }
            }
        }
        outcome
    }

    /// Ends a reservation.
    pub fn end(&mut self, ticket: usize, ending: Ending) -> Outcome {
        let mut outcome = Outcome::default();
        let Ticket { slots, rules, .. } = self.tickets[ticket].as_ref().expect("it is open");
        let all: Vec<_> = slots.iter().copied().zip(rules.clone()).collect();
        for (slot, rule) in all {
            self.roll(slot.0);
            self.end_on(ticket, slot, &rule, ending, &mut outcome);
        }
        self.tickets[ticket] = None;
        outcome
    }

    fn end_on(
        &mut self,
        ticket: usize,
        slot: (usize, usize),
        rule: &Rule,
        ending: Ending,
        outcome: &mut Outcome,
    ) {
        let generation = self.counter(slot).generation;
        let pieces = &mut self.tickets[ticket].as_mut().expect("it is open").pieces;
        let here = |piece: &&Piece| piece.slot == slot && piece.generation == generation;
        let open: u128 = pieces.iter().filter(here).map(|piece| piece.amount).sum();
        // A hold of nothing is a hold too: it is settled where it is.
        let is_here = pieces.iter().any(|piece| here(&piece));
        let all: u128 = pieces.iter().filter(|p| p.slot == slot).map(|p| p.amount).sum();
        pieces.retain(|piece| piece.slot != slot);
        outcome.late |= all > open;
        let over = all - open;
        if self.counter(slot).rule.is_none() {
            if matches!(ending, Ending::AsHeld) && over > 0 {
                let what = What::Uncertain { amount: narrow(over) };
                self.event_of(slot, rule.dimension, generation, what);
            }
            return;
        }
        let used = match ending {
            Ending::Used(used) => rule.actual(&used),
            Ending::AsHeld if rule.dimension != Dimension::InFlight => all,
            Ending::AsHeld | Ending::Nothing => 0,
        };
        // What was held in windows that are over stays booked there.
        let rest = used.saturating_sub(all - open);
        let excess = used.saturating_sub(all);
        if is_here || excess > 0 {
            self.book(slot, rest, excess, outcome);
        }
        if matches!(ending, Ending::AsHeld) && used > 0 {
            self.event(slot, generation, What::Uncertain { amount: narrow(used) });
        }
    }
}

/// What each asked counter would hold, or the one that refused.
type Asked = Result<Vec<Piece>, (usize, usize)>;
