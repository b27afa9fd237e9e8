//! Futures without a runtime: run by whatever the user has for it, or waited for by a thread.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, SyncSender};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::sync::Arc;

/// What is to be run in a task of its own.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs it: what the user gave for that.
pub(crate) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

/// Wakes a thread that waits for the bell.
struct Ring(SyncSender<()>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        // One ring is enough.
        let _ = self.0.try_send(());
    }
}

/// Blocks this thread until the future is ready. `None` if that takes longer than `at_most`,
/// counted from when it was last woken.
pub(crate) fn block_on<F: Future>(future: F, at_most: Option<Duration>) -> Option<F::Output> {
    let (ring, bell) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(Ring(ring)));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        // The waker here keeps the bell's other end, so without a bound it does not fail.
        match at_most {
            Some(time) => bell.recv_timeout(time).ok()?,
            None => bell.recv().ok()?,
        }
    }
}
