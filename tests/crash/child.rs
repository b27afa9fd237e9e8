//! The process that is killed: it settles under load, says what is acknowledged, and does what it
//! is told on its standard input.

use std::io::{BufRead, Write, stderr, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, process, thread};

use tollkeeper::{Clock, Ledger, LedgerStore, LimitId, OwnerId, ResetOutcome, Settling, Timestamp};

use crate::hand::Hand;
use crate::keys;
use crate::process::Child;
use crate::work::{Mark, Work};
use crate::world::{World, limit, owner};

/// The test that is a child where it is told to be.
pub const ENTRY: &str = "child::a_child_understands_what_it_is_told";
/// Where a child finds what it is to do.
pub const JOB: &str = "TOLLKEEPER_CRASH_JOB";
/// What every line begins with that is for the parent.
pub const PREFIX: &str = "@ ";

/// What a child is to do. As a text, one word each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub work: Work,
    pub round: u64,
    /// The numbers of its threads begin here.
    pub first_thread: u64,
    pub threads: u64,
    pub now: Timestamp,
    /// `sqlite:` and a path, or a URL.
    pub place: String,
}

impl Job {
    /// Starts a child that does it.
    pub fn start(&self) -> Child {
        Child::start(&self.to_text())
    }

    fn to_text(&self) -> String {
        let Job { work: Work { seed, shared }, round, first_thread, threads, now, place } = self;
        let now = now.as_nanos();
        format!("{seed} {shared} {round} {first_thread} {threads} {now} {place}")
    }

    fn parse(text: &str) -> Option<Job> {
        let mut words = text.splitn(7, ' ');
        let mut word = || words.next();
        Some(Job {
            work: Work { seed: word()?.parse().ok()?, shared: word()?.parse().ok()? },
            round: word()?.parse().ok()?,
            first_thread: word()?.parse().ok()?,
            threads: word()?.parse().ok()?,
            now: Timestamp::from_nanos(word()?.parse().ok()?),
            place: word()?.to_owned(),
        })
    }
}

/// What the threads of a child share.
pub struct Crew {
    pub job: Job,
    pub ledger: Ledger,
    pub world: World,
    pub stopped: AtomicBool,
    /// The owner that is there at the moment, of those that come and go.
    pub passing: Mutex<Option<OwnerId>>,
    /// Resets are one after the other, each at an instant of its own.
    pub resetting: Mutex<()>,
}

/// Tells the parent, in one write.
pub fn say(line: &str) {
    let line = format!("{PREFIX}{line}\n");
    // If there is no parent any more, there is nobody to tell.
    if stderr().lock().write_all(line.as_bytes()).is_err() {
        process::exit(1);
    }
}

/// Opens the store of a place.
pub fn open(place: &str) -> Arc<dyn LedgerStore> {
    match place.strip_prefix("sqlite:") {
        #[cfg(feature = "sqlite")]
        Some(path) => Arc::new(tollkeeper::Sqlite::open(path).expect("the file can be opened")),
        #[cfg(not(feature = "sqlite"))]
        Some(path) => panic!("{path}: without the feature sqlite"),
        #[cfg(feature = "postgres")]
        None => Arc::new(tollkeeper::Postgres::connect(place).expect("a database")),
        #[cfg(not(feature = "postgres"))]
        None => panic!("{place}: without the feature postgres"),
    }
}

/// The tests start this one again with something to do. Where nothing is, it holds what is told
/// to children to what they understand.
#[test]
fn a_child_understands_what_it_is_told() {
    if let Ok(told) = env::var(JOB) {
        match told.strip_prefix("keys ") {
            Some(told) => keys::process(told),
            None => process(Job::parse(&told).expect("a job")),
        }
    }
    let work = Work { seed: 1 << 60, shared: true };
    let now = Timestamp::from_nanos(u64::MAX - 1);
    let place = "sqlite:/a path/with words".to_owned();
    let job = Job { work, round: 2, first_thread: 3, threads: 4, now, place };
    assert_eq!(Job::parse(&job.to_text()), Some(job));
    let passing = Some(owner("key:p1-2"));
    let mark = Mark { round: 1, thread: 2, number: 3, passing };
    assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
}

