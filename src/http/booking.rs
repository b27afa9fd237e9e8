//! The way of a record to the disk, and what waits for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::barrier::Permit;
use crate::ledger::Settling;
use crate::task::Spawn;

/// A charge that has ended, until its record is durable. Then, and not before, the next request of
/// a user who stands at the barrier is let in: also if nobody waits here any more.
pub(super) struct Booking {
    settling: Option<Settling>,
    permit: Option<Permit>,
    spawn: Spawn,
}

impl Booking {
    /// `None`: nothing is recorded.
    pub(super) fn new(settling: Option<Settling>, permit: Option<Permit>, spawn: Spawn) -> Self {
        Self { settling, permit, spawn }
    }
}

impl Future for Booking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.settling {
            // A record that is refused is listed by the ledger, and its charge is booked.
            let _ = ready!(Pin::new(settling).poll(context));
        }
        (self.settling, self.permit) = (None, None);
        Poll::Ready(())
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let (Some(settling), Some(permit)) = (self.settling.take(), self.permit.take()) else {
            return;
        };
        let task = Box::pin(async move {
            let _ = settling.await;
            drop(permit);
        });
        // Without a runtime the task is dropped, and the next one is let in.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.spawn)(task)));
    }
}
