//! What operators do to the reference: owners, limits, resets, grants, documents.

use tollkeeper::{Dimension, Enforcement, LimitKind, Upserted};

use super::operations::{Definition, OWNERS, SETTLED_MAX};
use super::reference::{Counter, Entry, NEVER, Owner, Reference, View, What};

/// Why an operation is refused, with the arguments that the message names left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    UnknownOwner,
    UnknownLimit,
    UnknownParent(u8),
    DuplicateParent(u8),
    Cycle(u8),
    PairInHierarchy,
    HasChildren,
    LimitOfOther(u8),
    KindChanged(LimitKind),
    TooLarge,
    NothingCounted,
    NotCounted,
    NoWindow,
    NotPrepaid,
    WrongOwner(usize),
    WrongKind(usize),
}

/// What a reset did to one counter.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Reset { dimension: Dimension, total: u64, start: u64, end: u64, generation: u64 },
    Lost { dimension: Dimension, start: u64, end: u64, generation: u64 },
}

/// An exported document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub at: u64,
    pub limits: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub limit: u8,
    pub owner: u8,
    pub kind: LimitKind,
    pub anchor: u64,
    pub counters: Vec<KeptCounter>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeptCounter {
    pub dimension: Dimension,
    pub start: u64,
    pub end: u64,
    pub settled: u64,
    pub credit: u64,
    pub instead: Option<(u64, u64)>,
}

/// What an import did: restored, ended, unknown.
pub type Imported = (usize, usize, Vec<u8>);

/// The pair is the last of the table.
fn is_pair(owner: u8) -> bool {
    usize::from(owner) == OWNERS.len() - 1
}

impl Reference {
    pub fn upsert_owner(&mut self, owner: u8, parents: &[u8]) -> Result<Upserted, Refusal> {
        if !parents.is_empty() && (is_pair(owner) || parents.iter().any(|&p| is_pair(p))) {
            return Err(Refusal::PairInHierarchy);
        }
        for (i, &parent) in parents.iter().enumerate() {
            if parents[..i].contains(&parent) {
                return Err(Refusal::DuplicateParent(parent));
            }
            if self.is_above(parent, owner) {
                return Err(Refusal::Cycle(parent));
            }
            if !self.owners.contains_key(&parent) {
                return Err(Refusal::UnknownParent(parent));
            }
        }
        let known = self.owners.get(&owner).cloned();
        let entries = known.clone().unwrap_or_default().entries;
        self.owners.insert(owner, Owner { parents: parents.to_vec(), entries });
        Ok(match known {
            None => Upserted::Created,
            Some(before) if before.parents == parents => Upserted::Unchanged,
            Some(_) => Upserted::Changed,
        })
    }

    /// Whether `owner` is `of` or an ancestor of it.
    fn is_above(&self, of: u8, owner: u8) -> bool {
        let parents = self.owners.get(&of).map_or(&[][..], |found| &found.parents);
        of == owner || parents.iter().any(|&parent| self.is_above(parent, owner))
    }

    /// Removes an owner, and returns the limits that go with it.
    pub fn remove_owner(&mut self, owner: u8) -> Result<Vec<usize>, Refusal> {
        let found = self.owners.get(&owner).ok_or(Refusal::UnknownOwner)?;
        if self.owners.values().any(|other| other.parents.contains(&owner)) {
            return Err(Refusal::HasChildren);
        }
        let entries = found.entries.clone();
        self.owners.remove(&owner);
        self.limits.retain(|_, entry| !entries.contains(entry));
        Ok(entries)
    }

    pub fn upsert_limit(
        &mut self,
        owner: u8,
        limit: u8,
        definition: Definition,
        enforcement: Enforcement,
    ) -> Result<Upserted, Refusal> {
        let rules = definition.rules();
        if rules.iter().all(Option::is_none) {
            return Err(Refusal::NothingCounted);
        }
        if rules.iter().flatten().any(|rule| rule.limit.is_some_and(|n| n > SETTLED_MAX)) {
            return Err(Refusal::TooLarge);
        }
        if !self.owners.contains_key(&owner) {
            return Err(Refusal::UnknownOwner);
        }
        if let Some(&entry) = self.limits.get(&limit) {
            let found = &self.entries[entry];
            if found.owner != owner {
                return Err(Refusal::LimitOfOther(found.owner));
            }
            if found.kind != definition.kind() {
                return Err(Refusal::KindChanged(found.kind));
            }
            return Ok(self.redefine(entry, definition, enforcement));
        }
        let (now, kind) = (self.now, definition.kind());
        let counters = rules.map(|rule| {
            let (start, end) = rule.as_ref().map_or((now, now), |rule| rule.window(now, now));
            Counter { rule, start, end, ..Counter::default() }
        });
        let anchor = now;
        self.entries.push(Entry { limit, owner, kind, definition, enforcement, anchor, counters });
        self.limits.insert(limit, self.entries.len() - 1);
        let owner = self.owners.get_mut(&owner).expect("it was there just now");
        owner.entries.push(self.entries.len() - 1);
        Ok(Upserted::Created)
    }

