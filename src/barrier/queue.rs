//! Whose turn it is: for each user the calls that have a seat and those that wait, in order.
//!
//! Everything about one user is in one shard, behind one lock, under which nobody else's code runs:
//! wakers are woken, and requests for the remote lock polled and dropped, outside of it. While a
//! request is outside, the call's stage says who will see to the seat, so that there is always
//! exactly one who does:
//!
//! | stage | who gives the seat back |
//! |---|---|
//! | `Turn`, `Asking` | whoever comes first: the call by leaving, the timer, the barrier's end |
//! | `Held` | the call, by dropping its permit |
//! | `Polled` | the call, which is polling its request at this moment |
//! | `Recalled` | the same, when it comes back and finds that its time was up meanwhile |
//! | `Ending` | whoever took the request out to drop it |

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::line::{Call, Line, Stage, Ticket};
use super::lock::LockRequest;
use crate::id::OwnerId;
use crate::time::Timestamp;

/// Enough that users seldom meet at a lock that is held for some hundred nanoseconds.
const SHARDS: usize = 32;

/// The queues of all users.
pub(super) struct Queues {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// How many calls of a user have a seat at the same time.
    seats: usize,
    /// How many calls of a user wait at most.
    waiters: usize,
}

#[derive(Default)]
struct Shard {
    closed: bool,
    last: Ticket,
    /// The users that have a call here, and no others.
    lines: HashMap<OwnerId, Line>,
    /// The calls whose time can be up: those that wait, or have a seat and not yet a permit.
    due: BTreeMap<(Timestamp, Ticket), OwnerId>,
    ended: Ended,
}

/// How calls ended, since the barrier began.
#[derive(Clone, Copy, Default)]
struct Ended {
    timeouts: u64,
    refused: u64,
    lost: u64,
}

/// What goes on at a barrier, and how calls ended since it began. Each user's numbers are of one
/// moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BarrierCounts {
    /// Users that have a call here. A user whose calls are over takes no memory.
    pub users: usize,
    /// Calls that wait, for those before them or for the remote lock.
    pub waiting: usize,
    /// Calls that have a permit.
    pub holding: usize,
    /// Calls whose time was up before they had a permit.
    pub timeouts: u64,
    /// Calls that were refused because too many waited.
    pub refused: u64,
    /// Calls whose remote lock was lost before they gave up their permit. Counted when they do.
    pub lost: u64,
}

/// Why a call gives up its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is done, or its client has gone.
    Done,
    /// Its time was up at the remote lock.
    Late,
    /// It had the remote lock and lost it.
    Lost,
}

/// Why a call gets no place.
pub(super) enum Refused {
    Full,
    Closed,
}

/// What a call that is polled has to do.
pub(super) enum Step {
    /// Nothing; it will be woken.
    Wait,
    /// It is its turn: ask the remote lock, and come back.
    Ask,
    /// Poll its request, and come back.
    Poll(LockRequest),
    /// Go.
    Go,
    /// Its place was taken away.
    Over(Over),
}

/// Why a place was taken away.
pub(super) enum Over {
    TimeUp,
    Closed,
}

impl Queues {
    pub(super) fn new(seats: usize, waiters: usize) -> Queues {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Queues { shards, hasher: RandomState::new(), seats, waiters }
    }

    /// A place at the end of the user's queue.
    pub(super) fn join(&self, user: &OwnerId, deadline: Timestamp) -> Result<Ticket, Refused> {
        let mut shard = self.shard(user);
        if shard.closed {
            return Err(Refused::Closed);
        }
        let here = shard.lines.get(user).map_or((0, 0), |line| line.len());
        if here.0 >= self.seats && here.1 >= self.waiters {
            shard.ended.refused += 1;
            return Err(Refused::Full);
        }
        shard.last += 1;
        let ticket = shard.last;
        shard.due.insert((deadline, ticket), user.clone());
        let line = shard.lines.entry(user.clone()).or_default();
        line.join(Call::new(ticket, deadline), self.seats);
        Ok(ticket)
    }

    /// What the call has to do now. `remote` says whether there is a remote lock to ask.
    pub(super) fn step(&self, user: &OwnerId, ticket: Ticket, remote: bool, waker: &Waker) -> Step {
        let waker = waker.clone();
        let mut shard = self.shard(user);
        let Some(call) = shard.call(user, ticket) else { return Step::Over(shard.over()) };
        let step = match std::mem::replace(&mut call.stage, Stage::Polled) {
            Stage::Queued => {
                call.stage = Stage::Queued;
                Step::Wait
            }
            Stage::Turn if remote => Step::Ask,
            Stage::Turn => {
                call.stage = Stage::Held;
                Step::Go
            }
            Stage::Asking(request) => Step::Poll(request),
            over @ (Stage::Ending | Stage::Recalled | Stage::Polled | Stage::Held) => {
                call.stage = over;
                return Step::Over(shard.over());
            }
        };
        let before = call.waker.replace(waker);
        if matches!(step, Step::Go) {
            let deadline = call.deadline;
            shard.due.remove(&(deadline, ticket));
        }
        drop(shard);
        drop(before);
        step
    }

