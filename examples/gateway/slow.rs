//! Those who are slow: upstreams whose pieces are far apart, clients that take nothing in.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

/// What a body broke off with.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// A body whose pieces may not be too far apart.
    pub struct Idle<B> {
        #[pin]
        body: B,
        #[pin]
        until: Sleep,
        within: Duration,
    }
}

impl<B> Idle<B> {
    pub fn new(body: B, within: Duration) -> Idle<B> {
        Idle { body, until: sleep(within), within }
    }
}

impl<B: Body<Data = Bytes>> Body for Idle<B>
where
    B::Error: Into<Broken>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut this = self.project();
        match this.body.poll_frame(context) {
            Poll::Ready(frame) => {
                this.until.as_mut().reset(Instant::now() + *this.within);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                ready!(this.until.as_mut().poll(context));
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
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

pin_project! {
    /// A connection whose peer must take in what is written to it.
    pub struct Taking<I> {
        #[pin]
        io: I,
        #[pin]
        until: Sleep,
        waiting: bool,
        within: Duration,
    }
}

impl<I> Taking<I> {
    pub fn new(io: I, within: Duration) -> Taking<I> {
        Taking { io, until: sleep(within), waiting: false, within }
    }
}

impl<I> Taking<I> {
    /// What writing came to, unless it takes too long.
    fn in_time<T>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut this = self.project();
        if written.is_ready() {
            *this.waiting = false;
            return written;
        }
        if !std::mem::replace(this.waiting, true) {
            this.until.as_mut().reset(Instant::now() + *this.within);
        }
        ready!(this.until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: Read> Read for Taking<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().io.poll_read(context, buffer)
    }
}

impl<I: Write> Write for Taking<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().project().io.poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().project().io.poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.as_mut().project().io.poll_shutdown(context);
        self.in_time(context, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().project().io.poll_write_vectored(context, pieces);
        self.in_time(context, written)
    }
}
