//! The process that is killed: it settles under load, says what is acknowledged, and does what it
//! is told on its standard input.

use std::io::{BufRead, Write, stderr, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, process, thread};

use tollkeeper::{Clock, Ledger, LedgerStore, OwnerId, Timestamp};

use crate::hand::Hand;
use crate::process::Child;
use crate::work::Work;
use crate::world::World;

/// Where a child finds what it is to do.
pub const JOB: &str = "TOLLKEEPER_CRASH_JOB";
/// What every line begins with that is for the parent.
pub const PREFIX: &str = "@ ";

/// What a child is to do. As a text, one word each.
#[derive(Clone, Debug)]
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
        let Job { work: Work { seed, shared }, round, first_thread, threads, now, place } = self;
        let now = now.as_nanos();
        let job = format!("{seed} {shared} {round} {first_thread} {threads} {now} {place}");
        Child::start("child::process", &job)
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

#[test]
#[ignore = "what the other tests start and kill"]
fn process() {
    let Ok(text) = env::var(JOB) else { return };
    let job = Job::parse(&text).expect("a job");
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
