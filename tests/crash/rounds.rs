//! Rounds on one store: a child settles, is killed, and what is there is checked.

use std::env;
use std::fmt::Debug;
use std::io::Write;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollkeeper::Timestamp;

use crate::check::{self, Failures, Used};
use crate::child::{Job, open};
use crate::draw::Draw;
use crate::history::{History, Told};
use crate::place::{CHILD, PARENT, Place};
use crate::process::Child;
use crate::work::Work;
use crate::world::resettable;

pub const START: &str = "2026-03-01T00:00:00Z";

/// The rounds of one test.
pub struct Run {
    what: &'static str,
    pub work: Work,
    rounds: u64,
    pub round: u64,
    acknowledged: usize,
    records: usize,
}

impl Run {
    pub fn new(what: &'static str, rounds: u64) -> Run {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let seed = asked("TOLLKEEPER_CRASH_SEED").unwrap_or(u64::from(now.subsec_nanos()));
        println!("{what}: seed {seed}");
        Run {
            what,
            work: Work { seed, shared: false },
            rounds: asked("TOLLKEEPER_CRASH_ROUNDS").unwrap_or(rounds),
            round: 0,
            acknowledged: 0,
            records: 0,
        }
    }

    pub fn goes_on(&self) -> bool {
        self.round < self.rounds
    }

    /// What is drawn in this round.
    pub fn draw(&self) -> Draw {
        Draw::of(&[self.work.seed, self.round])
    }

    pub fn check(&self, failures: Failures) {
        let Run { what, work, round, .. } = self;
        let some: Vec<_> = failures.iter().take(10).map(String::as_str).collect();
        assert!(
            failures.is_empty(),
            "{what}, seed {}, round {round}: {} failures:\n{}",
            work.seed,
            failures.len(),
            some.join("\n")
        );
    }

    pub fn count(&mut self, acknowledged: usize, records: usize) {
        self.acknowledged += acknowledged;
        self.records += records;
        self.round += 1;
    }

    pub fn report(&self) {
        let Run { what, work: Work { seed, .. }, round, acknowledged, records, .. } = self;
        // Past the capture of the tests: what was tried is worth knowing when it held, too.
        let told = writeln!(
            std::io::stderr(),
            "{what}: rounds: {round}, acknowledged: {acknowledged}, records: {records}, \
             seed: {seed}"
        );
        told.expect("stderr");
        assert!(*acknowledged > 0 && records >= acknowledged, "{what}: nothing was settled");
    }
}

fn asked<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name).ok().map(|value| value.parse().expect(name))
}

/// The rounds on one store.
pub struct Rounds<'a> {
    place: &'a dyn Place,
    work: Work,
    now: Timestamp,
    pub told: Told,
    records: usize,
}

impl<'a> Rounds<'a> {
    pub fn new(place: &'a dyn Place, work: Work) -> Rounds<'a> {
        let now = START.parse().expect("an instant");
        Rounds { place, work, now, told: Told::default(), records: 0 }
    }

    pub fn job(&self, run: &Run) -> Job {
        Job {
            work: self.work,
            round: run.round,
            first_thread: 0,
            threads: 4,
            now: self.now,
            place: self.place.of(CHILD),
        }
    }

    /// A child is killed at a moment that is drawn.
    pub fn killed(&mut self, run: &mut Run) {
        let mut draw = run.draw();
        let mut child = self.job(run).start();
        let mut memory = None;
        match draw.within(0..10) {
            // While it begins.
            0 => {
                child.tell("go");
                sleep(Duration::from_micros(draw.within(0..40_000)));
            }
            // When all is quiet: then it is known what it had in memory.
            1 => {
                child.go();
                sleep(Duration::from_micros(draw.within(5_000..30_000)));
                quiet(&mut child);
                // The last thing that happens to a limit.
                child.ask(&format!("reset {}", resettable(draw.next() % 100)), "was reset");
                memory = Some(quiet(&mut child));
            }
            _ => {
                child.go();
                sleep(Duration::from_micros(draw.within(0..60_000)));
            }
        }
        child.kill();
        self.look(run, &child, memory);
    }

    /// Checks what is there, and what a process begins with.
    pub fn look(&mut self, run: &mut Run, child: &Child, memory: Option<(Timestamp, Used)>) {
        let before = self.told.written.len();
        self.place.outlast(CHILD);
        let said = self.told.take(run.round, &child.said);
        let store = open(&self.place.of(PARENT));
        let history = History::read(self.place, &*store);
        let mut failures = check::all(self.work, &history, &self.told);
        failures.extend(said);
        self.now = self.now.max(history.latest());
        if let Some((at, _)) = memory {
            self.now = self.now.max(at);
        }
        let (restored, wrong) = check::restored(store, &history, self.now);
        failures.extend(wrong);
        for (counter, had) in memory.iter().flat_map(|(_, used)| used) {
            // Of an owner that was never charged nothing is known.
            let begins = restored.get(counter).copied().unwrap_or(0);
            if begins != *had {
                failures.push(format!("{counter:?}: it had {had}, the next has {begins}"));
            }
        }
        let read = place_after(&history, self.place);
        failures.extend(read);
        run.check(failures);
        let records = history.records.len();
        run.count(self.told.written.len() - before, records - self.records);
        self.records = records;
        let mut draw = Draw::of(&[self.work.seed, run.round, 1]);
        let later = match draw.within(0..20) {
            0..14 => draw.within(0..50_000_000),
            14..18 => draw.within(0..4_000_000_000),
            18 => 3_600_000_000_000,
            _ => 86_400_000_000_000,
        };
        self.now = self.now.saturating_add(Duration::from_nanos(later));
    }
}

/// To look changes nothing.
fn place_after(history: &History, place: &dyn Place) -> Failures {
    let after = place.raw();
    let same = after.totals == history.raw.totals && after.records == history.raw.records;
    if same { Failures::new() } else { vec!["to begin with a store has changed it".to_owned()] }
}

/// Stops the load of a child, and asks what it has in memory when all is written.
pub fn quiet(child: &mut Child) -> (Timestamp, Used) {
    let now = child.ask("stop", "done").parse().expect("an instant");
    (Timestamp::from_nanos(now), usage(child))
}

pub fn usage(child: &mut Child) -> Used {
    let before = child.said.len();
    child.ask("usage", "used");
    let counters = child.said[before..].iter().filter_map(|line| line.strip_prefix("usage "));
    let parsed = counters.map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [limit, dimension, settled] = words[..] else { panic!("{line}") };
        ((limit.to_owned(), dimension.to_owned()), settled.parse().expect("an amount"))
    });
    parsed.collect()
}