    /// Another definition for a limit that exists: usage stays.
    fn redefine(
        &mut self,
        entry: usize,
        definition: Definition,
        enforcement: Enforcement,
    ) -> Upserted {
        self.roll(entry);
        let before = std::mem::replace(&mut self.entries[entry].enforcement, enforcement);
        if self.entries[entry].definition == definition && before == enforcement {
            return Upserted::Unchanged;
        }
        let anchor = self.entries[entry].anchor;
        self.entries[entry].definition = definition;
        let mut opened = Vec::new();
        for (counter, rule) in definition.rules().into_iter().enumerate() {
            let slot = (entry, counter);
            let before = std::mem::replace(&mut self.counter_mut(slot).rule, rule.clone());
            let Some(rule) = rule else { continue };
            // A clock that is behind reopens nothing.
            let window = rule.window(anchor, self.now.max(self.counter(slot).start));
            match before {
                None => opened.push((slot, window)),
                Some(before) if before.period == rule.period => {}
                Some(_) => {
                    let counter = self.counter_mut(slot);
                    (counter.start, counter.end) = window;
                }
            }
        }
        for (slot, window) in opened {
            self.begin(slot, window, 0);
        }
        self.sound((entry, 0));
        self.sound((entry, 1));
        Upserted::Changed
    }

    pub fn remove_limit(&mut self, limit: u8) -> Result<Vec<View>, Refusal> {
        let entry = self.limits.remove(&limit).ok_or(Refusal::UnknownLimit)?;
        for owner in self.owners.values_mut() {
            owner.entries.retain(|&other| other != entry);
        }
        Ok(self.views(entry))
    }

    fn find(&self, limit: u8) -> Result<usize, Refusal> {
        self.limits.get(&limit).copied().ok_or(Refusal::UnknownLimit)
    }

    fn slot(&self, limit: u8, dimension: Dimension) -> Result<(usize, usize), Refusal> {
        let entry = self.find(limit)?;
        let counts = |counter: &usize| {
            let rule = self.counter((entry, *counter)).rule.as_ref();
            rule.is_some_and(|rule| rule.dimension == dimension)
        };
        (0..2).find(counts).map(|counter| (entry, counter)).ok_or(Refusal::NotCounted)
    }

    pub fn reset(&mut self, limit: u8, one: Option<Dimension>) -> Result<Vec<Done>, Refusal> {
        let entry = self.find(limit)?;
        if let Some(dimension) = one {
            return self.reset_slot(self.slot(limit, dimension)?, None).map(|done| vec![done]);
        }
        let slots = [(entry, 0), (entry, 1)];
        let there = slots.into_iter().filter(|&slot| self.counter(slot).rule.is_some());
        there.collect::<Vec<_>>().into_iter().map(|slot| self.reset_slot(slot, None)).collect()
    }

    pub fn reset_window(
        &mut self,
        limit: u8,
        dimension: Dimension,
        generation: u64,
    ) -> Result<Done, Refusal> {
        self.reset_slot(self.slot(limit, dimension)?, Some(generation))
    }

    fn reset_slot(&mut self, slot: (usize, usize), expected: Option<u64>) -> Result<Done, Refusal> {
        let rule = self.counter(slot).rule.clone().expect("only what is counted is reset");
        let dimension = rule.dimension;
        if dimension == Dimension::InFlight {
            return Err(Refusal::NoWindow);
        }
        self.roll(slot.0);
        let Counter { start, end, generation, settled, .. } = *self.counter(slot);
        if expected.is_some_and(|expected| expected != generation) {
            return Ok(Done::Lost { dimension, start, end, generation });
        }
        let total = settled + self.held(slot, generation);
        let start = self.now.max(start + 1).min(end - 1);
        self.begin(slot, (start, end), 0);
        let generation = generation + 1;
        self.event(slot, generation, What::Reset { start, end });
        let total = u64::try_from(total).expect("counters are narrower than 64 bits");
        Ok(Done::Reset { dimension, total, start, end, generation })
    }

    /// How many limits were looked at, and how many of them were rolled.
    pub fn reset_expired(&mut self) -> (usize, usize) {
        let entries: Vec<usize> = self.limits.values().copied().collect();
        let rolled = entries.iter().filter(|&&entry| self.roll(entry)).count();
        (entries.len(), rolled)
    }

    pub fn top_up(&mut self, limit: u8, credit: u64) -> Result<u64, Refusal> {
        let entry = self.find(limit)?;
        self.roll(entry);
        let Definition::Budget { limit, period: 5, .. } = self.entries[entry].definition else {
            return Err(Refusal::NotPrepaid);
        };
        let counter = self.counter_mut((entry, 0));
        let credit = counter.credit + u128::from(credit);
        // One that never denies cannot be given more.
        let total = limit.map(|limit| u128::from(limit) + credit);
        if total.is_none_or(|total| total > u128::from(SETTLED_MAX)) {
            return Err(Refusal::TooLarge);
        }
        counter.credit = credit;
        let admits = counter.limit(counter.start).expect("it has a limit");
        let admits = u64::try_from(admits).expect("counters are narrower than 64 bits");
        self.sound((entry, 0));
        Ok(admits)
    }

