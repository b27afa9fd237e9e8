//! What a history is made of, and how bytes spell one.
//!
//! Everything is drawn from small tables, so that operations meet: a few owners, a few limits, a
//! few periods, amounts that mostly fit and sometimes are absurd. [`decode`] is total: any bytes
//! are a history, so a fuzzer may spell them.

use tollkeeper::{Dimension, Enforcement};

/// Owners by their number. The last is a pair of two others.
pub const OWNERS: [&str; 7] =
    ["key:a", "key:b", "user:u", "team:t", "org:o", "model:m", "key:a&model:m"];

/// Limits by their number.
pub const LIMITS: [&str; 6] = ["l0", "l1", "l2", "l3", "l4", "l5"];

/// Periods by their number, no two of them equal.
pub const PERIODS: [&str; 11] = [
    "1s",
    "1m",
    "1h30m",
    "1d",
    "1M",
    "never",
    "1d@UTC",
    "1w@UTC,week=sunday",
    "1M@Europe/Berlin",
    "1d@America/New_York",
    "1Q@UTC,fiscal=4",
];

/// Sets of thresholds by their number.
pub const THRESHOLDS: [&[u8]; 5] = [&[], &[80], &[50, 80, 100], &[1], &[50]];

/// Weights of input, output, cached and cache-write tokens by their number, in thousandths.
pub const WEIGHTS: [[u32; 4]; 3] =
    [[1000, 1000, 1000, 1000], [1000, 4000, 100, 1250], [0, 0, 333, 0]];

/// The most that a counter can book, and the most that it can hold.
pub const SETTLED_MAX: u64 = (1 << 62) - 1;
pub const HELD_MAX: u64 = (1 << 50) - 1;

/// Amounts that are absurd, at the edges of what can be counted.
pub const ABSURD: [u64; 8] = [
    1_000,
    HELD_MAX - 3,
    HELD_MAX,
    HELD_MAX + 1,
    SETTLED_MAX - 1,
    SETTLED_MAX,
    SETTLED_MAX + 1,
    u64::MAX,
];

/// One step of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    UpsertOwner { owner: u8, parents: Vec<u8> },
    RemoveOwner { owner: u8 },
    UpsertLimit { owner: u8, limit: u8, definition: Definition, enforcement: Enforcement },
    RemoveLimit { limit: u8 },
    Peek { owners: Vec<u8>, estimate: Amounts },
    Reserve { owners: Vec<u8>, estimate: Amounts },
    Extend { ticket: u8, more: Amounts },
    Dispatch { ticket: u8 },
    Settle { ticket: u8, used: Amounts },
    Void { ticket: u8 },
    Drop { ticket: u8 },
    Bump { owners: Vec<u8>, used: Amounts },
    Reset { limit: u8, dimension: Option<Dimension> },
    ResetWindow { limit: u8, dimension: Dimension, stale_by: u8 },
    ResetExpired,
    TopUp { limit: u8, credit: u64 },
    Override { limit: u8, dimension: Dimension, instead: u64, windows: u16 },
    ClearOverride { limit: u8, dimension: Dimension },
    Clock(Step),
    Export,
    Import { document: u8 },
    Restart,
}

/// How the clock moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Forward(u64),
    Back(u64),
    /// To the end of a counter's window, or to the last instant inside it.
    Boundary {
        limit: u8,
        counter: u8,
        before: bool,
    },
    To(u64),
}

/// What a request uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    pub tokens: [u64; 4],
    pub requests: u64,
    pub cost: u64,
}

/// A limit's definition: periods, thresholds and weights by their numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Definition {
    Budget { limit: Option<u64>, period: u8, thresholds: u8 },
    RateLimit { tokens: Part, requests: Part, weights: u8, thresholds: u8 },
    Concurrency { limit: u64 },
}

/// One counter of a rate limit: absent, or a limit (`None` never denies) and its period.
pub type Part = Option<(Option<u64>, u8)>;

/// The limits that the small world begins with: owner, limit, definition.
pub const BEGINNING: [(u8, u8, Definition); 5] = [
    (0, 0, budget(60, 1)),
    (3, 1, rate(90, 8)),
    (4, 2, Definition::Concurrency { limit: 5 }),
    (6, 3, rate(70, 6)),
    (5, 4, budget(100, 5)),
];

const fn budget(limit: u64, period: u8) -> Definition {
    Definition::Budget { limit: Some(limit), period, thresholds: 1 }
}

const fn rate(tokens: u64, requests: u64) -> Definition {
    let (tokens, requests) = (Some((Some(tokens), 1)), Some((Some(requests), 2)));
    Definition::RateLimit { tokens, requests, weights: 0, thresholds: 2 }
}

/// A history spelled by bytes. Whatever the bytes, and never longer than `LONGEST`.
pub fn decode(data: &[u8]) -> Vec<Op> {
    const LONGEST: usize = 250;
    let mut bytes = Bytes(data);
    let mut ops = Vec::new();
    while !bytes.0.is_empty() && ops.len() < LONGEST {
        ops.push(bytes.op());
    }
    ops
}

