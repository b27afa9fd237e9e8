//! The audit's own books: plain accounting of holds and bookings, one thing after the other.
//!
//! Written from the laws, not from the engine: no generations, no words, no swaps. An account has
//! one open page, the window of now; a page that is over keeps what was held on it (L8).

use super::rule::Rule;
use std::collections::{BTreeMap, HashMap};
use tollkeeper::{Dimension, Span, Timestamp, Usage};

/// One window of one rule.
#[derive(Clone, Debug)]
pub struct Page {
    pub span: Span,
    pub most: Option<u64>,
    pub settled: u64,
    pub held: u64,
    pub admitted: u64,
    pub denied: u64,
    /// The most that was ever settled and held on it.
    pub peak: u64,
}

impl Page {
    pub fn new(span: Span, most: Option<u64>) -> Page {
        Page { span, most, settled: 0, held: 0, admitted: 0, denied: 0, peak: 0 }
    }

    pub fn committed(&self) -> u64 {
        self.settled + self.held
    }

    /// Whether anything happened in it.
    pub fn is_blank(&self) -> bool {
        self.committed() == 0 && self.admitted == 0 && self.denied == 0
    }

    /// How far it ever was above its limit.
    pub fn over(&self) -> u64 {
        self.most.map_or(0, |most| self.peak.saturating_sub(most))
    }
}

/// What an account did within one minute of the replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    pub peak: u64,
    pub last: u64,
    pub denied: u64,
}

/// The pages of one rule.
#[derive(Debug)]
pub struct Account {
    pub rule: Rule,
    start: Timestamp,
    /// Ascending; the last is the open one.
    pub pages: Vec<Page>,
    pub minutes: BTreeMap<u64, Minute>,
}

impl Account {
    fn new(rule: Rule, start: Timestamp) -> Account {
        let mut first = Page::new(rule.window(start, start), rule.most);
        (first.settled, first.peak) = (rule.opening, rule.opening);
        Account { rule, start, pages: vec![first], minutes: BTreeMap::new() }
    }

    /// The page of an instant, which is not before the open one.
    pub fn page(&mut self, at: Timestamp) -> &mut Page {
        let open = self.pages.last().expect("there is a page from the beginning");
        if at >= open.span.end && open.span.end != Timestamp::MAX {
            self.pages.push(Page::new(self.rule.window(self.start, at), self.rule.most));
        }
        self.pages.last_mut().expect("there is a page from the beginning")
    }

    /// Changes the page of an instant and keeps its marks.
    fn change(&mut self, at: Timestamp, change: impl FnOnce(&mut Page)) -> u64 {
        let page = self.page(at);
        change(page);
        let committed = page.committed();
        page.peak = page.peak.max(committed);
        let minute = self.minute(at);
        minute.peak = minute.peak.max(committed);
        minute.last = committed;
        committed
    }

    fn minute(&mut self, at: Timestamp) -> &mut Minute {
        let minute = at.saturating_since(self.start).as_secs() / 60;
        self.minutes.entry(minute).or_default()
    }

    fn book(&mut self, amount: u64, at: Timestamp) -> u64 {
        self.change(at, |page| page.settled += amount)
    }

    fn above(&self, committed: u64) -> u64 {
        self.rule.most.map_or(0, |most| committed.saturating_sub(most))
    }
}

/// A rule that a request does not fit under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rule: usize,
    pub settled: u64,
    pub held: u64,
    pub requested: u64,
    pub span: Span,
}

/// What a request comes to when it ends.
#[derive(Clone, Copy, Debug)]
pub enum Actual<'a> {
    Used(&'a Usage),
    Nothing,
    AsHeld,
}

/// What an end came to: whether a hold's window was over, and which rules went above their limits
/// by how much of what had not been held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub late: bool,
    pub over: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Held {
    rule: usize,
    window: Timestamp,
    amount: u64,
}

/// The accounts of all rules, and what is held on them for whom.
pub struct Books {
    pub accounts: Vec<Account>,
    holds: HashMap<usize, Vec<Held>>,
}

