//! What one life of a node must have in memory.

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{
    CounterUsage, Dimension, Entry, Fate, LimitId, LimitUsage, Outcome, OwnerId, Posting, RecordId,
    Timestamp, Usage, Written,
};

#[path = "comparing.rs"]
mod comparing;

pub use comparing::{Standing, standing};

use super::books::{Books, keeps};
use super::grants::{Grant, check_limit};
use super::{Counter, Tag, amount, involves, tag_of};
use crate::hub::{Checked, breach};
use crate::tasks::Home;
use crate::topology::{Rule, Spec};
use comparing::{Opening, Seen};

/// A counter of a limit that may have been created more than once.
#[derive(Clone, Debug)]
struct Stop {
    counter: Counter,
    owner: OwnerId,
    incarnation: u64,
}

/// What is held in one window.
#[derive(Clone, Debug)]
struct Hold {
    stop: Stop,
    generation: u64,
    window: Timestamp,
    amount: u64,
}

/// A charge in one window.
#[derive(Clone, Debug)]
struct Line {
    stop: Stop,
    window: Timestamp,
    amount: i128,
    /// So much of it was not held there.
    beyond: i128,
}

/// A reservation that has not ended.
struct Open {
    stops: Vec<Stop>,
    holds: Vec<Hold>,
}

/// What is settled and not known to be written.
struct Queued {
    lines: Vec<Line>,
    /// What may be charged, or not, because something was deleted since.
    perhaps: Vec<Line>,
    holds: Vec<Hold>,
    /// Whether it is booked although it is not written.
    booked: bool,
    bookable: bool,
}

impl Queued {
    fn new(lines: Vec<Line>, holds: Vec<Hold>, bookable: bool) -> Queued {
        Queued { lines, perhaps: Vec::new(), holds, booked: false, bookable }
    }
}

/// How a reservation ends.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// With what was used.
    Used(Usage),
    /// Nobody knows what was used.
    Uncertain,
    /// Nothing was used, and a record says so.
    Unbilled,
    /// Nothing was used, and there is no record.
    Void,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ceiling {
    /// The most that admissions were allowed to fill.
    top: u64,
    /// What was booked without having been held.
    beyond: i128,
}

type Key = (Tag, bool);

#[derive(Default)]
pub struct Memory {
    limits: BTreeMap<LimitId, (OwnerId, u64)>,
    /// How often its owner had been deleted when this life of a limit began.
    eras: BTreeMap<LimitId, u64>,
    /// How limits were defined last.
    rules: BTreeMap<LimitId, Rule>,
    /// What is granted on them, and how much of it was another by the last reading.
    grants: BTreeMap<Counter, Grant>,
    regranted: usize,
    incarnations: u64,
    /// Owners that were deleted in this life.
    gone: BTreeSet<OwnerId>,
    /// Owners whose deletion the store did not say to be done.
    in_doubt: BTreeSet<OwnerId>,
    booked: BTreeMap<Counter, BTreeMap<Timestamp, i128>>,
    /// Names of windows that began otherwise than they are now.
    names: BTreeMap<(LimitId, Dimension, u64), Timestamp>,
    ceilings: BTreeMap<(Counter, Timestamp), Ceiling>,
    open: BTreeMap<Tag, Open>,
    queued: BTreeMap<Key, Queued>,
    rejected: BTreeSet<Key>,
    /// What was compared last: all but what other nodes count in other windows.
    compared: BTreeSet<Counter>,
    /// How limits stood when totals were read last, and what was seen then.
    standing: Vec<Standing>,
    seen: Seen,
    /// What the store is to be told of windows, and is not known to have taken.
    openings: Vec<Opening>,
    closing: bool,
    /// The store did not answer when it was asked last.
    failing: bool,
}

