//! The auditor: what must be so, worked out from what was asked, what the store committed and what
//! the nodes answered, and from nothing that the library says of itself.
//!
//! | | |
//! |---|---|
//! | I1 | at each admission no limit is passed |
//! | I2 | what is held is what was reserved and has not ended |
//! | I3 | a reservation ends once |
//! | I4 | a key is charged once, and replays are the first answer, byte for byte |
//! | I5 | memory is the sum of what was written and of what could not be written yet |
//! | I6 | nothing is counted for owners that do not exist |
//! | I7 | at the end nothing is held |
//! | I8 | of one user's calls no more are inside than there are permits, while their locks live |
//! | I9 | at the end nobody waits |
//! | I10 | another request under a key is not executed, and nobody gets another's answer |
//! | I11 | limits are overshot by what was used beyond what was held, and by no more |
//! | I12 | a node has at most one connection to the lock for each user |
//! | I13 | reconciling finds all there is to find, and does what it says |
//! | I14 | a limit admits what its definition says and what is granted on it, to the unit |
//! | L8 | each window is charged what was held in it, and what was used beyond that once |
//! | L9 | the store knows where windows end, and is told nothing that is not so |
//! | L10 | the totals are the sums of the postings, and a store says what it wrote |
//! | L11 | what was acknowledged is in the store |

#[path = "auditor/begun.rs"]
mod begun;
#[path = "auditor/books.rs"]
mod books;
#[path = "auditor/grants.rs"]
mod grants;
#[path = "auditor/inside.rs"]
mod inside;
#[path = "auditor/keys.rs"]
mod keys;
#[path = "auditor/memory.rs"]
mod memory;

pub use begun::Begun;
pub use books::Books;
pub use inside::InsideBook;
pub use keys::KeyBook;
pub use memory::{Ends, Memory, Standing, standing};

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{
    Credited, Dimension, Entry, Fate, LimitId, LimitUsage, OwnerId, Receipt, Reconciled, RecordId,
    Timestamp, TopUp, Usage, UsageRecord, Written,
};

use crate::hub::{Breach, Checked, breach};
use crate::swarm::Swarm;
use crate::tasks::Home;
use crate::topology::Spec;

/// Which reservation it is. Its record says so in the model's name.
pub type Tag = u64;
pub type Counter = (LimitId, Dimension);

pub struct Auditor {
    pub books: Books,
    pub keys: KeyBook,
    pub inside: InsideBook,
    memories: BTreeMap<Home, Memory>,
    /// What the nodes begin with that are starting.
    begun: BTreeMap<Home, Begun>,
    /// What the store really did, by attempt.
    written: BTreeMap<u64, Written>,
    tried: BTreeSet<u64>,
    pub counts: Counts,
}

/// What was seen, so that a world in which nothing happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub admitted: u64,
    pub settled: u64,
    pub uncertain: u64,
    pub late: u64,
    pub nulled: u64,
    pub duplicates: u64,
    pub before: u64,
    pub replayed: u64,
    pub mismatched: u64,
    pub drifted: u64,
    pub moved: u64,
    pub adopted: u64,
    pub apart: u64,
    pub topped_up: u64,
    pub paid_again: u64,
    pub overridden: u64,
    pub regranted: u64,
    pub earlier: u64,
}

impl Counts {
    fn each(&mut self) -> [(&'static str, &mut u64); 18] {
        [
            ("admitted", &mut self.admitted),
            ("settled", &mut self.settled),
            ("uncertain", &mut self.uncertain),
            ("late", &mut self.late),
            ("nulled", &mut self.nulled),
            ("duplicates", &mut self.duplicates),
            ("before", &mut self.before),
            ("replayed", &mut self.replayed),
            ("mismatched", &mut self.mismatched),
            ("drifted", &mut self.drifted),
            ("moved", &mut self.moved),
            ("adopted", &mut self.adopted),
            ("apart", &mut self.apart),
            ("topped_up", &mut self.topped_up),
            ("paid_again", &mut self.paid_again),
            ("overridden", &mut self.overridden),
            ("regranted", &mut self.regranted),
            ("earlier", &mut self.earlier),
        ]
    }

    pub fn add(&mut self, mut other: Counts) {
        for ((_, mine), (_, theirs)) in self.each().into_iter().zip(other.each()) {
            *mine += *theirs;
        }
    }

    /// What never happened.
    pub fn never(mut self) -> Vec<&'static str> {
        let never = self.each().into_iter().filter(|(_, count)| **count == 0);
        never.map(|(what, _)| what).collect()
    }
}