    pub fn override_limit(
        &mut self,
        limit: u8,
        dimension: Dimension,
        instead: u64,
        windows: u16,
    ) -> Result<(), Refusal> {
        let slot = self.slot(limit, dimension)?;
        if instead > SETTLED_MAX {
            return Err(Refusal::TooLarge);
        }
        self.roll(slot.0);
        let (counter, anchor) = (self.counter(slot), self.entries[slot.0].anchor);
        let rule = counter.rule.as_ref().expect("only what is counted is overridden");
        let mut until = if windows == 0 { NEVER } else { counter.end };
        for _ in 1..windows {
            until = rule.window(anchor, until).1;
        }
        self.counter_mut(slot).instead = Some((instead.into(), until));
        self.sound((slot.0, 0));
        self.sound((slot.0, 1));
        Ok(())
    }

    pub fn clear_override(&mut self, limit: u8, dimension: Dimension) -> Result<(), Refusal> {
        let slot = self.slot(limit, dimension)?;
        self.roll(slot.0);
        self.counter_mut(slot).instead = None;
        self.sound((slot.0, 0));
        self.sound((slot.0, 1));
        Ok(())
    }

    pub fn export(&self) -> Document {
        let kept = |(&limit, &entry): (&u8, &usize)| {
            let found = &self.entries[entry];
            let counters = (0..2).filter_map(|counter| {
                let view = self.view((entry, counter))?;
                let Counter { credit, instead, .. } = self.counter((entry, counter));
                Some(KeptCounter {
                    dimension: view.dimension,
                    start: view.start,
                    end: view.end,
                    settled: view.settled,
                    credit: u64::try_from(*credit).expect("top-ups are checked"),
                    instead: instead.map(|(limit, until)| {
                        (u64::try_from(limit).expect("overrides are checked"), until)
                    }),
                })
            });
            let windowed = found.kind != LimitKind::Concurrency;
            let counters = counters.filter(|_| windowed).collect();
            let (owner, kind, anchor) = (found.owner, found.kind, found.anchor);
            Kept { limit, owner, kind, anchor, counters }
        };
        Document { at: self.now, limits: self.limits.iter().map(kept).collect() }
    }

    pub fn import(&mut self, document: &Document) -> Result<Imported, Refusal> {
        let (mut restored, mut ended, mut unknown) = (0, 0, Vec::new());
        for (index, kept) in document.limits.iter().enumerate() {
            match self.limits.get(&kept.limit).map(|&entry| &self.entries[entry]) {
                None => unknown.push(kept.limit),
                Some(found) if found.owner != kept.owner => return Err(Refusal::WrongOwner(index)),
                Some(found) if found.kind != kept.kind => return Err(Refusal::WrongKind(index)),
                Some(_) => {}
            }
        }
        for kept in &document.limits {
            let Some(&entry) = self.limits.get(&kept.limit) else { continue };
            self.roll(entry);
            let moved = std::mem::replace(&mut self.entries[entry].anchor, kept.anchor);
            let mut begun = Vec::new();
            for counter in &kept.counters {
                let slot = (entry, usize::from(counter.dimension == Dimension::Requests));
                let open = counter.end > self.now || counter.end == NEVER;
                // What the limit does not count any more is passed over, but for its grants.
                if self.counter(slot).rule.is_some() {
                    *(if open { &mut restored } else { &mut ended }) += 1;
                }
                begun.extend(self.set(slot, counter, open));
            }
            if moved != kept.anchor {
                self.lay_anew(entry, &begun);
            }
            for (slot, window, settled) in begun {
                self.begin(slot, window, settled);
            }
            self.sound((entry, 0));
            self.sound((entry, 1));
        }
        Ok((restored, ended, unknown))
    }

    /// Windows on another lattice: those that stay become the ones of it around now.
    fn lay_anew(&mut self, entry: usize, begun: &[Begun]) {
        let (now, anchor) = (self.now, self.entries[entry].anchor);
        for slot in [(entry, 0), (entry, 1)] {
            let counter = self.counter_mut(slot);
            if let Some(rule) = counter.rule.as_ref().filter(|_| begun.iter().all(|b| b.0 != slot))
            {
                (counter.start, counter.end) = rule.window(anchor, now);
            }
        }
    }

    /// Sets a counter's grants, and says which window is to begin with which balance.
    fn set(&mut self, slot: (usize, usize), kept: &KeptCounter, open: bool) -> Option<Begun> {
        let (now, anchor) = (self.now, self.entries[slot.0].anchor);
        let counter = self.counter_mut(slot);
        counter.credit = kept.credit.into();
        counter.instead = kept.instead.map(|(limit, until)| (limit.into(), until));
        let due = counter.rule.as_ref().filter(|_| open)?.window(anchor, now);
        let window = if kept.end == due.1 { (kept.start, kept.end) } else { due };
        Some((slot, window, kept.settled.into()))
    }
}

/// A window that begins with a balance.
type Begun = ((usize, usize), (u64, u64), u128);
