//! What an audit found: the laws, the windows, and how far limits were passed.

use super::books::{Minute, Page};
use super::laws::Laws;
use super::rule::Rule;
use std::collections::BTreeMap;
use tollkeeper::Dimension;

/// What an audit found.
pub struct Findings {
    pub laws: Laws,
    /// One for each rule, in the order of the document.
    pub accounts: Vec<Found>,
    pub overshoot: Overshoots,
}

/// The windows of one rule.
pub struct Found {
    pub rule: Rule,
    pub pages: Vec<Page>,
    /// Empty where the log has no order that is exact enough.
    pub minutes: BTreeMap<u64, Minute>,
}

impl Found {
    pub fn admitted(&self) -> u64 {
        self.pages.iter().map(|page| page.admitted).sum()
    }

    pub fn denied(&self) -> u64 {
        self.pages.iter().map(|page| page.denied).sum()
    }

    /// The window that went furthest above its limit, or came nearest to it; of several the first.
    pub fn worst(&self) -> Option<&Page> {
        self.pages.iter().rev().max_by_key(|page| page.peak)
    }
}

/// The largest excess over any limit at any admission, for each dimension.
#[derive(Clone, Debug, Default)]
pub struct Overshoots(BTreeMap<Dimension, u64>);

impl Overshoots {
    pub fn add(&mut self, dimension: Dimension, excess: u64) {
        let most = self.0.entry(dimension).or_default();
        *most = excess.max(*most);
    }

    pub fn of(&self, dimension: Dimension) -> u64 {
        self.0.get(&dimension).copied().unwrap_or(0)
    }
}
