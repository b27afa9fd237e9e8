//! Whole gateways, in one thread and in virtual time, from one seed.
//!
//! A world has some gateways, a store, a lock and clients, and everything that can go wrong does,
//! at rates that are themselves drawn from the seed: the store refuses, or does and does not say
//! so; locks are lost; nodes crash, pause and come back; clocks step; clients go away in the
//! middle, or send everything twice; owners are deleted and created again; operators change limits,
//! end windows and resolve what was uncertain. The code is the real one, turned by hand. An auditor
//! that knows nothing of it holds it to the laws after every step ([`auditor`]). Then nothing fails
//! any more, and the world must come to rest.
//!
//! A world that fails prints the command that shows it again. `TOLLKEEPER_SIM_SEEDS` is how many
//! seeds are tried (those from `TOLLKEEPER_SIM_FROM` on, or from 0), `TOLLKEEPER_SIM_SEED` the one
//! that `one_seed` plays aloud.

#[path = "simulation/auditor.rs"]
mod auditor;
#[path = "simulation/chaos.rs"]
mod chaos;
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/granting.rs"]
mod granting;
#[path = "simulation/hub.rs"]
mod hub;
#[path = "simulation/keystore.rs"]
mod keystore;
#[path = "simulation/lock.rs"]
mod lock;
#[path = "simulation/log.rs"]
mod log;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/planted.rs"]
mod planted;
#[path = "simulation/request.rs"]
mod request;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/swarm.rs"]
mod swarm;
#[path = "simulation/tasks.rs"]
mod tasks;
#[path = "simulation/topology.rs"]
mod topology;
#[path = "simulation/world.rs"]
mod world;

use std::io::Write;
use std::process::Command;

use auditor::Counts;
use world::{Report, World};

/// So many seeds take some twenty seconds in a debug build.
const SEEDS: u64 = 200;
const FRESH: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is {text:?}; accepted: a whole number")))
}

fn play(seed: u64, aloud: bool) -> Report {
    let report = World::new(seed, aloud).run();
    if let Some(breach) = &report.breach {
        let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let commit = commit.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        panic!(
            "seed {seed} ({}; commit {}) breaks {breach}\n{}\
             TOLLKEEPER_SIM_SEED={seed} cargo test --all-features --test simulation -- \
             --exact one_seed --nocapture",
            report.headline,
            commit.unwrap_or_else(|_| "unknown".to_owned()),
            report.last,
        );
    }
    report
}

#[test]
fn fixed_seeds() {
    let from = number("TOLLKEEPER_SIM_FROM").unwrap_or(0);
    let count = number("TOLLKEEPER_SIM_SEEDS").unwrap_or(SEEDS);
    let mut counts = Counts::default();
    for seed in from..from + count {
        counts.add(play(seed, false).counts);
    }
    let told = writeln!(std::io::stderr(), "seeds {from} to {}: {counts:?}", from + count - 1);
    told.expect("stderr");
    // Worlds in which nothing happens show nothing.
    assert!(count < SEEDS || counts.never().is_empty(), "never: {:?}", counts.never());
}

#[test]
fn fresh_seeds() {
    let first = tollkeeper::RecordId::generate().as_u128() % (1 << 40);
    let first = u64::try_from(first).expect("forty bits");
    // Past the capture of the tests: which they were is worth knowing when they held, too.
    let told = writeln!(std::io::stderr(), "fresh seeds: {first} to {}", first + FRESH - 1);
    told.expect("stderr");
    for seed in first..first + FRESH {
        play(seed, false);
    }
}

#[test]
fn one_seed() {
    if let Some(seed) = number("TOLLKEEPER_SIM_SEED") {
        let report = play(seed, true);
        println!("{:?}, {:x?}", report.counts, report.hash);
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..30 {
        assert_eq!(play(seed, false).hash, play(seed, false).hash, "seed {seed}");
    }
    assert_ne!(play(1, false).hash, play(2, false).hash);
}
