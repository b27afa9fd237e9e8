//! A user's clock that panics in the middle of a decision.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tollkeeper::{
    Budget, Clock, Engine, EventKind, ManualClock, RateLimit, Reservation, Route, Settlement,
    Timestamp,
};

use crate::kit::*;

/// Breaks once, when told to, where it is told to.
struct Breaking {
    time: ManualClock,
    now: AtomicBool,
    soon: AtomicBool,
}

impl Clock for Breaking {
    fn now(&self) -> Timestamp {
        // Relaxed, here and below: one thread.
        assert!(!self.now.swap(false, Ordering::Relaxed), "the clock is broken");
        self.time.now()
    }

    fn soon(&self) -> Timestamp {
        assert!(!self.soon.swap(false, Ordering::Relaxed), "the clock is broken");
        self.time.now()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaks {
    Now,
    Soon,
}

/// A route of three limits, of which the one in the middle has windows of a minute and the others
/// of an hour.
struct Scene {
    kit: Kit,
    clock: Arc<Breaking>,
    route: Route,
}

const LIMITS: [&str; 3] = ["first", "minute", "last"];

fn scene(breaks: Breaks) -> (Scene, Breaks) {
    let time = ManualClock::new(instant(START));
    let (now, soon) = (AtomicBool::new(false), AtomicBool::new(false));
    let clock = Arc::new(Breaking { time: time.clone(), now, soon });
    let engine = Engine::builder().clock(Arc::clone(&clock)).build();
    let events = engine.subscribe(100);
    let kit = Kit { engine, clock: time, events };
    for (limit, period) in LIMITS.into_iter().zip(["1h", "1m", "1h"]) {
        kit.limit("key:k", limit, RateLimit::new().tokens(10, per(period)));
    }
    let route = kit.route(&["key:k"]);
    let scene = Scene { kit, clock, route };
    // Every gate is open from here on.
    drop(scene.reserve(1));
    (scene, breaks)
}

impl Scene {
    fn reserve(&self, n: u64) -> Reservation {
        self.kit.engine.reserve(&self.route, &tokens(n)).into_result().expect("there is room")
    }

    /// Makes the clock panic the next time, runs this, and says whether it panicked.
    fn broken<T>(&self, breaks: Breaks, run: impl FnOnce() -> T) -> Option<T> {
        let switch = match breaks {
            Breaks::Now => &self.clock.now,
            Breaks::Soon => &self.clock.soon,
        };
        switch.store(true, Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(run)).ok();
        assert_eq!(
            done.is_some(),
            switch.swap(false, Ordering::Relaxed),
            "it panics if it is read"
        );
        done
    }

    /// Settled and held of each limit.
    fn reads(&self) -> [(u64, u64); 3] {
        LIMITS.map(|limit| self.kit.counts(limit))
    }

    /// Requests still come and go as ever: ten fit in what is free, on each of the limits.
    fn goes_on(&self) {
        let before = self.reads();
        let most = 10 - before.map(|(settled, _)| settled).into_iter().max().unwrap();
        let held = self.reserve(most);
        assert_eq!(self.reads(), before.map(|(settled, held)| (settled, held + most)));
        held.void();
        assert_eq!(self.reads(), before);
    }

    /// How much of what happened on each limit is booked without anybody knowing what was used.
    fn uncertain(&self) -> Vec<(String, u64)> {
        let of = |event: tollkeeper::Event| match event.what {
            EventKind::Uncertain { amount } => Some((event.limit.to_string(), amount)),
            _ => None,
        };
        self.kit.happened().into_iter().filter_map(of).collect()
    }
}

/// L6: the first limit is held by then, the one in the middle needs the exact time.
#[test]
fn a_clock_that_panics_while_reserving_leaves_nothing_held() {
    for breaks in [Breaks::Now, Breaks::Soon] {
        let (scene, breaks) = scene(breaks);
        scene.kit.advance(minute());
        assert!(scene.broken(breaks, || scene.reserve(4)).is_none());
        assert_eq!(scene.reads(), [(0, 0); 3], "{breaks:?}");
        assert_eq!(scene.uncertain(), [], "{breaks:?}");
        scene.goes_on();
    }
}

/// A request that does not fit is decided by the exact time too.
#[test]
fn a_clock_that_panics_while_refusing_leaves_nothing_held() {
    let (scene, now) = scene(Breaks::Now);
    let tight = Budget::new(nanos(1), per("1h"));
    scene.kit.limit("key:k", "tight", tight);
    scene.kit.bump(&["key:k"], &cost(1));
    let before = scene.reads();
    let refused = || scene.kit.engine.reserve(&scene.route, &cost(1)).is_admitted();
    assert_eq!(scene.broken(now, refused), None);
    assert_eq!((scene.reads(), scene.kit.counts("tight")), (before, (1, 0)));
    assert!(!refused());
    assert_eq!((scene.reads(), scene.kit.counts("tight")), (before, (1, 0)));
}

/// How a reservation of 4 ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// With 3 used.
    Settle,
    Void,
    Drop,
}

impl End {
    fn run(self, reservation: Reservation) {
        match self {
            End::Settle => drop(reservation.settle(&tokens(3))),
            End::Void => reservation.void(),
            End::Drop => drop(reservation),
        }
    }
}

/// L7: whatever was ended when the clock broke has ended as it was to, and what was not ends like a
/// reservation that is dropped, and not as if nothing had been used where some of it is booked.
/// Each counter once: nothing stays held, nothing is booked twice.
#[test]
fn a_clock_that_panics_while_a_reservation_ends_leaves_nothing_held_and_books_once() {
    for breaks in [Breaks::Now, Breaks::Soon] {
        for end in [End::Settle, End::Void, End::Drop] {
            for dispatched in [false, true] {
                let (scene, breaks) = scene(breaks);
                let mut reservation = scene.reserve(4);
                if dispatched {
                    reservation.mark_dispatched();
                }
                scene.kit.advance(minute());
                let ended = scene.broken(breaks, || end.run(reservation));
                // What is booked as held asks for no instant but the exact one.
                let reads = breaks == Breaks::Now || end != End::Drop || !dispatched;
                assert_eq!(ended.is_none(), reads, "{breaks:?} {end:?} {dispatched}");
                // Holds end last first, the last one by its gate.
                let by_gate = breaks == Breaks::Now && (end != End::Drop || !dispatched);
                // Some of what was used is booked: nothing of the rest is given back.
                let dispatched = dispatched || (end == End::Settle && by_gate);
                let last = match end {
                    End::Settle if by_gate => 3,
                    End::Void if by_gate => 0,
                    _ if dispatched => 4,
                    _ => 0,
                };
                let first = if dispatched { 4 } else { 0 };
                assert_eq!(
                    scene.reads(),
                    [(first, 0), (0, 0), (last, 0)],
                    "{breaks:?} {end:?} {dispatched}"
                );
                let happened: Vec<_> = scene.kit.happened();
                let on = |limit: &str| -> Vec<EventKind> {
                    let of = happened.iter().filter(|event| event.limit == id(limit));
                    of.map(|event| event.what).collect()
                };
                let uncertain =
                    if dispatched { vec![EventKind::Uncertain { amount: 4 }] } else { vec![] };
                assert_eq!(on("first"), uncertain);
                assert_eq!(on("last"), if by_gate { vec![] } else { uncertain.clone() });
                let window = |what: &EventKind| {
                    matches!(what, EventKind::WindowClosed { total: 4, held: 4, .. })
                };
                let minute = on("minute");
                assert_eq!(minute.iter().filter(|what| window(what)).count(), 1, "{minute:?}");
                assert_eq!(minute.len(), 1 + uncertain.len(), "{minute:?}");
                scene.goes_on();
            }
        }
    }
}

/// An extension reads the clock before anything else: the reservation is as it was.
#[test]
fn a_clock_that_panics_while_extending_leaves_the_reservation_as_it_was() {
    for breaks in [Breaks::Now, Breaks::Soon] {
        for later in [false, true] {
            let (scene, breaks) = scene(breaks);
            let mut reservation = scene.reserve(4);
            if later {
                scene.kit.advance(minute());
            }
            let extended = scene.broken(breaks, || reservation.extend(&tokens(2)));
            let more = if breaks == Breaks::Now { 0 } else { 2 };
            assert_eq!(extended.is_some(), breaks == Breaks::Soon);
            let of_minute = if later { more } else { 4 + more };
            assert_eq!(scene.reads(), [(0, 4 + more), (0, of_minute), (0, 4 + more)]);
            reservation.extend(&tokens(1)).expect("there is room");
            assert_eq!(reservation.settle(&tokens(8)).is_late(), later);
            let booked = if later { 4 } else { 8 };
            assert_eq!(scene.reads(), [(8, 0), (booked, 0), (8, 0)]);
        }
    }
}

/// A bump whose clock breaks is booked on the limits before the one that needs the time, once, and
/// on no other.
#[test]
fn a_clock_that_panics_while_bumping_books_nothing_twice() {
    for (breaks, first) in [(Breaks::Now, 4), (Breaks::Soon, 0)] {
        let (scene, breaks) = scene(breaks);
        scene.kit.advance(minute());
        let bump = || scene.kit.engine.bump(&scene.route, &tokens(4));
        assert!(scene.broken(breaks, bump).is_none());
        assert_eq!(scene.reads(), [(first, 0), (0, 0), (0, 0)]);
        assert_eq!(bump(), Settlement::default());
        assert_eq!(scene.reads(), [(first + 4, 0), (4, 0), (4, 0)]);
    }
}
