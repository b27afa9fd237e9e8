//! Answers that pass to their end whether or not their client stays.

use std::future::{Future, poll_fn};
use std::pin::pin;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;

use super::body::AnswerBody;
use super::meter::End;
use super::refusal::Refusal;
use super::relay::{BoxError, relay};
use crate::promise::promise;
use crate::task::Spawn;

/// Executes a request in a task of its own, and answers it. The task goes on to the answer's end
/// when the client has gone: only there is it told what was used.
///
/// # Errors
///
/// What the execution ends with.
pub(super) async fn detached<RB, E>(
    spawn: &Spawn,
    execution: impl Future<Output = Result<Response<AnswerBody<RB>>, E>> + Send + 'static,
) -> Result<Response<AnswerBody<RB>>, E>
where
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
    E: Send + 'static,
{
    let (owed, answer) = promise();
    spawn(Box::pin(async move {
        match execution.await {
            Ok(answer) => {
                pass_on(answer, |answer| drop(owed.give(Ok(answer))), |_| {}).await;
            }
            Err(error) => drop(owed.give(Err(error))),
        }
    }));
    // It broke off where the task panicked, or nobody runs it any more.
    let gone = |_| Ok(broke_off().into_response().map(AnswerBody::whole));
    answer.await.unwrap_or_else(gone)
}

/// Hands an answer to whoever waits for it, and passes its body on to the end, at the pace of the
/// client, or at the upstream's if that has gone. What became of it.
pub(super) async fn pass_on<RB>(
    answer: Response<AnswerBody<RB>>,
    hand: impl FnOnce(Response<AnswerBody<RB>>),
    mut each: impl FnMut(&Bytes),
) -> Option<End>
where
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let mut body = pin!(body);
    let (relay, relayed) = relay(body.size_hint().exact());
    hand(Response::from_parts(head, AnswerBody::relayed(relayed)));
    let ended = loop {
        match poll_fn(|context| body.as_mut().poll_frame(context)).await {
            Some(Ok(frame)) => {
                frame.data_ref().into_iter().for_each(&mut each);
                relay.frame(frame).await;
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    let end = body.end();
    relay.end(ended).await;
    end
}

/// The answer to a request whose task panicked, or whom nobody runs any more.
pub(super) fn broke_off() -> Refusal {
    let message = "the execution of the request broke off; with an Idempotency-Key, send it again \
                   with the same one: it is charged once";
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(status, "request_broke_off", message).kind("api_error")
}
