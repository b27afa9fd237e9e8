//! The audit of a replay on many threads: what a log without one order still proves.
//!
//! Each entry has the clock before and after it. The engine acted in between, in a window of that
//! stretch, because the clock never goes back. So of every request it is known whether it ended in
//! the window of its admission, unless one of its two entries straddles the end of a window: then
//! both are possible, and totals have bounds that far apart. For everything else they are equal.

use super::audit::Ways;
use super::books::Page;
use super::closings::{Closing, Closings, Places};
use super::document::Document;
use super::findings::{Findings, Found, Overshoots};
use super::laws::Laws;
use super::log::{Ending, Entry, Log, What};
use super::rule::Rule;
use super::traffic::Request;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tollkeeper::{Binding, Dimension, Overshoot, Timestamp, Usage};

/// Takes the census of a log that begins at `start`.
pub fn census(log: &Log, requests: &[Request], document: &Document, start: Timestamp) -> Findings {
    let rules = &document.rules;
    let mut laws = Laws::new();
    let places = Places::new(rules);
    let closings = Closings::collect(log, rules, &places, &mut laws);
    let mut census = Census {
        rules,
        start,
        places,
        closings,
        counts: rules.iter().map(|_| Count::default()).collect(),
        laws,
        overshoot: Overshoots::default(),
        deferred: log.deferred,
    };
    census.open();
    let ways = Ways::new(document);
    let mut open: HashMap<usize, (&Entry, Option<&Usage>)> = HashMap::new();
    for entry in &log.entries {
        let way = &ways.of(&requests[entry.request]).rules;
        census.laws.check("L13", entry.from <= entry.until, || "the clock went back".to_owned());
        match &entry.what {
            What::Admitted { estimate } => {
                census.admitted(way, entry);
                open.insert(entry.request, (entry, Some(estimate)));
            }
            What::Looked { .. } => {
                census.admitted(way, entry);
                open.insert(entry.request, (entry, None));
            }
            What::Denied { by, .. } => census.denied(by),
            What::Ended(ending) => {
                let admission = open.remove(&entry.request);
                census.laws.check("L7", admission.is_some(), || {
                    format!("request {} ended and was not under way", entry.request)
                });
                if let Some((admission, estimate)) = admission {
                    census.ended(way, admission, estimate, entry, ending);
                }
            }
        }
    }
    let under_way = open.len();
    census.laws.check("L7", under_way == 0, || format!("{under_way} requests never ended"));
    census.finish(log)
}

/// What a rule comes to, as far as is known.
#[derive(Default)]
struct Count {
    /// At least, and at most, so much was booked over all windows.
    least: u64,
    most: u64,
    /// Booked in a window for sure, and what may have been booked in one of a stretch of windows.
    sure: BTreeMap<Timestamp, u64>,
    maybe: Vec<(Timestamp, Timestamp, u64)>,
    /// Reported as passing the limit.
    overshoot: u64,
    /// Admissions by the start of their window, and denials.
    admitted: BTreeMap<Timestamp, u64>,
    denied: BTreeMap<Timestamp, u64>,
    /// How the number in flight changed for sure.
    in_flight: BTreeMap<Timestamp, (u64, u64)>,
}

struct Census<'a> {
    rules: &'a [Rule],
    start: Timestamp,
    places: Places,
    closings: Closings,
    counts: Vec<Count>,
    laws: Laws,
    overshoot: Overshoots,
    deferred: bool,
}