impl Auditor {
    pub fn new(swarm: &Swarm) -> Auditor {
        Auditor {
            books: Books::default(),
            keys: KeyBook::default(),
            inside: InsideBook::new(swarm.permits, swarm.remote_lock),
            memories: BTreeMap::new(),
            begun: BTreeMap::new(),
            written: BTreeMap::new(),
            tried: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// A node begins a life, with what the store has.
    pub fn begins(
        &mut self,
        home: Home,
        specs: &[Spec],
        standing: &[Standing],
        now: Timestamp,
    ) -> Checked {
        let begun = self.begun.remove(&home).map(|begun| begun.windows).unwrap_or_default();
        let mut memory = Memory::restored((&self.books, &begun), standing, now);
        specs.iter().for_each(|spec| memory.ruled(spec));
        self.memories.insert(home, memory);
        let limits: Vec<_> = standing.iter().map(|standing| standing.usage.clone()).collect();
        self.check(home, &limits)?;
        self.memories[&home].check_restored_ends(home, standing, &self.books)
    }

    /// A life ends: what it knew is gone.
    pub fn dies(&mut self, home: Home) {
        self.memories.remove(&home);
        self.inside.dies(home);
    }

    pub fn memory(&mut self, home: Home) -> Option<&mut Memory> {
        self.memories.get_mut(&home)
    }

    /// What a node says it has is what it must have.
    pub fn check(&self, home: Home, limits: &[LimitUsage]) -> Checked {
        match self.memories.get(&home) {
            Some(memory) => memory.check(home, limits),
            None => Ok(()),
        }
    }

    /// At the end memory is what the store has, and nothing is held.
    pub fn check_quiet(&self, home: Home, limits: &[LimitUsage]) -> Checked {
        match self.memories.get(&home) {
            Some(memory) => memory.check_quiet(home, limits, &self.books),
            None => Ok(()),
        }
    }

    /// An operator says on a node what an uncertain request used.
    pub fn resolves(&mut self, home: Home, id: RecordId, used: &Usage, limits: &[LimitUsage]) {
        if let Some(memory) = self.memories.get_mut(&home) {
            memory.resolves(id, used, limits, &self.books);
        }
    }

    /// A node has created an owner with its limits.
    pub fn created(
        &mut self,
        (home, owner): (Home, &OwnerId),
        specs: &[Spec],
        limits: &[LimitUsage],
    ) {
        let Some(memory) = self.memories.get_mut(&home) else { return };
        let theirs = specs.iter().filter(|spec| spec.owner == *owner);
        theirs.for_each(|spec| memory.ruled(spec));
        for usage in limits {
            memory.limit_exists(&usage.limit, &usage.owner, self.books.era(&usage.owner));
        }
    }

    /// A node has reconciled.
    pub fn reconciled(
        &mut self,
        home: Home,
        found: &Reconciled,
        quiet: bool,
        now: Timestamp,
    ) -> Checked {
        self.counts.adopted += found.adopted.len() as u64;
        self.counts.apart += found.apart.len() as u64;
        self.counts.moved += found.moved as u64;
        self.counts.regranted += found.granted as u64;
        self.counts.drifted += found.drifts.len() as u64;
        let Some(memory) = self.memories.get_mut(&home) else { return Ok(()) };
        memory.reconciled((home, quiet, now), found, &self.books)
    }

    /// A node has told the store all that it has to tell.
    pub fn check_ends(&self, home: Home, standing: &[Standing]) -> Checked {
        match self.memories.get(&home) {
            Some(memory) => memory.check_ends(home, standing, &self.books),
            None => Ok(()),
        }
    }

    /// Whether an entry is in the store, and its node has not been told so.
    pub fn was_tried(&self, attempt: u64) -> bool {
        self.tried.contains(&attempt) && self.written.contains_key(&attempt)
    }

    /// A node asks the store to write.
    pub fn asked(&mut self, home: Home, group: &[Entry]) -> Checked {
        let Some(memory) = self.memories.get_mut(&home) else { return Ok(()) };
        if memory.is_in_doubt() {
            let what = format!("node {} writes, and does not know who is deleted", home.node);
            return breach("L10", what);
        }
        group.iter().try_for_each(|entry| memory.asked(entry))
    }

    /// The store has committed a group, and says so to itself.
    pub fn committed(&mut self, group: &[Entry], written: &[Written]) -> Checked {
        let must = self.books.write(group, self.keys.charges())?;
        for (entry, must) in group.iter().zip(&must) {
            self.written.insert(entry.attempt, *must);
            self.counts.nulled += u64::from(must.nulled.any());
            self.counts.duplicates += u64::from(must.fate == Fate::Duplicate);
            self.counts.before += u64::from(must.fate == Fate::Before);
        }
        if must == written {
            return Ok(());
        }
        breach("L10", format!("the store says {written:?} of what it wrote as {must:?}"))
    }

    pub fn refused(&mut self, home: Home, group: &[Entry], may_pass: bool) -> Checked {
        self.tried.extend(group.iter().map(|entry| entry.attempt));
        let Some(memory) = self.memories.get_mut(&home) else { return Ok(()) };
        memory.refused(group, may_pass);
        Ok(())
    }

    /// A node knows that its group is written.
    pub fn acknowledged(&mut self, home: Home, group: &[Entry]) -> Checked {
        let Some(memory) = self.memories.get_mut(&home) else { return Ok(()) };
        for entry in group {
            let written = self.written.get(&entry.attempt).copied();
            let Some(written) = written else {
                return breach("L11", format!("{} is acknowledged, not written", title(entry)));
            };
            memory.acknowledged(entry, written)?;
        }
        memory.answered();
        Ok(())
    }

    pub fn deleted(&mut self, owner: &OwnerId, said: bool) -> Checked {
        let must = self.books.delete(owner);
        if must == said {
            return Ok(());
        }
        breach("L10", format!("the store says {said} of whether {owner} was registered"))
    }

    /// A client was told that its request is settled.
    pub fn told(&mut self, tag: Tag, receipt: &Receipt) -> Checked {
        self.counts.settled += 1;
        self.counts.late += u64::from(receipt.settlement.is_late());
        let id = receipt.record.as_ref().map(|record| record.id);
        let end = self.books.end_of(tag);
        match (receipt.fate, end) {
            (Fate::Duplicate, None) => Ok(()),
            (Fate::Duplicate, Some(id)) => {
                breach("L11", format!("q{tag} is said to be a duplicate, but {id} is written"))
            }
            (_, end) if end.is_some() && end == id => Ok(()),
            (_, end) => {
                breach("L11", format!("q{tag} is acknowledged as {id:?}, written: {end:?}"))
            }
        }
    }

    /// The store has taken a top-up in, and says so to itself.
    pub fn topped_up(&mut self, top_up: &TopUp, said: Credited) -> Checked {
        let must = self.books.grants.top_up(top_up);
        self.counts.topped_up += u64::from(must.fate == Fate::Now);
        self.counts.paid_again += u64::from(must.fate != Fate::Now);
        if must == said {
            return Ok(());
        }
        breach("L10", format!("the store says {said:?} of {top_up:?}, which is {must:?}"))
    }

    /// A node reads totals: it begins with those that are open, or these are its limits.
    pub fn reads(&mut self, home: Home, standing: Vec<Standing>, asked: Timestamp, now: Timestamp) {
        match self.memories.get_mut(&home) {
            Some(memory) => memory.reads(standing),
            None => {
                self.begun.insert(home, Begun::new(standing, asked, now, &self.books));
            }
        }
    }

    /// A node that begins reads what is in a window before the last.
    pub fn reads_before(&mut self, home: Home, limit: &LimitId, now: Timestamp) {
        if let Some(begun) = self.begun.get_mut(&home) {
            begun.reads_before(limit, now, &self.books);
            self.counts.earlier += 1;
        }
    }

    /// A node reads what is granted: it has that from here on.
    pub fn reads_grants(&mut self, home: Home) {
        let Some(memory) = self.memories.get_mut(&home) else { return };
        memory.reads_grants(&self.books);
    }

    /// A node knows that it has topped up a counter.
    pub fn credited(&mut self, home: Home, counter: &Counter) {
        let kept = self.books.grants.of(counter);
        let Some(memory) = self.memories.get_mut(&home) else { return };
        memory.grant(counter).credit = kept.credit;
    }

    /// A node knows that it has overridden a counter's limit, by this.
    pub fn overridden(
        &mut self,
        home: Home,
        counter: &Counter,
        instead: Option<(u64, Timestamp)>,
    ) -> Checked {
        let kept = self.books.grants.of(counter).instead;
        if kept != instead {
            return breach("L11", format!("{counter:?} has {kept:?} instead; due is {instead:?}"));
        }
        let Some(memory) = self.memories.get_mut(&home) else { return Ok(()) };
        memory.grant(counter).instead = instead;
        Ok(())
    }

    /// Nothing is counted in the store for owners that do not exist.
    pub fn check_ghosts(&self, exists: impl Fn(&OwnerId) -> bool) -> Checked {
        let mut owners = self.books.owners_with_sums();
        owners.extend(self.books.grants.owners());
        let ghost = owners.into_iter().find(|owner| !exists(owner));
        match ghost {
            Some(owner) => {
                breach("I6", format!("the store has totals of {owner}, which is deleted"))
            }
            None => Ok(()),
        }
    }
}

/// Whether an owner is that one, or a pair with it.
pub fn involves(owner: &OwnerId, gone: &OwnerId) -> bool {
    owner == gone || owner.members().is_some_and(|(a, b)| a == *gone || b == *gone)
}

/// What a usage is on a counter of a dimension.
pub fn amount(usage: &Usage, dimension: Dimension) -> u64 {
    match dimension {
        Dimension::Money => usage.cost.as_nanos(),
        Dimension::Tokens => {
            let Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens, .. } =
                usage;
            input_tokens + output_tokens + cached_tokens + cache_write_tokens
        }
        Dimension::Requests => usage.requests,
        Dimension::InFlight => 1,
    }
}

/// Which reservation a record is of.
pub fn tag_of(record: &UsageRecord) -> Result<Tag, Breach> {
    let tag = record.model.as_deref().and_then(|model| model.strip_prefix('q')?.parse().ok());
    let name = || Breach { law: "I3", what: format!("{} is of no reservation", record.id) };
    tag.ok_or_else(name)
}

/// What an entry is called in the log.
pub fn title(entry: &Entry) -> String {
    let Some(record) = &entry.record else { return "a reset".to_owned() };
    format!("{} {}", record.model.as_deref().unwrap_or("?"), record.outcome)
}
