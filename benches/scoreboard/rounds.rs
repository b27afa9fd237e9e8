//! Measuring sides against each other: in turns, in short batches, over many rounds.
//!
//! A round is one batch of each side, one after the other, each a few milliseconds. What slows the
//! machine for longer than a round slows all sides of it; what slows it for less is in a few of the
//! batches, which the medians over the rounds pass over. A batch in which a thread had to wait for
//! a core, because others were running, is done again where the system tells (on Linux); and while
//! there are too few of the others, there are more rounds, up to twice as many.

use crate::progress::Progress;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{hint, thread};

/// How long a batch is, and how many rounds there are.
#[derive(Clone, Copy)]
pub struct Pace {
    pub batch: Duration,
    pub rounds: usize,
}

type Work<'a> = Box<dyn Fn(usize, u64) -> bool + Sync + 'a>;
type Count<'a> = Box<dyn Fn() -> u64 + Sync + 'a>;

/// A batch is disturbed when a thread waited for a core, or began after another, for longer than
/// one part in so many of it.
const PART: u32 = 50;
/// So often a batch is tried in a round, until one is quiet.
const TRIES: usize = 2;

/// How many of a side there are where they take turns.
const TWINS: usize = 5;

/// One of those that are compared.
pub struct Side<'a> {
    pub name: &'static str,
    /// One, or several of the same that take turns.
    twins: Vec<Twin<'a>>,
}

struct Twin<'a> {
    work: Work<'a>,
    count: Option<Count<'a>>,
    /// What lies between it and the next one.
    _space: Vec<u8>,
}

impl<'a> Side<'a> {
    /// A side that does `operation`, given the number of the thread that does it. It says whether
    /// it was admitted; all have to be.
    pub fn new(name: &'static str, operation: impl Fn(usize) -> bool + Sync + 'a) -> Self {
        Self::in_batches(name, move |thread, times| {
            let mut admitted = true;
            for _ in 0..times {
                admitted &= operation(thread);
            }
            admitted
        })
    }

    /// A side that does so many operations at a call.
    pub fn in_batches(name: &'static str, work: impl Fn(usize, u64) -> bool + Sync + 'a) -> Self {
        let twin = Twin { work: Box::new(work), count: None, _space: Vec::new() };
        Self { name, twins: vec![twin] }
    }

    /// Says how to read off the side's own counters how many operations it has done. What they say
    /// has to be what was measured, to the last one.
    pub fn counting(mut self, count: impl Fn() -> u64 + Sync + 'a) -> Self {
        self.twins[0].count = Some(Box::new(count));
        self
    }

    /// Several of the same side, made one after the other, which take turns round by round. Where
    /// in memory one comes to lie decides which of its parts share a cache line, and so what
    /// threads that contend for them take: by a third, for as long as it lives.
    pub fn twins(make: impl Fn() -> Self) -> Self {
        let mut all = make();
        for place in 1..TWINS {
            all.twins[place - 1]._space = vec![0; 24 + 16 * place];
            all.twins.extend(make().twins);
        }
        all
    }

    /// By each of the twins that can be counted.
    fn counted(&self) -> Vec<Option<u64>> {
        self.twins.iter().map(|twin| twin.count.as_ref().map(|count| count())).collect()
    }
}

/// What one side took: nanoseconds an operation, of one thread, for each batch of each twin.
pub struct Series(Vec<Batches>);

#[derive(Clone, Default)]
struct Batches {
    quiet: Vec<f64>,
    disturbed: Vec<f64>,
}

impl Series {
    /// The median of the quiet batches, if there are some, else of all; where there are twins, the
    /// mean of their medians.
    pub fn median(&self) -> f64 {
        let some: Vec<_> = self.0.iter().filter(|twin| twin.quiet.len() >= 3).collect();
        let medians: Vec<f64> = if some.is_empty() {
            let all = |twin: &Batches| [twin.quiet.as_slice(), &twin.disturbed].concat();
            self.0.iter().map(|twin| median(all(twin))).collect()
        } else {
            some.iter().map(|twin| median(twin.quiet.clone())).collect()
        };
        medians.iter().sum::<f64>() / medians.len() as f64
    }

    fn quiet(&self) -> usize {
        self.0.iter().map(|twin| twin.quiet.len()).sum()
    }

    fn disturbed(&self) -> usize {
        self.0.iter().map(|twin| twin.disturbed.len()).sum()
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

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
        for round in 0..2 * pace.rounds {
            let fewest = series.iter().map(Series::quiet).min();
            if round >= pace.rounds && fewest >= Some(pace.rounds / 4) {
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

/// A barrier that spins: the threads that pass it do so within a fraction of a microsecond, where
/// one that sleeps would let them begin some fifty apart.
#[derive(Default)]
struct Gate {
    arrived: AtomicUsize,
    passed: AtomicUsize,
}

impl Gate {
    fn pass(&self, threads: usize) {
        // Acquire and Release throughout: what a thread did before the gate is seen behind it.
        let passed = self.passed.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.passed.store(passed + 1, Ordering::Release);
            return;
        }
        let mut turns = 0_u32;
        while self.passed.load(Ordering::Acquire) == passed {
            turns += 1;
            if turns > 1 << 12 {
                // Whoever is awaited may have no core to run on.
                thread::yield_now();
            }
            hint::spin_loop();
        }
    }
}
