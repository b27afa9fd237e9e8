//! Faults that come from outside, and what operators do.

use std::collections::BTreeSet;

use tollkeeper::{Filter, Outcome, OwnerId, Reconciled, Rejected};

use crate::auditor::{Memory, standing};
use crate::request::draw_usage;
use crate::store;
use crate::tasks::Home;
use crate::topology::{Being, redraw};
use crate::world::{Change, Event, World};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

impl World {
    /// Draws once for everything that may happen.
    pub fn chaos(&mut self) {
        let hub = std::sync::Arc::clone(&self.hub);
        let swarm = &hub.swarm;
        let node = hub.pick(&(0..self.nodes.len()).collect::<Vec<_>>());
        if hub.fault(swarm.crash) {
            let at_once = hub.chance(600);
            self.stop(node, at_once);
            hub.after(hub.range(1, 5 * SECOND), Event::Restart(node));
        }
        if hub.fault(swarm.pause) {
            self.pause(node);
        }
        if hub.fault(swarm.clock_step) {
            self.step_clock(node);
        }
        if hub.fault(swarm.outage) {
            hub.say("the store is out");
            hub.goes_out(hub.range(1, 20 * SECOND));
        }
        if hub.fault(swarm.delete_owner) {
            self.delete(false);
            if hub.chance(300) {
                self.delete(false);
            }
        }
        if hub.fault(swarm.delete_behind) {
            self.delete(true);
        }
        if hub.fault(swarm.change_limit) {
            self.change_limit(false);
        }
        if hub.fault(swarm.change_period) {
            self.change_limit(true);
        }
        if hub.fault(swarm.reset) {
            self.reset(node);
        }
        if hub.fault(swarm.resolve) {
            self.resolve(node);
        }
        if hub.fault(swarm.reconcile) {
            self.reconcile(node);
        }
        if hub.fault(swarm.top_up) {
            self.top_up(node);
        }
        if hub.fault(swarm.override_limit) {
            self.override_limit(node);
        }
        if hub.fault(swarm.sweep)
            && let Some(node) = &self.nodes[node]
        {
            let _ = node.gateway.engine.reset_expired();
        }
    }

    fn pause(&mut self, node: usize) {
        let Some(node) = self.nodes[node].as_mut().filter(|node| !node.paused) else { return };
        node.paused = true;
        let home: Home = node.gateway.home;
        self.hub.say(format!("node {} pauses", home.node));
        self.hub.after(self.hub.range(1, 10 * SECOND), Event::Resume(home));
    }

    /// Far ahead, or a little back.
    fn step_clock(&mut self, node: usize) {
        let Some(running) = &self.nodes[node] else { return };
        let by = if self.hub.chance(300) {
            self.hub.range(1, 30 * SECOND)
        } else {
            self.hub.range(1, 2 * SECOND)
        };
        let by = i64::try_from(by).expect("small");
        let by = if self.hub.chance(500) { by } else { -by.min(2_000_000_000) };
        self.hub.say(format!("node {node}'s clock steps by {by}"));
        running.gateway.clock.step(by);
    }

    /// An owner is deleted: by a node, or behind the backs of all.
    fn delete(&mut self, behind: bool) {
        let there: Vec<OwnerId> = self
            .topology
            .beings
            .iter()
            .filter(|(owner, being)| **being == Being::There && owner.kind() != "team")
            .map(|(owner, _)| owner.clone())
            .collect();
        if there.is_empty() {
            return;
        }
        let owner = self.hub.pick(&there);
        self.hub.say(format!("{owner} is to be deleted{}", if behind { ", behind" } else { "" }));
        if behind {
            let deleted = store::delete(&self.hub, &self.common.ledger, &owner);
            deleted.expect("memory always answers");
        } else {
            self.topology.kept.insert(owner.clone());
        }
        let all: BTreeSet<usize> = (0..self.nodes.len()).collect();
        for node in &all {
            let change = Change::Remove(owner.clone());
            let later = if behind || *node > 0 { self.hub.range(0, 2 * SECOND) } else { 0 };
            self.hub.after(later, Event::Apply(*node, change));
        }
        self.topology.beings.insert(owner, Being::Going(all));
    }

