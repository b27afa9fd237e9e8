//! A call on its way to a permit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::error::BarrierError;
use super::lock::{LockError, LockKey};
use super::permit::{Permit, Place, is_inside};
use super::queue::{End, Over, Refused, Step};
use super::room::Room;
use crate::id::OwnerId;
use crate::sync::Arc;
use crate::task::block_on;

/// A permit to come. It is a future, for any runtime, and a thread may [`wait`](Self::wait) for it.
/// Dropping it gives up the place in the queue.
///
/// Its place was taken when it was made, not when it is polled first. If it is not polled it keeps
/// its place until its time is up, and no longer.
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "a call has no permit before this is ready, and loses its place when this is dropped"]
pub struct Acquire(Way);

enum Way {
    /// It need not wait.
    Free,
    Refused(BarrierError),
    Waiting(Place),
    Over,
}

impl Acquire {
    pub(super) fn free() -> Acquire {
        Acquire(Way::Free)
    }

    /// Takes a place at the end of the user's queue.
    pub(super) fn join(room: &Arc<Room>, user: &OwnerId) -> Acquire {
        if is_inside(room, user) {
            return Acquire(Way::Refused(BarrierError::Reentrant { user: user.clone() }));
        }
        let deadline = room.now().saturating_add(room.within);
        Acquire(match room.queues.join(user, deadline) {
            Ok(ticket) => {
                let room = Arc::clone(room);
                let place = Place { room, user: user.clone(), ticket, deadline, end: End::Done };
                place.room.bell.ring(deadline);
                Way::Waiting(place)
            }
            Err(Refused::Closed) => Way::Refused(BarrierError::Closed),
            Err(Refused::Full) => {
                let waiting = room.waiters;
                Way::Refused(BarrierError::QueueFull { user: user.clone(), waiting })
            }
        })
    }

    /// Blocks this thread until the permit is there.
    ///
    /// # Errors
    ///
    /// [`BarrierError`], as for the future.
    pub fn wait(self) -> Result<Permit, BarrierError> {
        block_on(self, None).unwrap_or(Err(BarrierError::Closed))
    }
}

impl Future for Acquire {
    type Output = Result<Permit, BarrierError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, Way::Over) {
            Way::Free => Poll::Ready(Ok(Permit::free())),
            Way::Refused(error) => Poll::Ready(Err(error)),
            Way::Waiting(place) => match place.advance(context) {
                Advanced::Ready(result) => Poll::Ready(result),
                Advanced::Waits(place) => {
                    self.0 = Way::Waiting(place);
                    Poll::Pending
                }
            },
            Way::Over => panic!("a permit is asked for once: this one was given out or refused"),
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.0 {
            Way::Free => "free",
            Way::Refused(_) => "refused",
            Way::Waiting(_) => "waiting",
            Way::Over => "over",
        };
        f.debug_tuple("Acquire").field(&way).finish()
    }
}

enum Advanced {
    Ready(Result<Permit, BarrierError>),
    Waits(Place),
}

impl Place {
    /// Goes as far as it can. Wherever this returns without the place, or unwinds, the place is
    /// left, and the request for the lock is dropped before that.
    fn advance(mut self, context: &mut Context<'_>) -> Advanced {
        let room = Arc::clone(&self.room);
        let remote = room.remote.as_deref();
        let step = room.queues.step(&self.user, self.ticket, remote.is_some(), context.waker());
        let mut request = match (step, remote) {
            (Step::Poll(request), _) => request,
            (Step::Ask, Some(remote)) => {
                let within = self.deadline.saturating_since(room.now());
                remote.request(LockKey::of(&self.user), within)
            }
            (Step::Wait, _) => return Advanced::Waits(self),
            (Step::Go | Step::Ask, _) => return Advanced::Ready(Ok(Permit::new(self, None))),
            (Step::Over(over), _) => return Advanced::Ready(Err(self.recalled(over))),
        };
        let error = match request.as_mut().poll(context) {
            Poll::Pending => {
                return match room.queues.keep(&self.user, self.ticket, request) {
                    None => Advanced::Waits(self),
                    Some(over) => Advanced::Ready(Err(self.recalled(over))),
                };
            }
            Poll::Ready(Ok(guard)) => match room.queues.go(&self.user, self.ticket) {
                None => return Advanced::Ready(Ok(Permit::new(self, Some(guard)))),
                Some(over) => self.recalled(over),
            },
            Poll::Ready(Err(LockError::Timeout)) => {
                self.end = End::Late;
                self.timeout()
            }
            Poll::Ready(Err(error)) => BarrierError::Remote(error),
        };
        Advanced::Ready(Err(error))
    }

    fn recalled(&self, over: Over) -> BarrierError {
        match over {
            Over::TimeUp => self.timeout(),
            Over::Closed => BarrierError::Closed,
        }
    }

    fn timeout(&self) -> BarrierError {
        BarrierError::Timeout { user: self.user.clone(), within: self.room.within }
    }
}
