//! The audit of a replay on one thread: everything again, and equal to the last unit.
//!
//! The log has one order there, so the audit keeps its own books along it and compares every
//! answer, every reading and every closed window with them.

use super::books::{Actual, Books, Outcome, Refusal};
use super::closings::{Closings, Places};
use super::document::{Document, Way};
use super::findings::{Findings, Found, Overshoots};
use super::laws::Laws;
use super::log::{Ending, Entry, Log, Reading, What};
use super::rule::Rule;
use super::traffic::{Fate, Request};
use tollkeeper::{Binding, Dimension, Overshoot, Timestamp, Usage};

/// Audits a log that begins at `start`.
pub fn audit(log: &Log, requests: &[Request], document: &Document, start: Timestamp) -> Findings {
    let mut audit = Audit {
        requests,
        rules: &document.rules,
        ways: Ways::new(document),
        places: Places::new(&document.rules),
        books: Books::new(&document.rules, start),
        under_way: vec![0; document.rules.len()],
        laws: Laws::new(),
        overshoot: Overshoots::default(),
    };
    let mut readings = log.readings.iter().peekable();
    let mut last = start;
    for (index, entry) in log.entries.iter().enumerate() {
        while let Some(reading) = readings.next_if(|reading| reading.after <= index) {
            audit.compare(reading);
        }
        audit.laws.check("L13", entry.from >= last, || format!("{} after {last}", entry.from));
        last = entry.from;
        audit.enter(entry);
    }
    readings.for_each(|reading| audit.compare(reading));
    audit.close(log);
    let found = |account: super::books::Account| Found {
        rule: account.rule,
        pages: account.pages,
        minutes: account.minutes,
    };
    let accounts = audit.books.accounts.into_iter().map(found).collect();
    Findings { laws: audit.laws, accounts, overshoot: audit.overshoot }
}

/// What applies to the requests of each key for each model.
pub struct Ways(Vec<Vec<Way>>);

impl Ways {
    pub fn new(document: &Document) -> Ways {
        let models = 0..document.models.len();
        let of = |key| models.clone().map(|model| document.way(key, model)).collect();
        Ways((0..document.keys.len()).map(of).collect())
    }

    pub fn of(&self, request: &Request) -> &Way {
        &self.0[request.key][request.model]
    }
}

struct Audit<'a> {
    requests: &'a [Request],
    rules: &'a [Rule],
    ways: Ways,
    places: Places,
    books: Books,
    /// What is under way without being held, and will be charged: what check-then-charge ignores.
    under_way: Vec<u64>,
    laws: Laws,
    overshoot: Overshoots,
}