impl Census<'_> {
    /// What was charged before the log began.
    fn open(&mut self) {
        for (index, rule) in self.rules.iter().enumerate() {
            let window = self.window(index, self.start);
            let count = &mut self.counts[index];
            count.book((window, window), rule.opening);
            count.least += rule.opening;
            count.most += rule.opening;
            let over = rule.most.map_or(0, |most| rule.opening.saturating_sub(most));
            count.overshoot += over;
        }
    }

    fn window(&self, rule: usize, at: Timestamp) -> Timestamp {
        self.rules[rule].window(self.start, at).start
    }

    fn admitted(&mut self, way: &[usize], entry: &Entry) {
        for &rule in way {
            let window = self.window(rule, entry.from);
            *self.counts[rule].admitted.entry(window).or_default() += 1;
        }
    }

    /// What a denial tells of the counter that refused has to be no more than the limit, and to
    /// leave no room.
    fn denied(&mut self, by: &[Binding]) {
        let first = by.first();
        self.laws.check("L5", first.is_some(), || "denied by nothing".to_owned());
        let Some(first) = first else { return };
        let room = first.limit_amount.map(|most| most.saturating_sub(first.settled + first.held));
        self.laws.check("L5", room.is_some_and(|room| first.requested.max(1) > room), || {
            format!("denied what fits: {first}")
        });
        if let Some(rule) = self.places.of(first.limit.as_str(), first.dimension) {
            *self.counts[rule].denied.entry(first.window.start).or_default() += 1;
        }
    }

    fn ended(
        &mut self,
        way: &[usize],
        admission: &Entry,
        estimate: Option<&Usage>,
        end: &Entry,
        ending: &Ending,
    ) {
        let mut late = Possible::default();
        for &rule in way {
            let this = &self.rules[rule];
            let was_late = Possible {
                no: self.window(rule, admission.until) >= self.window(rule, end.from),
                yes: self.window(rule, admission.from) < self.window(rule, end.until),
            };
            let held = estimate.map_or(0, |estimate| this.hold(estimate));
            if held > 0 {
                late.or(was_late);
            }
            let actual = match ending {
                Ending::Settled { used, .. } | Ending::Charged { used, .. } => this.amount(used),
                Ending::Uncertain if this.dimension != Dimension::InFlight => held,
                Ending::Uncertain | Ending::Voided | Ending::Uncharged => 0,
            };
            let began = (self.window(rule, admission.from), self.window(rule, admission.until));
            let ended = (self.window(rule, end.from), self.window(rule, end.until));
            // A hold of a window that the ledger cannot know any more is left there, and all is
            // charged where the request ends.
            let twice = self.deferred && this.ends_twice(self.start, admission);
            let count = &mut self.counts[rule];
            match (estimate, was_late) {
                (None, _) => count.book(ended, actual),
                _ if twice => count.book((began.0, ended.1), actual.saturating_add(held)),
                (_, Possible { yes: false, .. }) => count.book(began, actual),
                (_, Possible { no: false, .. }) => {
                    count.book(began, held);
                    count.book(ended, actual.saturating_sub(held));
                }
                _ => count.book((began.0, ended.1), actual.max(held)),
            }
            // What is booked after its window has ended is in no total: there is what was held.
            let missed = self.deferred && ended.0 != ended.1;
            count.least += match (was_late.no, missed) {
                (true, true) => actual.min(held),
                (true, false) => actual,
                (false, true) => held,
                (false, false) => actual.max(held),
            };
            count.most += match (was_late.yes, twice) {
                (true, true) => actual.saturating_add(held),
                (true, false) => actual.max(held),
                (false, _) => actual,
            };
            if this.dimension == Dimension::InFlight && admission.until < end.from {
                count.in_flight.entry(admission.until).or_default().0 += 1;
                count.in_flight.entry(end.from).or_default().1 += 1;
            }
        }
        match ending {
            Ending::Settled { late: told, overshoots, .. } => {
                self.laws.check("L8", if *told { late.yes } else { late.no }, || {
                    format!("request {} was settled late: {told}, not {late:?}", end.request)
                });
                self.overshot(overshoots);
            }
            Ending::Charged { overshoots, .. } => self.overshot(overshoots),
            Ending::Voided | Ending::Uncertain | Ending::Uncharged => {}
        }
    }

    fn overshot(&mut self, overshoots: &[Overshoot]) {
        for told in overshoots {
            let Some(rule) = self.places.of(told.limit.as_str(), told.dimension) else { continue };
            self.counts[rule].overshoot += told.amount;
        }
    }

    fn finish(mut self, log: &Log) -> Findings {
        let held = log.entries.iter().any(|entry| matches!(entry.what, What::Admitted { .. }));
        let mut accounts = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let count = &self.counts[index];
            let total: u64 = self.closings.of(index).map(|closing| closing.total).sum();
            self.laws.check("L1", (count.least..=count.most).contains(&total), || {
                let (least, most) = (count.least, count.most);
                format!("{}: {total} in all windows, not {least} to {most}", rule.name())
            });
            self.windows(index);
            let count = &self.counts[index];
            let above: u64 = self.closings.of(index).map(|closing| over(rule, closing)).sum();
            let told = count.overshoot;
            // A settle gives notice of what passes the limit then; what is given back later may
            // make room again. A charge gives nothing back.
            self.laws.check("L5", if held { above <= told } else { above == told }, || {
                format!("{}: {above} above the limit, {told} reported", rule.name())
            });
            let excess = if held {
                above.saturating_sub(told)
            } else {
                self.closings.of(index).map(|closing| over(rule, closing)).max().unwrap_or(0)
            };
            let at_once = count.at_once();
            let crowd = rule.most.map_or(0, |most| at_once.saturating_sub(most));
            self.laws
                .check("L5", !held || crowd == 0, || format!("{}: {at_once} at once", rule.name()));
            self.overshoot.add(rule.dimension, excess.max(crowd));
            let pages = count.pages(rule, self.closings.of(index), self.start, at_once);
            accounts.push(Found { rule: rule.clone(), pages, minutes: BTreeMap::new() });
        }
        Findings { laws: self.laws, accounts, overshoot: self.overshoot }
    }
}

