//! Where `now` comes from: the only room that reads the machine's clock.

use std::time::Duration;

use super::Timestamp;
use crate::sync::{Arc, AtomicU64, Ordering};

/// A source of the current time.
///
/// A clock may step back; whoever reads it must cope. A decision reads [`soon`](Self::soon) first,
/// and [`now`](Self::now) once if that does not do: when a window has ended or will within what is
/// soon, when something does not fit, and when there is a notice to give.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// An instant that has not passed yet: the current one, or one shortly after it where that is
    /// cheaper to tell. A decision that sees by it that no window has ended need not know the
    /// time exactly; any other reads [`now`](Self::now) as well, and decides by that.
    ///
    /// One that lags behind `now` has the effect of threads that are late: windows end later, by as
    /// much, and a request may end its own window on the way. Counts stay exact and no limit is
    /// passed.
    fn soon(&self) -> Timestamp {
        self.now()
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn soon(&self) -> Timestamp {
        (**self).soon()
    }
}

/// The machine's wall clock.
///
/// Before 1970 it reads as [`Timestamp::UNIX_EPOCH`], after 2554 as [`Timestamp::MAX`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(unix)]
mod system {
    use super::{Clock, SystemClock, Timestamp};
    use rustix::time::{ClockId, clock_gettime};

    const NANOS_PER_SEC: u64 = 1_000_000_000;

    /// Ten times as much as the coarse clock is behind at most, where the kernel ticks a hundred
    /// times a second.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const COARSE_NANOS: u64 = 100_000_000;

    fn read(clock: ClockId) -> u64 {
        let since_epoch = clock_gettime(clock);
        let nanos = u64::try_from(since_epoch.tv_nsec).unwrap_or(0);
        // Before 1970 there is no second.
        u64::try_from(since_epoch.tv_sec)
            .map_or(0, |secs| secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
    }

    /// Reads the clock that [`std::time::SystemTime`] reads, in two thirds of the time: the
    /// difference of two of those is half as much work as the reading itself.
    impl Clock for SystemClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(read(ClockId::Realtime))
        }

        /// The time of the kernel's last tick, at a third of the price of the time. A tick that
        /// comes later than is allowed for here (a machine that was halted) has the effect of a
        /// thread that was halted between reading the clock and deciding.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        fn soon(&self) -> Timestamp {
            Timestamp::from_nanos(read(ClockId::RealtimeCoarse).saturating_add(COARSE_NANOS))
        }
    }
}

#[cfg(not(unix))]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        use std::time::SystemTime;

        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp::UNIX_EPOCH.saturating_add(since_epoch.unwrap_or(Duration::ZERO))
    }
}

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
