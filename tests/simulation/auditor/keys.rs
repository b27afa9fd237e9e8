//! What must become of idempotency keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollkeeper::{Fingerprint, KeyAct, KeyAnswer, KeyOp, RecordId, Scope, Timestamp};

use super::Tag;
use crate::hub::{Checked, breach};

/// One life of a key: from the claim that found it absent until it expires.
struct Life {
    fingerprint: Fingerprint,
    charge: RecordId,
    fence: u64,
    attempt: u64,
    state: State,
}

enum State {
    Held(Timestamp),
    Done(Option<Arc<[u8]>>, Timestamp),
    Failed(Timestamp),
}

#[derive(Default)]
pub struct KeyBook {
    lives: BTreeMap<Scope, Life>,
    /// What each charge is for.
    asked: BTreeMap<RecordId, (Scope, Fingerprint)>,
    answers: BTreeMap<RecordId, Arc<[u8]>>,
    charges: BTreeMap<Tag, RecordId>,
}

impl KeyBook {
    /// Under which key each reservation is charged.
    pub fn charges(&self) -> &BTreeMap<Tag, RecordId> {
        &self.charges
    }

    /// The store has done a group.
    pub fn applied(&mut self, ops: &[KeyOp], answers: &[KeyAnswer], now: Timestamp) -> Checked {
        ops.iter().zip(answers).try_for_each(|(op, answer)| self.applied_one(op, answer, now))
    }

    fn applied_one(&mut self, op: &KeyOp, answer: &KeyAnswer, now: Timestamp) -> Checked {
        let life = self.lives.get_mut(&op.scope).filter(|life| match life.state {
            State::Held(_) => true,
            State::Done(_, until) | State::Failed(until) => now < until,
        });
        match &op.act {
            KeyAct::Claim { fingerprint, attempt, lease } => {
                let held = State::Held(now.saturating_add(*lease));
                self.claimed(op, (*fingerprint, *attempt), answer, held, now)
            }
            KeyAct::Peek { .. } => Ok(()),
            KeyAct::Heartbeat { holder, lease } => {
                let mine = life.filter(|l| (l.fence, l.attempt) == (holder.fence, holder.attempt));
                match (mine, answer) {
                    (Some(life), KeyAnswer::Done) if matches!(life.state, State::Held(_)) => {
                        life.state = State::Held(now.saturating_add(*lease));
                        Ok(())
                    }
                    (None, KeyAnswer::Done) => breach("I4", "a lost lease is prolonged"),
                    _ => Ok(()),
                }
            }
            KeyAct::Complete { holder, result, ttl } => {
                let mine = life.filter(|l| (l.fence, l.attempt) == (holder.fence, holder.attempt));
                match (mine, answer) {
                    (Some(life), KeyAnswer::Done) => {
                        if let State::Held(_) = life.state {
                            let until = now.saturating_add(*ttl);
                            life.state = State::Done(result.clone(), until);
                            if let Some(result) = result {
                                self.answers.insert(life.charge, Arc::clone(result));
                            }
                        }
                        Ok(())
                    }
                    (None, KeyAnswer::Done) => breach("I4", "a lost lease is completed"),
                    _ => Ok(()),
                }
            }
            KeyAct::Fail { holder, ttl } => {
                let mine = life.filter(|l| (l.fence, l.attempt) == (holder.fence, holder.attempt));
                match (mine, answer) {
                    (Some(life), KeyAnswer::Done) if matches!(life.state, State::Held(_)) => {
                        life.state = State::Failed(now.saturating_add(*ttl));
                        Ok(())
                    }
                    (None, KeyAnswer::Done) => breach("I4", "a lost lease is failed"),
                    _ => Ok(()),
                }
            }
        }
    }

    fn claimed(
        &mut self,
        op: &KeyOp,
        (fingerprint, attempt): (Fingerprint, u64),
        answer: &KeyAnswer,
        held: State,
        now: Timestamp,
    ) -> Checked {
        let alive = self.lives.get_mut(&op.scope).filter(|life| match life.state {
            State::Held(_) => true,
            State::Done(_, until) | State::Failed(until) => now < until,
        });
        let Some(life) = alive else {
            let KeyAnswer::Owned { fence: 1, charge } = *answer else {
                return breach("I4", format!("the claim of a free key is answered by {answer:?}"));
            };
            let asked = (op.scope.clone(), fingerprint);
            if self.asked.insert(charge, asked).is_some() {
                return breach("I4", format!("{charge} is the charge of two keys"));
            }
            let life = Life { fingerprint, charge, fence: 1, attempt, state: held };
            self.lives.insert(op.scope.clone(), life);
            return Ok(());
        };
        if life.fingerprint != fingerprint {
            return match answer {
                KeyAnswer::Mismatch => Ok(()),
                _ => breach("I10", format!("another request under a key is answered {answer:?}")),
            };
        }
        let again = life.attempt == attempt;
        match (&life.state, answer) {
            (State::Done(result, _), KeyAnswer::Replay { result: said, charge }) => {
                if result == said && *charge == life.charge {
                    return Ok(());
                }
                breach("I4", "a replay is not the first answer")
            }
            (State::Held(until), KeyAnswer::InFlight { .. }) if now < *until && !again => Ok(()),
            (State::Held(until), KeyAnswer::Owned { fence, charge }) => {
                let own = again && *fence == life.fence;
                let over = now >= *until && *fence == life.fence + 1;
                if !(own || over) || *charge != life.charge {
                    return breach("I4", format!("a held key is answered {answer:?}"));
                }
                (life.fence, life.attempt, life.state) = (*fence, attempt, held);
                Ok(())
            }
            (State::Failed(_), KeyAnswer::Owned { fence, charge }) => {
                if *fence != life.fence + 1 || *charge != life.charge {
                    return breach("I4", format!("a failed key is answered {answer:?}"));
                }
                (life.fence, life.attempt, life.state) = (*fence, attempt, held);
                Ok(())
            }
            _ => breach("I4", format!("a claim is answered {answer:?}")),
        }
    }

    /// A reservation is made to execute a request under a key.
    pub fn executes(
        &mut self,
        tag: Tag,
        charge: RecordId,
        (scope, fingerprint): (&Scope, Fingerprint),
    ) -> Checked {
        self.charges.insert(tag, charge);
        match self.asked.get(&charge) {
            Some((whose, asked)) if whose == scope && *asked == fingerprint => Ok(()),
            Some(_) => breach("I10", format!("q{tag} executes another request than was claimed")),
            None => breach("I10", format!("q{tag} executes under a charge that nobody claimed")),
        }
    }

    /// A client gets an answer that was given before.
    pub fn replayed(&self, scope: &Scope, fingerprint: Fingerprint, answer: &[u8]) -> Checked {
        let first = self.answers.iter().find(|(_, first)| ***first == *answer);
        let Some((charge, _)) = first else {
            return breach("I4", "a replay is no answer that was ever given");
        };
        match self.asked.get(charge) {
            Some((whose, asked)) if whose == scope && *asked == fingerprint => Ok(()),
            _ => breach("I10", format!("{scope:?} gets the answer to another request")),
        }
    }
}
