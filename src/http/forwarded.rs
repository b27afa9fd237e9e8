//! The body of a request behind the layer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body that the layer hands to the service inside: that of a metered request is whole, that
    /// of any other is the client's, untouched.
    #[project = Projected]
    #[derive(Debug)]
    pub struct Forwarded<B> {
        #[pin]
        form: Form<B>,
    }
}

pin_project! {
    #[project = FormProjected]
    #[derive(Debug)]
    enum Form<B> {
        Whole { bytes: Bytes },
        Untouched { #[pin] body: B },
    }
}

impl<B> Forwarded<B> {
    /// A body that is there.
    pub fn whole(bytes: Bytes) -> Self {
        Self { form: Form::Whole { bytes } }
    }

    /// A body as it comes.
    pub fn untouched(body: B) -> Self {
        Self { form: Form::Untouched { body } }
    }
}

impl<B: Body<Data = Bytes>> Body for Forwarded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().form.project() {
            FormProjected::Whole { bytes } if bytes.is_empty() => Poll::Ready(None),
            FormProjected::Whole { bytes } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            FormProjected::Untouched { body } => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Whole { bytes } => bytes.is_empty(),
            Form::Untouched { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.form {
            Form::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Form::Untouched { body } => body.size_hint(),
        }
    }
}
