//! Virtual time: what happens when, in one order.
//!
//! Of two things at one instant, the one that was scheduled first happens first: arrivals are
//! scheduled before anything runs, so an arrival comes before an end at the same instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tollkeeper::Timestamp;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// The request of this index arrives.
    Arrival(usize),
    /// It ends.
    End(usize),
}

/// What is going to happen, the next first.
#[derive(Default)]
pub struct Schedule {
    heap: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    scheduled: u64,
}

impl Schedule {
    pub fn add(&mut self, at: Timestamp, what: Happening) {
        self.heap.push(Reverse((at, self.scheduled, what)));
        self.scheduled += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The next, if it is at or before `until`.
    pub fn next_by(&mut self, until: Timestamp) -> Option<(Timestamp, Happening)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, what))| (at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_first_and_then_the_order_of_scheduling() {
        let (early, late) = (Timestamp::from_secs(1), Timestamp::from_secs(2));
        let mut schedule = Schedule::default();
        schedule.add(late, Happening::Arrival(1));
        schedule.add(late, Happening::End(0));
        schedule.add(early, Happening::Arrival(0));
        schedule.add(late, Happening::Arrival(2));
        assert_eq!(schedule.next_by(Timestamp::UNIX_EPOCH), None);
        let order: Vec<_> = std::iter::from_fn(|| schedule.next_by(Timestamp::MAX)).collect();
        let expected = [
            (early, Happening::Arrival(0)),
            (late, Happening::Arrival(1)),
            (late, Happening::End(0)),
            (late, Happening::Arrival(2)),
        ];
        assert_eq!(order, expected);
    }
}