impl Audit<'_> {
    fn enter(&mut self, entry: &Entry) {
        let request = &self.requests[entry.request];
        let rules = self.ways.of(request).rules.clone();
        let (at, index) = (entry.from, entry.request);
        match &entry.what {
            What::Admitted { estimate } => self.admitted(index, &rules, estimate, at),
            What::Looked { estimate } => self.looked(request, &rules, estimate, at),
            What::Denied { estimate, by } => self.denied(&rules, estimate, by, at),
            What::Ended(Ending::Settled { used, late, overshoots }) => {
                let outcome = self.end(index, Actual::Used(used), at);
                self.laws.check("L8", outcome.late == *late, || {
                    format!("request {index} was settled at {at}; late: {late}, not {outcome:?}")
                });
                self.reported(index, &outcome, overshoots, at);
            }
            What::Ended(Ending::Voided) => drop(self.end(index, Actual::Nothing, at)),
            What::Ended(Ending::Uncertain) => drop(self.end(index, Actual::AsHeld, at)),
            What::Ended(Ending::Charged { used, overshoots }) => {
                self.leave(request, &rules);
                let outcome = self.books.bump(&rules, used, at);
                self.reported(index, &outcome, overshoots, at);
            }
            What::Ended(Ending::Uncharged) => self.leave(request, &rules),
        }
    }

    fn admitted(&mut self, index: usize, rules: &[usize], estimate: &Usage, at: Timestamp) {
        self.may_pass(rules, estimate, at);
        self.books.hold(index, rules, estimate, at);
        for &rule in rules {
            let committed = self.books.accounts[rule].page(at).committed();
            let excess = self.excess(rule, committed);
            self.laws.check("L5", excess == 0, || {
                format!("{}: {excess} above the limit at {at}", self.rules[rule].name())
            });
        }
    }

    /// What check-then-charge lets through is nowhere held. What it will cost is a fact already.
    fn looked(&mut self, request: &Request, rules: &[usize], estimate: &Usage, at: Timestamp) {
        self.may_pass(rules, estimate, at);
        self.books.admit(rules, at);
        for &rule in rules {
            self.under_way[rule] += coming(&self.rules[rule], request);
            let settled = self.books.accounts[rule].page(at).settled;
            self.excess(rule, settled + self.under_way[rule]);
            // The others are charged, and so marked, when they end.
            if self.rules[rule].dimension == Dimension::InFlight {
                self.books.mark(rule, self.under_way[rule], at);
            }
        }
    }

    fn leave(&mut self, request: &Request, rules: &[usize]) {
        for &rule in rules {
            self.under_way[rule] -= coming(&self.rules[rule], request);
        }
    }

    fn may_pass(&mut self, rules: &[usize], estimate: &Usage, at: Timestamp) {
        let refusals = self.books.refusals(rules, estimate, at);
        self.laws.check("L5", refusals.is_empty(), || {
            let rule = refusals.first().map_or(String::new(), |it| self.rules[it.rule].name());
            format!("{rule}: admitted at {at} what does not fit")
        });
    }

    /// How far something is above a rule's limit, noted as an overshoot at admission.
    fn excess(&mut self, rule: usize, amount: u64) -> u64 {
        let rule = &self.rules[rule];
        let excess = rule.most.map_or(0, |most| amount.saturating_sub(most));
        self.overshoot.add(rule.dimension, excess);
        excess
    }

    /// A denial has to tell exactly what binds, with the numbers that the books have.
    fn denied(&mut self, rules: &[usize], estimate: &Usage, by: &[Binding], at: Timestamp) {
        let mut expected = self.books.refusals(rules, estimate, at);
        self.laws.check("L5", !expected.is_empty(), || format!("denied at {at} what fits"));
        let told = |binding: &Binding| {
            let rule = self.places.of(binding.limit.as_str(), binding.dimension)?;
            let Binding { settled, held, requested, window: span, .. } = *binding;
            Some(Refusal { rule, settled, held, requested, span })
        };
        let found: Option<Vec<Refusal>> = by.iter().map(told).collect();
        if let Some(first) = found.as_ref().and_then(|found| found.first()) {
            self.books.deny(first.rule, at);
        }
        let mut found = found.unwrap_or_default();
        found.sort_unstable_by_key(|refusal| refusal.rule);
        expected.sort_unstable_by_key(|refusal| refusal.rule);
        self.laws.check("L1", found == expected, || {
            format!("the denial at {at} tells {found:?}, the books have {expected:?}")
        });
    }

    fn end(&mut self, index: usize, actual: Actual, at: Timestamp) -> Outcome {
        let outcome = self.books.end(index, actual, at);
        self.laws.check("L7", outcome.is_some(), || {
            format!("request {index} ended at {at} and held nothing")
        });
        outcome.unwrap_or_default()
    }

    fn reported(&mut self, index: usize, books: &Outcome, told: &[Overshoot], at: Timestamp) {
        let place = |it: &Overshoot| self.places.of(it.limit.as_str(), it.dimension);
        let mut told: Vec<_> = told.iter().map(|it| (place(it), it.amount)).collect();
        told.sort_unstable();
        let mut over: Vec<_> = books.over.iter().map(|&(rule, n)| (Some(rule), n)).collect();
        over.sort_unstable();
        self.laws.check("L5", told == over, || {
            format!("request {index} at {at} overshot by {told:?}, the books have {over:?}")
        });
    }

    /// Every counter has to read as the books have it. That nothing stays held after a denial (L6)
    /// shows here too.
    fn compare(&mut self, reading: &Reading) {
        let counters: Vec<_> = self.places.counters(&reading.usage).collect();
        self.laws.check("L1", counters.len() == self.rules.len(), || {
            format!("{} counters are read of {}", counters.len(), self.rules.len())
        });
        for (rule, counter) in counters {
            let page = self.books.accounts[rule].page(reading.at);
            let (settled, held) = (page.settled, page.held);
            let name = || self.rules[rule].name();
            self.laws.check(
                "L1",
                counter.settled == settled && counter.window == page.span,
                || format!("{} at {}: {counter:?}, not {page:?}", name(), reading.at),
            );
            self.laws.check("L6", counter.held == held, || {
                format!("{} at {}: {} held, not {held}", name(), reading.at, counter.held)
            });
        }
    }

    /// Every closed window has to have the books' total, what was held late included.
    fn close(&mut self, log: &Log) {
        let closings = Closings::collect(log, self.rules, &self.places, &mut self.laws);
        for (rule, account) in self.books.accounts.iter().enumerate() {
            let name = || self.rules[rule].name();
            for page in &account.pages {
                let (total, start) = (page.committed(), page.span.start);
                let closing = closings.at(rule, start);
                let told = closing.map_or(0, |closing| closing.total);
                self.laws.check("L1", told == total, || {
                    format!("{}: {told} in the window of {start}, not {total}", name())
                });
                let held = closing.map_or(0, |closing| closing.held);
                self.laws.check("L8", held == page.held, || {
                    format!("{}: {held} held at the end of {start}, not {}", name(), page.held)
                });
            }
            for closing in closings.of(rule).filter(|closing| closing.total > 0) {
                let known = account.pages.iter().any(|page| page.span == closing.span);
                self.laws.check("L1", known, || format!("{}: {closing:?} is unknown", name()));
            }
        }
        let under_way = self.books.under_way();
        self.laws.check("L7", under_way == 0, || format!("{under_way} requests never ended"));
    }
}

/// What a request that is not held for is going to be charged.
fn coming(rule: &Rule, request: &Request) -> u64 {
    match (rule.dimension, request.fate) {
        (Dimension::InFlight, _) => 1,
        (_, Fate::Completes) => rule.amount(&request.usage),
        (_, Fate::Fails | Fate::Vanishes) => 0,
    }
}
