//! A world: its nodes, its requests, its faults, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tollkeeper::{Clock, LedgerStore, MemoryKeys, MemoryLedger, OwnerId, Reconciled};

use crate::auditor::{Counts, standing};
use crate::dice::Dice;
use crate::granting::Payment;
use crate::hub::{Breach, Hub, NodeClock, breach};
use crate::lock::{LockServer, SessionId};
use crate::node::{Common, Node, Part};
use crate::request::{Ask, serve};
use crate::swarm::Swarm;
use crate::tasks::{Due, Home, TaskId, Tasks};
use crate::topology::{Spec, Topology};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

/// Steps that a world may take in all, and time that it may take to come to rest.
const STEPS_MAX: u64 = 400_000;
const REST_WITHIN: u64 = 600 * SECOND;

/// What happens in a world, other than tasks that are woken.
pub enum Event {
    Arrive,
    Again(Box<Ask>),
    /// A client goes away.
    Goes(TaskId),
    Turn(Home, Part),
    Chaos,
    Restart(usize),
    Resume(Home),
    LockDies(SessionId),
    LossIsTold(SessionId),
    Apply(usize, Change),
    ComesBack(OwnerId),
}

/// What an operator changes on a node.
#[derive(Clone, Debug)]
pub enum Change {
    Remove(OwnerId),
    Create(OwnerId),
    Limit(Spec),
}

pub struct World {
    pub common: Common,
    pub hub: Arc<Hub>,
    pub tasks: Tasks,
    pub topology: Topology,
    pub payments: Vec<Payment>,
    /// `None` while a node is down.
    pub nodes: Vec<Option<Node>>,
    clocks: Vec<NodeClock>,
    lives: u64,
    asked: u64,
    bodies: BTreeMap<String, u64>,
    steps: u64,
}

/// How a world ended.
pub struct Report {
    pub hash: (u64, u64),
    pub counts: Counts,
    pub breach: Option<Breach>,
    pub last: String,
    pub headline: String,
}

