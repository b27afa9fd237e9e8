//! What a world is like: every rate is itself drawn from the seed, so that some worlds are calm in
//! one respect and wild in another.

use std::time::Duration;

use crate::dice::Dice;
use crate::topology::DAY;

const MILLI: u64 = 1_000_000;

/// Rates are out of a thousand, times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Swarm {
    pub nodes: usize,
    pub requests: u64,
    /// Between one request and the next, at most.
    pub gap: u64,
    pub keys: u64,
    pub teams: u64,
    pub upstreams: u64,
    pub users: u64,
    /// Between two turns of a background part of a node, at most.
    pub tick: u64,
    /// What a clock shows ahead as not passed yet.
    pub soon: u64,
    /// How far a node's clock may be from the world's.
    pub skew: u64,

    pub upstream_latency: u64,
    pub upstream_fails: u64,
    pub upstream_unknown: u64,
    pub upstream_partial: u64,
    pub upstream_hangs: u64,
    /// Requests that used more than was estimated.
    pub outgrown: u64,
    pub no_estimate: u64,
    pub extended: u64,
    /// Of the requests without an estimate, those that ask no limit.
    pub post_paid: u64,

    pub client_goes: u64,
    pub keyed: u64,
    pub repeated: u64,
    pub other_body: u64,
    pub not_waited_for: u64,

    pub store_refuses: u64,
    pub store_forgets_to_say: u64,
    pub store_slow: u64,
    pub store_rejects: u64,
    pub outage: u64,
    pub keys_refuse: u64,
    pub keys_forget_to_say: u64,
    pub lock_dies: u64,
    pub lock_refuses: u64,

    pub crash: u64,
    pub pause: u64,
    pub clock_step: u64,
    pub delete_owner: u64,
    pub delete_behind: u64,
    pub change_limit: u64,
    pub change_period: u64,
    pub reset: u64,
    pub resolve: u64,
    pub reconcile: u64,
    pub top_up: u64,
    /// Of the top-ups, those of a payment that was heard of before.
    pub paid_again: u64,
    pub override_limit: u64,
    pub sweep: u64,

    pub group_max: usize,
    pub outbox: usize,
    pub admit_when_full: bool,
    pub remote_lock: bool,
    pub permits: usize,
    pub waiters: usize,
    pub barrier_within: Duration,
    pub lease: Duration,
    pub ttl: Duration,
    /// The periods that limits are drawn from.
    pub periods: Vec<Duration>,
    /// How many requests of the usual size a limit has room for.
    pub room: u64,
}

impl Swarm {
    #[allow(clippy::too_many_lines)] // A table.
    pub fn draw(dice: &mut Dice) -> Swarm {
        // One node in half of the worlds: there everything can be said exactly.
        let nodes = if dice.chance(500) { 1 } else { dice.index(3) + 2 };
        let remote_lock = nodes > 1 || dice.chance(300);
        Swarm {
            nodes,
            requests: dice.range(40, 300),
            gap: dice.range(5, 300) * MILLI,
            keys: dice.range(1, 6),
            teams: dice.range(1, 3),
            upstreams: dice.range(1, 4),
            users: dice.range(1, 4),
            tick: dice.range(5, 80) * MILLI,
            soon: if dice.chance(300) { 100 * MILLI } else { 0 },
            skew: if dice.chance(500) { 0 } else { dice.range(1, 3_000) * MILLI },

            upstream_latency: dice.range(5, 3_000) * MILLI,
            upstream_fails: dice.rate(200),
            upstream_unknown: dice.rate(200),
            upstream_partial: dice.rate(200),
            upstream_hangs: dice.rate(80),
            outgrown: dice.rate(500),
            no_estimate: dice.rate(500),
            extended: dice.rate(200),
            post_paid: dice.rate(800),

            client_goes: dice.rate(300),
            keyed: dice.rate(900),
            repeated: dice.rate(500),
            other_body: dice.rate(200),
            not_waited_for: dice.rate(300),

            store_refuses: dice.rate(250),
            store_forgets_to_say: dice.rate(200),
            store_slow: dice.rate(150),
            store_rejects: dice.rate(40),
            outage: dice.rate(30),
            keys_refuse: dice.rate(150),
            keys_forget_to_say: dice.rate(150),
            lock_dies: dice.rate(100),
            lock_refuses: dice.rate(80),

            crash: dice.rate(60),
            pause: dice.rate(60),
            clock_step: dice.rate(80),
            delete_owner: dice.rate(50),
            delete_behind: dice.rate(30),
            change_limit: dice.rate(120),
            change_period: dice.rate(80),
            reset: dice.rate(80),
            resolve: dice.rate(150),
            reconcile: dice.rate(150),
            top_up: dice.rate(150),
            paid_again: dice.rate(600),
            override_limit: dice.rate(100),
            sweep: dice.rate(150),

            group_max: dice.index(12) + 1,
            outbox: if dice.chance(300) { dice.index(8) + 2 } else { 10_000 },
            admit_when_full: dice.chance(300),
            remote_lock,
            permits: if remote_lock { 1 } else { dice.index(3) + 1 },
            waiters: if dice.chance(300) { dice.index(4) } else { 32 },
            barrier_within: Duration::from_millis(dice.range(200, 60_000)),
            lease: Duration::from_millis(dice.range(600, 20_000)),
            ttl: Duration::from_millis(dice.range(2_000, 600_000)),
            periods: (0..4).map(|_| draw_period(dice)).collect(),
            room: if dice.chance(500) { dice.range(1, 40) } else { dice.range(40, 1_000) },
        }
    }

    /// For the report's first line.
    pub fn headline(&self) -> String {
        format!(
            "{} nodes, {} requests, {} keys, {} upstreams, {} users",
            self.nodes, self.requests, self.keys, self.upstreams, self.users
        )
    }
}

fn draw_period(dice: &mut Dice) -> Duration {
    if dice.chance(250) { DAY } else { Duration::from_millis(dice.range(300, 60_000)) }
}
