//! A request on its way through a node.

use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{
    BarrierError, Charge, Draft, Fingerprint, LockKey, OwnerId, Ran, RecordId, Route, RunError,
    Scope, Settling, Unreserved, Usage,
};

use crate::auditor::{Ends, Tag};
use crate::dice::Dice;
use crate::node::Gateway;
use crate::topology::{COST_MAX, TOKENS_MAX, Topology, money};

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    pub number: u64,
    pub key: OwnerId,
    pub upstream: OwnerId,
    pub user: OwnerId,
    pub estimate: Option<Usage>,
    /// The idempotency key, and the body.
    pub once: Option<(String, u64)>,
}

impl Ask {
    pub fn draw(number: u64, dice: &mut Dice, topology: &Topology, unknown: bool) -> Ask {
        Ask {
            number,
            key: dice.pick(&topology.keys).clone(),
            upstream: dice.pick(&topology.upstreams).clone(),
            user: dice.pick(&topology.users).clone(),
            estimate: (!unknown).then(|| draw_usage(dice)),
            once: None,
        }
    }

    /// The scope of its idempotency key, and its fingerprint. The tenant is the api key.
    fn once(&self) -> Option<(Scope, Fingerprint)> {
        let (key, body) = self.once.as_ref()?;
        let scope = Scope::new(self.key.as_str(), "POST /v1/chat", key).expect("a scope");
        Some((scope, Fingerprint::of(&[&body.to_be_bytes()])))
    }
}

pub fn draw_usage(dice: &mut Dice) -> Usage {
    Usage {
        input_tokens: dice.range(0, TOKENS_MAX / 2),
        output_tokens: dice.range(0, TOKENS_MAX / 2),
        requests: 1,
        cost: money(dice.range(0, COST_MAX)),
        ..Usage::default()
    }
}

/// A client's request from its beginning to its answer.
pub async fn serve(gateway: Arc<Gateway>, ask: Ask, patience: u64) {
    let hub = Arc::clone(gateway.hub());
    let Some((scope, fingerprint)) = ask.once() else {
        let answer = execute(gateway, ask.clone(), None).await;
        hub.say(format!("r{} ends: {answer:?}", ask.number));
        return;
    };
    let wait = Duration::from_nanos(patience);
    let (inner, asked) = (Arc::clone(&gateway), ask.clone());
    let ran = gateway.keys.run(&scope, fingerprint, wait, move |attempt| async move {
        let charge = attempt.charge();
        execute(inner, asked, Some(charge)).await.map(String::into_bytes)
    });
    let what = match ran.await {
        Ok(Ran::Fresh(answer)) => format!("fresh {}", String::from_utf8_lossy(&answer)),
        Ok(Ran::Replayed(answer)) => {
            hub.audit(|auditor| {
                auditor.counts.replayed += 1;
                auditor.keys.replayed(&scope, fingerprint, &answer)
            });
            format!("replayed {}", String::from_utf8_lossy(&answer))
        }
        Err(RunError::Mismatch) => {
            hub.audit(|auditor| {
                auditor.counts.mismatched += 1;
                Ok(())
            });
            "another request has that key".to_owned()
        }
        Err(error) => error.to_string(),
    };
    hub.say(format!("r{} ends: {what}", ask.number));
}

/// Calls the upstream: behind the barrier, if nobody knows what it will cost.
async fn execute(
    gateway: Arc<Gateway>,
    ask: Ask,
    charge: Option<RecordId>,
) -> Result<String, String> {
    if ask.estimate.is_some() {
        return call(gateway, ask, charge).await;
    }
    let (inner, user) = (Arc::clone(&gateway), ask.user.clone());
    let section = gateway.barrier.run(&user, None, move |permit| async move {
        let _inside = Inside::enter(&inner, &ask.user);
        if permit.is_lost() {
            return Err("the lock is lost".to_owned());
        }
        call(inner, ask, charge).await
    });
    match section.await {
        Ok(answer) => answer,
        Err(error @ BarrierError::Reentrant { .. }) => panic!("nobody enters twice: {error}"),
        Err(error) => Err(error.to_string()),
    }
}

/// A call that is inside of its user's critical section.
struct Inside {
    gateway: Arc<Gateway>,
    number: u64,
}

