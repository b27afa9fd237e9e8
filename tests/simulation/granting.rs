//! Operators top up prepaid budgets and override limits, on one node or another.

use std::num::NonZeroU16;

use tollkeeper::{Dimension, GrantError, Lasts, LimitId, Money, RecordId, Timestamp};

use crate::hub::breach;
use crate::topology::{Being, COST_MAX, Rule, Spec, money};
use crate::world::World;

/// A payment, of which a notice may come more than once.
#[derive(Clone, Debug)]
pub struct Payment {
    id: RecordId,
    limit: LimitId,
    amount: Money,
}

impl World {
    /// The limits of owners that all nodes know, of which this is so.
    fn granted_on(&self, of: impl Fn(&Rule) -> bool) -> Vec<Spec> {
        let there = |spec: &&Spec| self.topology.beings.get(&spec.owner) == Some(&Being::There);
        let specs = self.topology.specs.iter().filter(there);
        specs.filter(|spec| of(&spec.rule)).cloned().collect()
    }

    /// The notice of a payment comes: of a new one, or once more, maybe of another amount.
    pub fn top_up(&mut self, node: usize) {
        let prepaid = self.granted_on(|rule| matches!(rule, Rule::Budget { period: None, .. }));
        let running = self.nodes[node].as_ref().filter(|node| !node.paused);
        let Some(node) = running.filter(|_| !prepaid.is_empty()) else { return };
        let (hub, gateway) = (&self.hub, &node.gateway);
        let mut payment = Payment {
            id: RecordId::derived(format!("payment {}", self.payments.len()).as_bytes()),
            limit: hub.pick(&prepaid).id,
            amount: money(hub.range(1, 20 * COST_MAX)),
        };
        if !self.payments.is_empty() && hub.chance(hub.swarm.paid_again) {
            payment = hub.pick(&self.payments);
            if !prepaid.iter().any(|spec| spec.id == payment.limit) {
                return;
            }
            if hub.chance(200) {
                payment.amount = money(payment.amount.as_nanos() + 1);
            }
        } else {
            self.payments.push(payment.clone());
        }
        let Payment { id, limit, amount } = payment;
        let (home, counter) = (gateway.home, (limit.clone(), Dimension::Money));
        let known = hub.audit(|auditor| Ok(auditor.books.grants.knows(id)));
        let done = gateway.ledger.top_up(&limit, amount, id);
        hub.say(format!("node {} tops {limit} up by {amount}: {done:?}", home.node));
        match &done {
            Ok(done) => {
                hub.audit(|auditor| {
                    auditor.credited(home, &counter);
                    let due = known.is_none();
                    if done.added == due {
                        return Ok(());
                    }
                    breach("L11", format!("{id} is said to be {done:?}; added is {due}"))
                });
                let admits = gateway.engine.usage(&limit).and_then(|usage| usage.counters[0].limit);
                if admits != Some(done.admits.as_nanos()) {
                    self.object("I14", format!("{limit} admits {admits:?}, said is {done:?}"));
                }
            }
            Err(GrantError::Taken { .. }) => {
                if known.is_none_or(|known| known == (limit.clone(), amount.as_nanos())) {
                    self.object("L11", format!("{id} is said to be another payment's"));
                }
            }
            Err(GrantError::Store { .. }) => {}
            Err(error) => self.object("I14", format!("{limit} is not topped up: {error}")),
        }
        gateway.check();
    }

    /// An operator puts another limit in the place of one, or takes that away.
    pub fn override_limit(&mut self, node: usize) {
        let specs = self.granted_on(|_| true);
        let running = self.nodes[node].as_ref().filter(|node| !node.paused);
        let Some(node) = running.filter(|_| !specs.is_empty()) else { return };
        let (hub, gateway) = (&self.hub, &node.gateway);
        let spec = hub.pick(&specs);
        let dimension = match spec.rule {
            Rule::Budget { .. } => Dimension::Money,
            Rule::Rate { .. } => hub.pick(&[Dimension::Tokens, Dimension::Requests]),
            Rule::Concurrency { .. } => Dimension::InFlight,
        };
        let (home, limit) = (gateway.home, &spec.id);
        let before = gateway.engine.usage(limit);
        let Some(counter) = before.as_ref().and_then(|usage| usage.counter(dimension)) else {
            return self.object("I14", format!("{limit} does not count {dimension}"));
        };
        let (due, done) = if hub.chance(300) {
            hub.say(format!("node {} clears what is in place of {limit}", home.node));
            (None, gateway.ledger.clear_override(limit, dimension))
        } else {
            let instead = hub.range(0, 10 * COST_MAX);
            let windows = Lasts::Windows(NonZeroU16::MIN);
            let (lasts, until) =
                hub.pick(&[(Lasts::UntilCleared, Timestamp::MAX), (windows, counter.window.end)]);
            hub.say(format!("node {} puts {instead} in place of {limit}, {lasts:?}", home.node));
            let done = gateway.ledger.override_limit(limit, dimension, instead, lasts);
            // Windows are counted from when it is done, which may have waited for a deletion.
            let after = gateway.engine.usage(limit);
            let after = after.as_ref().and_then(|usage| usage.counter(dimension));
            let window = after.map_or(until, |counter| counter.window.end.max(until));
            let counter = (limit.clone(), dimension);
            let kept = hub.audit(|auditor| Ok(auditor.books.grants.of(&counter).instead));
            let kept = kept.map(|(_, until)| until).filter(|kept| (until..=window).contains(kept));
            (Some((instead, kept.unwrap_or(until))), done)
        };
        match done {
            Ok(()) => {
                hub.audit(|auditor| auditor.overridden(home, &(limit.clone(), dimension), due))
            }
            Err(error @ GrantError::Store { .. }) => hub.say(error.to_string()),
            Err(error) => self.object("I14", format!("{limit} is not overridden: {error}")),
        }
        gateway.check();
    }
}