impl Books {
    pub fn new(rules: &[Rule], start: Timestamp) -> Books {
        let account = |rule: &Rule| Account::new(rule.clone(), start);
        Books { accounts: rules.iter().map(account).collect(), holds: HashMap::new() }
    }

    /// The rules that an estimate does not fit under. What is exhausted refuses even nothing.
    pub fn refusals(&mut self, rules: &[usize], estimate: &Usage, at: Timestamp) -> Vec<Refusal> {
        let mut found = Vec::new();
        for &rule in rules {
            let account = &mut self.accounts[rule];
            let requested = account.rule.hold(estimate);
            let Page { span, most, settled, held, .. } = *account.page(at);
            let asked = u128::from(requested.max(1));
            let total = u128::from(settled) + u128::from(held) + asked;
            if most.is_some_and(|most| total > u128::from(most)) {
                found.push(Refusal { rule, settled, held, requested, span });
            }
        }
        found
    }

    /// Counts a denial on the rule that refused.
    pub fn deny(&mut self, rule: usize, at: Timestamp) {
        let account = &mut self.accounts[rule];
        account.change(at, |page| page.denied += 1);
        account.minute(at).denied += 1;
    }

    /// Marks how much a rule's page would have had, were it held.
    pub fn mark(&mut self, rule: usize, amount: u64, at: Timestamp) {
        let account = &mut self.accounts[rule];
        let page = account.page(at);
        page.peak = page.peak.max(amount);
        let minute = account.minute(at);
        minute.peak = minute.peak.max(amount);
    }

    /// Counts an admission on rules that hold nothing for it.
    pub fn admit(&mut self, rules: &[usize], at: Timestamp) {
        rules.iter().for_each(|&rule| self.accounts[rule].page(at).admitted += 1);
    }

    /// Holds an estimate.
    pub fn hold(&mut self, request: usize, rules: &[usize], estimate: &Usage, at: Timestamp) {
        self.admit(rules, at);
        let held = rules.iter().map(|&rule| {
            let account = &mut self.accounts[rule];
            let amount = account.rule.hold(estimate);
            account.change(at, |page| page.held += amount);
            Held { rule, window: account.page(at).span.start, amount }
        });
        self.holds.insert(request, held.collect());
    }

    /// Ends a request. `None` if nothing is held for it, because it never was or has ended (L7).
    pub fn end(&mut self, request: usize, actual: Actual, at: Timestamp) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        for Held { rule, window, amount } in self.holds.remove(&request)? {
            let account = &mut self.accounts[rule];
            let actual = match actual {
                Actual::Used(usage) => account.rule.amount(usage),
                // A request that is over is not in flight, whatever else is not known of it.
                Actual::AsHeld if account.rule.dimension == Dimension::InFlight => 0,
                Actual::AsHeld => amount,
                Actual::Nothing => 0,
            };
            let excess = actual.saturating_sub(amount);
            let committed = if account.page(at).span.start == window {
                account.change(at, |page| {
                    page.held -= amount;
                    page.settled += actual;
                })
            } else {
                outcome.late |= amount > 0;
                if excess == 0 {
                    continue;
                }
                account.book(excess, at)
            };
            let over = account.above(committed).min(excess);
            if over > 0 {
                outcome.over.push((rule, over));
            }
        }
        Some(outcome)
    }

    /// Books what was used where nothing is held.
    pub fn bump(&mut self, rules: &[usize], used: &Usage, at: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        for &rule in rules {
            let account = &mut self.accounts[rule];
            let amount = account.rule.amount(used);
            if amount == 0 {
                continue;
            }
            let committed = account.book(amount, at);
            let over = account.above(committed).min(amount);
            if over > 0 {
                outcome.over.push((rule, over));
            }
        }
        outcome
    }

    /// Requests that something is held for.
    pub fn under_way(&self) -> usize {
        self.holds.len()
    }
}