impl Inside {
    fn enter(gateway: &Arc<Gateway>, user: &OwnerId) -> Inside {
        let number = gateway.common.next_tag();
        let locks = &gateway.common.locks;
        let session = locks.live(gateway.home, LockKey::of(user));
        gateway.hub().say(format!("node {} lets {user} in", gateway.home.node));
        gateway.hub().audit(|auditor| {
            let who = (number, gateway.home);
            auditor.inside.enters(who, user, session, |session| locks.is_live(session))
        });
        Inside { gateway: Arc::clone(gateway), number }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gateway.hub().audit(|auditor| {
            auditor.inside.leaves(self.number);
            Ok(())
        });
    }
}

/// A charge whose end the auditor learns of, however it comes.
struct Watched {
    gateway: Arc<Gateway>,
    tag: Tag,
    charge: Option<Charge>,
}

impl Watched {
    /// Takes the charge to end it. The auditor works out what must follow before it does.
    fn end(&mut self, how: Ends) -> Option<Charge> {
        let charge = self.charge.take()?;
        let limits = self.gateway.limits();
        let home = self.gateway.home;
        self.gateway.hub().audit(|auditor| {
            auditor.counts.uncertain += u64::from(matches!(how, Ends::Uncertain));
            let Some(memory) = auditor.memory(home) else { return Ok(()) };
            memory.ends(self.tag, how, &limits);
            Ok(())
        });
        Some(charge)
    }

    fn dispatch(&mut self) {
        self.charge.iter_mut().for_each(Charge::mark_dispatched);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let dispatched = self.charge.as_ref().is_some_and(Charge::is_dispatched);
        let how = if dispatched { Ends::Uncertain } else { Ends::Void };
        if self.charge.is_some() {
            let hub = self.gateway.hub();
            hub.say(format!("q{} is dropped, {how:?}", self.tag));
        }
        drop(self.end(how));
    }
}

async fn call(gateway: Arc<Gateway>, ask: Ask, charge: Option<RecordId>) -> Result<String, String> {
    let hub = Arc::clone(gateway.hub());
    let tag = gateway.common.next_tag();
    if let (Some(charge), Some((scope, fingerprint))) = (charge, ask.once()) {
        hub.audit(|auditor| auditor.keys.executes(tag, charge, (&scope, fingerprint)));
    }
    let route = gateway.engine.route(&[ask.key.clone(), ask.upstream.clone()]);
    let draft = Draft::new().api_key(&ask.key).upstream(&ask.upstream).model(format!("q{tag}"));
    let draft = charge.map_or(draft.clone(), |id| draft.id(id));
    let estimate = ask.estimate.unwrap_or(Usage { requests: 1, ..Usage::default() });
    let (number, node) = (ask.number, gateway.home.node);
    if ask.estimate.is_none() && hub.chance(hub.swarm.post_paid) {
        return post_paid(&gateway, (tag, number), &route, draft).await;
    }
    let reserved = gateway.ledger.reserve(&route, &estimate, draft);
    let mut watched = match reserved {
        Ok(charge) => Watched { gateway: Arc::clone(&gateway), tag, charge: Some(charge) },
        Err(Unreserved::Denied(denied)) => {
            hub.say(format!("r{number} node {node}: q{tag} is denied"));
            return Err(format!("denied: {denied}"));
        }
        Err(error) => return Err(error.to_string()),
    };
    hub.say(format!("r{number} node {node}: q{tag} is admitted"));
    admitted(&gateway, tag, &estimate, &route);
    hub.sleep(hub.range(0, 20_000_000)).await;
    watched.dispatch();
    let answered = upstream(&gateway, &mut watched, &estimate).await;
    let settling = settle(&hub, &mut watched, &estimate, answered);
    let Some(settling) = settling else { return Err("nobody knows".to_owned()) };
    if hub.fault(hub.swarm.not_waited_for) {
        settling.forget();
    } else {
        match settling.await {
            Ok(receipt) => hub.audit(|auditor| auditor.told(tag, &receipt)),
            Err(error) => hub.say(format!("q{tag}: {error}")),
        }
    }
    match answered {
        Answered::Whole(used) => Ok(format!("{} {:?} q{tag} {}", ask.key, ask.once, used.cost)),
        _ => Err(format!("the upstream: {answered:?}")),
    }
}