/// What is left to read; when nothing is, zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> u8 {
        self.byte() % u8::try_from(end).expect("tables are short")
    }

    fn op(&mut self) -> Op {
        match self.byte() % 32 {
            0 => Op::UpsertOwner { owner: self.owner(), parents: self.some_owners() },
            1 => Op::RemoveOwner { owner: self.owner() },
            2..=4 => {
                let (owner, limit) = (self.owner(), self.limit());
                let (definition, enforcement) = self.definition();
                Op::UpsertLimit { owner, limit, definition, enforcement }
            }
            5 => Op::RemoveLimit { limit: self.limit() },
            6 => Op::Peek { owners: self.some_owners(), estimate: self.amounts() },
            7..=11 => Op::Reserve { owners: self.some_owners(), estimate: self.amounts() },
            12 | 13 => Op::Extend { ticket: self.byte(), more: self.amounts() },
            14 => Op::Dispatch { ticket: self.byte() },
            15..=17 => Op::Settle { ticket: self.byte(), used: self.amounts() },
            18 => Op::Void { ticket: self.byte() },
            19 => Op::Drop { ticket: self.byte() },
            20 | 21 => Op::Bump { owners: self.some_owners(), used: self.amounts() },
            22 => {
                let limit = self.limit();
                let one = self.byte().is_multiple_of(2);
                Op::Reset { limit, dimension: one.then(|| self.dimension()) }
            }
            23 => Op::ResetWindow {
                limit: self.limit(),
                dimension: self.dimension(),
                stale_by: self.below(4),
            },
            24 => Op::ResetExpired,
            25 => Op::TopUp { limit: self.limit(), credit: self.amount() },
            26 => Op::Override {
                limit: self.limit(),
                dimension: self.dimension(),
                instead: self.amount(),
                windows: u16::from(self.below(5)),
            },
            27 => Op::ClearOverride { limit: self.limit(), dimension: self.dimension() },
            28 => Op::Export,
            29 => match self.byte() {
                0..=200 => Op::Import { document: self.byte() },
                _ => Op::Restart,
            },
            _ => Op::Clock(self.step()),
        }
    }

    fn owner(&mut self) -> u8 {
        self.below(OWNERS.len())
    }

    /// Up to three, in any order, maybe one of them twice.
    fn some_owners(&mut self) -> Vec<u8> {
        let count = self.below(4);
        (0..count).map(|_| self.owner()).collect()
    }

    fn limit(&mut self) -> u8 {
        self.below(LIMITS.len())
    }

    fn dimension(&mut self) -> Dimension {
        Dimension::ALL[usize::from(self.below(Dimension::ALL.len()))]
    }

    fn amount(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=223 => u64::from(byte % 32),
            byte => ABSURD[usize::from(byte) % ABSURD.len()],
        }
    }

    fn amounts(&mut self) -> Amounts {
        let tokens = [self.amount(), self.amount(), 0, 0];
        let mut amounts = Amounts { tokens, requests: 1, cost: self.amount().min(SETTLED_MAX) };
        if self.byte().is_multiple_of(4) {
            amounts.tokens[2..].copy_from_slice(&[self.amount(), self.amount()]);
            amounts.requests = self.amount();
        }
        amounts
    }

    fn some_limit(&mut self) -> Option<u64> {
        let (limited, amount) = (!self.byte().is_multiple_of(8), self.amount());
        limited.then_some(amount)
    }

    fn period(&mut self) -> u8 {
        self.below(PERIODS.len())
    }

    fn part(&mut self) -> Part {
        let (there, part) = (!self.byte().is_multiple_of(4), (self.some_limit(), self.period()));
        there.then_some(part)
    }

    fn definition(&mut self) -> (Definition, Enforcement) {
        let byte = self.byte();
        let enforcement = Enforcement::ALL[usize::from(byte / 3 % 3)];
        let definition = match byte % 3 {
            0 => Definition::Budget {
                limit: self.some_limit().map(|limit| limit.min(SETTLED_MAX)),
                period: self.period(),
                thresholds: self.below(THRESHOLDS.len()),
            },
            1 => Definition::RateLimit {
                tokens: self.part(),
                requests: self.part(),
                weights: self.below(WEIGHTS.len()),
                thresholds: self.below(THRESHOLDS.len()),
            },
            _ => Definition::Concurrency { limit: self.amount() },
        };
        (definition, enforcement)
    }

    /// A length of time whose size is drawn first: from nanoseconds to years.
    fn length(&mut self) -> u64 {
        let shift = self.byte() % 58;
        (u64::from(self.byte()) + 1) << shift.min(55)
    }

    fn step(&mut self) -> Step {
        match self.byte() {
            0..=90 => Step::Forward(self.length()),
            91..=120 => Step::Back(self.length()),
            121..=250 => Step::Boundary {
                limit: self.limit(),
                counter: self.below(2),
                before: self.byte().is_multiple_of(2),
            },
            251 | 252 => Step::To(0),
            253 => Step::To(u64::MAX),
            _ => Step::To(u64::MAX - self.length()),
        }
    }
}