    pub fn comes_back(&mut self, owner: &OwnerId) {
        self.hub.say(format!("{owner} is created again"));
        let all: BTreeSet<usize> = (0..self.nodes.len()).collect();
        for node in &all {
            let change = Change::Create(owner.clone());
            self.hub.after(self.hub.range(0, SECOND), Event::Apply(*node, change));
        }
        self.topology.beings.insert(owner.clone(), Being::Coming(all));
    }

    /// A node knows how owners stand: of one, or of all, because it has just begun.
    pub fn has_heard(&mut self, node: usize, of: Option<&OwnerId>) {
        let mut gone = Vec::new();
        for (owner, being) in &mut self.topology.beings {
            if of.is_some_and(|of| of != owner) {
                continue;
            }
            match being {
                Being::Going(nodes) => {
                    nodes.remove(&node);
                    if nodes.is_empty() {
                        *being = Being::Gone;
                        gone.push(owner.clone());
                    }
                }
                Being::Coming(nodes) => {
                    nodes.remove(&node);
                    if nodes.is_empty() {
                        *being = Being::There;
                    }
                }
                Being::There | Being::Gone => {}
            }
        }
        for owner in gone {
            // Those that should have done it, or done it last, were down.
            if self.topology.kept.remove(&owner) {
                let deleted = store::delete(&self.hub, &self.common.ledger, &owner);
                deleted.expect("memory always answers");
            }
            // Of two limits of one id and one anchor nobody can say which one a record charged.
            let told_apart = !self.hub.swarm.one_anchor;
            if !self.hub.is_calm() && told_apart && self.hub.chance(800) {
                self.hub.after(self.hub.range(0, 5 * SECOND), Event::ComesBack(owner));
            }
        }
    }

    fn change_limit(&mut self, period: bool) {
        let count = self.topology.specs.len();
        if count == 0 {
            return;
        }
        let place = self.hub.pick(&(0..count).collect::<Vec<_>>());
        let spec = &mut self.topology.specs[place];
        {
            let mut dice = self.hub.dice.lock().expect("nothing panics under it");
            spec.rule = redraw(&spec.rule, &mut dice, &self.hub.swarm, period);
        }
        let spec = spec.clone();
        self.hub.say(format!("{} becomes {:?}", spec.id, spec.rule));
        for node in 0..self.nodes.len() {
            let change = Change::Limit(spec.clone());
            self.hub.after(self.hub.range(0, SECOND), Event::Apply(node, change));
        }
    }

    /// A node hears of a change.
    pub fn apply(&mut self, place: usize, change: Change) {
        // A node that is down will begin with how things are then.
        let Some(node) = &self.nodes[place] else {
            if let Change::Remove(owner) | Change::Create(owner) = &change {
                self.has_heard(place, Some(owner));
            }
            return;
        };
        if node.paused {
            self.hub.after(100 * MILLI, Event::Apply(place, change));
            return;
        }
        let (gateway, hub) = (&node.gateway, &self.hub);
        let (home, engine) = (gateway.home, &gateway.engine);
        match &change {
            Change::Remove(owner) => {
                let going =
                    |nodes: &Being| matches!(nodes, Being::Going(on) if on.contains(&place));
                if !self.topology.beings.get(owner).is_some_and(going) {
                    return;
                }
                if let Err(error) = gateway.ledger.remove_owner(owner) {
                    hub.say(format!("node {place}: {error}"));
                    hub.after(50 * MILLI, Event::Apply(place, change));
                    return;
                }
                hub.say(format!("node {place} has removed {owner}"));
                self.topology.kept.remove(owner);
            }
            Change::Create(owner) => {
                let coming = |on: &Being| matches!(on, Being::Coming(on) if on.contains(&place));
                if !self.topology.beings.get(owner).is_some_and(coming) {
                    return;
                }
                self.topology.build(engine, Some(owner)).expect("a sound topology");
                let limits = gateway.limits();
                hub.audit(|auditor| {
                    auditor.created((home, owner), &self.topology.specs, &limits);
                    Ok(())
                });
            }
            Change::Limit(spec) => {
                if engine.usage(&spec.id).is_none() {
                    return;
                }
                let _ = engine.reset_expired();
                let before = engine.usage(&spec.id);
                hub.audit(|auditor| {
                    if let (Some(memory), Some(before)) = (auditor.memory(home), &before) {
                        memory.before_change(before);
                        memory.ruled(spec);
                    }
                    Ok(())
                });
                spec.upsert(engine).expect("a sound limit");
                hub.say(format!("node {place} changes {}", spec.id));
            }
        }
        gateway.check();
        if let Change::Remove(owner) | Change::Create(owner) = &change {
            self.has_heard(place, Some(owner));
        }
    }