impl Census<'_> {
    /// Every window has what was booked in it for sure, and no more than may have been.
    fn windows(&mut self, rule: usize) {
        let count = &self.counts[rule];
        let closed = self.closings.of(rule).map(|closing| closing.span.start);
        let starts: BTreeSet<Timestamp> = count.sure.keys().copied().chain(closed).collect();
        for start in starts {
            let total = self.closings.at(rule, start).map_or(0, |closing| closing.total);
            let least = count.sure.get(&start).copied().unwrap_or(0);
            let covers =
                |(from, until, _): &&(Timestamp, Timestamp, u64)| (*from..=*until).contains(&start);
            let maybe: u64 = count.maybe.iter().filter(covers).map(|(.., amount)| amount).sum();
            let name = || self.rules[rule].name();
            self.laws.check("L1", total >= least, || {
                format!("{}: {total} in the window of {start}, not {least}", name())
            });
            // What a denied request left behind would be too much here.
            self.laws.check("L6", total <= least + maybe, || {
                let most = least + maybe;
                format!("{}: {total} in the window of {start}, at most {most}", name())
            });
        }
    }
}

fn over(rule: &Rule, closing: &Closing) -> u64 {
    rule.most.map_or(0, |most| closing.total.saturating_sub(most))
}

/// What a yes-or-no may have been.
#[derive(Clone, Copy, Debug)]
struct Possible {
    no: bool,
    yes: bool,
}

impl Default for Possible {
    fn default() -> Self {
        Possible { no: true, yes: false }
    }
}

impl Possible {
    fn or(&mut self, other: Possible) {
        *self = Possible { no: self.no && other.no, yes: self.yes || other.yes };
    }
}

impl Count {
    /// Books an amount in one of a stretch of windows.
    fn book(&mut self, (from, until): (Timestamp, Timestamp), amount: u64) {
        match (amount, from == until) {
            (0, _) => {}
            (_, true) => *self.sure.entry(from).or_default() += amount,
            (_, false) => self.maybe.push((from, until, amount)),
        }
    }

    /// So many were in flight at once for sure.
    fn at_once(&self) -> u64 {
        let (mut now, mut most) = (0, 0);
        for (began, ended) in self.in_flight.values() {
            now = now + began - ended;
            most = now.max(most);
        }
        most
    }

    /// The windows that something is known of.
    fn pages<'a>(
        &self,
        rule: &Rule,
        closings: impl Iterator<Item = &'a Closing>,
        start: Timestamp,
        at_once: u64,
    ) -> Vec<Page> {
        let mut pages: BTreeMap<Timestamp, Page> = BTreeMap::new();
        for closing in closings {
            let mut page = Page::new(closing.span, rule.most);
            page.settled = closing.total - closing.held;
            page.held = closing.held;
            page.peak = closing.total.max(at_once);
            pages.insert(closing.span.start, page);
        }
        let page = |at: Timestamp| Page::new(rule.window(start, at), rule.most);
        for (&at, &count) in &self.admitted {
            pages.entry(at).or_insert_with(|| page(at)).admitted += count;
        }
        for (&at, &count) in &self.denied {
            pages.entry(at).or_insert_with(|| page(at)).denied += count;
        }
        pages.into_values().collect()
    }
}
