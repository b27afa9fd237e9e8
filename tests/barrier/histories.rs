//! Random histories of two processes, by hand: after each step what is there is what a simple model
//! says, and in the end nobody waits.

use std::time::Duration;

use tollkeeper::{Acquire, BarrierError, Clock, LockKey, OwnerId, Permit, Timestamp};

use crate::hand::{Hand, Scene, WITHIN, replica, user};
use crate::simulated::Server;

const PROCESSES: usize = 2;
const USERS: usize = 3;
const STEPS: usize = 400;

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

struct Waiting {
    process: usize,
    user: usize,
    deadline: Timestamp,
    call: Hand<Acquire>,
}

struct Holding {
    process: usize,
    user: usize,
    permit: Permit,
}

struct History {
    seed: u64,
    server: Server,
    scenes: Vec<Scene>,
    users: Vec<OwnerId>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    holding: Vec<Holding>,
    /// The timers were turned at this instant last.
    turned: Timestamp,
    granted: usize,
    timeouts: u64,
    lost: u64,
}

impl History {
    fn new(seed: u64) -> History {
        let server = Server::default();
        let scenes = (0..PROCESSES).map(|n| replica(server.process(n))).collect();
        History {
            seed,
            server,
            scenes,
            users: (0..USERS).map(|n| user(&format!("u{n}"))).collect(),
            waiting: Vec::new(),
            holding: Vec::new(),
            turned: Timestamp::UNIX_EPOCH,
            granted: 0,
            timeouts: 0,
            lost: 0,
        }
    }

    fn step(&mut self, numbers: &mut Numbers) {
        match numbers.below(100) {
            0..30 => {
                let (process, user) = (numbers.below(PROCESSES), numbers.below(USERS));
                let scene = &self.scenes[process];
                let deadline = scene.clock.now() + WITHIN;
                let call = scene.acquire(&self.users[user]);
                self.waiting.push(Waiting { process, user, deadline, call });
            }
            30..65 if !self.waiting.is_empty() => self.poll(numbers.below(self.waiting.len())),
            65..72 if !self.waiting.is_empty() => {
                drop(self.waiting.remove(numbers.below(self.waiting.len())));
            }
            72..90 if !self.holding.is_empty() => self.release(numbers.below(self.holding.len())),
            90..95 => self.pass(Duration::from_millis(numbers.below(4_000) as u64)),
            95..97 => self.server.set_down(numbers.below(3) == 0),
            97..100 => {
                let held = self.holding.iter().find(|held| !held.permit.is_lost());
                if let Some(held) = held {
                    self.server.lose(LockKey::of(&self.users[held.user]));
                }
            }
            _ => {}
        }
    }

    fn poll(&mut self, at: usize) {
        let seed = self.seed;
        let std::task::Poll::Ready(result) = self.waiting[at].call.poll() else { return };
        let Waiting { process, user, deadline, .. } = self.waiting.remove(at);
        match result {
            Ok(permit) => {
                assert!(deadline > self.turned, "seed {seed}: let in after its time was up");
                let mut before = self.waiting[..at].iter();
                let overtaken = before.any(|other| {
                    (other.process, other.user) == (process, user) && other.deadline > self.turned
                });
                assert!(!overtaken, "seed {seed}: one that came later was let in before");
                self.granted += 1;
                self.holding.push(Holding { process, user, permit });
            }
            Err(BarrierError::Timeout { .. }) => {
                assert!(deadline <= self.turned, "seed {seed}: over before its time");
                // Counted when it happened.
            }
            Err(BarrierError::Remote(_) | BarrierError::QueueFull { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }

    fn release(&mut self, at: usize) {
        let held = self.holding.remove(at);
        self.lost += u64::from(held.permit.is_lost());
        drop(held);
    }

    fn pass(&mut self, time: Duration) {
        for scene in &mut self.scenes {
            scene.pass(time);
        }
        let before = self.turned;
        self.turned = self.scenes[0].clock.now();
        let due = |call: &&Waiting| call.deadline > before && call.deadline <= self.turned;
        self.timeouts += self.waiting.iter().filter(due).count() as u64;
    }

    fn check(&self) {
        let seed = self.seed;
        for user in 0..USERS {
            let inside = |process: Option<usize>| {
                self.holding.iter().filter(move |held| {
                    held.user == user && process.is_none_or(|process| held.process == process)
                })
            };
            let with_lock = inside(None).filter(|held| !held.permit.is_lost()).count();
            assert!(with_lock <= 1, "seed {seed}: {with_lock} inside");
            for process in 0..PROCESSES {
                let inside = inside(Some(process)).count();
                assert!(inside <= 1, "seed {seed}: {inside} inside of one process");
            }
        }
        assert!(self.server.most_for_a_key() <= 1, "seed {seed}: two connections");
        for (process, scene) in self.scenes.iter().enumerate() {
            let waiting = |call: &&Waiting| call.process == process && call.deadline > self.turned;
            let waiting = self.waiting.iter().filter(waiting).count();
            let holding = self.holding.iter().filter(|held| held.process == process).count();
            let counts = scene.barrier.counts();
            assert_eq!((counts.waiting, counts.holding), (waiting, holding), "seed {seed}");
        }
        let counted = |of: fn(&Scene) -> u64| self.scenes.iter().map(of).sum::<u64>();
        assert_eq!(counted(|scene| scene.barrier.counts().timeouts), self.timeouts, "seed {seed}");
        assert_eq!(counted(|scene| scene.barrier.counts().lost), self.lost, "seed {seed}");
    }

    /// No more faults: everybody is let in, or ends at the deadline.
    fn quiet(&mut self) {
        self.server.set_down(false);
        let mut rounds = 0;
        while !(self.waiting.is_empty() && self.holding.is_empty()) {
            (0..self.holding.len()).rev().for_each(|at| self.release(at));
            (0..self.waiting.len()).rev().for_each(|at| self.poll(at));
            self.check();
            rounds += 1;
            assert!(rounds < STEPS, "seed {}: somebody waits for ever", self.seed);
        }
        assert!(self.scenes.iter().all(|scene| scene.counts() == (0, 0, 0)));
        assert_eq!(self.server.connections(), 0);
    }
}

#[test]
fn histories_of_two_processes_never_have_two_inside_and_end() {
    let (mut granted, mut timeouts, mut lost) = (0, 0, 0);
    for seed in 1..=100_u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            history.step(&mut numbers);
            history.check();
        }
        history.quiet();
        granted += history.granted;
        timeouts += history.timeouts;
        lost += history.lost;
    }
    println!("{granted} let in, {timeouts} timed out, {lost} lost");
    assert!(granted > 1_000 && timeouts > 100 && lost > 100, "the histories are too tame");
}
