//! The keeper: asks the store for all callers, keeps their leases alive, and wakes who waits.

mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::desk::{Ask, Desk, End, Waiter};
use super::front::{Claim, ClaimError};
use super::key::{Fingerprint, Scope};
use super::lease::Held;
use super::pace::{Steady, pause};
use super::store::KeyStore;
use super::transition::{KeyAct, KeyOp};
use crate::draws::Draws;
use crate::ledger::StoreError;
use crate::sync::Arc;
use crate::time::{Clock, SystemClock, Timestamp};

/// The most operations in one transaction.
const GROUP_MAX: usize = 256;
/// How soon a store that is unavailable is tried again, at first and at last.
const RETRY: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// How soon a key that is held elsewhere is asked for again, at first.
const POLL_FIRST: Duration = Duration::from_millis(10);
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How soon it goes on when there was more than is purged at once.
const PURGE_ON: Duration = Duration::from_secs(1);
const PURGE_AT_MOST: usize = 1_000;

/// Asks the store on behalf of an [`Idempotency`](super::Idempotency): one transaction for all who
/// ask at about the same time. It prolongs all leases by itself, each third of one; wakes those who
/// wait for a key as soon as it ends in this process; asks again for keys that are held
/// elsewhere, and less and less often; and removes what has expired.
///
/// It works in a thread of its own, or by hand: then nothing happens but in [`turn`](Self::turn).
pub struct Keeper {
    store: Box<dyn KeyStore>,
    inbox: Receiver<Ask>,
    /// What was taken out of the inbox between two turns.
    woken_by: Option<Ask>,
    lease: Duration,
    draws: Draws,
    clock: Steady,
    now: Timestamp,
    desks: BTreeMap<DeskId, Desk>,
    held: BTreeMap<HeldId, Holding>,
    ends: VecDeque<(Timestamp, End)>,
    /// When to ask the store, for whom.
    to_ask: BTreeSet<(Timestamp, Due)>,
    /// When to look whether somebody's time is up.
    alarms: BTreeSet<(Timestamp, Due)>,
    purge_at: Timestamp,
    trouble: Option<Trouble>,
}

type DeskId = (Scope, Fingerprint);
/// With the number of the claim.
type HeldId = (Scope, u64);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Desk(DeskId),
    Lease(HeldId),
}

/// What the store is asked for whom.
enum Job {
    Claim(DeskId),
    Beat(HeldId),
    End(Timestamp, End),
}

/// A lease that is out.
struct Holding {
    key: Held,
    beat_at: Timestamp,
    /// Until when it is certainly not taken over.
    until: Timestamp,
}

/// The store is unavailable.
struct Trouble {
    retry_at: Timestamp,
    back_off: Duration,
    error: Arc<StoreError>,
}

/// Nobody prolongs the leases that are out any more.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.held.values().for_each(|held| held.key.lost.set(true));
    }
}

impl Keeper {
    pub(super) fn new(
        store: Box<dyn KeyStore>,
        inbox: Receiver<Ask>,
        lease: Duration,
        seed: u64,
    ) -> Keeper {
        Keeper {
            store,
            inbox,
            woken_by: None,
            lease,
            draws: Draws(seed),
            clock: Steady::default(),
            now: Timestamp::UNIX_EPOCH,
            desks: BTreeMap::new(),
            held: BTreeMap::new(),
            ends: VecDeque::new(),
            to_ask: BTreeSet::new(),
            alarms: BTreeSet::new(),
            purge_at: Timestamp::UNIX_EPOCH,
            trouble: None,
        }
    }

    /// Does all that is due at an instant, and says when to turn it next at the latest; whenever
    /// something is asked, turn it as well. A clock that has stepped back goes on from there.
    pub fn turn(&mut self, now: Timestamp) -> Timestamp {
        self.now = now;
        self.clock.follow(now);
        loop {
            if let Some(ask) = self.woken_by.take() {
                self.take(ask);
            }
            while let Ok(ask) = self.inbox.try_recv() {
                self.take(ask);
            }
            let group = self.group();
            if group.is_empty() {
                break;
            }
            self.apply(group);
        }
        self.ring();
        self.purge();
        self.clock.as_given(self.next())
    }

