//! What is asked of the keeper, and who waits for one key.

use std::collections::VecDeque;
use std::time::Duration;

use super::front::{Claim, ClaimError, Idempotency};
use super::key::{Fingerprint, Scope};
use super::lease::EndError;
use super::record::Holder;
use super::transition::KeyAct;
use crate::promise::Owed;
use crate::time::Timestamp;

/// What a front or a lease asks of the keeper.
pub(super) enum Ask {
    Claim {
        scope: Scope,
        fingerprint: Fingerprint,
        wait: Duration,
        owed: Owed<Result<Claim, ClaimError>>,
        front: Idempotency,
    },
    End(End),
}

/// The end of a lease.
pub(super) struct End {
    pub(super) scope: Scope,
    pub(super) holder: Holder,
    pub(super) act: KeyAct,
    /// `None` when the lease was dropped.
    pub(super) owed: Option<Owed<Result<(), EndError>>>,
}

/// All who claim the same key for the same request. One of them asks for all.
pub(super) struct Desk {
    pub(super) waiters: VecDeque<Waiter>,
    /// The number of the claim that asks for them.
    pub(super) attempt: u64,
    /// When it asks next.
    pub(super) poll_at: Timestamp,
    /// The deadline that is next.
    pub(super) give_up_at: Timestamp,
    pub(super) back_off: Duration,
    /// Of the one who holds the key, when it was asked last.
    pub(super) lease_left: Duration,
}

pub(super) struct Waiter {
    pub(super) deadline: Timestamp,
    pub(super) owed: Owed<Result<Claim, ClaimError>>,
    pub(super) front: Idempotency,
}

impl Desk {
    /// Lets those go who do not wait any more, and says whether anybody is left.
    pub(super) fn is_attended(&mut self) -> bool {
        self.waiters.retain(|waiter| !waiter.owed.is_forgotten());
        !self.waiters.is_empty()
    }

    /// Gives an answer to those whose time is up.
    pub(super) fn give_up(
        &mut self,
        time: Timestamp,
        answer: impl Fn() -> Result<Claim, ClaimError>,
    ) {
        let (late, left) = self.waiters.drain(..).partition(|waiter| waiter.deadline <= time);
        self.waiters = left;
        let late: VecDeque<Waiter> = late;
        for waiter in late {
            drop(waiter.owed.give(answer()));
        }
    }
}
