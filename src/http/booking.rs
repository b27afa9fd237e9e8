//! The way of a record to the disk, and what waits for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::correction::correct;
use crate::barrier::Permit;
use crate::ledger::{Ledger, Settling};
use crate::promise::Promise;
use crate::task::Spawn;
use crate::telemetry::{Phase, Stopwatch};

/// A charge that has ended, until its record is durable. Only then the next request of a user who
/// stands at the barrier is let in, also if nobody waits here any more.
pub(super) struct Booking {
    settling: Option<Settling>,
    resolved: Option<Promise<()>>,
    rest: Rest,
    /// `None` where it runs in a task of its own.
    spawn: Option<Spawn>,
}

/// What is done when the record is written.
#[derive(Default)]
pub(super) struct Rest {
    /// Dropped.
    pub(super) permit: Option<Permit>,
    /// Of a record whose id is that of an idempotency key: an earlier attempt may have left one
    /// that is uncertain, which this one resolves.
    pub(super) correct_in: Option<Ledger>,
    /// Reported, with the time that it took.
    pub(super) operation: Option<(&'static str, Stopwatch)>,
}

impl Booking {
    /// Of a settlement, if anything is recorded.
    pub(super) fn new(settling: Option<Settling>, rest: Rest, spawn: Spawn) -> Self {
        Self { settling, resolved: None, rest, spawn: Some(spawn) }
    }
}

impl Future for Booking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.settling {
            let receipt = ready!(Pin::new(settling).poll(context));
            self.settling = None;
            if let Some((operation, mut watch)) = self.rest.operation.take() {
                watch.took(operation, Phase::Record);
            }
            // A record that is refused is listed by the ledger, and its charge is booked.
            if let (Ok(receipt), Some(ledger)) = (receipt, self.rest.correct_in.take()) {
                self.resolved = correct(&ledger, &receipt);
            }
        }
        if let Some(resolved) = &mut self.resolved {
            let _ = ready!(Pin::new(resolved).poll(context));
            self.resolved = None;
        }
        self.rest = Rest::default();
        Poll::Ready(())
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let pending = self.settling.is_some() || self.resolved.is_some();
        let waited_for = self.rest.permit.is_some() || self.rest.correct_in.is_some();
        let Some(spawn) = self.spawn.take().filter(|_| pending && waited_for) else { return };
        let task = Box::pin(Booking {
            settling: self.settling.take(),
            resolved: self.resolved.take(),
            rest: std::mem::take(&mut self.rest),
            spawn: None,
        });
        // Where no task can run any more it is dropped, and the next request is let in.
        let _ = catch_unwind(AssertUnwindSafe(|| spawn(task)));
    }
}
