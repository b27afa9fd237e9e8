//! One gateway: an engine, a ledger, keys and a barrier, all turned by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollkeeper::{
    Barrier, BarrierTimer, Clock, Engine, Idempotency, Keeper, Ledger, LimitUsage, MemoryKeys,
    MemoryLedger, Timestamp, WhenFull, Writer,
};

use crate::auditor::standing;
use crate::hub::{Hub, NodeClock, breach};
use crate::keystore::NodeKeys;
use crate::lock::{LockServer, NodeLock};
use crate::store::NodeStore;
use crate::tasks::Home;
use crate::topology::Topology;

/// Where the windows of all nodes begin, some time before the world does.
const ANCHOR: Timestamp = Timestamp::from_nanos(80_000_000_000_000);

/// What outlives the nodes.
#[derive(Clone)]
pub struct Common {
    pub hub: Arc<Hub>,
    pub ledger: Arc<MemoryLedger>,
    pub keys: Arc<MemoryKeys>,
    pub locks: Arc<LockServer>,
    pub tags: Arc<AtomicU64>,
}

impl Common {
    pub fn next_tag(&self) -> u64 {
        self.tags.fetch_add(1, Ordering::SeqCst)
    }
}

/// What requests see of a node.
pub struct Gateway {
    pub common: Common,
    pub home: Home,
    pub clock: NodeClock,
    pub engine: Engine,
    pub ledger: Ledger,
    pub keys: Idempotency,
    pub barrier: Barrier,
}

pub struct Node {
    pub gateway: Arc<Gateway>,
    pub writer: Writer,
    keeper: Keeper,
    timer: BarrierTimer,
    pub paused: bool,
    /// How many entries the writer has left.
    pub left: usize,
}

/// The parts of a node that work by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Writer,
    Keeper,
    Timer,
}

impl Gateway {
    pub fn hub(&self) -> &Arc<Hub> {
        &self.common.hub
    }

    /// What all limits have used, in the order of their ids.
    pub fn limits(&self) -> Vec<LimitUsage> {
        let mut limits: Vec<LimitUsage> = self.engine.usage_all().collect();
        limits.sort_by(|a, b| a.limit.cmp(&b.limit));
        limits
    }

    /// The auditor compares.
    pub fn check(&self) {
        let limits = self.limits();
        self.hub().audit(|auditor| auditor.check(self.home, &limits));
        let active = self.barrier.counts().users;
        let sessions = self.common.locks.sessions().get(&self.home.node).copied().unwrap_or(0);
        if sessions > active {
            let what = format!("node {}: {sessions} sessions, {active} users", self.home.node);
            self.hub().object(breach::<()>("I12", what).expect_err("it is one"));
        }
    }
}

impl Node {
    /// Begins a life. `None` if the store does not answer.
    pub fn start(
        common: &Common,
        home: Home,
        clock: NodeClock,
        topology: &Topology,
    ) -> Option<Node> {
        let hub = &common.hub;
        let swarm = &hub.swarm;
        let mut engine = Engine::builder().clock(clock.clone());
        if swarm.one_anchor {
            engine = engine.anchor(ANCHOR);
        }
        let engine = engine.build();
        topology.build(&engine, None).expect("a sound topology");
        let (hub_of, engine_of) = (Arc::clone(hub), engine.clone());
        let inner = Arc::clone(&common.ledger);
        let store = NodeStore { hub: hub_of, engine: engine_of, home, inner };
        // No two lives draw the same ids.
        let seed = hub.range(0, u64::MAX);
        let full = if swarm.admit_when_full { WhenFull::Admit } else { WhenFull::Refuse };
        let ledger = Ledger::builder(&engine)
            .outbox(swarm.outbox)
            .when_full(full)
            .group_max(swarm.group_max)
            .seed(seed);
        let (ledger, writer) = ledger.by_hand(store).ok()?;
        let spawn = |what: &'static str| {
            let hub = Arc::clone(hub);
            move |task| hub.spawn(home, what.to_owned(), task)
        };
        let (keys, keeper) = Idempotency::builder(spawn("an execution"))
            .lease(swarm.lease)
            .ttl(swarm.ttl)
            .seed(seed)
            .by_hand(NodeKeys { hub: Arc::clone(hub), inner: Arc::clone(&common.keys) })
            .expect("accepted terms");
        let mut barrier = Barrier::builder(spawn("a critical section"))
            .permits_per_user(swarm.permits)
            .max_waiters_per_user(swarm.waiters)
            .wait_at_most(swarm.barrier_within)
            .clock(clock.clone());
        if swarm.remote_lock {
            let server = Arc::clone(&common.locks);
            barrier = barrier.remote_lock(NodeLock { hub: Arc::clone(hub), home, server });
        }
        let (barrier, timer) = barrier.by_hand().expect("accepted terms");
        let common = common.clone();
        let gateway = Gateway { common, home, clock, engine, ledger, keys, barrier };
        let (standing, now) = (standing(&gateway.engine), gateway.clock.now());
        hub.audit(|auditor| auditor.begins(home, &topology.specs, &standing, now));
        let gateway = Arc::new(gateway);
        Some(Node { gateway, writer, keeper, timer, paused: false, left: 0 })
    }

    pub fn turn(&mut self, part: Part) {
        let gateway = &self.gateway;
        let now = gateway.clock.now();
        match part {
            Part::Writer => {
                // What was queued while the store did not answer is booked when it is taken in.
                let (home, hub) = (gateway.home, gateway.hub());
                hub.audit(|auditor| {
                    auditor.memory(home).into_iter().for_each(|memory| memory.turned());
                    Ok(())
                });
                let turn = self.writer.turn(now);
                self.left = turn.left;
                if turn.failed {
                    // Maybe before it came to write.
                    hub.audit(|auditor| auditor.refused(home, &[], true));
                }
                self.note_turn();
                if turn.finished > 0 || turn.failed {
                    self.gateway.check();
                }
            }
            Part::Keeper => {
                self.keeper.turn(now);
            }
            Part::Timer => {
                self.timer.turn(now);
            }
        }
    }

    /// Tells the auditor that the writer had its turn.
    fn note_turn(&self) {
        let gateway = &self.gateway;
        let (home, hub) = (gateway.home, gateway.hub());
        let said = gateway.ledger.health().unpersisted.entries;
        hub.audit(|auditor| {
            let Some(memory) = auditor.memory(home) else { return Ok(()) };
            memory.turned();
            let due = memory.unpersisted();
            if due == said {
                return Ok(());
            }
            breach("I5", format!("node {}: {said} unpersisted; due is {due}", home.node))
        });
    }
}
