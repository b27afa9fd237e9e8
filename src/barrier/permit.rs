//! The right to be inside: held by one call of a user at a time, given back when it is dropped.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use super::line::Ticket;
use super::lock::{Loss, RemoteGuard};
use super::queue::End;
use super::room::Room;
use crate::id::OwnerId;
use crate::sync::Arc;
use crate::time::Timestamp;

thread_local! {
    /// Whose critical sections this thread is inside of, and of which barrier.
    static INSIDE: RefCell<Vec<(usize, OwnerId)>> = const { RefCell::new(Vec::new()) };
}

/// Whether this thread is inside of a critical section of the user.
pub(super) fn is_inside(room: &Arc<Room>, user: &OwnerId) -> bool {
    let here = address(room);
    INSIDE.with_borrow(|inside| inside.iter().any(|(room, held)| *room == here && held == user))
}

fn address(room: &Arc<Room>) -> usize {
    Arc::as_ptr(room).addr()
}

/// The right of one call to be inside of the user's critical section, from the check of the balance
/// to the settlement. Dropping it releases it, at once, to the one that waits longest.
///
/// A call that need not be serialised ([`BarrierMode`](super::BarrierMode)) has one that excludes
/// nobody.
#[must_use = "dropping a permit lets the next call in"]
pub struct Permit {
    // In this order: the lock is released before the next call of this process asks for it, and a
    // release that panics does not keep the place.
    guard: Option<Box<dyn RemoteGuard>>,
    place: Option<Place>,
}

impl Permit {
    /// One that excludes nobody.
    pub(super) fn free() -> Permit {
        Permit { guard: None, place: None }
    }

    pub(super) fn new(place: Place, guard: Option<Box<dyn RemoteGuard>>) -> Permit {
        Permit { guard, place: Some(place) }
    }

    /// Whether the remote lock was lost, so that another process may be inside as well. It stays
    /// lost. Without a remote lock nothing is.
    ///
    /// What is charged must not depend on it: a lock that is lost between two statements is noticed
    /// after them. It is there to stop an upstream call that has not begun.
    pub fn is_lost(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.loss().is_told())
    }

    /// A future that is ready when the remote lock is lost, to race the upstream call against.
    pub fn lost(&self) -> Loss {
        self.guard.as_ref().map_or_else(Loss::new, |guard| guard.loss().clone())
    }

    /// Marks this thread as being inside, until what is returned is dropped: whoever asks for a
    /// permit of the same user on this thread meanwhile gets
    /// [`BarrierError::Reentrant`](super::BarrierError::Reentrant) instead of waiting for itself.
    ///
    /// [`Barrier::run`](super::Barrier::run) does it for each poll of the critical section. It is
    /// for threads that take a permit themselves. What another thread or task does on behalf of the
    /// critical section is not seen; it waits until its time is up.
    pub fn enter(&self) -> Inside<'_> {
        let place = self.place.as_ref();
        let mark = place.map(|place| (address(&place.room), place.user.clone()));
        if let Some(mark) = &mark {
            INSIDE.with_borrow_mut(|inside| inside.push(mark.clone()));
        }
        Inside { mark, this_thread: PhantomData }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_lost()
            && let Some(place) = &mut self.place
        {
            place.end = End::Lost;
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.place.as_ref().map(|place| &place.user);
        f.debug_struct("Permit").field("user", &user).field("lost", &self.is_lost()).finish()
    }
}

/// While it lives, its thread is inside of the critical section that a [`Permit`] is for.
#[must_use = "the thread is inside only until this is dropped"]
pub struct Inside<'a> {
    mark: Option<(usize, OwnerId)>,
    /// It borrows the permit, and stays on the thread that it marks.
    this_thread: PhantomData<(&'a Permit, *const ())>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        // A thread that is ending has forgotten its marks.
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(last) = inside.iter().rposition(|held| *held == mark) {
                inside.remove(last);
            }
        });
    }
}

impl fmt::Debug for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("user", &self.mark.as_ref().map(|(_, user)| user)).finish()
    }
}

/// A call's place in its user's queue, which it leaves when this is dropped.
pub(super) struct Place {
    pub(super) room: Arc<Room>,
    pub(super) user: OwnerId,
    pub(super) ticket: Ticket,
    /// When its time is up, if it has no permit by then.
    pub(super) deadline: Timestamp,
    pub(super) end: End,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.queues.leave(&self.user, self.ticket, self.end);
    }
}
