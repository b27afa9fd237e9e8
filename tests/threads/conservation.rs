//! What was booked is somewhere, and once: checked at barriers, while everything changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use tollkeeper::{
    Budget, Concurrency, Dimension, Event, EventKind, RateLimit, Reservation, ResetOutcome, Route,
    Usage,
};

use crate::kit::*;
use crate::{Numbers, on_threads};

const WORKERS: usize = 4;
const ROUNDS: usize = 40;
const STEPS: usize = 300;
/// At most so many a round and thread, so that the queue of events is long enough.
const DISTURBANCES: usize = 1_500;

/// Amounts by money, tokens, requests.
type Sum = [i128; 3];

fn sum(usage: &Usage) -> Sum {
    let tokens = u128::from(usage.input_tokens) + u128::from(usage.output_tokens);
    let tokens = i128::try_from(tokens).unwrap();
    [usage.cost.as_nanos().into(), tokens, usage.requests.into()]
}

fn add(to: &mut Sum, what: Sum) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += what);
}

fn plus(a: &Usage, b: &Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens + b.input_tokens,
        output_tokens: a.output_tokens + b.output_tokens,
        requests: a.requests + b.requests,
        cost: a.cost.checked_add(b.cost).unwrap(),
        ..Usage::default()
    }
}

/// What events say about each counter.
#[derive(Default)]
struct Books {
    closed: BTreeMap<(String, Dimension), BTreeMap<u64, u64>>,
    withdrawn: BTreeMap<(String, Dimension), u64>,
    uncertain: Sum,
    notices: BTreeMap<(String, Dimension, u64, u8), u32>,
    wrong: Vec<String>,
}

