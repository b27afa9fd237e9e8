//! Owners and limits: what there should be, and how it gets into a node's engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tollkeeper::{
    Alignment, Budget, Concurrency, Engine, Limit, LimitId, Money, OwnerId, Period, RateLimit,
    TopologyError,
};

use crate::dice::Dice;
use crate::swarm::Swarm;

/// What an estimate comes to at most, in each dimension.
pub const COST_MAX: u64 = 1_000;
pub const TOKENS_MAX: u64 = 100;

/// A period of this length is on the calendar.
pub const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub enum Rule {
    Budget { limit: u64, period: Option<Duration> },
    Rate { tokens: u64, requests: u64, period: Duration },
    Concurrency { limit: u64 },
}

#[derive(Clone, Debug)]
pub struct Spec {
    pub id: LimitId,
    pub owner: OwnerId,
    pub rule: Rule,
}

/// How an owner stands, over all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Being {
    There,
    /// These nodes have not heard of its end.
    Going(BTreeSet<usize>),
    Gone,
    /// These nodes have not heard that it is there again.
    Coming(BTreeSet<usize>),
}

/// What there should be.
pub struct Topology {
    pub keys: Vec<OwnerId>,
    pub teams: Vec<OwnerId>,
    pub upstreams: Vec<OwnerId>,
    pub users: Vec<OwnerId>,
    pub beings: BTreeMap<OwnerId, Being>,
    /// Owners that are going and are to be deleted from the store yet: nobody has, or a node ended
    /// before it heard of it, and may have registered the owner since and charged it.
    pub kept: BTreeSet<OwnerId>,
    pub specs: Vec<Spec>,
}

fn owners(kind: &str, count: u64) -> Vec<OwnerId> {
    let owner = |number: u64| OwnerId::new(kind, &number.to_string()).expect("a name");
    (0..count).map(owner).collect()
}

impl Topology {
    pub fn draw(dice: &mut Dice, swarm: &Swarm) -> Topology {
        let keys = owners("key", swarm.keys);
        let teams = owners("team", swarm.teams);
        let upstreams = owners("provider", swarm.upstreams);
        let all: Vec<OwnerId> =
            [&keys, &teams, &upstreams].into_iter().flatten().cloned().collect();
        let mut specs = Vec::new();
        for owner in &all {
            for number in 0..dice.range(0, 4) {
                let id = format!("{}-{number}", owner.as_str().replace(':', "-"));
                let id = LimitId::new(&id).expect("a name");
                let rule = draw_rule(dice, swarm);
                specs.push(Spec { id, owner: owner.clone(), rule });
            }
        }
        let beings = all.into_iter().map(|owner| (owner, Being::There)).collect();
        let (users, kept) = (owners("user", swarm.users), BTreeSet::new());
        Topology { keys, teams, upstreams, users, beings, kept, specs }
    }

    pub fn parent(&self, key: &OwnerId) -> Option<&OwnerId> {
        let place = self.keys.iter().position(|known| known == key)?;
        self.teams.get(place % self.teams.len())
    }

    pub fn exists(&self, owner: &OwnerId) -> bool {
        matches!(self.beings.get(owner), Some(Being::There | Being::Coming(_)))
    }

    /// A node ends. What it had not heard of is deleted once more when all have.
    pub fn ends_without_hearing(&mut self, node: usize) {
        let unheard = |being: &Being| matches!(being, Being::Going(on) if on.contains(&node));
        let going = self.beings.iter().filter(|(_, being)| unheard(being));
        self.kept.extend(going.map(|(owner, _)| owner.clone()));
    }

    /// Whether every node has heard of everything.
    pub fn is_settled(&self) -> bool {
        self.beings.values().all(|being| matches!(being, Being::There | Being::Gone))
    }

    /// Makes an engine as it should be, or one owner of it.
    pub fn build(&self, engine: &Engine, only: Option<&OwnerId>) -> Result<(), TopologyError> {
        let order = self.teams.iter().chain(&self.keys).chain(&self.upstreams);
        let wanted =
            |owner: &&OwnerId| self.exists(owner) && only.is_none_or(|only| only == *owner);
        for owner in order.filter(wanted) {
            engine.upsert_owner(owner, self.parent(owner).map_or(&[], std::slice::from_ref))?;
            for spec in self.specs.iter().filter(|spec| spec.owner == *owner) {
                spec.upsert(engine)?;
            }
        }
        Ok(())
    }
}

impl Rule {
    pub fn period(&self) -> Option<Duration> {
        match self {
            Rule::Budget { period, .. } => *period,
            Rule::Rate { period, .. } => Some(*period),
            Rule::Concurrency { .. } => None,
        }
    }
}

impl Spec {
    pub fn upsert(&self, engine: &Engine) -> Result<(), TopologyError> {
        // The days are those of the calendar, which begin at the same instant on all nodes.
        let period = |length: Duration| match length {
            DAY => Period::calendar("1d", &Alignment::new()).expect("a day"),
            _ => Period::rolling(length).expect("a period"),
        };
        let limit: Limit = match &self.rule {
            Rule::Budget { limit, period: Some(length) } => {
                Budget::new(money(*limit), period(*length)).into()
            }
            Rule::Budget { limit, period: None } => Budget::prepaid(money(*limit)).into(),
            Rule::Rate { tokens, requests, period: length } => {
                let length = period(*length);
                RateLimit::new().tokens(*tokens, length.clone()).requests(*requests, length).into()
            }
            Rule::Concurrency { limit } => Concurrency::new(*limit).into(),
        };
        engine.upsert_limit(&self.owner, &self.id, limit).map(|_| ())
    }
}

pub fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("a small amount")
}

fn draw_rule(dice: &mut Dice, swarm: &Swarm) -> Rule {
    let room = dice.range(1, swarm.room + 1);
    match dice.range(0, 10) {
        0 => Rule::Concurrency { limit: dice.range(1, 8) },
        1 => Rule::Budget { limit: COST_MAX * room * 10, period: None },
        2..=5 => Rule::Budget { limit: COST_MAX * room, period: Some(*dice.pick(&swarm.periods)) },
        _ => Rule::Rate {
            tokens: TOKENS_MAX * room,
            requests: room + 1,
            period: *dice.pick(&swarm.periods),
        },
    }
}

/// Another limit of the same kind.
pub fn redraw(rule: &Rule, dice: &mut Dice, swarm: &Swarm, other_period: bool) -> Rule {
    let room = dice.range(1, swarm.room + 1);
    let mut other =
        |period: Duration| if other_period { *dice.pick(&swarm.periods) } else { period };
    match rule {
        Rule::Concurrency { .. } => Rule::Concurrency { limit: room },
        Rule::Budget { period, .. } => {
            Rule::Budget { limit: COST_MAX * room, period: period.map(&mut other) }
        }
        Rule::Rate { period, .. } => {
            Rule::Rate { tokens: TOKENS_MAX * room, requests: room + 1, period: other(*period) }
        }
    }
}
