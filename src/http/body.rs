//! The body of an answer on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::meter::{End, Meter};
use super::relay::{BoxError, Relayed};

type Next = Option<Result<Frame<Bytes>, BoxError>>;

pin_project! {
    /// The body of an answer of the layer: what the service inside answers, read as it passes and
    /// handed on as it comes; or an answer of the layer itself.
    ///
    /// Dropping it before its end is the client's going away: its request is settled by what was
    /// seen until then. Nothing of it is buffered but the last piece, which waits until the record
    /// is durable.
    pub struct AnswerBody<B> {
        #[pin]
        form: Form<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Form<B> {
        Whole { bytes: Bytes },
        Relayed { relayed: Relayed },
        Passing {
            #[pin]
            body: B,
            // `None` where nothing is metered.
            meter: Option<Box<Meter>>,
            // What waits until the record is durable.
            held: Option<Next>,
            end: Option<End>,
        },
    }
}

impl<B> AnswerBody<B> {
    /// An answer of the layer itself, for which nothing is charged.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { form: Form::Whole { bytes } }
    }

    /// An answer that is metered where it comes from.
    pub(super) fn relayed(relayed: Relayed) -> Self {
        Self { form: Form::Relayed { relayed } }
    }

    /// An answer that is not metered, or not any more.
    pub(super) fn untouched(body: B, end: Option<End>) -> Self {
        Self { form: Form::Passing { body, meter: None, held: None, end } }
    }

    pub(super) fn metered(body: B, meter: Meter) -> Self {
        let meter = Some(Box::new(meter));
        Self { form: Form::Passing { body, meter, held: None, end: None } }
    }

    /// What became of it: known before the last frame is handed out, or the error. `None` until
    /// then, and of what is free.
    pub(super) fn end(&self) -> Option<End> {
        match &self.form {
            Form::Whole { .. } => Some(End::Unbilled),
            Form::Relayed { .. } => None,
            Form::Passing { meter: Some(meter), .. } => meter.end(),
            Form::Passing { end, .. } => *end,
        }
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
            Projected::Whole { bytes } if bytes.is_empty() => Poll::Ready(None),
            Projected::Whole { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Projected::Relayed { relayed } => Pin::new(relayed).poll_frame(context),
            Projected::Passing { body, meter: None, .. } => {
                body.poll_frame(context).map(|next| next.map(|frame| frame.map_err(Into::into)))
            }
            Projected::Passing { mut body, meter: Some(meter), held, .. } => {
                if held.is_none() {
                    let next = ready!(body.as_mut().poll_frame(context));
                    let next = next.map(|frame| frame.map_err(Into::into));
                    pass(meter, &next, body.is_end_stream());
                    *held = Some(next);
                }
                ready!(meter.poll_booked(context));
                Poll::Ready(held.take().flatten())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Whole { bytes } => bytes.is_empty(),
            Form::Relayed { relayed } => relayed.is_end_stream(),
            Form::Passing { meter: Some(meter), .. } if !meter.is_over() => false,
            Form::Passing { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.form {
            Form::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Form::Relayed { relayed } => relayed.size_hint(),
            Form::Passing { body, held, .. } => {
                let held = held.iter().flatten().flatten().filter_map(Frame::data_ref);
                longer(body.size_hint(), held.map(|bytes| bytes.len() as u64).sum())
            }
        }
    }
}

/// Tells the meter what passes.
fn pass(meter: &mut Meter, next: &Next, is_last: bool) {
    match next {
        Some(Ok(frame)) => {
            if let Some(bytes) = frame.data_ref() {
                meter.read(bytes);
            }
            if is_last || meter.has_all() {
                meter.ended();
            }
        }
        Some(Err(_)) => meter.broke(),
        None => meter.closed(),
    }
}

/// A hint for so many bytes more.
fn longer(mut hint: SizeHint, by: u64) -> SizeHint {
    if by > 0 {
        let upper = hint.upper().map(|upper| upper.saturating_add(by));
        hint.set_lower(hint.lower().saturating_add(by).min(upper.unwrap_or(u64::MAX)));
        // The upper bound last: it may not be below the lower one.
        if let Some(upper) = upper {
            let lower = hint.lower();
            hint = SizeHint::new();
            hint.set_upper(upper);
            hint.set_lower(lower);
        }
    }
    hint
}
