//! Measuring sides against each other: in turns, in short batches, over many rounds.
//!
//! A round is one batch of each side, one after the other, each a few milliseconds. What slows the
//! machine for longer than a round slows all sides of it; what slows it for less is in a few of the
//! batches, which the medians over the rounds pass over. A batch in which a thread had to wait for
//! a core, because others were running, is done again where the system tells (on Linux); and while
//! there are too few of the others, there are more rounds, for up to twice the time.

use crate::gate::Gate;
use crate::progress::Progress;
use crate::side::{Batches, Series, Side};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a batch is, and how many rounds there are.
#[derive(Clone, Copy)]
pub struct Pace {
    pub batch: Duration,
    pub rounds: usize,
}

/// A batch is disturbed when a thread waited for a core, or began after another, for longer than
/// one part in so many of it.
const PART: u32 = 50;
/// So often a batch is tried in a round, until one is quiet.
const TRIES: usize = 2;
/// So many rounds there are, however long they take.
const LEAST: usize = 10;

/// Measures all sides in turns, each on so many threads at once.
pub fn measure(sides: &[Side], threads: usize, pace: Pace, progress: &Progress) -> Vec<Series> {
    let crew = &Crew::new(sides, threads);
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            crew.seat(0);
            let series = crew.lead(pace, progress);
            crew.dismiss();
            series
        });
        for thread in 1..threads {
            scope.spawn(move || {
                crew.seat(thread);
                crew.follow(thread);
            });
        }
        leader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The threads that work, all at once, at what the first of them says.
struct Crew<'a> {
    sides: &'a [Side<'a>],
    threads: usize,
    order: Order,
    gate: Gate,
    /// What each thread did of the last batch.
    parts: Vec<Mutex<Part>>,
    refused: AtomicBool,
}

/// What threads did of a batch: when the first and the last of them began, when the last ended, and
/// how long one waited for a core meanwhile.
#[derive(Clone, Copy)]
struct Part {
    began: Instant,
    all_began: Instant,
    ended: Instant,
    waited: Duration,
}

impl Part {
    fn and(self, other: Part) -> Part {
        Part {
            began: self.began.min(other.began),
            all_began: self.all_began.max(other.all_began),
            ended: self.ended.max(other.ended),
            waited: self.waited.max(other.waited),
        }
    }

    fn took(&self) -> Duration {
        self.ended - self.began
    }

    fn is_quiet(&self) -> bool {
        self.waited.max(self.all_began - self.began) <= self.took() / PART
    }
}

/// Which twin of which side is to work, and how often. No side at all ends the work.
#[derive(Default)]
struct Order {
    side: AtomicUsize,
    twin: AtomicUsize,
    times: AtomicU64,
}