    /// Keeps the request of a call until it is polled again. If its time was up meanwhile, drops
    /// the request and says so; the place is to be left then.
    pub(super) fn keep(
        &self,
        user: &OwnerId,
        ticket: Ticket,
        request: LockRequest,
    ) -> Option<Over> {
        let mut shard = self.shard(user);
        match shard.call(user, ticket) {
            Some(call) if matches!(call.stage, Stage::Polled) => {
                call.stage = Stage::Asking(request);
                None
            }
            _ => Some(shard.over()),
        }
    }

    /// Lets a call go that was granted the remote lock. If its time was up meanwhile, says so; the
    /// lock is to be released then, and the place left.
    pub(super) fn go(&self, user: &OwnerId, ticket: Ticket) -> Option<Over> {
        let mut shard = self.shard(user);
        match shard.call(user, ticket) {
            Some(call) if matches!(call.stage, Stage::Polled) => {
                call.stage = Stage::Held;
                let due = (call.deadline, ticket);
                shard.due.remove(&due);
                None
            }
            _ => Some(shard.over()),
        }
    }

    /// Gives up a place, wherever it is. One that was taken away is none.
    pub(super) fn leave(&self, user: &OwnerId, ticket: Ticket, end: End) {
        let mut shard = self.shard(user);
        match (end, shard.call(user, ticket).map(|call| &call.stage)) {
            (End::Late, Some(Stage::Polled)) => shard.ended.timeouts += 1,
            (End::Lost, Some(Stage::Held)) => shard.ended.lost += 1,
            _ => {}
        }
        self.end(shard, user, ticket, false);
    }

    /// Takes their places from all whose time is up, and says when the next one's will be.
    pub(super) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        for shard in &self.shards {
            loop {
                let mut locked = shard.lock();
                let Some((&(deadline, ticket), user)) = locked.due.first_key_value() else { break };
                if deadline > now {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                    break;
                }
                let user = user.clone();
                locked.ended.timeouts += 1;
                self.end(locked, &user, ticket, true);
            }
        }
        next
    }

    /// Takes their places from all that have no permit, and lets nobody in any more.
    pub(super) fn close(&self) {
        for shard in &self.shards {
            loop {
                let mut locked = shard.lock();
                locked.closed = true;
                let Some((&(_, ticket), user)) = locked.due.first_key_value() else { break };
                let user = user.clone();
                self.end(locked, &user, ticket, true);
            }
        }
    }

    pub(super) fn counts(&self) -> BarrierCounts {
        let mut counts = BarrierCounts::default();
        for shard in &self.shards {
            let shard = shard.lock();
            counts.users += shard.lines.len();
            for line in shard.lines.values() {
                let holding = line.holding();
                let (seated, waiting) = line.len();
                counts.holding += holding;
                counts.waiting += waiting + seated - holding;
            }
            counts.timeouts += shard.ended.timeouts;
            counts.refused += shard.ended.refused;
            counts.lost += shard.ended.lost;
        }
        counts
    }

    /// Takes its place from a call and gives it to the next one. Who is recalled does not know yet,
    /// and is woken to see it.
    fn end<'a>(
        &'a self,
        mut shard: MutexGuard<'a, Shard>,
        user: &OwnerId,
        ticket: Ticket,
        recalled: bool,
    ) {
        let Some(call) = shard.call(user, ticket) else { return };
        let stage = std::mem::replace(&mut call.stage, Stage::Ending);
        let (waker, deadline) = (call.waker.take(), call.deadline);
        let next = match stage {
            // Whoever drops the request gives the seat back as well.
            Stage::Ending => None,
            Stage::Polled if recalled => {
                call.stage = Stage::Recalled;
                shard.due.remove(&(deadline, ticket));
                None
            }
            Stage::Asking(request) => {
                shard.due.remove(&(deadline, ticket));
                drop(shard);
                // Before the next one asks.
                drop(request);
                shard = self.shard(user);
                shard.vacate(user, ticket, self.seats)
            }
            _ => {
                shard.due.remove(&(deadline, ticket));
                shard.vacate(user, ticket, self.seats)
            }
        };
        drop(shard);
        if let Some(next) = next {
            next.wake();
        }
        if let Some(waker) = waker.filter(|_| recalled) {
            waker.wake();
        }
    }

    fn shard(&self, user: &OwnerId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(user);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock()
    }
}

impl Shard {
    fn call(&mut self, user: &OwnerId, ticket: Ticket) -> Option<&mut Call> {
        self.lines.get_mut(user)?.call(ticket)
    }

    /// Removes a call, and gives its seat to the next one. Returns whom to wake.
    fn vacate(&mut self, user: &OwnerId, ticket: Ticket, seats: usize) -> Option<Waker> {
        let line = self.lines.get_mut(user)?;
        line.remove(ticket);
        let next = line.promote(seats);
        if line.is_empty() {
            self.lines.remove(user);
        }
        next
    }

    /// What a call is told whose place was taken away.
    fn over(&self) -> Over {
        if self.closed { Over::Closed } else { Over::TimeUp }
    }
}
