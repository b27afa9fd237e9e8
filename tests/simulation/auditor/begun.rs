//! What a node begins with: of each counter the window that is in force by the node's clock, which
//! is not always the last one in the store.

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{LimitId, Timestamp};

use super::Counter;
use super::books::Books;
use super::memory::Standing;

/// What a node begins with.
pub struct Begun {
    /// How its limits stood before.
    standing: Vec<Standing>,
    /// When it asked for the windows that are open.
    asked: Timestamp,
    /// The windows that it goes on in.
    pub windows: BTreeMap<Counter, Timestamp>,
    /// Limits of which the last window was not in force when they were read.
    ahead: BTreeSet<LimitId>,
}

impl Begun {
    /// It has read which windows are open.
    pub fn new(standing: Vec<Standing>, asked: Timestamp, now: Timestamp, books: &Books) -> Begun {
        let (windows, ahead) = (BTreeMap::new(), BTreeSet::new());
        let mut begun = Begun { standing, asked, windows, ahead };
        for counter in books.counters() {
            if begun.goes_on(counter, now, books) {
                begun.ahead.insert(counter.0.clone());
            }
        }
        begun
    }

    /// It has read what is in a limit's window before the last. What it goes on in there, and in
    /// those that come after it, is decided now.
    pub fn reads_before(&mut self, limit: &LimitId, now: Timestamp, books: &Books) {
        let undecided = books.counters().filter(|counter| counter.0 >= *limit);
        for counter in undecided {
            if self.ahead.contains(&counter.0) {
                self.goes_on(counter, now, books);
            }
        }
    }

    /// Whether it goes on in another window than the last.
    fn goes_on(&mut self, counter: &Counter, now: Timestamp, books: &Books) -> bool {
        let standing = self.standing.iter().find(|standing| standing.usage.limit == counter.0);
        let end_of = |anchor| standing.and_then(|s| s.end_of(counter.1, anchor, now));
        let (start, is_earlier) = books.in_force(counter, (self.asked, now), end_of);
        match start {
            Some(start) => self.windows.insert(counter.clone(), start),
            None => self.windows.remove(counter),
        };
        is_earlier
    }
}