    /// An operator ends a window.
    fn reset(&mut self, node: usize) {
        let Some(node) = self.nodes[node].as_ref().filter(|node| !node.paused) else { return };
        let specs = &self.topology.specs;
        if specs.is_empty() {
            return;
        }
        let limit = self.hub.pick(&specs.iter().map(|spec| spec.id.clone()).collect::<Vec<_>>());
        let before = node.gateway.engine.usage(&limit);
        match node.gateway.ledger.reset(&limit, None) {
            Ok((_, settling)) => settling.forget(),
            Err(error) => return self.hub.say(error.to_string()),
        }
        let home = node.gateway.home;
        self.hub.say(format!("node {} resets {limit}", home.node));
        let after = standing(&node.gateway.engine);
        self.hub.audit(|auditor| {
            let after = after.iter().find(|standing| standing.usage.limit == limit);
            match (auditor.memory(home), &before, after) {
                (Some(memory), Some(before), Some(after)) => memory.reset(home, before, after),
                _ => Ok(()),
            }
        });
        node.gateway.check();
    }

    /// An operator knows what an uncertain request used.
    fn resolve(&mut self, node: usize) {
        let Some(node) = self.nodes[node].as_ref().filter(|node| !node.paused) else { return };
        let gateway = &node.gateway;
        let filter = Filter { uncorrected: true, ..Filter::default() };
        let Ok(uncertain) = gateway.ledger.records(&filter, None, 100) else { return };
        let home = gateway.home;
        let mut ids: Vec<_> = uncertain.iter().map(|stored| &stored.record).collect();
        // One at a time on each node.
        ids.retain(|record| {
            let tag = crate::auditor::tag_of(record).expect("a tag");
            !self.hub.audit(|auditor| {
                Ok(auditor.memory(home).is_some_and(|memory| memory.is_resolving(tag)))
            })
        });
        if ids.is_empty() {
            return;
        }
        let record = self.hub.pick(&ids);
        let used = draw_usage(&mut self.hub.dice.lock().expect("nothing panics under it"));
        match gateway.ledger.resolve(record.id, &used) {
            Ok(settling) => settling.forget(),
            Err(error) => return self.hub.say(error.to_string()),
        }
        // It took its time to read the record; since then none has passed.
        let limits = gateway.limits();
        self.hub.say(format!("node {}: {} used {used:?}", home.node, record.id));
        self.hub.audit(|auditor| {
            auditor.resolves(home, record.id, &used, &limits);
            Ok(())
        });
    }

    pub fn reconcile(&mut self, node: usize) -> Option<Reconciled> {
        let node = self.nodes[node].as_ref().filter(|node| !node.paused)?;
        let gateway = &node.gateway;
        // What is booked and not written is all on the list of what was rejected.
        let booked = |rejected: &Rejected| {
            let outcome = rejected.entry.record.as_ref().map(|record| record.outcome);
            !matches!(outcome, None | Some(Outcome::Correction | Outcome::Unbilled))
        };
        let rejected = gateway.ledger.rejected().iter().filter(|r| booked(r)).count();
        let quiet = gateway.ledger.health().unpersisted.entries == rejected as u64;
        let found = gateway.ledger.reconcile().ok()?;
        let (home, now) = (gateway.home, gateway.engine.now());
        for drift in &found.drifts {
            self.hub.say(format!("node {} finds {drift:?}", home.node));
        }
        for adopted in &found.adopted {
            self.hub.say(format!("node {} goes on in {adopted:?}", home.node));
        }
        for apart in &found.apart {
            self.hub.say(format!("node {} counts apart {apart:?}", home.node));
        }
        if found.moved > 0 {
            self.hub.say(format!("node {} tells of {} windows", home.node, found.moved));
        }
        self.hub.audit(|auditor| auditor.reconciled(home, &found, quiet, now));
        self.hub.audit(|_| Memory::check_adopted(&found, &gateway.limits()));
        gateway.check();
        Some(found)
    }
}