/// Calls the upstream without asking any limit, and records what it used.
async fn post_paid(
    gateway: &Gateway,
    (tag, number): (Tag, u64),
    route: &Route,
    draft: Draft,
) -> Result<String, String> {
    let hub = gateway.hub();
    hub.sleep(hub.range(0, hub.swarm.upstream_latency)).await;
    let used = draw_usage(&mut hub.dice.lock().expect("nothing panics under it"));
    hub.say(format!("r{number} node {}: q{tag} used {used:?}", gateway.home.node));
    let limits = gateway.engine.route_usage(route);
    hub.audit(|auditor| {
        let memory = auditor.memory(gateway.home);
        memory.into_iter().for_each(|memory| memory.recorded(tag, &used, &limits));
        Ok(())
    });
    match gateway.ledger.record(route, &used, draft).await {
        Ok(receipt) => hub.audit(|auditor| auditor.told(tag, &receipt)),
        Err(error) => hub.say(format!("q{tag}: {error}")),
    }
    Ok(format!("q{tag} {}", used.cost))
}

fn admitted(gateway: &Gateway, tag: Tag, estimate: &Usage, route: &Route) {
    let limits = gateway.engine.route_usage(route);
    gateway.hub().audit(|auditor| {
        auditor.counts.admitted += 1;
        let Some(memory) = auditor.memory(gateway.home) else { return Ok(()) };
        memory.admitted(tag, estimate, &limits)
    });
    gateway.check();
}

/// How an upstream answers.
#[derive(Clone, Copy, Debug)]
enum Answered {
    Whole(Usage),
    Partly(Usage),
    /// It failed, and bills for this.
    Failed(Usage),
    /// It failed, and bills nothing.
    Refused,
    Unknown,
}

async fn upstream(gateway: &Arc<Gateway>, watched: &mut Watched, estimate: &Usage) -> Answered {
    let hub = Arc::clone(gateway.hub());
    let swarm = &hub.swarm;
    hub.sleep(hub.range(0, swarm.upstream_latency)).await;
    if hub.fault(swarm.extended) {
        let more = Usage { output_tokens: hub.range(1, 50), ..Usage::default() };
        let extended = watched.charge.as_mut().map(|charge| charge.extend(&more));
        let limits = gateway.limits();
        if let Some(Ok(())) = extended {
            hub.say(format!("q{} is extended", watched.tag));
            hub.audit(|auditor| match auditor.memory(gateway.home) {
                Some(memory) => memory.extended(watched.tag, &more, &limits),
                None => Ok(()),
            });
        }
        hub.sleep(hub.range(0, swarm.upstream_latency)).await;
    }
    if hub.fault(swarm.upstream_hangs) {
        hub.sleep(30_000_000_000).await;
        return Answered::Unknown;
    }
    let most = estimate.cost.as_nanos() + 1;
    let most = if hub.chance(swarm.outgrown) { 3 * COST_MAX } else { most };
    let cost = money(hub.range(0, most));
    let output_tokens =
        hub.range(0, estimate.output_tokens + if most > COST_MAX { 200 } else { 1 });
    let used = Usage { output_tokens, cost, ..*estimate };
    if hub.fault(swarm.upstream_fails) {
        return if hub.chance(300) { Answered::Failed(used) } else { Answered::Refused };
    }
    if hub.fault(swarm.upstream_unknown) {
        return Answered::Unknown;
    }
    if hub.fault(swarm.upstream_partial) { Answered::Partly(used) } else { Answered::Whole(used) }
}

/// Ends a charge as the upstream's answer demands. `None`: by letting it go.
fn settle(
    hub: &crate::hub::Hub,
    watched: &mut Watched,
    estimate: &Usage,
    answered: Answered,
) -> Option<Settling> {
    hub.say(format!("q{} of {estimate:?}: {answered:?}", watched.tag));
    let part = |used: Usage| Ends::Used(Usage { requests: 0, ..used });
    Some(match answered {
        Answered::Whole(used) => watched.end(Ends::Used(used))?.settle(&used),
        Answered::Partly(used) => watched.end(part(used))?.settle_partial(&used),
        Answered::Failed(used) if used.cost.as_nanos() == 0 && used.output_tokens == 0 => {
            watched.end(Ends::Unbilled)?.unbilled("it used nothing")
        }
        Answered::Failed(used) => watched.end(part(used))?.settle_failed(&used),
        Answered::Refused => watched.end(Ends::Unbilled)?.unbilled("refused"),
        Answered::Unknown => return None,
    })
}
