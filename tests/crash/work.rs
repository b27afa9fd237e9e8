//! What a child does: each step follows from the seed, the round, the thread and its number.

use std::fmt;
use std::time::Duration;

use tollkeeper::{Outcome, OwnerId, RecordId, Usage};

use crate::draw::Draw;
use crate::world::{money, owner};

/// Which step of which thread of which round, and with which owner that comes and goes. Records
/// carry it as their model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub round: u64,
    pub thread: u64,
    pub number: u64,
    pub passing: Option<OwnerId>,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Settle,
    Partial,
    Failed,
    Unbilled,
    /// Dropped after the upstream was called.
    Uncertain,
    Void,
    /// Dropped before the upstream was called.
    Abandon,
    /// Recorded without having been reserved.
    Record,
    /// Settled under the id of a record that is there.
    Again,
    Reset,
    /// An owner comes, or goes.
    ComeOrGo,
}

/// What is done.
#[derive(Clone, Debug)]
pub struct Step {
    pub end: End,
    /// Whose request it is, besides an owner that comes and goes.
    pub key: OwnerId,
    others: Vec<OwnerId>,
    /// Whether the owner that comes and goes makes the request, instead of only being on its way.
    pub passing_is_key: bool,
    /// Whether one is on its way, if there is one.
    pub wants_passing: bool,
    pub estimate: Usage,
    pub more: Option<Usage>,
    pub used: Usage,
    /// What an uncertain one is known to have used later, if anybody finds out.
    pub later: Option<Usage>,
    pub advance: Duration,
    /// Nobody waits for it.
    pub forgotten: bool,
    pub number: u64,
}

pub const REASON: &str = "the upstream refused it";

/// Everything that follows from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub seed: u64,
    /// Several processes at once: then there are no resets and no owners that come and go, which
    /// are a process's own, and nothing tight, which is so for one process only.
    pub shared: bool,
}

impl Work {
    pub fn step(&self, round: u64, thread: u64, number: u64) -> Step {
        let mut draw = Draw::of(&[self.seed, round, thread, number]);
        let mut end = match draw.within(0..100) {
            0..46 => End::Settle,
            46..54 => End::Partial,
            54..58 => End::Failed,
            58..63 => End::Unbilled,
            63..73 => End::Uncertain,
            73..76 => End::Void,
            76..79 => End::Abandon,
            79..85 => End::Record,
            85..90 => End::Again,
            90..93 => End::Reset,
            _ => End::ComeOrGo,
        };
        if (self.shared && end == End::Reset) || (end == End::ComeOrGo && thread != 0) {
            end = End::Settle;
        }
        if self.shared && end == End::ComeOrGo {
            end = End::Settle;
        }
        let key = match draw.within(0..10) {
            0..5 => "key:k1",
            5..8 => "key:k2",
            _ if self.shared || end == End::Record => "key:k2",
            _ => "key:tight",
        };
        let names = ["model:m", "provider:p", "team:t"];
        let others = names.into_iter().filter(|_| draw.percent(60)).map(owner).collect();
        let used = usage(&mut draw);
        let exact = key == "key:tight";
        let estimate = if draw.percent(30) { used } else { usage(&mut draw) };
        let more = (!exact && draw.percent(15)).then(|| Usage { requests: 0, ..usage(&mut draw) });
        let later = draw.percent(60).then(|| usage(&mut draw));
        let wants_passing = !self.shared && draw.percent(30);
        let slow = draw.percent(2);
        Step {
            end,
            key: owner(key),
            others,
            passing_is_key: draw.percent(50),
            wants_passing,
            estimate,
            more,
            used,
            later,
            advance: Duration::from_nanos(
                draw.within(1..if slow { 1_500_000_000 } else { 4_000_000 }),
            ),
            forgotten: draw.percent(15),
            number,
        }
    }

    pub fn id(&self, mark: &Mark) -> RecordId {
        RecordId::derived(format!("{} {mark}", self.seed).as_bytes())
    }
}

fn usage(draw: &mut Draw) -> Usage {
    Usage {
        input_tokens: draw.within(1..5_000),
        output_tokens: draw.within(0..2_000),
        cached_tokens: draw.within(0..300),
        cache_write_tokens: draw.within(0..20),
        requests: 1,
        cost: money(draw.within(1..3_000_000_000)),
    }
}

impl Step {
    /// Whose limits are on its way.
    pub fn owners(&self, passing: Option<&OwnerId>) -> Vec<OwnerId> {
        let key = Some(&self.key).filter(|_| passing.is_none() || !self.passing_is_key);
        key.into_iter().chain(passing).chain(&self.others).cloned().collect()
    }

    /// Who makes the request.
    pub fn api_key(&self, passing: Option<&OwnerId>) -> OwnerId {
        passing.filter(|_| self.passing_is_key).unwrap_or(&self.key).clone()
    }

    /// Who serves it.
    pub fn upstream(&self) -> Option<OwnerId> {
        self.others.iter().find(|owner| owner.as_str() == "provider:p").cloned()
    }

    /// What it is recorded as, and with what usage. `None`: not at all.
    pub fn recorded(&self) -> Option<(Outcome, Usage)> {
        let no_request = Usage { requests: 0, ..self.used };
        match self.end {
            End::Settle | End::Record => Some((Outcome::Completed, self.used)),
            End::Partial => Some((Outcome::Partial, no_request)),
            End::Failed => Some((Outcome::Failed, no_request)),
            End::Unbilled => Some((Outcome::Unbilled, Usage::default())),
            End::Uncertain => Some((Outcome::Uncertain, self.held())),
            End::Void | End::Abandon | End::Again | End::Reset | End::ComeOrGo => None,
        }
    }

    /// What was held in the end.
    pub fn held(&self) -> Usage {
        let (one, more) = (self.estimate, self.more.unwrap_or_default());
        Usage {
            input_tokens: one.input_tokens + more.input_tokens,
            output_tokens: one.output_tokens + more.output_tokens,
            cached_tokens: one.cached_tokens + more.cached_tokens,
            cache_write_tokens: one.cache_write_tokens + more.cache_write_tokens,
            requests: one.requests + more.requests,
            cost: money(one.cost.as_nanos() + more.cost.as_nanos()),
        }
    }

    /// Whether it can be denied: then whether there is a record does not follow from the seed.
    pub fn may_be_denied(&self) -> bool {
        self.wants_passing || self.key.as_str() == "key:tight"
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.t{}.n{}", self.round, self.thread, self.number)?;
        self.passing.iter().try_for_each(|passing| write!(f, ".{passing}"))
    }
}

impl Mark {
    pub fn parse(text: &str) -> Option<Mark> {
        let mut parts = text.split('.');
        let mut number = |letter| parts.next()?.strip_prefix(letter)?.parse().ok();
        let (round, thread, number) = (number('r')?, number('t')?, number('n')?);
        let passing = parts.next().map(owner);
        Some(Mark { round, thread, number, passing })
    }
}
