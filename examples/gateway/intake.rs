//! The bodies of requests on their way in: bounded in time, however they trickle, and in what all
//! of them together take of the memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::slow::Broken;

/// Room for the bodies of all requests together. Clones share it.
#[derive(Clone)]
pub struct Room {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// Why the gateway does not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    TooSlow,
    NoRoom,
}

/// What one request takes of the room, until this is dropped.
pub struct Share {
    room: Room,
    taken: AtomicUsize,
    stopped: OnceLock<Stopped>,
}

impl Room {
    pub fn new(most: usize) -> Room {
        Room { taken: Arc::default(), most }
    }

    /// A body that takes its share, and must be there whole in time.
    pub fn body<B>(&self, body: B, within: Duration) -> (Whole<B>, Arc<Share>) {
        let (room, taken, stopped) = (self.clone(), AtomicUsize::new(0), OnceLock::new());
        let share = Arc::new(Share { room, taken, stopped });
        (Whole { body, until: sleep(within), share: Arc::clone(&share) }, share)
    }
}

impl Share {
    /// Why its body was not read to the end, if it was not.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped.get().copied()
    }

    // Relaxed, all of them: they count, and publish nothing.
    fn take(&self, bytes: usize) -> bool {
        let before = self.room.taken.fetch_add(bytes, Ordering::Relaxed);
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.room.most
    }

    fn stop(&self, why: Stopped) -> Broken {
        let _ = self.stopped.set(why);
        io::Error::from(io::ErrorKind::TimedOut).into()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Relaxed: see `take`.
        self.room.taken.fetch_sub(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

pin_project! {
    /// The body of a request.
    pub struct Whole<B> {
        #[pin]
        body: B,
        #[pin]
        until: Sleep,
        share: Arc<Share>,
    }
}

impl<B: Body<Data = Bytes>> Body for Whole<B>
where
    B::Error: Into<Broken>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.project();
        match this.body.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let taken = this.share.take(bytes);
                let frame = if taken { Ok(frame) } else { Err(this.share.stop(Stopped::NoRoom)) };
                Poll::Ready(Some(frame))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                ready!(this.until.poll(context));
                Poll::Ready(Some(Err(this.share.stop(Stopped::TooSlow))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