fn process(job: Job) -> ! {
    let store = open(&job.place);
    let world = World::at(job.now);
    let ledger = Ledger::builder(&world.engine).start(store).expect("a ledger");
    let crew = Arc::new(Crew {
        job,
        ledger,
        world,
        stopped: AtomicBool::new(false),
        passing: Mutex::new(None),
        resetting: Mutex::new(()),
    });
    say("ready");
    let mut hands = Vec::new();
    for line in stdin().lock().lines() {
        let line = line.expect("what the parent says");
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("go", _) => hands.extend((0..crew.job.threads).map(|thread| {
                let crew = Arc::clone(&crew);
                thread::spawn(move || Hand::new(&crew, crew.job.first_thread + thread).run())
            })),
            ("stop", _) => {
                // Relaxed: the threads see it soon enough.
                crew.stopped.store(true, Ordering::Relaxed);
                for hand in hands.drain(..) {
                    let (thread, steps) =
                        hand.join().expect("a thread settles until it is stopped");
                    say(&format!("steps {thread} {steps}"));
                }
                while crew.ledger.health().queued > 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                say(&format!("done {}", crew.world.clock.now().as_nanos()));
            }
            ("at", nanos) => {
                crew.world.clock.set(Timestamp::from_nanos(nanos.parse().expect("an instant")));
                say("set");
            }
            ("usage", _) => usage(&crew),
            ("reset", name) => {
                reset(&crew, &limit(name));
                say("was reset");
            }
            ("reconcile", _) => reconcile(&crew),
            ("close", _) => {
                let closed = crew.ledger.close(Duration::from_secs(30));
                say(&format!("closed {}", closed.is_clean()));
                break;
            }
            _ => panic!("what the parent says: {line}"),
        }
    }
    // The parent is gone, or wants it to go.
    process::exit(0);
}

/// Ends the windows of a limit, and waits until that is written.
fn reset(crew: &Crew, limit: &LimitId) {
    let (begun, settling) = begin(crew, limit);
    settling.wait().expect("it is written");
    begun.iter().for_each(|begun| say(begun));
}

/// Ends the windows of a limit: those that begin, as they are told to the parent once that is
/// written.
pub fn begin(crew: &Crew, limit: &LimitId) -> (Vec<String>, Settling) {
    let _one_at_a_time = crew.resetting.lock().expect("no panic");
    crew.world.clock.advance(Duration::from_nanos(1_000_003));
    let (outcomes, settling) = crew.ledger.reset(limit, None).expect("it has windows");
    let begun = outcomes.iter().filter_map(|outcome| match outcome {
        ResetOutcome::Reset { dimension, window, .. } => {
            Some(format!("reset {limit} {dimension:?} {}", window.start.as_nanos()))
        }
        _ => None,
    });
    (begun.collect(), settling)
}

fn usage(crew: &Crew) {
    for usage in crew.world.engine.usage_all() {
        for counter in usage.counters {
            let (limit, dimension) = (&usage.limit, counter.dimension);
            assert_eq!(counter.held, 0, "{limit} {dimension:?} holds when all has ended");
            say(&format!("usage {limit} {dimension:?} {}", counter.settled));
        }
    }
    say("used");
}

fn reconcile(crew: &Crew) {
    let found = crew.ledger.reconcile().expect("the store answers");
    let (quiet, drifts) = (found.quiet, found.drifts.len());
    let repaired = found.drifts.iter().filter(|drift| drift.repaired != 0).count();
    say(&format!("reconciled quiet={quiet} drifts={drifts} repaired={repaired}"));
}
