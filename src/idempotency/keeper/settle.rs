//! What the store answered, for whom.

use std::time::Duration;

use super::super::desk::Desk;
use super::super::front::{Claim, ClaimError};
use super::super::key::{Fingerprint, Scope};
use super::super::lease::{EndError, Held, Lease};
use super::super::record::Holder;
use super::super::transition::KeyAnswer;
use super::{DeskId, Due, HeldId, Holding, Job, Keeper};
use crate::ledger::StoreError;
use crate::sync::Arc;
use crate::time::Timestamp;

/// The longest pause until a key that is held elsewhere is asked for again.
const POLL_MAX: Duration = Duration::from_secs(1);

impl Keeper {
    pub(super) fn settle(&mut self, job: Job, answer: KeyAnswer) {
        match (job, answer) {
            (Job::Claim(id), answer) => self.settle_claim(id, answer),
            (Job::Beat(id), KeyAnswer::Done) => {
                if let Some(held) = self.release(&id) {
                    held.key.lost.set(false);
                    self.hold(held.key);
                }
            }
            (Job::Beat(id), _) => {
                if let Some(held) = self.release(&id) {
                    held.key.lost.set(true);
                }
                self.wake(&id.0);
            }
            (Job::End(_, end), answer) => {
                let ended = match answer {
                    KeyAnswer::Done => Ok(()),
                    _ => Err(EndError::LostLease),
                };
                end.owed.map(|owed| owed.give(ended));
                self.wake(&end.scope);
            }
        }
    }

    fn settle_claim(&mut self, id: DeskId, answer: KeyAnswer) {
        let time = self.clock.time;
        let Some(desk) = self.desks.get_mut(&id) else { return };
        match answer {
            KeyAnswer::Owned { fence, charge } => {
                let attempt = std::mem::replace(&mut desk.attempt, self.draws.number());
                desk.lease_left = self.lease;
                let Some(waiter) = desk.waiters.pop_front() else { return };
                let (scope, holder) = (id.0.clone(), Holder { fence, attempt });
                let key = Held { scope, holder, charge, lost: Default::default() };
                let lease = Lease::new(key.clone(), waiter.front);
                self.hold(key);
                // Whoever has gone returns it, and it fails.
                drop(waiter.owed.give(Ok(Claim::Owned(lease))));
                self.poll(id.clone(), time.saturating_add(self.lease));
                self.set_alarm(&id);
            }
            KeyAnswer::InFlight { lease_left, .. } => {
                desk.lease_left = lease_left;
                let pause = self.draws.about(desk.back_off).min(lease_left);
                desk.back_off = (desk.back_off * 2).min(POLL_MAX);
                // One that is held here wakes them when it ends.
                let pause = if self.is_held_here(&id.0) { self.lease } else { pause };
                let pause = pause.max(Duration::from_millis(1));
                self.poll(id, time.saturating_add(pause));
            }
            KeyAnswer::Replay { result, charge } => {
                self.dismiss(&id, || Ok(Claim::Replay { result: result.clone(), charge }));
            }
            KeyAnswer::Mismatch => self.dismiss(&id, || Ok(Claim::Mismatch)),
            KeyAnswer::Full => self.dismiss(&id, || Err(ClaimError::Full)),
            KeyAnswer::Lost | KeyAnswer::Done | KeyAnswer::Free => {
                let (doing, found) = ("claiming a key", format!("{answer:?}"));
                let error = StoreError::Malformed { doing, what: "answer", found };
                self.refuse(Job::Claim(id), &Arc::new(error));
            }
        }
    }

    fn hold(&mut self, key: Held) {
        let id = (key.scope.clone(), key.holder.attempt);
        let until = self.clock.time.saturating_add(self.lease);
        let beat_at = self.clock.time.saturating_add(self.lease / 3);
        self.to_ask.insert((beat_at, Due::Lease(id.clone())));
        self.alarms.insert((until, Due::Lease(id.clone())));
        self.held.insert(id, Holding { key, beat_at, until });
    }

    /// Lets go of a lease that has ended.
    pub(super) fn release(&mut self, id: &HeldId) -> Option<Holding> {
        let held = self.held.remove(id)?;
        self.to_ask.remove(&(held.beat_at, Due::Lease(id.clone())));
        self.alarms.remove(&(held.until, Due::Lease(id.clone())));
        Some(held)
    }

