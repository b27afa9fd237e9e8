//! The body of an answer on its way to the client.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::meter::{End, Meter};
use super::relay::{BoxError, Relayed};
use crate::telemetry;

type Next = Option<Result<Frame<Bytes>, BoxError>>;

pin_project! {
    /// The body of an answer of the layer: what the service inside answers, read as it passes and
    /// handed on as it comes; or an answer of the layer itself.
    ///
    /// Dropping it before its end is the client's going away: its request is settled by what was
    /// seen until then. Nothing of it is buffered but the last piece, which waits until the record
    /// is durable, and the first one of an answer whose length is known.
    pub struct AnswerBody<B> {
        #[pin]
        form: Form<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Form<B> {
        Whole { bytes: Bytes, end: Option<End> },
        Relayed { relayed: Relayed },
        Untouched {
            #[pin]
            body: B,
            end: Option<End>,
        },
        // Where it is, it stays: its first piece is waited for before the answer is handed out.
        Metered { metered: Pin<Box<Metered<B>>> },
    }
}

pin_project! {
    /// A body that is read as it passes.
    #[project = Passing]
    struct Metered<B> {
        #[pin]
        body: B,
        meter: Meter,
        // What waits until the record is durable, or is handed out first.
        held: Option<Next>,
    }
}

impl<B> AnswerBody<B> {
    /// An answer of the layer itself, in place of calling the upstream.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { form: Form::Whole { bytes, end: Some(End::Uncalled) } }
    }

    /// An answer of the layer itself, in place of the upstream's, of which this has become.
    pub(super) fn in_place(bytes: Bytes, end: Option<End>) -> Self {
        Self { form: Form::Whole { bytes, end } }
    }

    /// An answer that is metered where it comes from.
    pub(super) fn relayed(relayed: Relayed) -> Self {
        Self { form: Form::Relayed { relayed } }
    }

    /// An answer that is not metered, or not any more.
    pub(super) fn untouched(body: B, end: Option<End>) -> Self {
        Self { form: Form::Untouched { body, end } }
    }

    pub(super) fn metered(body: B, meter: Meter) -> Self {
        Self { form: Form::Metered { metered: Box::pin(Metered { body, meter, held: None }) } }
    }

    /// What became of it: known before the last frame is handed out, or the error. `None` until
    /// then, and of what is free.
    pub(super) fn end(&self) -> Option<End> {
        match &self.form {
            Form::Whole { end, .. } | Form::Untouched { end, .. } => *end,
            Form::Relayed { .. } => None,
            Form::Metered { metered } => metered.meter.end(),
        }
    }
}

impl<B> AnswerBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Waits for the first piece of an answer that says how long it is. Mostly it is the only one,
    /// and then until its record is durable: so the head and all of the body go out in one write,
    /// where the head alone would be of no use. A stream says no length, and begins at once. What
    /// has no body has ended: its head waits for its record.
    ///
    /// # Errors
    ///
    /// What has become of it, if it broke off before any of it had come.
    pub(super) async fn begun(mut self, operation: &'static str) -> Result<Self, Option<End>> {
        if let Form::Metered { metered } = &mut self.form
            && !poll_fn(|context| metered.as_mut().poll_begun(context)).await
        {
            let error = metered.as_mut().project().held.take().flatten().and_then(Result::err);
            telemetry::broke_off(operation, error.as_deref());
            return Err(self.end());
        }
        Ok(self)
    }
}

impl<B> Metered<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Whether it has begun, or broke off before that.
    fn poll_begun(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let Passing { body, meter, held } = self.project();
        if held.is_none() && meter.end().is_none() && meter.is_announced() {
            *held = Some(ready!(poll_read(body, meter, context)));
        }
        ready!(meter.poll_booked(context));
        Poll::Ready(!matches!(held, Some(None | Some(Err(_)))))
    }

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Next> {
        let Passing { body, meter, held } = self.project();
        let next = match held.take() {
            Some(next) => next,
            None => ready!(poll_read(body, meter, context)),
        };
        if meter.poll_booked(context).is_pending() {
            *held = Some(next);
            return Poll::Pending;
        }
        Poll::Ready(next)
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Next> {
        match self.project().form.project() {
            Projected::Whole { bytes, .. } if bytes.is_empty() => Poll::Ready(None),
            Projected::Whole { bytes, .. } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Projected::Relayed { relayed } => Pin::new(relayed).poll_frame(context),
            Projected::Untouched { body, .. } => {
                body.poll_frame(context).map(|next| next.map(|frame| frame.map_err(Into::into)))
            }
            Projected::Metered { metered } => metered.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Whole { bytes, .. } => bytes.is_empty(),
            Form::Relayed { relayed } => relayed.is_end_stream(),
            Form::Untouched { body, .. } => body.is_end_stream(),
            Form::Metered { metered } => {
                metered.held.is_none() && metered.meter.is_over() && metered.body.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.form {
            Form::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Form::Relayed { relayed } => relayed.size_hint(),
            Form::Untouched { body, .. } => body.size_hint(),
            Form::Metered { metered } => {
                let held = metered.held.iter().flatten().flatten().filter_map(Frame::data_ref);
                let held = held.map(|bytes| bytes.len() as u64).sum();
                metered.body.size_hint() + SizeHint::with_exact(held)
            }
        }
    }
}

/// Waits for the next piece of a body, and tells the meter what passes.
fn poll_read<B>(mut body: Pin<&mut B>, meter: &mut Meter, context: &mut Context<'_>) -> Poll<Next>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let next = ready!(body.as_mut().poll_frame(context));
    match &next {
        Some(Ok(frame)) => {
            if let Some(bytes) = frame.data_ref() {
                meter.read(bytes);
            }
            if body.is_end_stream() || meter.has_all() {
                meter.closed();
            }
        }
        Some(Err(_)) => meter.broke(),
        None => meter.closed(),
    }
    Poll::Ready(next.map(|frame| frame.map_err(Into::into)))
}
