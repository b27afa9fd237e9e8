//! Those that are compared, and what they took.

type Work<'a> = Box<dyn Fn(usize, u64) -> bool + Sync + 'a>;
type Count<'a> = Box<dyn Fn() -> u64 + Sync + 'a>;

/// How many of a side there are where they take turns.
const TWINS: usize = 5;

/// One of those that are compared.
pub struct Side<'a> {
    pub name: &'static str,
    /// One, or several of the same that take turns.
    pub twins: Vec<Twin<'a>>,
}

/// One of a side.
pub struct Twin<'a> {
    pub work: Work<'a>,
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
    pub fn counted(&self) -> Vec<Option<u64>> {
        self.twins.iter().map(|twin| twin.count.as_ref().map(|count| count())).collect()
    }
}

/// What one side took: nanoseconds an operation, of one thread, for each batch of each twin.
pub struct Series(pub Vec<Batches>);

/// Of one twin: those that nothing disturbed, and the others.
#[derive(Clone, Default)]
pub struct Batches {
    pub quiet: Vec<f64>,
    pub disturbed: Vec<f64>,
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

    pub fn quiet(&self) -> usize {
        self.0.iter().map(|twin| twin.quiet.len()).sum()
    }

    pub fn disturbed(&self) -> usize {
        self.0.iter().map(|twin| twin.disturbed.len()).sum()
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
