//! The calls of one user, in the order in which they came.

use std::collections::VecDeque;
use std::task::Waker;

use super::lock::LockRequest;
use crate::time::Timestamp;

/// Which call it is. Tickets of one user grow in the order in which the calls came.
pub(super) type Ticket = u64;

/// The calls of one user. Whoever waits does so because all seats are taken.
#[derive(Default)]
pub(super) struct Line {
    seated: Vec<Call>,
    waiting: VecDeque<Call>,
}

/// One call that was let into the line.
pub(super) struct Call {
    pub(super) ticket: Ticket,
    /// When its time is up, if it has no permit by then.
    pub(super) deadline: Timestamp,
    pub(super) stage: Stage,
    /// Whom to wake when something changes; `None` until it is polled.
    pub(super) waker: Option<Waker>,
}

/// How far a call is. All but the first have a seat.
pub(super) enum Stage {
    /// Those before it have all the seats.
    Queued,
    /// It is its turn, which it has not noticed yet.
    Turn,
    /// It has asked the remote lock.
    Asking(LockRequest),
    /// It polls its request at this moment.
    Polled,
    /// Its time was up while it polled its request.
    Recalled,
    /// It has a permit.
    Held,
    /// It is over; its request is being dropped.
    Ending,
}

impl Call {
    pub(super) fn new(ticket: Ticket, deadline: Timestamp) -> Call {
        Call { ticket, deadline, stage: Stage::Queued, waker: None }
    }
}

impl Line {
    /// How many have a seat, and how many wait.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.seated.len(), self.waiting.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seated.is_empty() && self.waiting.is_empty()
    }

    /// How many have a permit.
    pub(super) fn holding(&self) -> usize {
        self.seated.iter().filter(|call| matches!(call.stage, Stage::Held)).count()
    }

    pub(super) fn join(&mut self, call: Call, seats: usize) {
        self.waiting.push_back(call);
        // It has not been polled, so there is nobody to wake; and no other is before it if there is
        // a seat.
        let _ = self.promote(seats);
    }

    /// Gives a free seat to the one that waits longest. Returns whom to wake.
    pub(super) fn promote(&mut self, seats: usize) -> Option<Waker> {
        if self.seated.len() >= seats {
            return None;
        }
        let mut call = self.waiting.pop_front()?;
        call.stage = Stage::Turn;
        let waker = call.waker.take();
        self.seated.push(call);
        waker
    }

    pub(super) fn call(&mut self, ticket: Ticket) -> Option<&mut Call> {
        if let Some(place) = self.seated.iter().position(|call| call.ticket == ticket) {
            return self.seated.get_mut(place);
        }
        let place = self.place(ticket)?;
        self.waiting.get_mut(place)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        if let Some(place) = self.seated.iter().position(|call| call.ticket == ticket) {
            self.seated.swap_remove(place);
        } else if let Some(place) = self.place(ticket) {
            self.waiting.remove(place);
        }
    }

    /// Where a waiting call stands: tickets grow along the line.
    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |call| call.ticket).ok()
    }
}
