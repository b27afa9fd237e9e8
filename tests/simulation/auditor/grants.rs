//! What operators grant: what the store must have of it, and what a limit admits by it.

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{
    CounterUsage, Credited, Dimension, Fate, Granted, LimitId, OverrideState, OwnerId, RecordId,
    Timestamp, TopUp,
};

use super::{Counter, involves};
use crate::hub::{Checked, breach};
use crate::topology::Rule;

/// What is granted on a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub credit: u64,
    /// In place of the limit, in windows that begin before the instant.
    pub instead: Option<(u64, Timestamp)>,
}

impl Grant {
    /// What a counter admits in a window that begins at an instant.
    pub fn admits(&self, rule: &Rule, dimension: Dimension, begins: Timestamp) -> u64 {
        match (self.instead, rule) {
            (Some((instead, until)), _) if begins < until => instead,
            (_, Rule::Budget { limit, period: None }) => limit + self.credit,
            (_, Rule::Budget { limit, .. } | Rule::Concurrency { limit }) => *limit,
            (_, Rule::Rate { tokens, .. }) if dimension == Dimension::Tokens => *tokens,
            (_, Rule::Rate { requests, .. }) => *requests,
        }
    }
}

/// What was granted by the store's books.
#[derive(Default)]
pub struct Grants {
    kept: BTreeMap<Counter, (OwnerId, Grant)>,
    /// Every top-up there ever was: known for good.
    payments: BTreeMap<RecordId, (LimitId, u64)>,
}

impl Grants {
    /// Takes a top-up in, and says what a store must have answered.
    pub fn top_up(&mut self, top_up: &TopUp) -> Credited {
        let key = (top_up.limit.clone(), Dimension::Money);
        let this = (top_up.limit.clone(), top_up.amount.as_nanos());
        let fate = match self.payments.get(&top_up.id) {
            Some(known) if *known == this => Fate::Before,
            Some(_) => Fate::Duplicate,
            None => Fate::Now,
        };
        if fate == Fate::Now {
            self.grant(key.clone(), &top_up.owner).credit += this.1;
            self.payments.insert(top_up.id, this);
        }
        Credited { fate, credit: self.of(&key).credit }
    }

    /// Of which limit a payment is, and of how much, if the store has it.
    pub fn knows(&self, payment: RecordId) -> Option<(LimitId, u64)> {
        self.payments.get(&payment).cloned()
    }

    pub fn overrides(&mut self, key: Counter, owner: &OwnerId, instead: Option<OverrideState>) {
        if instead.is_some() || self.kept.contains_key(&key) {
            let instead = instead.map(|OverrideState { limit, until }| (limit, until));
            self.grant(key, owner).instead = instead;
        }
    }

    fn grant(&mut self, key: Counter, owner: &OwnerId) -> &mut Grant {
        let none = || (owner.clone(), Grant::default());
        &mut self.kept.entry(key).or_insert_with(none).1
    }

    pub fn of(&self, key: &Counter) -> Grant {
        self.kept.get(key).map(|(_, grant)| *grant).unwrap_or_default()
    }

    pub fn all(&self) -> impl Iterator<Item = (&Counter, &OwnerId, Grant)> {
        self.kept.iter().map(|(key, (owner, grant))| (key, owner, *grant))
    }

    pub fn delete(&mut self, owner: &OwnerId) {
        self.kept.retain(|_, (whose, _)| !involves(whose, owner));
    }

    pub fn owners(&self) -> BTreeSet<OwnerId> {
        self.kept.values().map(|(owner, _)| owner.clone()).collect()
    }

    /// The store has these, all of them and nothing else.
    pub fn check(&self, granted: &[Granted]) -> Checked {
        let theirs: BTreeMap<_, _> = granted
            .iter()
            .map(|granted| {
                let instead = granted.instead.map(|instead| (instead.limit, instead.until));
                let grant = Grant { credit: granted.credit, instead };
                ((granted.limit.clone(), granted.dimension), (granted.owner.clone(), grant))
            })
            .collect();
        if theirs == self.kept {
            return Ok(());
        }
        breach("L10", format!("the store has granted {theirs:?}; due is {:?}", self.kept))
    }
}

/// A counter admits what its definition and what is granted come to.
pub fn check_limit(
    who: impl Fn() -> String,
    (rule, grant): (&Rule, Grant),
    counter: &CounterUsage,
) -> Checked {
    let due = grant.admits(rule, counter.dimension, counter.window.start);
    if counter.limit == Some(due) {
        return Ok(());
    }
    let is = counter.limit;
    breach("I14", format!("{} admits {is:?}; due is {due} by {rule:?} and {grant:?}", who()))
}
