//! What the engine reported of its windows: those that closed, and those still open at the end.

use super::laws::Laws;
use super::log::Log;
use super::rule::Rule;
use std::collections::{BTreeMap, HashMap};
use tollkeeper::{CounterUsage, Dimension, EventKind, LimitUsage, Span, Timestamp};

/// A window as the engine reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    pub span: Span,
    /// All that was booked in it, and all that was held when it closed.
    pub total: u64,
    /// Of that, what was held.
    pub held: u64,
    generation: u64,
    withdrawn: u64,
}

/// The windows of each rule, by their start.
pub struct Closings(Vec<BTreeMap<Timestamp, Closing>>);

/// Which rule a limit's dimension is.
pub struct Places(HashMap<(String, Dimension), usize>);

impl Places {
    pub fn new(rules: &[Rule]) -> Places {
        let place = |(at, rule): (usize, &Rule)| ((rule.limit.clone(), rule.dimension), at);
        Places(rules.iter().enumerate().map(place).collect())
    }

    pub fn of(&self, limit: &str, dimension: Dimension) -> Option<usize> {
        self.0.get(&(limit.to_owned(), dimension)).copied()
    }

    /// All counters of a reading, each with its rule.
    pub fn counters<'a>(
        &'a self,
        usage: &'a [LimitUsage],
    ) -> impl Iterator<Item = (usize, &'a CounterUsage)> {
        let with_place = |limit: &'a LimitUsage, counter: &'a CounterUsage| {
            Some((self.of(limit.limit.as_str(), counter.dimension)?, counter))
        };
        usage.iter().flat_map(move |limit| {
            limit.counters.iter().filter_map(move |counter| with_place(limit, counter))
        })
    }
}

impl Closings {
    /// Collects them from the log. Checks that each came once, in order, and that none was missed.
    pub fn collect(log: &Log, rules: &[Rule], places: &Places, laws: &mut Laws) -> Closings {
        laws.check("L2", log.missed == 0, || {
            format!("{} events were missed, so totals are not known", log.missed)
        });
        let mut closings = Closings(vec![BTreeMap::new(); rules.len()]);
        for event in &log.events {
            let Some(rule) = places.of(event.limit.as_str(), event.dimension) else { continue };
            if let EventKind::WindowClosed { window: span, total, held } = event.what {
                let generation = event.generation;
                let closing = Closing { span, total, held, generation, withdrawn: 0 };
                let other = closings.0[rule].insert(span.start, closing);
                laws.check("L2", other.is_none(), || {
                    format!("{}: the window of {} closed twice", rules[rule].name(), span.start)
                });
            }
        }
        closings.withdraw(log, rules, places, laws);
        closings.open(log, rules, places, laws);
        closings.in_order(rules, laws);
        closings
    }

    /// Takes off what was held for a request that was refused just as the window closed. The
    /// notice of it may come before that of the closing.
    fn withdraw(&mut self, log: &Log, rules: &[Rule], places: &Places, laws: &mut Laws) {
        for event in &log.events {
            let EventKind::Withdrawn { amount } = event.what else { continue };
            let Some(rule) = places.of(event.limit.as_str(), event.dimension) else { continue };
            let of = self.0[rule].values_mut().find(|it| it.generation == event.generation);
            laws.check("L6", of.as_ref().is_some_and(|it| it.held >= amount), || {
                format!("{}: {amount} withdrawn from no hold", rules[rule].name())
            });
            if let Some(closing) = of {
                closing.withdrawn += amount;
                closing.total = closing.total.saturating_sub(amount);
                closing.held = closing.held.saturating_sub(amount);
            }
        }
    }

    /// Adds the windows that are open at the last reading, which have nothing held.
    fn open(&mut self, log: &Log, rules: &[Rule], places: &Places, laws: &mut Laws) {
        let Some(last) = log.readings.last() else { return };
        for (rule, counter) in places.counters(&last.usage) {
            laws.check("L7", counter.held == 0, || {
                format!("{}: {} held when all had ended", rules[rule].name(), counter.held)
            });
            let CounterUsage { window: span, settled: total, generation, .. } = *counter;
            let closing = Closing { span, total, held: counter.held, generation, withdrawn: 0 };
            let other = self.0[rule].insert(span.start, closing);
            laws.check("L2", other.is_none(), || {
                format!("{}: the window of {} closed and is open", rules[rule].name(), span.start)
            });
        }
    }

    fn in_order(&self, rules: &[Rule], laws: &mut Laws) {
        for (rule, closings) in rules.iter().zip(&self.0) {
            let both = closings.values().zip(closings.values().skip(1));
            for (one, next) in both {
                let after = next.generation == one.generation + 1;
                laws.check("L13", after && next.span.start >= one.span.end, || {
                    let (one, next) = (one.span.start, next.span.start);
                    format!("{}: after the window of {one} came that of {next}", rule.name())
                });
            }
        }
    }

    /// The windows of a rule in the order of time.
    pub fn of(&self, rule: usize) -> impl Iterator<Item = &Closing> {
        self.0[rule].values()
    }

    pub fn at(&self, rule: usize, start: Timestamp) -> Option<&Closing> {
        self.0[rule].get(&start)
    }
}