    fn is_held_here(&self, scope: &Scope) -> bool {
        let from = (scope.clone(), 0);
        self.held.range(from..).next().is_some_and(|(id, _)| id.0 == *scope)
    }

    /// Lets all who wait for a key ask for it now.
    pub(super) fn wake(&mut self, scope: &Scope) {
        let from = (scope.clone(), Fingerprint::from_bytes([0; 32]));
        let desks = self.desks.range(from..).take_while(|(id, _)| id.0 == *scope);
        let ids: Vec<DeskId> = desks.map(|(id, _)| id.clone()).collect();
        ids.into_iter().for_each(|id| self.poll(id, self.clock.time));
    }

    /// Lets a desk ask at an instant.
    pub(super) fn poll(&mut self, id: DeskId, at: Timestamp) {
        let Some(desk) = self.desks.get_mut(&id) else { return };
        self.to_ask.remove(&(desk.poll_at, Due::Desk(id.clone())));
        desk.poll_at = at;
        self.to_ask.insert((at, Due::Desk(id)));
    }

    /// Lets a desk look at its deadlines at this one, if not before. That costs the same however
    /// many wait there.
    pub(super) fn ring_by(&mut self, id: &DeskId, deadline: Timestamp) {
        let Some(desk) = self.desks.get_mut(id).filter(|desk| deadline <= desk.give_up_at) else {
            return;
        };
        self.alarms.remove(&(desk.give_up_at, Due::Desk(id.clone())));
        desk.give_up_at = deadline;
        self.alarms.insert((deadline, Due::Desk(id.clone())));
    }

    /// Sets the alarm of a desk to the deadline that is next. When nobody waits there any more,
    /// that is its end.
    pub(super) fn set_alarm(&mut self, id: &DeskId) {
        let Some(desk) = self.desks.get_mut(id) else { return };
        let Some(next) = desk.waiters.iter().map(|waiter| waiter.deadline).min() else {
            self.close(id);
            return;
        };
        self.alarms.remove(&(desk.give_up_at, Due::Desk(id.clone())));
        desk.give_up_at = next;
        self.alarms.insert((next, Due::Desk(id.clone())));
    }

    pub(super) fn close(&mut self, id: &DeskId) -> Option<Desk> {
        let desk = self.desks.remove(id)?;
        self.to_ask.remove(&(desk.poll_at, Due::Desk(id.clone())));
        self.alarms.remove(&(desk.give_up_at, Due::Desk(id.clone())));
        Some(desk)
    }

    /// Gives everybody at a desk the same answer.
    fn dismiss(&mut self, id: &DeskId, answer: impl Fn() -> Result<Claim, ClaimError>) {
        let waiters = self.close(id).map(|desk| desk.waiters).unwrap_or_default();
        waiters.into_iter().for_each(|waiter| drop(waiter.owed.give(answer())));
    }

    /// Does it again when the store is tried next.
    pub(super) fn postpone(&mut self, job: Job) {
        let Some(trouble) = &self.trouble else { return };
        let at = trouble.retry_at;
        match job {
            Job::Claim(id) => self.poll(id, at),
            Job::Beat(id) => {
                if let Some(held) = self.held.get_mut(&id) {
                    held.beat_at = at;
                    self.to_ask.insert((at, Due::Lease(id)));
                }
            }
            Job::End(deadline, end) if self.clock.time < deadline => {
                self.ends.push_back((deadline, end));
            }
            Job::End(_, end) => {
                let error = EndError::Store(trouble.error.clone());
                end.owed.map(|owed| owed.give(Err(error)));
            }
        }
    }

    /// The store will not do it.
    pub(super) fn refuse(&mut self, job: Job, error: &Arc<StoreError>) {
        match job {
            Job::Claim(id) => self.dismiss(&id, || Err(ClaimError::Store(error.clone()))),
            Job::Beat(id) => {
                if let Some(held) = self.held.get_mut(&id) {
                    held.beat_at = self.clock.time.saturating_add(self.lease / 3);
                    self.to_ask.insert((held.beat_at, Due::Lease(id)));
                }
            }
            Job::End(_, end) => {
                end.owed.map(|owed| owed.give(Err(EndError::Store(error.clone()))));
                self.wake(&end.scope);
            }
        }
    }
}