impl Memory {
    /// What a node begins with: of each counter the window that is in force, if it is open. Which
    /// that was when it read them is `begun`.
    pub fn restored(
        (books, begun): (&Books, &BTreeMap<Counter, Timestamp>),
        limits: &[Standing],
        now: Timestamp,
    ) -> Memory {
        let mut memory = Memory::default();
        for Standing { usage, .. } in limits {
            memory.limit_exists(&usage.limit, &usage.owner, books.era(&usage.owner));
        }
        memory.reads_grants(books);
        for Standing { usage, .. } in limits {
            for counter in &usage.counters {
                let key = (usage.limit.clone(), counter.dimension);
                let Some(&start) = begun.get(&key) else { continue };
                let sum = books.sum(&key, start).filter(|sum| sum.owner == usage.owner);
                let Some(sum) = sum else { continue };
                let name = |generation| (usage.limit.clone(), counter.dimension, generation);
                // One that has ended while the store was told of others is in force again if the
                // clock steps back before anybody has begun the next.
                let has_ended = sum.end <= now && sum.end != Timestamp::MAX;
                memory.names.insert(name(counter.generation - u64::from(has_ended)), start);
                let settled = sum.settled.max(0);
                memory.booked.entry(key.clone()).or_default().insert(start, settled);
                memory.ceilings.entry((key, start)).or_default().beyond += settled;
            }
        }
        memory
    }

    /// This is how a limit is defined from here on.
    pub fn ruled(&mut self, spec: &Spec) {
        self.rules.insert(spec.id.clone(), spec.rule.clone());
    }

    /// What is granted is what the store has, where it has anything.
    pub fn reads_grants(&mut self, books: &Books) {
        self.regranted = 0;
        for (counter, owner, grant) in books.grants.all() {
            if self.limits.get(&counter.0).is_some_and(|(whose, _)| whose == owner) {
                let before = self.grants.insert(counter.clone(), grant).unwrap_or_default();
                self.regranted += usize::from(before != grant);
            }
        }
    }

    /// What is granted on a counter.
    pub fn grant(&mut self, counter: &Counter) -> &mut Grant {
        self.grants.entry(counter.clone()).or_default()
    }

    pub fn limit_exists(&mut self, limit: &LimitId, owner: &OwnerId, era: u64) {
        if !self.limits.contains_key(limit) {
            self.incarnations += 1;
            self.limits.insert(limit.clone(), (owner.clone(), self.incarnations));
            self.eras.insert(limit.clone(), era);
        }
    }

    /// An owner is gone, and everything that is counted for it.
    pub fn owner_gone(&mut self, owner: &OwnerId) {
        self.gone.insert(owner.clone());
        self.in_doubt.remove(owner);
        self.opens_no_more(owner);
        let gone: Vec<LimitId> = self
            .limits
            .iter()
            .filter(|(_, (whose, _))| involves(whose, owner))
            .map(|(limit, _)| limit.clone())
            .collect();
        for limit in gone {
            self.limits.remove(&limit);
            self.rules.remove(&limit);
            self.grants.retain(|(of, _), _| *of != limit);
            self.booked.retain(|(of, _), _| *of != limit);
            self.names.retain(|(of, ..), _| *of != limit);
            self.ceilings.retain(|((of, _), _), _| *of != limit);
        }
    }

    /// The store was asked to delete an owner, and did not answer.
    pub fn doubts(&mut self, owner: &OwnerId) {
        self.in_doubt.insert(owner.clone());
    }