impl World {
    pub fn new(seed: u64, aloud: bool) -> World {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::draw(&mut dice);
        let topology = Topology::draw(&mut dice, &swarm);
        let hub = Hub::new(swarm, dice, aloud);
        let common = Common {
            hub: Arc::clone(&hub),
            ledger: Arc::new(MemoryLedger::default()),
            keys: Arc::new(MemoryKeys::new(100_000)),
            locks: Arc::new(LockServer::default()),
            tags: Arc::new(AtomicU64::new(1)),
        };
        if aloud {
            println!("{:#?}", hub.swarm);
            topology.specs.iter().for_each(|spec| println!("{spec:?}"));
        }
        let skew = hub.swarm.skew;
        let clock = |_| {
            let off = hub.range(0, 2 * skew + 1);
            NodeClock::new(
                &hub,
                i64::try_from(off).expect("small") - i64::try_from(skew).expect("small"),
            )
        };
        let clocks: Vec<NodeClock> = (0..hub.swarm.nodes).map(clock).collect();
        let nodes = clocks.iter().map(|_| None).collect();
        let bodies = BTreeMap::new();
        let mut world = World {
            common,
            hub,
            tasks: Tasks::default(),
            topology,
            payments: Vec::new(),
            nodes,
            clocks,
            lives: 0,
            asked: 0,
            bodies,
            steps: 0,
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        world
    }

    /// Runs to the end: with faults until all requests were asked, then without until it rests.
    pub fn run(mut self) -> Report {
        self.hub.after(1, Event::Arrive);
        self.hub.after(1, Event::Chaos);
        while self.asked < self.hub.swarm.requests && self.step() {}
        if self.hub.breach().is_none() {
            self.calm_down();
            let until = self.hub.now() + REST_WITHIN;
            while !self.rests() && self.step() {
                if self.hub.now() > until {
                    self.object("I9", self.who_waits());
                }
            }
        }
        if self.hub.breach().is_none() {
            self.end();
        }
        let counts = self.hub.audit(|auditor| Ok(auditor.counts));
        let log = self.hub.log();
        Report {
            hash: log.hash(),
            counts,
            breach: self.hub.breach(),
            last: log.last(),
            headline: self.hub.swarm.headline(),
        }
    }

    pub fn object(&self, law: &'static str, what: impl Into<String>) {
        self.hub.object(breach::<()>(law, what).expect_err("it is one"));
    }

    /// One poll or one event. False when it is over.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.object("I9", format!("no rest after {STEPS_MAX} steps: {}", self.who_waits()));
        }
        if self.hub.breach().is_some() {
            return false;
        }
        let may_run = |home: Home| {
            let node = self.nodes.get(home.node).and_then(Option::as_ref);
            node.is_some_and(|node| node.gateway.home == home && !node.paused)
        };
        if self.tasks.poll_one(&self.hub.dice, may_run) {
            self.adopt();
            return true;
        }
        let Some((time, due)) = self.hub.next_due() else { return false };
        self.hub.until(time);
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Event(event) => self.happens(event),
        }
        self.adopt();
        true
    }

    /// Tasks that were spawned by what ran.
    fn adopt(&mut self) {
        for (home, name, work) in self.hub.take_spawned() {
            if self.node_at(home).is_some() {
                self.tasks.spawn(home, name, work);
            }
        }
    }

    fn node_at(&mut self, home: Home) -> Option<&mut Node> {
        let node = self.nodes.get_mut(home.node)?.as_mut();
        node.filter(|node| node.gateway.home == home)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Again(ask) => self.ask(*ask),
            Event::Goes(task) => {
                if let Some(name) = self.tasks.cancel(task) {
                    self.hub.say(format!("the client of {name} goes"));
                }
            }
            Event::Turn(home, part) => {
                let tick = self.hub.range(1, self.hub.swarm.tick + 1);
                if let Some(node) = self.node_at(home) {
                    if !node.paused {
                        node.turn(part);
                    }
                    self.hub.after(tick, Event::Turn(home, part));
                }
            }
            Event::Chaos => {
                if !self.hub.is_calm() {
                    self.chaos();
                    self.hub.after(self.hub.range(1, 300 * MILLI), Event::Chaos);
                }
            }
            Event::Restart(node) => self.start(node),
            Event::Resume(home) => {
                if let Some(node) = self.node_at(home) {
                    node.paused = false;
                }
            }
            Event::LockDies(session) => {
                if self.common.locks.is_live(session) {
                    self.hub.say(format!("the lock's session {session} dies"));
                    self.common.locks.kill(session);
                    let later = self.hub.range(1, 2 * SECOND);
                    self.hub.after(later, Event::LossIsTold(session));
                }
            }
            Event::LossIsTold(session) => self.common.locks.tell(session),
            Event::Apply(node, change) => self.apply(node, change),
            Event::ComesBack(owner) => self.comes_back(&owner),
        }
    }

    /// A new request, or an old one sent again.
    fn arrive(&mut self) {
        if self.hub.is_calm() {
            return;
        }
        self.asked += 1;
        let swarm = self.hub.swarm.clone();
        let mut ask = {
            let mut dice = self.hub.dice.lock().expect("nothing panics under it");
            let unknown = dice.chance(swarm.no_estimate);
            Ask::draw(self.asked, &mut dice, &self.topology, unknown)
        };
        if self.hub.chance(swarm.keyed) {
            let key = format!("once-{}", self.asked);
            self.bodies.insert(key.clone(), self.asked);
            ask.once = Some((key, self.asked));
        }
        if ask.once.is_some() {
            let mut copy = ask.clone();
            while self.hub.fault(swarm.repeated) {
                if self.hub.chance(swarm.other_body) {
                    copy.once = copy.once.map(|(key, body)| (key, body + 1_000));
                }
                let later = self.hub.range(0, 8 * swarm.gap);
                self.hub.after(later, Event::Again(Box::new(copy.clone())));
            }
        }
        self.ask(ask);
        self.hub.after(self.hub.range(1, swarm.gap), Event::Arrive);
    }

    fn ask(&mut self, ask: Ask) {
        let node = self.hub.pick(&(0..self.nodes.len()).collect::<Vec<_>>());
        let Some(node) = &self.nodes[node] else { return };
        let (home, name) = (node.gateway.home, format!("r{}", ask.number));
        let who = (&ask.key, &ask.user, &ask.once);
        self.hub.say(format!("{name} asks node {}: {who:?}", home.node));
        let patience = self.hub.range(0, 20 * SECOND);
        let work = serve(Arc::clone(&node.gateway), ask, patience);
        let task = self.tasks.spawn(home, name, Box::pin(work));
        if self.hub.fault(self.hub.swarm.client_goes) {
            let most = 2 * self.hub.swarm.upstream_latency;
            self.hub.after(self.hub.range(0, most), Event::Goes(task));
        }
    }

    /// Begins a node's next life.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].is_some() {
            return;
        }
        self.lives += 1;
        let home = Home { node, life: self.lives };
        let clock = self.clocks[node].clone();
        let Some(started) = Node::start(&self.common, home, clock, &self.topology) else {
            self.hub.after(self.hub.range(1, 500 * MILLI), Event::Restart(node));
            return;
        };
        self.hub.say(format!("node {node} begins its life {}", self.lives));
        started.gateway.check();
        self.nodes[node] = Some(started);
        for part in [Part::Writer, Part::Keeper, Part::Timer] {
            self.hub.after(1, Event::Turn(home, part));
        }
        self.has_heard(node, None);
    }

    /// Ends a node's life: at once, or after what is queued is written.
    pub fn stop(&mut self, node: usize, at_once: bool) {
        let Some(Node { gateway, writer, .. }) = self.nodes[node].take() else { return };
        let home = gateway.home;
        self.hub.say(format!("node {node} {}", if at_once { "crashes" } else { "is stopped" }));
        self.topology.ends_without_hearing(node);
        if at_once {
            self.hub.audit(|auditor| {
                auditor.dies(home);
                Ok(())
            });
            self.tasks.drop_all(home);
        } else {
            self.tasks.drop_all(home);
            self.hub.audit(|auditor| {
                auditor.memory(home).into_iter().for_each(|memory| memory.closes());
                Ok(())
            });
            let closed = writer.close(gateway.clock.now());
            let left = closed.unwritten.len() + closed.rejected.len();
            self.hub.say(format!("node {node} leaves {left} unwritten"));
            let standing = standing(&gateway.engine);
            self.hub.audit(|auditor| {
                if closed.unread.is_none() && closed.unwritten.is_empty() {
                    auditor.check_ends(home, &standing)?;
                }
                auditor.dies(home);
                Ok(())
            });
        }
    }

    /// From here on nothing fails.
    fn calm_down(&mut self) {
        self.hub.say("no more faults");
        self.hub.calm_down();
        for node in 0..self.nodes.len() {
            self.start(node);
            if let Some(node) = &mut self.nodes[node] {
                node.paused = false;
                node.gateway.ledger.retry_rejected();
                self.hub.audit(|auditor| {
                    auditor
                        .memory(node.gateway.home)
                        .into_iter()
                        .for_each(|memory| memory.retried());
                    Ok(())
                });
            }
        }
    }

    /// Whether nothing is on its way any more.
    fn rests(&self) -> bool {
        let up = self.nodes.iter().flatten();
        self.tasks.is_empty()
            && self.topology.is_settled()
            && up.clone().count() == self.nodes.len()
            && up.clone().all(|node| {
                let health = node.gateway.ledger.health();
                health.queued == 0 && node.gateway.barrier.counts().users == 0
            })
    }

    fn who_waits(&self) -> String {
        let writers: Vec<String> = self
            .nodes
            .iter()
            .flatten()
            .map(|node| format!("{:?}", node.gateway.ledger.health()))
            .collect();
        let tasks = self.tasks.names();
        format!("tasks {tasks:?}, owners {:?}, writers {writers:?}", self.topology.beings)
    }

    /// Everything rests: what must be so now?
    fn end(&mut self) {
        for round in 0..6 {
            for node in 0..self.nodes.len() {
                let found = self.reconcile(node);
                let Some(running) = &mut self.nodes[node] else { continue };
                running.turn(Part::Writer);
                let (home, standing) = (running.gateway.home, standing(&running.gateway.engine));
                self.hub.audit(|auditor| auditor.check_ends(home, &standing));
                // What differed was seen twice by then.
                let rests = |found: &Reconciled| {
                    found.quiet && found.drifts.is_empty() && found.adopted.is_empty()
                };
                if round >= 3 && !found.as_ref().is_some_and(rests) {
                    self.object("I9", format!("node {node} still finds {found:?}"));
                }
            }
        }
        for node in self.nodes.iter().flatten() {
            let (home, limits) = (node.gateway.home, node.gateway.limits());
            self.hub.audit(|auditor| auditor.check(home, &limits));
            self.hub.audit(|auditor| auditor.check_quiet(home, &limits));
            let health = node.gateway.ledger.health();
            if health.unpersisted.entries + health.rejected + health.open_charges + health.taken > 0
            {
                self.object("I9", format!("node {} rests: {health:?}", home.node));
            }
        }
        let limits: Vec<_> = self.topology.specs.iter().map(|spec| spec.id.clone()).collect();
        for limit in limits {
            let totals = self.common.ledger.totals(&limit);
            let totals = totals.expect("memory always answers");
            self.hub.audit(|auditor| auditor.books.check_totals(&limit, &totals));
        }
        let mut granted = Vec::new();
        let read = self.common.ledger.grants(&mut |each| granted.push(each));
        read.expect("memory always answers");
        self.hub.audit(|auditor| auditor.books.grants.check(&granted));
        let exists = |owner: &OwnerId| self.topology.exists(owner);
        self.hub.audit(|auditor| auditor.check_ghosts(exists));
        let empty = self.hub.audit(|auditor| Ok(auditor.inside.is_empty()));
        if !empty || !self.common.locks.holding().is_empty() {
            self.object("I9", "somebody is inside, or has a lock, and no task is left");
        }
    }
}
