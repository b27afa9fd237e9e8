//! A critical section that runs to its end, whether its client waits for it or not.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::acquire::Acquire;
use super::error::BarrierError;
use super::permit::Permit;
use crate::promise::{Owed, Promise, promise};
use crate::sync::Arc;
use crate::task::{Spawn, block_on};

/// The result to come of a critical section. It is a future, and a thread may
/// [`wait`](Self::wait) for it.
///
/// Dropping it before the section began gives up the place in the queue, and the section never
/// runs. Dropping it afterwards changes nothing for the section.
#[must_use = "the section does not begin before this is polled"]
pub struct Section<T> {
    /// Until it begins.
    queued: Option<(Acquire, Begin)>,
    result: Promise<T>,
}

type Begin = Box<dyn FnOnce(Permit) + Send>;

impl<T: Send + 'static> Section<T> {
    pub(super) fn new<S>(
        acquire: Acquire,
        spawn: Spawn,
        section: impl FnOnce(Arc<Permit>) -> S + Send + 'static,
    ) -> Section<T>
    where
        S: Future<Output = T> + Send + 'static,
    {
        let (owed, result) = promise();
        // The task is spawned in the very poll in which the permit is there: no moment is between
        // in which a client could go.
        let begin = Box::new(move |permit| spawn(Box::pin(run(permit, section, owed))));
        Section { queued: Some((acquire, begin)), result }
    }

    /// Blocks this thread until the section has ended.
    ///
    /// # Errors
    ///
    /// [`BarrierError`], as for the future.
    pub fn wait(self) -> Result<T, BarrierError> {
        block_on(self, None).unwrap_or(Err(BarrierError::Closed))
    }
}

/// The critical section from its beginning to its end.
async fn run<T, S: Future<Output = T>>(
    permit: Permit,
    section: impl FnOnce(Arc<Permit>) -> S,
    owed: Owed<T>,
) {
    let permit = Arc::new(permit);
    let theirs = Arc::clone(&permit);
    let mut section = Box::pin(async move { section(theirs).await });
    let result = poll_fn(|context| {
        let _inside = permit.enter();
        section.as_mut().poll(context)
    })
    .await;
    // First the release, so that who has the result finds the barrier free; but however it ends, it
    // does not take the place of the result.
    let released = catch_unwind(AssertUnwindSafe(|| {
        drop(section);
        drop(permit);
    }));
    // The client may have gone.
    let _ = owed.give(result);
    if let Err(panic) = released {
        resume_unwind(panic);
    }
}

impl<T> Future for Section<T> {
    type Output = Result<T, BarrierError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some((mut acquire, begin)) = self.queued.take() {
            match Pin::new(&mut acquire).poll(context) {
                Poll::Ready(Ok(permit)) => begin(permit),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.queued = Some((acquire, begin));
                    return Poll::Pending;
                }
            }
        }
        Pin::new(&mut self.result).poll(context).map_err(|_| BarrierError::Unfinished)
    }
}

impl<T> fmt::Debug for Section<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("begun", &self.queued.is_none()).finish_non_exhaustive()
    }
}