    /// Whether it is not known of an owner if it is deleted.
    pub fn is_in_doubt(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    /// Windows keep their names when a limit is changed.
    pub fn before_change(&mut self, usage: &LimitUsage) {
        for counter in &usage.counters {
            self.remember(&usage.limit, counter);
        }
    }

    fn name(&self, limit: &LimitId, counter: &CounterUsage) -> Timestamp {
        let key = |generation| (limit.clone(), counter.dimension, generation);
        let mut before = self.names.range(key(0)..=key(counter.generation));
        let Some(((.., generation), name)) = before.next_back() else {
            return counter.window.start;
        };
        if *generation == counter.generation {
            return *name;
        }
        // Names ascend, even where clocks do not.
        let least = name.as_nanos() + (counter.generation - generation);
        counter.window.start.max(Timestamp::from_nanos(least))
    }

    /// A window is in force: this is its name.
    fn remember(&mut self, limit: &LimitId, counter: &CounterUsage) -> Timestamp {
        let name = self.name(limit, counter);
        self.names.insert((limit.clone(), counter.dimension, counter.generation), name);
        name
    }

    fn is_current(&self, stop: &Stop) -> bool {
        let now = self.limits.get(&stop.counter.0);
        now.is_some_and(|(_, incarnation)| *incarnation == stop.incarnation)
    }

    /// A reservation was admitted: these are the limits on its way, right after it.
    pub fn admitted(&mut self, tag: Tag, estimate: &Usage, limits: &[LimitUsage]) -> Checked {
        self.open.insert(tag, Open { stops: Vec::new(), holds: Vec::new() });
        self.holds_more(tag, estimate, limits, true)
    }

    pub fn extended(&mut self, tag: Tag, more: &Usage, limits: &[LimitUsage]) -> Checked {
        self.holds_more(tag, more, limits, false)
    }

    fn holds_more(
        &mut self,
        tag: Tag,
        more: &Usage,
        limits: &[LimitUsage],
        first: bool,
    ) -> Checked {
        let Some(mut open) = self.open.remove(&tag) else { return Ok(()) };
        let mut checked = Ok(());
        for usage in limits {
            let Some((owner, incarnation)) = self.limits.get(&usage.limit).cloned() else {
                return breach("I6", format!("{} is on a route, and deleted", usage.limit));
            };
            // The limits of a reservation are those of the moment at which it was admitted.
            let on_its_way =
                |stop: &Stop| stop.counter.0 == usage.limit && stop.incarnation == incarnation;
            if !first && !open.stops.iter().any(on_its_way) {
                continue;
            }
            for counter in &usage.counters {
                let stop = Stop {
                    counter: (usage.limit.clone(), counter.dimension),
                    owner: owner.clone(),
                    incarnation,
                };
                let in_flight = counter.dimension == Dimension::InFlight;
                let amount = if in_flight && !first { 0 } else { amount(more, counter.dimension) };
                let window = self.remember(&usage.limit, counter);
                if first {
                    open.stops.push(stop.clone());
                }
                if amount > 0 || first {
                    checked = checked.and(admits(tag, usage, counter));
                }
                if amount > 0 {
                    self.raise(&stop.counter, window, counter.limit, 0);
                    add_hold(&mut open.holds, stop, (counter.generation, window), amount);
                }
            }
        }
        self.open.insert(tag, open);
        checked
    }

    fn raise(&mut self, counter: &Counter, window: Timestamp, top: Option<u64>, beyond: i128) {
        let ceiling = self.ceilings.entry((counter.clone(), window)).or_default();
        // One that never denies admits anything.
        ceiling.top = ceiling.top.max(top.unwrap_or(u64::MAX / 2));
        ceiling.beyond += beyond;
    }

    /// A reservation ends: these are all limits, right before it.
    pub fn ends(&mut self, tag: Tag, how: Ends, limits: &[LimitUsage]) {
        let Some(open) = self.open.remove(&tag) else { return };
        let used = match how {
            Ends::Void => return,
            Ends::Unbilled => {
                self.queue((tag, false), Queued::new(Vec::new(), Vec::new(), false));
                return;
            }
            Ends::Used(used) => Some(used),
            Ends::Uncertain => None,
        };
        let lines = self.bill(&open, used.as_ref(), limits);
        let mut holds = open.holds;
        // From here on it is not in flight any more.
        holds.retain(|hold| hold.stop.counter.1 != Dimension::InFlight);
        self.queue((tag, false), Queued::new(lines, holds, true));
    }

    fn queue(&mut self, key: Key, queued: Queued) {
        self.queued.insert(key, queued);
    }

    /// What a reservation is charged. What was held in a window that is over stays there; only what
    /// was used beyond that is charged to the window in force (L8).
    fn bill(&self, open: &Open, used: Option<&Usage>, limits: &[LimitUsage]) -> Vec<Line> {
        let mut lines = Vec::new();
        for stop in &open.stops {
            if stop.counter.1 == Dimension::InFlight || !self.is_current(stop) {
                continue;
            }
            let Some((window, generation)) = self.in_force(stop, limits) else { continue };
            let mine = open.holds.iter().filter(|hold| hold.stop.counter == stop.counter);
            let (here, over): (Vec<&Hold>, Vec<&Hold>) =
                mine.partition(|hold| hold.generation == generation);
            let sum =
                |holds: &[&Hold]| holds.iter().map(|hold| i128::from(hold.amount)).sum::<i128>();
            let held = sum(&here);
            let used =
                used.map_or(held + sum(&over), |used| i128::from(amount(used, stop.counter.1)));
            for hold in &over {
                let (stop, amount) = (stop.clone(), i128::from(hold.amount));
                lines.push(Line { stop, window: hold.window, amount, beyond: 0 });
            }
            let amount = (used - sum(&over)).max(0);
            let beyond = (amount - held).max(0);
            if amount > 0 {
                lines.push(Line { stop: stop.clone(), window, amount, beyond });
            }
        }
        lines
    }

    fn in_force(&self, stop: &Stop, limits: &[LimitUsage]) -> Option<(Timestamp, u64)> {
        let usage = limits.iter().find(|usage| usage.limit == stop.counter.0)?;
        let counter = usage.counter(stop.counter.1)?;
        Some((self.name(&usage.limit, counter), counter.generation))
    }

    /// What was used is recorded without having been reserved: these are the limits on its way.
    pub fn recorded(&mut self, tag: Tag, used: &Usage, route: &[LimitUsage]) {
        let mut stops = Vec::new();
        for usage in route {
            let Some((owner, incarnation)) = self.limits.get(&usage.limit).cloned() else {
                continue;
            };
            for counter in &usage.counters {
                let (counter, owner) = ((usage.limit.clone(), counter.dimension), owner.clone());
                stops.push(Stop { counter, owner, incarnation });
            }
        }
        self.open.insert(tag, Open { stops, holds: Vec::new() });
        self.ends(tag, Ends::Used(*used), route);
    }

    /// An uncertain record is being resolved.
    pub fn resolves(&mut self, id: RecordId, used: &Usage, limits: &[LimitUsage], books: &Books) {
        let Some(kept) = books.records.get(&id) else { return };
        let mut counters: BTreeMap<Counter, Vec<(&Posting, bool)>> = BTreeMap::new();
        for (posting, era) in kept.postings.iter().zip(&kept.eras) {
            // What was created under the name of what is deleted is another one.
            let same = self.eras.get(&posting.limit).is_some_and(|began| began <= era);
            let counter = (posting.limit.clone(), posting.dimension);
            counters.entry(counter).or_default().push((posting, same));
        }
        let (mut lines, mut perhaps) = (Vec::new(), Vec::new());
        for (counter, posted) in counters {
            let Some((owner, incarnation)) = self.limits.get(&counter.0).cloned() else { continue };
            if posted.iter().any(|(posting, same)| !same || posting.owner != owner) {
                continue;
            }
            let used = i128::from(amount(used, counter.1));
            let stop = Stop { counter, owner, incarnation };
            let Some((window, _)) = self.in_force(&stop, limits) else { continue };
            let in_it = |posting: &Posting| posting.window.start == window;
            let sum = |here: bool| {
                let postings = posted.iter().filter(|(posting, _)| in_it(posting) == here);
                postings.map(|(posting, _)| i128::from(posting.amount)).sum::<i128>()
            };
            let amount = (used - sum(false)).max(0) - sum(true);
            if amount != 0 {
                let unsure = books.lost_a_reference(kept) || self.gone.contains(&stop.owner);
                let to = if unsure { &mut perhaps } else { &mut lines };
                to.push(Line { stop, window, amount, beyond: amount.max(0) });
            }
        }
        let queued = Queued { perhaps, ..Queued::new(lines, Vec::new(), false) };
        self.queue((kept.tag, true), queued);
    }

    pub fn is_resolving(&self, tag: Tag) -> bool {
        self.queued.contains_key(&(tag, true))
    }

    /// What is asked of the store is what follows from what was held and used.
    pub fn asked(&mut self, entry: &Entry) -> Checked {
        let Some(record) = &entry.record else { return self.asked_to_open(entry) };
        let (tag, correction) = (tag_of(record)?, record.outcome == Outcome::Correction);
        let Some(queued) = self.queued.get_mut(&(tag, correction)) else {
            return breach("I3", format!("q{tag} is written, and nobody settled it"));
        };
        for line in std::mem::take(&mut queued.perhaps) {
            let is_it = |posting: &&Posting| {
                posting.limit == line.stop.counter.0 && posting.dimension == line.stop.counter.1
            };
            if entry.postings.iter().find(is_it).is_some() {
                queued.lines.push(line);
            }
        }
        let Some(queued) = self.queued.get(&(tag, correction)) else { return Ok(()) };
        let posted = entry.postings.iter().filter(|posting| posting.amount != 0);
        let posted: BTreeMap<_, i128> = posted
            .map(|p| ((p.limit.clone(), p.dimension, p.window.start), i128::from(p.amount)))
            .collect();
        let lines = queued.lines.iter().filter(|line| self.is_current(&line.stop));
        let due: BTreeMap<_, i128> = lines
            .map(|line| {
                let (limit, dimension) = line.stop.counter.clone();
                ((limit, dimension, line.window), line.amount)
            })
            .collect();
        if due == posted {
            return Ok(());
        }
        breach("L8", format!("q{tag} ({}) charges {posted:?}; due is {due:?}", record.outcome))
    }

    pub fn refused(&mut self, group: &[Entry], may_pass: bool) {
        self.failing = may_pass;
        if let ([entry], false) = (group, may_pass) {
            let Some(key) = key_of(entry) else { return };
            self.book_unwritten(key);
            self.rejected.insert(key);
        }
    }

    pub fn answered(&mut self) {
        self.failing = false;
    }

    /// What was rejected is tried again.
    pub fn retried(&mut self) {
        self.rejected.clear();
    }

    /// What an entry charges is known to be written.
    pub fn acknowledged(&mut self, entry: &Entry, written: Written) -> Checked {
        if entry.record.is_none() {
            self.opened(entry);
        }
        let Some(key) = key_of(entry) else { return Ok(()) };
        let Some(queued) = self.queued.remove(&key) else { return Ok(()) };
        for line in &queued.lines {
            let kept =
                written.fate != Fate::Duplicate && keeps(entry, written.nulled, &line.stop.owner);
            match (queued.booked, kept) {
                (false, true) => self.book(line, 1),
                (true, false) => self.book(line, -1),
                (false, false) | (true, true) => {}
            }
        }
        Ok(())
    }

    /// A turn of the writer is over: while the store does not answer, all is booked.
    pub fn turned(&mut self) {
        if self.failing {
            let all: Vec<Key> = self.queued.keys().copied().collect();
            all.into_iter().for_each(|key| self.book_unwritten(key));
        }
    }

    fn book_unwritten(&mut self, key: Key) {
        let Some(queued) = self.queued.get_mut(&key).filter(|q| q.bookable && !q.booked) else {
            return;
        };
        queued.booked = true;
        queued.holds.clear();
        let lines = queued.lines.clone();
        lines.iter().for_each(|line| self.book(line, 1));
    }

    fn book(&mut self, line: &Line, sign: i128) {
        if !self.is_current(&line.stop) {
            return;
        }
        let windows = self.booked.entry(line.stop.counter.clone()).or_default();
        let sum = windows.entry(line.window).or_default();
        *sum = (*sum + sign * line.amount).max(0);
        self.raise(&line.stop.counter, line.window, Some(0), line.beyond.max(0));
    }

    fn booked_in(&self, counter: &Counter, window: Timestamp) -> i128 {
        let windows = self.booked.get(counter);
        windows.and_then(|windows| windows.get(&window)).copied().unwrap_or(0)
    }

    /// How many entries are booked and not written.
    pub fn unpersisted(&self) -> u64 {
        self.queued.values().filter(|queued| queued.booked).count() as u64
    }

    pub fn check(&self, home: Home, limits: &[LimitUsage]) -> Checked {
        for usage in limits {
            let Some((_, incarnation)) = self.limits.get(&usage.limit) else {
                let what =
                    format!("node {} counts for {}, which is deleted", home.node, usage.limit);
                return breach("I6", what);
            };
            for counter in &usage.counters {
                self.check_counter(home, usage, counter, *incarnation)?;
            }
        }
        Ok(())
    }

    fn check_counter(
        &self,
        home: Home,
        usage: &LimitUsage,
        counter: &CounterUsage,
        incarnation: u64,
    ) -> Checked {
        let key = (usage.limit.clone(), counter.dimension);
        let window = self.name(&usage.limit, counter);
        let at = || format!("node {}: {} {} in {window:?}", home.node, key.0, key.1);
        let open = self.open.values().flat_map(|open| &open.holds);
        let queued = self.queued.values().flat_map(|queued| &queued.holds);
        let held = open.chain(queued).filter(|hold| {
            (&hold.stop.counter, hold.stop.incarnation) == (&key, incarnation)
                && hold.generation == counter.generation
        });
        let held: u64 = held.map(|hold| hold.amount).sum();
        if held != counter.held {
            return breach("I2", format!("{}: {} held; due is {held}", at(), counter.held));
        }
        let grant = self.grants.get(&key).copied().unwrap_or_default();
        if let Some(rule) = self.rules.get(&usage.limit) {
            check_limit(at, (rule, grant), counter)?;
        }
        if counter.dimension == Dimension::InFlight {
            return Ok(());
        }
        let booked = self.booked_in(&key, window);
        if booked != i128::from(counter.settled) {
            return breach("I5", format!("{}: {} settled; due is {booked}", at(), counter.settled));
        }
        let ceiling = self.ceilings.get(&(key.clone(), window)).copied().unwrap_or_default();
        let most = i128::from(ceiling.top) + ceiling.beyond;
        if i128::from(counter.committed()) > most {
            return breach(
                "I11",
                format!("{}: {} committed; at most {most}", at(), counter.committed()),
            );
        }
        Ok(())
    }

    pub fn check_quiet(&self, home: Home, limits: &[LimitUsage], books: &Books) -> Checked {
        let waiting: Vec<_> =
            self.open.keys().chain(self.queued.keys().map(|(tag, _)| tag)).collect();
        if !waiting.is_empty() {
            return breach("I9", format!("node {} has not ended {waiting:?}", home.node));
        }
        for usage in limits {
            for counter in &usage.counters {
                let key = (usage.limit.clone(), counter.dimension);
                if counter.held > 0 {
                    let what = format!("node {} holds {} of {key:?}", home.node, counter.held);
                    return breach("I7", what);
                }
                if counter.dimension == Dimension::InFlight {
                    continue;
                }
                let window = self.name(&usage.limit, counter);
                let due = match books.last(&key) {
                    _ if !self.compared.contains(&key) => continue,
                    Some((start, sum)) if start == window => sum.settled.max(0),
                    _ => 0,
                };
                if due != i128::from(counter.settled) {
                    let (node, settled) = (home.node, counter.settled);
                    let what = format!(
                        "node {node}: {key:?} in {window:?}: {settled} settled, the store has {due}"
                    );
                    return breach("I5", what);
                }
            }
        }
        Ok(())
    }
}

/// No admission passes a limit.
fn admits(tag: Tag, usage: &LimitUsage, counter: &CounterUsage) -> Checked {
    match counter.limit {
        Some(limit) if counter.committed() > limit => {
            let committed = counter.committed();
            let what = format!("q{tag} is admitted: {} has {committed} of {limit}", usage.limit);
            breach("I1", what)
        }
        _ => Ok(()),
    }
}

fn add_hold(
    holds: &mut Vec<Hold>,
    stop: Stop,
    (generation, window): (u64, Timestamp),
    amount: u64,
) {
    let same =
        |hold: &&mut Hold| hold.stop.counter == stop.counter && hold.generation == generation;
    match holds.iter_mut().find(same) {
        Some(hold) => hold.amount += amount,
        None => holds.push(Hold { stop, generation, window, amount }),
    }
}

fn key_of(entry: &Entry) -> Option<Key> {
    let record = entry.record.as_ref()?;
    let tag = tag_of(record).ok()?;
    Some((tag, record.outcome == Outcome::Correction))
}
