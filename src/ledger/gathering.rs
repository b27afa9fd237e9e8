//! How long a group is let gather before it is written.
//!
//! Those who are answered together settle again a moment later, one after the other. A writer that
//! takes the first of them at once writes a group of one, and all the others wait for two commits
//! instead of one: with 64 who settle as fast as they can, every second group is of one. So a
//! writer whose store takes its time waits a little for as many as there were last time.
//!
//! Where there are fewer processors than threads that want to run, each group takes time from those
//! who would settle next, and what most of it takes does not depend on how many are in it. So a
//! writer gives way to them first: there more are gathered, and where a processor is free nothing
//! is waited for.

use std::time::Duration;

/// A store that is faster than this is not waited for.
const SLOW: Duration = Duration::from_micros(400);
/// So often others that can run go first.
const TURNS: usize = 4;
/// A nap is this part of what the last group took,
const PART: u32 = 16;
/// and there are at most so many: a quarter of it.
const NAPS: u32 = 4;
/// What a group took beyond this counts as this.
const LONGEST: Duration = Duration::from_millis(80);

/// What the last group was.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    entries: usize,
    took: Duration,
}

impl Gathering {
    /// Takes note of a group that was written.
    pub(crate) fn wrote(&mut self, entries: usize, took: Duration) {
        *self = Self { entries, took: took.min(LONGEST) };
    }

    /// Gives way, and then sleeps while it is worth waiting for more: there are fewer than last
    /// time, and there are more after each nap.
    pub(crate) fn wait(
        &self,
        queued: impl Fn() -> usize,
        give_way: impl Fn(),
        sleep: impl Fn(Duration),
    ) {
        if self.took < SLOW || queued() == 0 {
            return;
        }
        (0..TURNS).for_each(|_| give_way());
        let mut before = 0;
        for _ in 0..NAPS {
            let now = queued();
            if now <= before || now >= self.entries {
                return;
            }
            before = now;
            sleep(self.took / PART);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// How often it gives way, and its naps, when so many are queued: before, and at each look.
    fn waits(entries: usize, millis: u64, queued: &[usize]) -> (usize, Vec<Duration>) {
        let mut gathering = Gathering::default();
        gathering.wrote(entries, Duration::from_millis(millis));
        let (looks, turns, naps) = (Cell::new(0), Cell::new(0), RefCell::new(Vec::new()));
        let look = || {
            looks.set(looks.get() + 1);
            queued[looks.get() - 1]
        };
        let give_way = || turns.set(turns.get() + 1);
        gathering.wait(look, give_way, |nap| naps.borrow_mut().push(nap));
        (turns.get(), naps.into_inner())
    }

    fn naps(entries: usize, millis: u64, queued: &[usize]) -> Vec<Duration> {
        let (turns, naps) = waits(entries, millis, &[&queued[..1], queued].concat());
        assert_eq!(turns, TURNS);
        naps
    }

    #[test]
    fn it_waits_for_as_many_as_last_time_while_more_come_and_for_a_quarter_of_the_last_write() {
        const NONE: [Duration; 0] = [];
        let nap = Duration::from_micros(250);
        assert_eq!(naps(64, 4, &[1, 20, 64]), [nap; 2]);
        assert_eq!(naps(64, 4, &[1, 1]), [nap; 1]);
        assert_eq!(naps(64, 4, &[1, 2, 3, 4, 5]), [nap; 4]);
        assert_eq!(naps(64, 4, &[70]), NONE);
        assert_eq!(naps(1, 4, &[1]), NONE, "who settles alone waits for nobody");
        assert_eq!(naps(64, 60_000, &[1, 2, 64]), [LONGEST / PART; 2]);
    }

    #[test]
    fn a_fast_store_is_not_waited_for_and_neither_is_nothing() {
        assert_eq!(waits(64, 0, &[1]), (0, Vec::new()));
        assert_eq!(waits(64, 4, &[0]), (0, Vec::new()));
    }

    #[test]
    fn it_takes_with_it_what_came_while_it_gave_way() {
        assert_eq!(waits(3, 4, &[1, 3]), (TURNS, Vec::new()));
    }
}
