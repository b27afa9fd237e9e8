//! The way of a record to the disk, and what waits for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::correction::correct;
use crate::barrier::Permit;
use crate::ledger::{Ledger, Receipt, SettleError, Settling};
use crate::promise::Promise;
use crate::task::Spawn;

/// A charge that has ended, until its record is durable. Then, and not before, the next request of
/// a user who stands at the barrier is let in: also if nobody waits here any more.
pub(super) struct Booking {
    settling: Option<Settling>,
    correction: Option<Promise<()>>,
    /// Of a request that may have been tried before: where it is looked for what it left.
    retried: Option<Ledger>,
    permit: Option<Permit>,
    spawn: Spawn,
}

impl Booking {
    /// `None`: nothing is recorded.
    pub(super) fn new(
        settling: Option<Settling>,
        retried: Option<Ledger>,
        permit: Option<Permit>,
        spawn: Spawn,
    ) -> Self {
        Self { settling, correction: None, retried, permit, spawn }
    }
}

impl Future for Booking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.settling {
            let written = ready!(Pin::new(settling).poll(context));
            self.correction = correction(written, self.retried.as_ref());
            self.settling = None;
        }
        if let Some(correction) = &mut self.correction {
            // It is done, or nobody will do it.
            let _ = ready!(Pin::new(correction).poll(context));
        }
        (self.correction, self.permit) = (None, None);
        Poll::Ready(())
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let (retried, permit) = (self.retried.take(), self.permit.take());
        let Some(settling) = self.settling.take().filter(|_| retried.is_some() || permit.is_some())
        else {
            return;
        };
        let task = Box::pin(async move {
            if let Some(correction) = correction(settling.await, retried.as_ref()) {
                let _ = correction.await;
            }
            drop(permit);
        });
        // Without a runtime the task is dropped, and the next one is let in.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.spawn)(task)));
    }
}

/// What is left to do once it is written. A record that is refused is listed by the ledger, and its
/// charge is booked.
fn correction(
    written: Result<Receipt, SettleError>,
    retried: Option<&Ledger>,
) -> Option<Promise<()>> {
    correct(retried?, &written.ok()?)
}
