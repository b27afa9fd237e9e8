//! Clocks whose `soon` is far ahead of `now`, or behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use tollkeeper::{
    Budget, Clock, Concurrency, Dimension, Engine, Event, EventKind, ManualClock, RateLimit,
    Reservation, Subscription, Timestamp, Usage,
};

use crate::kit::*;

/// Shows what a manual clock does, and something else for the instant that has not passed yet.
struct Told {
    now: ManualClock,
    soon: fn(Timestamp) -> Timestamp,
}

impl Clock for Told {
    fn now(&self) -> Timestamp {
        self.now.now()
    }

    fn soon(&self) -> Timestamp {
        (self.soon)(self.now.now())
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// An engine whose history is written down.
struct History {
    kit: Kit,
    open: Vec<(Reservation, Usage)>,
    told: Vec<String>,
}

const LIMITS: [&str; 5] = ["budget", "rate", "slow", "prepaid", "flight"];

fn history(soon: Option<fn(Timestamp) -> Timestamp>) -> History {
    let now = ManualClock::new(instant(START));
    let builder = Engine::builder();
    let engine = match soon {
        Some(soon) => builder.clock(Told { now: now.clone(), soon }),
        None => builder.clock(now.clone()),
    };
    let engine = engine.build();
    let events: Subscription = engine.subscribe(100_000);
    let kit = Kit { engine, clock: now, events };
    let notices = [25, 50, 75, 100];
    kit.limit("team:t", "budget", Budget::new(nanos(60), per("10s")).thresholds(&notices));
    kit.limit("team:t", "prepaid", Budget::prepaid(nanos(20_000)).thresholds(&notices));
    let rate = RateLimit::new().tokens(50, per("1s")).requests(9, per("3s")).thresholds(&[80]);
    kit.limit("key:k", "rate", rate);
    kit.limit("key:k", "slow", RateLimit::new().tokens(900, per("1m")));
    kit.limit("key:k", "flight", Concurrency::new(4));
    kit.owner("key:k", &["team:t"]);
    History { kit, open: Vec::new(), told: Vec::new() }
}

impl History {
    fn tell(&mut self, what: impl std::fmt::Debug) {
        self.told.push(format!("{what:?}"));
    }

    /// One step of many. `exact` uses what is estimated, so that no limit is ever passed.
    fn step(&mut self, numbers: &mut Numbers, exact: bool) {
        let usage = |numbers: &mut Numbers| Usage {
            input_tokens: numbers.below(20),
            requests: 1,
            cost: nanos(numbers.below(20)),
            ..Usage::default()
        };
        let owner = if numbers.below(4) == 0 { "team:t" } else { "key:k" };
        let estimate = usage(numbers);
        let used = if exact { None } else { Some(usage(numbers)) };
        match numbers.below(12) {
            0..=4 => {
                let decision = self.kit.engine.reserve(&self.kit.route(&[owner]), &estimate);
                match decision.into_result() {
                    Ok(reservation) => self.open.push((reservation, estimate)),
                    Err(denied) => self.tell(denied),
                }
            }
            5..=7 => {
                if let Some((reservation, held)) = self.open.pop() {
                    let settlement = reservation.settle(&used.unwrap_or(held));
                    self.tell(settlement);
                }
            }
            8 => {
                if let Some((mut reservation, _)) = self.open.pop() {
                    if numbers.below(2) == 0 {
                        reservation.mark_dispatched();
                    }
                    drop(reservation);
                }
            }
            9 => {
                if let Some((reservation, held)) = self.open.last_mut() {
                    let answer = reservation.extend(&estimate);
                    if answer.is_ok() {
                        held.input_tokens += estimate.input_tokens;
                        held.requests += estimate.requests;
                        held.cost = nanos(held.cost.as_nanos() + estimate.cost.as_nanos());
                    }
                    self.tell(answer);
                }
            }
            10 if !exact => {
                let settlement = self.kit.engine.bump(&self.kit.route(&[owner]), &estimate);
                self.tell(settlement);
            }
            _ => self.kit.advance(Duration::from_millis(numbers.below(900))),
        }
    }

    /// Everything that can be read, and what happened since the last time.
    fn reading(&mut self) -> (Vec<String>, Vec<Event>) {
        let mut told = std::mem::take(&mut self.told);
        for limit in LIMITS {
            told.push(format!("{:?}", self.kit.engine.usage(&id(limit))));
        }
        (told, self.kit.happened())
    }
}

/// Every decision takes the way of the exact time, or most do: the answers, the counts and the
/// notices are those of a clock that says of `soon` what it says of `now`.
#[test]
fn a_clock_that_is_early_for_what_is_soon_decides_the_same() {
    let ahead: [fn(Timestamp) -> Timestamp; 3] = [
        |_| Timestamp::MAX,
        |_| instant("2200-01-01T00:00:00Z"),
        |now| now.saturating_add(Duration::from_millis(700)),
    ];
    for (n, soon) in ahead.into_iter().enumerate() {
        let (mut usual, mut early) = (history(None), history(Some(soon)));
        let mut numbers = [Numbers(0x9e37_79b9), Numbers(0x9e37_79b9)];
        for step in 0..2_500 {
            usual.step(&mut numbers[0], false);
            early.step(&mut numbers[1], false);
            assert_eq!(usual.reading(), early.reading(), "clock {n}, step {step}");
        }
        assert!(usual.kit.read("rate").generation > 30, "windows ended on the way");
    }
}

/// L1, L5: with a clock that is late for what is soon, by less and by more than a window, closed
/// totals and what stands is what was booked, nothing stays held, and no window passes its limit.
#[test]
fn a_clock_that_is_late_for_what_is_soon_counts_exactly_and_passes_no_limit() {
    let behind: [fn(Timestamp) -> Timestamp; 4] = [
        |now| Timestamp::from_nanos(now.as_nanos() - 1),
        |now| Timestamp::from_nanos(now.as_nanos() - 400_000_000),
        |now| Timestamp::from_nanos(now.as_nanos() - 7_000_000_000),
        |_| Timestamp::UNIX_EPOCH,
    ];
    for (n, soon) in behind.into_iter().enumerate() {
        let mut late = history(Some(soon));
        let mut numbers = Numbers(0x51f1_5eed + n as u64);
        let mut closed = Closed::new();
        let mut booked = Usage::default();
        for _ in 0..6_000 {
            late.step(&mut numbers, true);
            for limit in LIMITS {
                for counter in late.kit.engine.usage(&id(limit)).unwrap().counters {
                    assert!(counter.committed() <= counter.limit.unwrap(), "{limit} {counter:?}");
                }
            }
            late.reading();
        }
        // From here on the sums: every reservation that ends is settled as it was held.
        drop(std::mem::take(&mut late.open));
        late.kit.happened();
        let before: BTreeMap<_, _> = LIMITS.map(|limit| (limit, all(&late.kit, limit))).into();
        for _ in 0..3_000 {
            let usage = Usage { input_tokens: numbers.below(9), cost: nanos(3), ..tokens(0) };
            let route = late.kit.route(&["key:k"]);
            if let Ok(held) = late.kit.engine.reserve(&route, &usage).into_result() {
                late.kit.advance(Duration::from_millis(numbers.below(700)));
                let _ = held.settle(&usage);
                booked.input_tokens += usage.input_tokens;
                booked.requests += 1;
                booked.cost = nanos(booked.cost.as_nanos() + 3);
            }
            late.kit.advance(Duration::from_millis(numbers.below(300)));
            enter(late.kit.happened(), &mut closed);
        }
        // A window may still stand that is over by the exact time.
        late.kit.engine.reset_expired();
        enter(late.kit.happened(), &mut closed);
        for (limit, dimension, whole, limited) in [
            ("budget", Dimension::Money, booked.cost.as_nanos(), 60),
            ("prepaid", Dimension::Money, booked.cost.as_nanos(), 20_000),
            ("rate", Dimension::Tokens, booked.input_tokens, 50),
            ("rate", Dimension::Requests, booked.requests, 9),
            ("slow", Dimension::Tokens, booked.input_tokens, 900),
        ] {
            let place = usize::from(dimension == Dimension::Requests);
            let key = (limit.to_owned(), dimension);
            let counter = late.kit.counter(limit, dimension);
            let (totals, withdrawn) = closed.get(&key).cloned().unwrap_or_default();
            let counted = totals.iter().sum::<u64>() + counter.settled - withdrawn;
            assert_eq!(counted - before[limit][place], whole, "clock {n}, {limit} {dimension}");
            assert_eq!(counter.held, 0);
            assert!(totals.iter().all(|&total| total <= limited), "{limit} passed its limit");
        }
        assert_eq!(late.kit.counts("flight"), (0, 0));
        assert!(booked.requests > 200, "there was something to count: {booked:?}");
    }
}

/// The totals of windows that closed, and what was withdrawn from them: a request that held by the
/// late clock on one counter may end that window itself, at the next one of the same limit.
type Closed = BTreeMap<(String, Dimension), (Vec<u64>, u64)>;

fn enter(happened: Vec<Event>, closed: &mut Closed) {
    for event in happened {
        let of = closed.entry((event.limit.to_string(), event.dimension)).or_default();
        match event.what {
            EventKind::WindowClosed { total, .. } => of.0.push(total),
            EventKind::Withdrawn { amount } => of.1 += amount,
            _ => {}
        }
    }
}

/// What the counters of a limit have booked in the windows in which they stand, rolled or not.
fn all(kit: &Kit, limit: &str) -> [u64; 2] {
    kit.engine.reset_expired();
    kit.happened();
    let counters = kit.engine.usage(&id(limit)).unwrap().counters;
    [counters[0].settled, counters.get(1).map_or(0, |counter| counter.settled)]
}

/// Both counters of a limit are behind one gate: whichever window ends first, whoever comes to
/// either counter by the usual way finds out.
#[test]
fn the_window_of_either_counter_ends_for_both() {
    let early = |now: Timestamp| now.saturating_add(Duration::from_millis(1));
    for soon in [None, Some(early as fn(Timestamp) -> Timestamp)] {
        let scene = history(soon);
        for (first, second) in [("1m", "1h"), ("1h", "1m")] {
            let kit = &scene.kit;
            let rate = RateLimit::new().tokens(100, per(first)).requests(100, per(second));
            kit.limit("key:two", first, rate);
            let route = kit.route(&["key:two"]);
            let _ = kit.engine.bump(&route, &tokens(7));
            let held = kit.engine.reserve(&route, &tokens(3)).into_result().unwrap();
            let ends = |dimension| kit.counter(first, dimension).window.end;
            let end = ends(Dimension::Tokens).min(ends(Dimension::Requests));
            kit.clock.set(Timestamp::from_nanos(end.as_nanos() - 1));
            let _ = kit.engine.bump(&route, &tokens(1));
            assert!(kit.closed(first).is_empty(), "its last instant is in the window");
            kit.clock.set(end);
            let _ = kit.engine.bump(&route, &tokens(2));
            let of_tokens = first == "1m";
            assert_eq!(kit.closed(first), [if of_tokens { 11 } else { 3 }]);
            assert_eq!(kit.counts(first), if of_tokens { (2, 0) } else { (10, 3) });
            let requests = kit.counter(first, Dimension::Requests);
            let expected = if of_tokens { (3, 1) } else { (1, 0) };
            assert_eq!((requests.settled, requests.held), expected);
            held.void();
            kit.engine.remove_owner(&owner("key:two")).unwrap();
        }
    }
}

/// What a late clock means, and where it ends: at the first who needs the exact time.
#[test]
fn a_late_clock_books_in_the_window_that_ended_until_the_exact_time_is_needed() {
    let ten_behind = |now: Timestamp| Timestamp::from_nanos(now.as_nanos() - 10_000_000_000);
    let clock = ManualClock::new(instant(START));
    let told = Told { now: clock.clone(), soon: ten_behind };
    let engine = Engine::builder().clock(told).build();
    let events = engine.subscribe(100);
    let kit = Kit { engine, clock, events };
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    kit.bump(&["key:k"], &tokens(3));
    kit.advance(Duration::from_secs(65));
    kit.bump(&["key:k"], &tokens(4));
    assert_eq!(kit.counts("rate"), (0, 0), "who reads, reads the window of the exact time");
    assert!(kit.closed("rate").is_empty(), "it was booked in the first window");
    // 3 and 4 are booked there, so 5 do not fit: that is decided by the exact time.
    let held = kit.admit(&["key:k"], &tokens(5));
    assert_eq!(kit.closed("rate"), [7]);
    assert_eq!(kit.counts("rate"), (0, 5));
    kit.bump(&["key:k"], &tokens(1));
    assert!(!held.settle(&tokens(2)).is_late());
    assert_eq!(kit.counts("rate"), (3, 0));
}
