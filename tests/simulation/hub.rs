//! What everything in a world shares: its time, its dice, its log, its auditor.
//!
//! The parts of a world call each other in the middle of calls (a store is called by a writer that
//! is turned by the world), so each thing here has a lock of its own, held for one step of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tollkeeper::{Clock, Timestamp};

use crate::auditor::Auditor;
use crate::dice::Dice;
use crate::log::Log;
use crate::swarm::Swarm;
use crate::tasks::{Due, Home, Timers, Work};
use crate::world::Event;

/// What was found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The invariant, such as `I1`.
    pub law: &'static str,
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

pub type Checked = Result<(), Breach>;

/// A breach of a law.
pub fn breach<T>(law: &'static str, what: impl Into<String>) -> Result<T, Breach> {
    Err(Breach { law, what: what.into() })
}

pub struct Hub {
    pub swarm: Swarm,
    now: AtomicU64,
    calm: AtomicBool,
    /// Until when the store is out altogether.
    out_until: AtomicU64,
    pub dice: Mutex<Dice>,
    log: Mutex<Log>,
    auditor: Mutex<Auditor>,
    timers: Mutex<Timers<Event>>,
    spawned: Mutex<Vec<(Home, String, Work)>>,
    breach: Mutex<Option<Breach>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under it")
}

impl Hub {
    pub fn new(swarm: Swarm, dice: Dice, aloud: bool) -> Arc<Hub> {
        Arc::new(Hub {
            auditor: Mutex::new(Auditor::new(&swarm)),
            swarm,
            // Some seconds before midnight, so that days end.
            now: AtomicU64::new(86_390_000_000_000),
            calm: AtomicBool::new(false),
            out_until: AtomicU64::new(0),
            dice: Mutex::new(dice),
            log: Mutex::new(Log::new(aloud)),
            timers: Mutex::new(Timers::new()),
            spawned: Mutex::default(),
            breach: Mutex::default(),
        })
    }

    pub fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Time goes on to this instant, if it has not been reached.
    pub fn until(&self, to: u64) {
        self.now.fetch_max(to, Ordering::SeqCst);
    }

    /// Time that somebody spends in the middle of a call.
    pub fn spend(&self, nanos: u64) {
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }

    /// No more faults from here on.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// The store is out for so long.
    pub fn goes_out(&self, nanos: u64) {
        self.out_until.store(self.now() + nanos, Ordering::SeqCst);
    }

    pub fn is_out(&self) -> bool {
        !self.is_calm() && self.now() < self.out_until.load(Ordering::SeqCst)
    }

    /// Whether a fault of this rate happens now.
    pub fn fault(&self, per_mille: u64) -> bool {
        !self.is_calm() && self.chance(per_mille)
    }

    pub fn chance(&self, per_mille: u64) -> bool {
        lock(&self.dice).chance(per_mille)
    }

    pub fn range(&self, from: u64, to: u64) -> u64 {
        lock(&self.dice).range(from, to)
    }

    pub fn pick<T: Clone>(&self, from: &[T]) -> T {
        lock(&self.dice).pick(from).clone()
    }

    pub fn say(&self, what: impl AsRef<str>) {
        lock(&self.log).line(self.now(), what.as_ref());
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Asks the auditor. What it objects to ends the world.
    pub fn audit<T: Default>(&self, ask: impl FnOnce(&mut Auditor) -> Result<T, Breach>) -> T {
        let answer = ask(&mut lock(&self.auditor));
        answer.unwrap_or_else(|breach| {
            self.object(breach);
            T::default()
        })
    }

    pub fn object(&self, breach: Breach) {
        self.say(format!("BREACH {breach}"));
        lock(&self.breach).get_or_insert(breach);
    }

    pub fn breach(&self) -> Option<Breach> {
        lock(&self.breach).clone()
    }

    pub fn at(&self, time: u64, event: Event) {
        lock(&self.timers).at(time, Due::Event(event));
    }

    pub fn due(&self, time: u64, due: Due<Event>) {
        lock(&self.timers).at(time, due);
    }

    pub fn after(&self, nanos: u64, event: Event) {
        self.at(self.now() + nanos, event);
    }

    pub fn next_due(&self) -> Option<(u64, Due<Event>)> {
        lock(&self.timers).pop()
    }

    pub fn spawn(&self, home: Home, name: String, work: Work) {
        lock(&self.spawned).push((home, name, work));
    }

    pub fn take_spawned(&self) -> Vec<(Home, String, Work)> {
        std::mem::take(&mut lock(&self.spawned))
    }

    /// Waits so long.
    pub fn sleep(self: &Arc<Self>, nanos: u64) -> Sleep {
        Sleep { until: self.now() + nanos, hub: Arc::clone(self) }
    }
}

/// A wait in virtual time.
pub struct Sleep {
    hub: Arc<Hub>,
    pub until: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.hub.now() >= self.until {
            return Poll::Ready(());
        }
        lock(&self.hub.timers).at(self.until, Due::Wake(context.waker().clone()));
        Poll::Pending
    }
}

/// The clock of a node: the world's time, and how far it is off.
#[derive(Clone)]
pub struct NodeClock {
    hub: Arc<Hub>,
    off: Arc<AtomicI64>,
}

impl NodeClock {
    pub fn new(hub: &Arc<Hub>, off: i64) -> NodeClock {
        NodeClock { hub: Arc::clone(hub), off: Arc::new(AtomicI64::new(off)) }
    }

    pub fn step(&self, by: i64) {
        self.off.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let off = self.off.load(Ordering::SeqCst);
        Timestamp::from_nanos(self.hub.now().saturating_add_signed(off))
    }

    fn soon(&self) -> Timestamp {
        Timestamp::from_nanos(self.now().as_nanos() + self.hub.swarm.soon)
    }
}