impl Books {
    fn enter(&mut self, event: &Event) {
        let key = (event.limit.to_string(), event.dimension);
        match event.what {
            EventKind::WindowClosed { total, .. } => {
                let of = self.closed.entry(key).or_default();
                if of.insert(event.generation, total).is_some() {
                    self.wrong.push(format!("closed twice: {event:?}"));
                }
            }
            EventKind::Withdrawn { amount } => *self.withdrawn.entry(key).or_default() += amount,
            EventKind::Uncertain { amount } if event.limit == id("org") => {
                let place = usize::from(event.dimension != Dimension::Tokens);
                self.uncertain[1 + place] += i128::from(amount);
            }
            EventKind::Threshold { percent, .. } => {
                *self.notices.entry((key.0, key.1, event.generation, percent)).or_default() += 1;
            }
            EventKind::Exhausted { .. } => {
                *self.notices.entry((key.0, key.1, event.generation, 0)).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Everything that a counter ever counted and still does.
    fn all_of(&self, kit: &Kit, limit: &str, dimension: Dimension) -> i128 {
        let counter = kit.counter(limit, dimension);
        let key = (limit.to_owned(), dimension);
        let closed = self.closed.get(&key).map_or(0, |closed| closed.values().sum());
        let withdrawn = self.withdrawn.get(&key).copied().unwrap_or(0);
        i128::from(counter.committed()) + i128::from(closed) - i128::from(withdrawn)
    }

    /// Each window but the one in force has closed, once.
    fn check_windows(&mut self, kit: &Kit) {
        for ((limit, dimension), closed) in &self.closed {
            let last = kit.counter(limit, *dimension).generation;
            let count = closed.len() as u64;
            let gapless = closed.keys().copied().eq(0..count);
            if !gapless || count != last {
                self.wrong.push(format!("{limit} {dimension}: {count} of {last} windows closed"));
            }
        }
    }
}

/// One thread's requests: what it booked, and what it holds.
struct Worker<'a> {
    kit: &'a Kit,
    route: Route,
    numbers: Numbers,
    open: Vec<(Reservation, Usage)>,
    booked: Sum,
    uncertain: Sum,
}

impl Worker<'_> {
    fn usage(&mut self) -> Usage {
        Usage {
            input_tokens: self.numbers.below(40),
            output_tokens: self.numbers.below(40),
            requests: 1,
            cost: nanos(self.numbers.below(60)),
            ..Usage::default()
        }
    }

    /// One step. A request never uses less than it held, so that what it comes to does not depend
    /// on which windows ended meanwhile; refunds have a test of their own.
    fn step(&mut self) {
        match self.numbers.below(10) {
            0..=3 => {
                let usage = self.usage();
                if let Ok(reservation) = self.kit.engine.reserve(&self.route, &usage).into_result()
                {
                    self.open.push((reservation, usage));
                }
            }
            4 => {
                let mut more = self.usage();
                more.requests = 0;
                if let Some((reservation, held)) = self.open.last_mut()
                    && reservation.extend(&more).is_ok()
                {
                    *held = plus(held, &more);
                }
            }
            5 => {
                if let Some((mut reservation, held)) = self.open.pop() {
                    reservation.mark_dispatched();
                    drop(reservation);
                    add(&mut self.booked, sum(&held));
                    add(&mut self.uncertain, sum(&held));
                }
            }
            6 => {
                let usage = self.usage();
                let _ = self.kit.engine.bump(&self.route, &usage);
                add(&mut self.booked, sum(&usage));
            }
            _ => {
                let more = self.usage();
                if !self.open.is_empty() {
                    let place = self.numbers.below(self.open.len() as u64) as usize;
                    let (reservation, held) = self.open.swap_remove(place);
                    let used = plus(&held, &Usage { requests: 0, ..more });
                    let _ = reservation.settle(&used);
                    add(&mut self.booked, sum(&used));
                }
            }
        }
    }

    /// What was booked, and what is held: all of it is somewhere.
    fn all(&self) -> Sum {
        let mut all = self.booked;
        self.open.iter().for_each(|(_, held)| add(&mut all, sum(held)));
        all
    }
}

/// The world of the test: two keys, of which one moves between two teams, under one organisation.
fn world() -> Kit {
    let kit = kit().with_room(100_000);
    kit.owner("org:o", &[]);
    let rate = RateLimit::new().tokens(4_000, per("1s")).requests(None, per("1m"));
    kit.limit("org:o", "org", rate.thresholds(&[50, 80]));
    kit.limit("org:o", "flight", Concurrency::new(60));
    for team in ["a", "b"] {
        kit.owner(&format!("team:{team}"), &["org:o"]);
        kit.limit(&format!("team:{team}"), team, Budget::new(nanos(3_000), per("2s")));
    }
    for key in ["moves", "stays"] {
        kit.owner(&format!("key:{key}"), &["team:a"]);
        let rate = RateLimit::new().tokens(None, per("3s")).requests(500, per("500ms"));
        kit.limit(&format!("key:{key}"), key, rate);
        kit.limit(&format!("key:{key}"), &format!("{key} money"), Budget::uncapped(per("1s")));
    }
    kit
}

/// What operators and time do, one thread of them.
fn disturb(kit: &Kit, numbers: &mut Numbers, wins: &Mutex<Vec<(String, Dimension, u64, u64)>>) {
    match numbers.below(12) {
        0..=2 => kit.advance(Duration::from_millis(numbers.below(400))),
        3 => drop(kit.engine.reset_expired()),
        4 => {
            let limit = ["org", "a", "b", "moves"][numbers.below(4) as usize];
            for outcome in kit.engine.reset(&id(limit), None).unwrap() {
                if let ResetOutcome::Reset { dimension, total, generation, .. } = outcome {
                    let won = (limit.to_owned(), dimension, generation - 1, total);
                    wins.lock().unwrap().push(won);
                }
            }
        }
        5 => {
            let period = ["1s", "2s", "1m", "1d@UTC", "1M"][numbers.below(5) as usize];
            let limit = 1_000 + numbers.below(5_000);
            kit.limit("team:b", "b", Budget::new(nanos(limit), per(period)).thresholds(&[70]));
        }
        6 => {
            let rate = RateLimit::new()
                .tokens(2_000 + numbers.below(4_000), per("1s"))
                .requests(None, per("1m"));
            kit.limit("org:o", "org", rate.thresholds(&[80, 90]));
        }
        7 | 8 => {
            let team = ["team:a", "team:b"][numbers.below(2) as usize];
            kit.owner("key:moves", &[team]);
        }
        9 => drop(kit.engine.export()),
        10 => {
            let (dimension, lasts) = (Dimension::Money, tollkeeper::Lasts::UntilCleared);
            let instead = numbers.below(6_000);
            kit.engine.override_limit(&id("a"), dimension, instead, lasts).unwrap();
        }
        _ => kit.engine.clear_override(&id("a"), Dimension::Money).unwrap(),
    }
}

/// L1, L2, L6, L9: at every barrier, what is settled, held and closed, less what was withdrawn, is
/// exactly what was booked and is held, on every counter; and in the end nothing is held.
#[test]
fn everything_booked_is_in_exactly_one_window_while_everything_changes() {
    let (kit, wins) = (world(), Mutex::new(Vec::new()));
    let books = Mutex::new(Books::default());
    let published = Mutex::new(BTreeMap::<usize, (Sum, Sum)>::new());
    let (barrier, working) = (Barrier::new(WORKERS + 3), AtomicUsize::new(WORKERS));
    on_threads(WORKERS + 3, |n| {
        let key = if n % 2 == 0 { "key:moves" } else { "key:stays" };
        let (route, numbers) = (kit.route(&[key]), Numbers::new(n));
        let (open, booked, uncertain) = (Vec::new(), [0; 3], [0; 3]);
        let mut worker = Worker { kit: &kit, route, numbers, open, booked, uncertain };
        for round in 0..ROUNDS {
            if n < WORKERS {
                (0..STEPS).for_each(|_| worker.step());
                working.fetch_sub(1, Ordering::AcqRel);
            } else {
                // As long as anybody works there is something to disturb.
                for _ in 0..DISTURBANCES {
                    if working.load(Ordering::Acquire) == 0 {
                        break;
                    }
                    disturb(&kit, &mut worker.numbers, &wins);
                }
            }
            if round == ROUNDS - 1 {
                for (reservation, held) in std::mem::take(&mut worker.open) {
                    let _ = reservation.settle(&held);
                    add(&mut worker.booked, sum(&held));
                }
            }
            published.lock().unwrap().insert(n, (worker.all(), worker.uncertain));
            if barrier.wait().is_leader() {
                check(&kit, &mut books.lock().unwrap(), &published.lock().unwrap());
                working.store(WORKERS, Ordering::Release);
            }
            barrier.wait();
        }
    });
    let books = books.into_inner().unwrap();
    assert_eq!(books.wrong, [""; 0]);
    assert_eq!(kit.events.missed(), 0, "the books are complete");
    let twice: Vec<_> = books.notices.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(twice, [], "notices that went out twice in a window");
    for (limit, dimension, generation, total) in wins.into_inner().unwrap() {
        let closed = books.closed[&(limit.clone(), dimension)][&generation];
        assert_eq!(closed, total, "what the winner was told: {limit} {dimension} {generation}");
    }
    assert!(!books.notices.is_empty() && books.closed.len() == 10, "it was no idle time");
    for usage in kit.engine.usage_all() {
        assert!(usage.counters.iter().all(|counter| counter.held == 0), "{usage:?}");
    }
}

/// The check at a barrier. Only one thread runs.
fn check(kit: &Kit, books: &mut Books, published: &BTreeMap<usize, (Sum, Sum)>) {
    // A window that is over and that nobody came to yet reads as the empty one after it.
    kit.engine.reset_expired();
    for event in kit.events.drain() {
        books.enter(&event);
    }
    let mut of_key = [[0; 3]; 2];
    let mut uncertain = [0; 3];
    for (n, (all, dropped)) in published {
        add(&mut of_key[n % 2], *all);
        add(&mut uncertain, *dropped);
    }
    let mut everything = of_key[0];
    add(&mut everything, of_key[1]);
    let of = |limit, dimension| books.all_of(kit, limit, dimension);
    let (money, tokens, requests) = (Dimension::Money, Dimension::Tokens, Dimension::Requests);
    let found = [
        ("moves", [of("moves money", money), of("moves", tokens), of("moves", requests)]),
        ("stays", [of("stays money", money), of("stays", tokens), of("stays", requests)]),
        ("org", [of("a", money) + of("b", money), of("org", tokens), of("org", requests)]),
    ];
    for ((name, found), expected) in found.into_iter().zip([of_key[0], of_key[1], everything]) {
        if found != expected {
            books.wrong.push(format!("{name}: {found:?} counted of {expected:?}"));
        }
    }
    if books.uncertain[1..] != uncertain[1..] {
        books.wrong.push(format!("{:?} uncertain of {uncertain:?}", books.uncertain));
    }
    books.check_windows(kit);
}

/// L1 and L8 with refunds: on one counter a settlement says whether it was late, and with that what
/// it came to is known to the unit.
#[test]
fn refunds_are_exact_while_windows_end_under_them() {
    let kit = kit();
    kit.limit("key:k", "budget", Budget::new(nanos(2_000), per("1s")));
    let (barrier, working) = (Barrier::new(WORKERS + 1), AtomicUsize::new(WORKERS));
    let booked: i128 = on_threads(WORKERS + 1, |n| {
        let (mut numbers, mut booked) = (Numbers::new(n), 0_i128);
        let route = kit.route(&["key:k"]);
        let mut open: Vec<(Reservation, u64)> = Vec::new();
        barrier.wait();
        if n == 0 {
            // As long as anybody works; at most so far that the queue of events is long enough.
            for _ in 0..100_000 {
                if working.load(Ordering::Acquire) == 0 {
                    break;
                }
                kit.advance(Duration::from_millis(numbers.below(20)));
                std::thread::yield_now();
            }
        }
        let steps = if n == 0 { 0 } else { 4_000 };
        for _ in 0..steps {
            let amount = numbers.below(100);
            if numbers.below(2) == 0 {
                let reserved = kit.engine.reserve(&route, &cost(amount)).into_result();
                open.extend(reserved.map(|reservation| (reservation, amount)));
            } else if let Some((reservation, held)) = open.pop() {
                let late = reservation.settle(&cost(amount)).is_late();
                booked += i128::from(if late { amount.max(held) } else { amount });
            }
        }
        for (reservation, held) in open {
            let late = reservation.settle(&nothing()).is_late();
            booked += i128::from(if late { held } else { 0 });
        }
        if n > 0 {
            working.fetch_sub(1, Ordering::AcqRel);
        }
        booked
    })
    .into_iter()
    .sum();
    // The last window may be over, with nobody having come to it.
    kit.engine.reset_expired();
    assert_eq!(kit.events.missed(), 0);
    let closed: u64 = kit.closed("budget").iter().sum();
    let (settled, held) = kit.counts("budget");
    assert_eq!((i128::from(closed + settled), held), (booked, 0));
}
