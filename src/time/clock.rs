//! Where `now` comes from: the only room that reads the machine's clock.

use std::time::Duration;

use super::Timestamp;
use crate::sync::{Arc, AtomicU64, Ordering};

/// A source of the current time.
///
/// A clock may step back; whoever reads it must cope. The engine reads its clock once per
/// decision and hands `now` down, so one decision sees one instant.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The machine's wall clock.
///
/// Before 1970 it reads as [`Timestamp::UNIX_EPOCH`], after 2554 as [`Timestamp::MAX`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Reads the clock as [`std::time::SystemTime`] does, and takes two thirds of the time: the
    /// difference of two of those is half as much work as the reading itself.
    #[cfg(unix)]
    fn now(&self) -> Timestamp {
        use rustix::time::{ClockId, clock_gettime};

        let since_epoch = clock_gettime(ClockId::Realtime);
        let nanos = u64::try_from(since_epoch.tv_nsec).unwrap_or(0);
        match u64::try_from(since_epoch.tv_sec) {
            Ok(secs) => {
                Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
            }
            Err(_) => Timestamp::UNIX_EPOCH,
        }
    }

    #[cfg(not(unix))]
    fn now(&self) -> Timestamp {
        use std::time::SystemTime;

        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp::UNIX_EPOCH.saturating_add(since_epoch.unwrap_or(Duration::ZERO))
    }
}

#[cfg(unix)]
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A clock that only moves when told to, for tests. Clones show the same time.
///
/// ```
/// use tollkeeper::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(Timestamp::from_secs(100));
/// let seen_by_the_engine = clock.clone();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(seen_by_the_engine.now(), Timestamp::from_secs(160));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    /// Nanoseconds since the epoch.
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> ManualClock {
        ManualClock { nanos: Arc::new(AtomicU64::new(start.as_nanos())) }
    }

    /// Sets the time. It may step back.
    pub fn set(&self, to: Timestamp) {
        // Release, pairs with the Acquire load in `now`: who reads the new time also sees what
        // this thread did before it set the clock.
        self.nanos.store(to.as_nanos(), Ordering::Release);
    }

    /// Moves the time forward, at most to [`Timestamp::MAX`], and returns the new time.
    ///
    /// Concurrent calls add up: none is lost.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let moved = |nanos| Timestamp::from_nanos(nanos).saturating_add(by);
        // AcqRel: the Release half pairs with the Acquire load in `now`, as in `set`; the Acquire
        // half, and Acquire on failure, make this call read like `now` before it writes.
        let before = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |nanos| {
                Some(moved(nanos).as_nanos())
            })
            .expect("the closure never declines");
        moved(before)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        // Acquire, pairs with the Release in `set` and `advance`.
        Timestamp::from_nanos(self.nanos.load(Ordering::Acquire))
    }
}

#[cfg(all(test, not(tollkeeper_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::from_secs(10));
        let clone = clock.clone();
        assert_eq!(clone.now(), Timestamp::from_secs(10));
        assert_eq!(clock.advance(Duration::from_secs(5)), Timestamp::from_secs(15));
        assert_eq!(clone.now(), Timestamp::from_secs(15));
        clone.set(Timestamp::from_secs(2));
        assert_eq!(clock.now(), Timestamp::from_secs(2));
        assert_eq!(clock.advance(Duration::MAX), Timestamp::MAX);
        assert_eq!(Arc::new(clock).now(), Timestamp::MAX);
    }

    #[test]
    fn concurrent_advances_add_up() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        clock.advance(Duration::from_nanos(1));
                    }
                });
            }
        });
        assert_eq!(clock.now(), Timestamp::from_nanos(4_000));
    }

    #[test]
    fn the_system_clock_lies_in_this_era() {
        let year_2020 = Timestamp::from_secs(1_577_836_800);
        assert!(SystemClock.now() > year_2020);
        assert!(SystemClock.now() < Timestamp::MAX);
    }
}
