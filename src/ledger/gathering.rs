//! How long a group is let gather before it is written.
//!
//! Those who are answered together settle again a moment later, one after the other. A writer that
//! takes the first of them at once writes a group of one, and all the others wait for two commits
//! instead of one: with 64 who settle as fast as they can, every second group is of one. So a
//! writer whose store takes its time waits a little for as many as there were last time.

use std::time::Duration;

/// A store that is faster than this is not waited for.
const SLOW: Duration = Duration::from_micros(400);
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

    /// Sleeps while it is worth waiting for more: there are fewer than last time, and there are
    /// more after each nap.
    pub(crate) fn wait(&self, queued: impl Fn() -> usize, sleep: impl Fn(Duration)) {
        if self.took < SLOW {
            return;
        }
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

    /// The naps, when so many are queued at each look.
    fn naps(entries: usize, millis: u64, queued: &[usize]) -> Vec<Duration> {
        let mut gathering = Gathering::default();
        gathering.wrote(entries, Duration::from_millis(millis));
        let (looks, naps) = (Cell::new(0), RefCell::new(Vec::new()));
        let look = || {
            looks.set(looks.get() + 1);
            queued[looks.get() - 1]
        };
        gathering.wait(look, |nap| naps.borrow_mut().push(nap));
        naps.into_inner()
    }

    #[test]
    fn it_waits_for_as_many_as_last_time_while_more_come_and_for_a_quarter_of_the_last_write() {
        const NONE: [Duration; 0] = [];
        let nap = Duration::from_micros(250);
        assert_eq!(naps(64, 4, &[1, 20, 64]), [nap; 2]);
        assert_eq!(naps(64, 4, &[1, 1]), [nap; 1]);
        assert_eq!(naps(64, 4, &[1, 2, 3, 4, 5]), [nap; 4]);
        assert_eq!(naps(64, 4, &[70]), NONE);
        assert_eq!(naps(64, 4, &[0]), NONE);
        assert_eq!(naps(1, 4, &[1]), NONE, "who settles alone waits for nobody");
        assert_eq!(naps(64, 0, &[1]), NONE, "a fast store is not waited for");
        assert_eq!(naps(64, 60_000, &[1, 2, 64]), [LONGEST / PART; 2]);
    }
}