impl<'a> Crew<'a> {
    fn new(sides: &'a [Side<'a>], threads: usize) -> Self {
        let now = Instant::now();
        let part = Part { began: now, all_began: now, ended: now, waited: Duration::ZERO };
        Self {
            sides,
            threads,
            order: Order::default(),
            gate: Gate::default(),
            parts: (0..threads).map(|_| Mutex::new(part)).collect(),
            refused: AtomicBool::new(false),
        }
    }

    /// Keeps a thread on a core of its own, where the system lets it: else two may share one for as
    /// long as a measurement takes, while another core has nothing to do. One alone goes where it
    /// is let.
    fn seat(&self, thread: usize) {
        if self.threads > 1 {
            let core = core_affinity::get_core_ids().and_then(|cores| cores.get(thread).copied());
            core.map(core_affinity::set_for_current);
        }
    }

    fn lead(&self, pace: Pace, progress: &Progress) -> Vec<Series> {
        progress.begin(pace.rounds);
        let before: Vec<_> = self.sides.iter().map(Side::counted).collect();
        let mut done: Vec<_> = self.sides.iter().map(|side| vec![0; side.twins.len()]).collect();
        let times: Vec<u64> =
            (0..self.sides.len()).map(|side| self.calibrate(side, pace, &mut done[side])).collect();
        let none = |side: &Side| Series(vec![Batches::default(); side.twins.len()]);
        let mut series: Vec<Series> = self.sides.iter().map(none).collect();
        let batches = u32::try_from(pace.rounds * self.sides.len()).expect("some hundreds");
        let (began, at_most) = (Instant::now(), 2 * batches * pace.batch);
        for round in 0..2 * pace.rounds {
            let fewest = series.iter().map(Series::quiet).min();
            let enough = round >= pace.rounds && fewest >= Some(pace.rounds / 4);
            if enough || (round >= LEAST && began.elapsed() > at_most) {
                break;
            }
            for (side, times) in times.iter().enumerate() {
                let twin = round % self.sides[side].twins.len();
                self.turn(side, twin, *times, &mut done[side], &mut series[side].0[twin]);
            }
            progress.step();
        }
        let quiet: usize = series.iter().map(Series::quiet).sum();
        let disturbed: usize = series.iter().map(Series::disturbed).sum();
        progress.over(disturbed as f64 / (quiet + disturbed) as f64);
        for ((side, before), done) in self.sides.iter().zip(before).zip(done) {
            for ((now, before), done) in side.counted().into_iter().zip(before).zip(done) {
                let wrong = now.zip(before).filter(|(now, before)| now - before != done);
                assert_eq!(wrong, None, "{} counts other than the {done} it did", side.name);
            }
        }
        series
    }

    /// A quiet batch, or two that are not.
    fn turn(&self, side: usize, twin: usize, times: u64, done: &mut [u64], to: &mut Batches) {
        for _ in 0..TRIES {
            let batch = self.batch(side, twin, times, done);
            let each = |took: Duration| took.as_nanos() as f64 / times as f64;
            if batch.is_quiet() {
                to.quiet.push(each(batch.took()));
                return;
            }
            // One thread's time can do without what it waited; of several nobody knows what the
            // others did meanwhile.
            let waited = if self.threads == 1 { batch.waited } else { Duration::ZERO };
            to.disturbed.push(each(batch.took().saturating_sub(waited)));
        }
    }

    /// How many operations make a batch. Warms the side up meanwhile.
    fn calibrate(&self, side: usize, pace: Pace, done: &mut [u64]) -> u64 {
        let mut times = 1;
        loop {
            let tries = 0..self.sides[side].twins.len().max(TRIES);
            let twin = |turn| turn % self.sides[side].twins.len();
            let took = tries.map(|turn| self.batch(side, twin(turn), times, done).took()).min();
            let took = took.expect("at least one try");
            if took >= pace.batch / 2 {
                let batch = pace.batch.as_nanos() * u128::from(times) / took.as_nanos();
                return u64::try_from(batch).expect("a batch of milliseconds").max(1);
            }
            times *= 2;
        }
    }

    /// One batch of a side on all threads: from when the first began to when the last was done.
    fn batch(&self, side: usize, twin: usize, times: u64, done: &mut [u64]) -> Part {
        // Relaxed: the gate orders what is written before it and read behind it.
        self.order.side.store(side, Ordering::Relaxed);
        self.order.twin.store(twin, Ordering::Relaxed);
        self.order.times.store(times, Ordering::Relaxed);
        self.gate.pass(self.threads);
        self.work(0);
        self.gate.pass(self.threads);
        done[twin] += times * self.threads as u64;
        let refused = self.refused.load(Ordering::Relaxed);
        assert!(!refused, "{} refused what there is plenty of", self.sides[side].name);
        let parts = self.parts.iter().map(|part| *part.lock().expect("no thread panicked"));
        parts.reduce(Part::and).expect("at least one thread")
    }

    fn work(&self, thread: usize) {
        // Relaxed: see `batch`.
        let side = &self.sides[self.order.side.load(Ordering::Relaxed)];
        let twin = &side.twins[self.order.twin.load(Ordering::Relaxed)];
        let times = self.order.times.load(Ordering::Relaxed);
        let waited = waited();
        let began = Instant::now();
        let admitted = (twin.work)(thread, times);
        let ended = Instant::now();
        let waited = self::waited().saturating_sub(waited);
        let part = Part { began, all_began: began, ended, waited };
        *self.parts[thread].lock().expect("no thread panicked") = part;
        if !admitted {
            self.refused.store(true, Ordering::Relaxed);
        }
    }

    fn follow(&self, thread: usize) {
        loop {
            self.gate.pass(self.threads);
            // Relaxed: see `batch`.
            if self.order.side.load(Ordering::Relaxed) >= self.sides.len() {
                return;
            }
            self.work(thread);
            self.gate.pass(self.threads);
        }
    }

    fn dismiss(&self) {
        // Relaxed: see `batch`.
        self.order.side.store(self.sides.len(), Ordering::Relaxed);
        self.gate.pass(self.threads);
    }
}

/// How long this thread has waited for a core since it began: the second number of this file, in
/// nanoseconds. Nothing where there is no such file.
pub fn waited() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
