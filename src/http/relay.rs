//! An answer's body on its way from the task that executes a request to the client.
//!
//! A queue of a few frames is between the two: a client that reads slowly slows the upstream down,
//! and one that has gone slows nothing. Only what was [ended](Relay::end) is a whole body: if the
//! task breaks off, the client's body does so too, and never looks complete.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// So many frames wait for a client at most.
const FRAMES: usize = 8;

type Piece = Result<Option<Frame<Bytes>>, BoxError>;
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Where frames go in.
pub(super) struct Relay(Sender<Piece>);

/// Where they come out. Dropping it changes nothing for the one who sends them.
pub(super) struct Relayed {
    pieces: Receiver<Piece>,
    /// So many bytes are to come, where that is known.
    left: Option<u64>,
    ended: bool,
}

/// Whoever sent the body stopped in the middle of it.
#[derive(Debug, Error)]
#[error("the answer broke off: its execution in the gateway did")]
struct BrokeOff;

/// A body of so many bytes, if that is known.
pub(super) fn relay(bytes: Option<u64>) -> (Relay, Relayed) {
    let (sender, pieces) = channel(FRAMES);
    (Relay(sender), Relayed { pieces, left: bytes, ended: false })
}

impl Relay {
    /// The next frame. Waits until there is room for it, or until the client has gone.
    pub(super) async fn frame(&self, frame: Frame<Bytes>) {
        self.piece(Ok(Some(frame))).await;
    }

    /// The end, as it is: whole, or broken by an error.
    pub(super) async fn end(self, end: Result<(), BoxError>) {
        self.piece(end.map(|()| None)).await;
    }

    async fn piece(&self, piece: Piece) {
        // The client has gone: nobody reads it.
        drop(self.0.send(piece).await);
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(piece) = self.pieces.poll_recv(context) else { return Poll::Pending };
        let piece = piece.unwrap_or_else(|| Err(BrokeOff.into())).transpose();
        match &piece {
            Some(Ok(frame)) => {
                let passed = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                self.left = self.left.map(|left| left.saturating_sub(passed));
            }
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on;
    use http_body_util::BodyExt;
    use std::time::Duration;

    const SOON: Option<Duration> = Some(Duration::from_millis(20));

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn next(body: &mut Relayed) -> Option<Result<Bytes, String>> {
        let frame = block_on(body.frame(), None).expect("without a bound");
        frame.map(|frame| frame.map(|f| f.into_data().unwrap()).map_err(|e| e.to_string()))
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (relay, mut body) = relay(Some(3));
        block_on(relay.frame(data("ab")), None).unwrap();
        block_on(relay.frame(data("c")), None).unwrap();
        block_on(relay.end(Ok(())), None).unwrap();
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(next(&mut body), Some(Ok("ab".into())));
        assert_eq!(body.size_hint().exact(), Some(1));
        assert_eq!(next(&mut body), Some(Ok("c".into())));
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body), None);
        assert!(body.is_end_stream());
        assert_eq!(next(&mut body), None, "and again");
    }

    #[test]
    fn a_body_that_is_not_ended_never_looks_whole() {
        let (broken, mut body) = relay(None);
        block_on(broken.frame(data("ab")), None).unwrap();
        drop(broken);
        assert_eq!(next(&mut body), Some(Ok("ab".into())));
        let error = next(&mut body).unwrap().unwrap_err();
        assert_eq!(error, "the answer broke off: its execution in the gateway did");
        assert_eq!(next(&mut body), None);

        let (broken, mut body) = relay(None);
        block_on(broken.end(Err("upstream".into())), None).unwrap();
        assert_eq!(next(&mut body), Some(Err("upstream".into())));
    }

    #[test]
    fn who_does_not_read_is_waited_for_until_he_reads_or_has_gone() {
        let (relay, mut body) = relay(None);
        for _ in 0..FRAMES {
            block_on(relay.frame(data("x")), SOON).expect("there is room");
        }
        assert!(block_on(relay.frame(data("y")), SOON).is_none(), "there is none");
        assert_eq!(next(&mut body), Some(Ok("x".into())));
        block_on(relay.frame(data("z")), SOON).expect("there is room again");
        drop(body);
        block_on(relay.frame(data("z")), SOON).expect("nobody is waited for");
        block_on(relay.end(Ok(())), SOON).expect("nobody is waited for");
    }
}