    /// Turns until nobody is left who could ask, and then until what was dropped last is ended.
    pub(super) fn keep(mut self) {
        loop {
            let begun = SystemClock.now();
            let next = self.turn(begun);
            match self.inbox.recv_timeout(pause(begun, SystemClock.now(), next)) {
                Ok(ask) => self.woken_by = Some(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if self.ends.is_empty() => return,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(pause(begun, SystemClock.now(), next));
                }
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        let time = self.clock.time;
        match ask {
            Ask::Claim { scope, fingerprint, wait, owed, front } => {
                let id = (scope, fingerprint);
                let deadline = time.saturating_add(wait);
                let desk = self.desks.entry(id.clone()).or_insert_with(|| Desk {
                    waiters: VecDeque::new(),
                    attempt: self.draws.number(),
                    poll_at: time,
                    give_up_at: deadline,
                    back_off: POLL_FIRST,
                    lease_left: self.lease,
                });
                desk.waiters.push_back(Waiter { deadline, owed, front });
                self.poll(id.clone(), time);
                self.ring_by(&id, deadline);
            }
            Ask::End(end) => {
                self.release(&(end.scope.clone(), end.holder.attempt));
                self.ends.push_back((time.saturating_add(self.lease), end));
            }
        }
    }

    /// What to ask the store now, in one transaction.
    fn group(&mut self) -> Vec<(Job, KeyOp)> {
        let mut group = Vec::new();
        if self.trouble.as_ref().is_some_and(|trouble| self.clock.time < trouble.retry_at) {
            return group;
        }
        while group.len() < GROUP_MAX {
            let Some(job) = self.next_job() else { break };
            group.push(job);
        }
        group
    }

    fn next_job(&mut self) -> Option<(Job, KeyOp)> {
        if let Some((deadline, end)) = self.ends.pop_front() {
            let op = KeyOp { scope: end.scope.clone(), act: end.act.clone() };
            return Some((Job::End(deadline, end), op));
        }
        while self.to_ask.first().is_some_and(|(at, _)| *at <= self.clock.time) {
            match self.to_ask.pop_first()?.1 {
                Due::Desk(id) => {
                    let Some(desk) = self.desks.get_mut(&id) else { continue };
                    if desk.is_attended() {
                        let (scope, fingerprint) = id.clone();
                        let (attempt, lease) = (desk.attempt, self.lease);
                        let act = KeyAct::Claim { fingerprint, attempt, lease };
                        return Some((Job::Claim(id), KeyOp { scope, act }));
                    }
                    self.close(&id);
                }
                Due::Lease(id) => {
                    let Some(held) = self.held.get(&id) else { continue };
                    let (scope, holder) = (id.0.clone(), held.key.holder);
                    let act = KeyAct::Heartbeat { holder, lease: self.lease };
                    return Some((Job::Beat(id), KeyOp { scope, act }));
                }
            }
        }
        None
    }

    fn apply(&mut self, group: Vec<(Job, KeyOp)>) {
        let (jobs, ops): (Vec<Job>, Vec<KeyOp>) = group.into_iter().unzip();
        let answered = self.store.apply(&ops, self.now).and_then(|answers| {
            let found = format!("{} answers to {} operations", answers.len(), ops.len());
            let doing = "asking for keys";
            let right = answers.len() == ops.len();
            right.then_some(answers).ok_or(StoreError::Malformed { doing, what: "reply", found })
        });
        match answered {
            Ok(answers) => {
                self.trouble = None;
                for (job, answer) in jobs.into_iter().zip(answers) {
                    self.settle(job, answer);
                }
            }
            Err(error) if error.is_transient() => {
                self.back_off(error);
                jobs.into_iter().for_each(|job| self.postpone(job));
            }
            Err(error) if ops.len() == 1 => {
                let error = Arc::new(error);
                jobs.into_iter().for_each(|job| self.refuse(job, &error));
            }
            // One of them is at fault: the others get through.
            Err(_) => {
                for single in jobs.into_iter().zip(ops) {
                    match self.trouble {
                        None => self.apply(vec![single]),
                        Some(_) => self.postpone(single.0),
                    }
                }
            }
        }
    }

    fn back_off(&mut self, error: StoreError) {
        let before = self.trouble.take().map(|trouble| trouble.back_off * 2);
        let back_off = before.unwrap_or(RETRY[0]).min(RETRY[1]);
        let retry_at = self.clock.time.saturating_add(self.draws.about(back_off));
        self.trouble = Some(Trouble { retry_at, back_off, error: Arc::new(error) });
    }

    /// Answers whose time is up, and marks the leases that have run out.
    fn ring(&mut self) {
        let time = self.clock.time;
        while self.alarms.first().is_some_and(|(at, _)| *at <= time) {
            match self.alarms.pop_first() {
                Some((_, Due::Desk(id))) => {
                    let Some(desk) = self.desks.get_mut(&id) else { continue };
                    let (trouble, lease_left) = (&self.trouble, desk.lease_left);
                    desk.give_up(time, || match trouble {
                        Some(trouble) => Err(ClaimError::Store(trouble.error.clone())),
                        None => Ok(Claim::InFlight { lease_left }),
                    });
                    self.set_alarm(&id);
                }
                Some((_, Due::Lease(id))) => {
                    self.held.get(&id).inspect(|held| held.key.lost.set(true));
                }
                None => return,
            }
        }
    }

    fn purge(&mut self) {
        if self.clock.time < self.purge_at {
            return;
        }
        let purged = self.store.purge(self.now, PURGE_AT_MOST);
        // One that fails is made up for by the next.
        let more = purged.is_ok_and(|purged| usize::try_from(purged) == Ok(PURGE_AT_MOST));
        let pause = if more { PURGE_ON } else { PURGE_EVERY };
        self.purge_at = self.clock.time.saturating_add(self.draws.about(pause));
    }

    fn next(&self) -> Timestamp {
        let ends = self.ends.front().map(|_| self.clock.time);
        let asks = self.to_ask.first().map(|(at, _)| *at);
        let retry_at = self.trouble.as_ref().map_or(self.clock.time, |trouble| trouble.retry_at);
        let asks = ends.into_iter().chain(asks).map(|at| at.max(retry_at));
        let alarms = self.alarms.first().map(|(at, _)| *at);
        asks.chain(alarms).fold(self.purge_at, Timestamp::min)
    }
}
