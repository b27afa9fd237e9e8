//! A request with an `Idempotency-Key`: executed once, charged once, answered as often as it comes.
//!
//! ```text
//!  key, fingerprint ─► Idempotency::run ─┬ the first ─► a task: execute ─► metered answer
//!                                        │                │ frame by frame
//!                                        │                ├─► Relay ─► the client, if it is there
//!                                        │                └─► Recording ─► the key, at the end
//!                                        ├ executed before ─► the recording, marked as replayed
//!                                        └ 409 · 422 · 503
//! ```
//!
//! The execution is a task of its own, so it goes on to the end when the client has gone, and the
//! client that comes back finds the whole answer. How it ends decides what becomes of the key:
//!
//! | | the key |
//! |---|---|
//! | the answer is whole, and was charged | is completed with it |
//! | … and is larger than a key keeps | is completed without it: replays say so |
//! | it was charged, and the answer broke off | is completed with an error that says so |
//! | the upstream was not called: denied, refused | is forgotten: the next try executes it |
//! | … and it was tried before | is failed: the next try executes it, under the same charge |
//! | it was not billed | is failed: as above |
//! | nobody knows: an error, a panic | is failed: the next try executes it, under the same charge |
//! | … and it was tried before | is completed with an error that says so |
//!
//! What several tries under one charge have used is charged once, so a key whose answers break off
//! again and again, to a client who has read them, is not executed for ever.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body;

use super::body::AnswerBody;
use super::detached::{broke_off, pass_on};
use super::key_field::key_of;
use super::meter::End;
use super::relay::BoxError;
use super::stored::{self, Recording};
use super::{Caller, Refusal};
use crate::idempotency::{Attempt, Fingerprint, Idempotency, PART_BYTES_MAX, Ran, RunError, Scope};
use crate::ledger::RecordId;
use crate::promise::{Owed, promise};
use crate::telemetry::{self, Met};

/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A key, and what it is for.
pub(super) struct Keyed {
    /// For what is reported of it.
    operation: &'static str,
    scope: Scope,
    fingerprint: Fingerprint,
}

impl Keyed {
    /// The key that the request has, if it has one, among those of its caller and its route.
    ///
    /// # Errors
    ///
    /// 400, for a field that is no key; 500, for a tenant that cannot be told from others.
    pub(super) fn of(
        request: &Parts,
        body: &[u8],
        caller: &Caller,
        operation: &'static str,
    ) -> Result<Option<Keyed>, Refusal> {
        let keyed = Keyed::read(request, body, caller, operation);
        keyed.inspect_err(|_| telemetry::keyed(operation, Met::Malformed))
    }

    fn read(
        request: &Parts,
        body: &[u8],
        caller: &Caller,
        operation: &'static str,
    ) -> Result<Option<Keyed>, Refusal> {
        let Some(key) = key_of(&request.headers)? else { return Ok(None) };
        let tenant = short(caller.tenant.clone().unwrap_or_else(|| caller.key.to_string()));
        let route = short(format!("{} {}", request.method, request.uri.path()));
        let scope = Scope::new(&tenant, &route, &key).map_err(|_| {
            // The key was read, and a path has no control characters: it is the tenant.
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let message = "the gateway has no usable name for whose Idempotency-Key it is";
            refusal(status, "unusable_tenant", message).kind("api_error")
        })?;
        let target = request.uri.path_and_query().map_or("", |target| target.as_str());
        let method = request.method.as_str().as_bytes();
        let fingerprint = Fingerprint::of(&[method, target.as_bytes(), body]);
        Ok(Some(Keyed { operation, scope, fingerprint }))
    }
}

/// Executes a request unless its key says that it was executed, and answers it. It waits so long at
/// most for another one with its key that is in flight.
///
/// # Errors
///
/// What `execute` ends with, if this call has executed it.
pub(super) async fn once<RB, E, X, F>(
    keys: &Idempotency,
    wait: Duration,
    Keyed { operation, scope, fingerprint }: Keyed,
    execute: X,
) -> Result<Response<AnswerBody<RB>>, E>
where
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
    E: Send + 'static,
    X: FnOnce(RecordId) -> F + Send + 'static,
    F: Future<Output = Result<Response<AnswerBody<RB>>, E>> + Send + 'static,
{
    let (owed, mut answer) = promise();
    let most = keys.result_bytes_max();
    let mut ran = pin!(keys.run(&scope, fingerprint, wait, move |attempt| async move {
        telemetry::keyed(operation, Met::Executed);
        let answer = execute(attempt.charge()).await.map_err(Some)?;
        hand_out(answer, owed, &attempt, most).await.ok_or(None)
    }));
    // The answer is there as soon as it begins; the key's end is for those who come later.
    poll_fn(|context| {
        let ran = ran.as_mut().poll(context);
        match (Pin::new(&mut answer).poll(context), ran) {
            (Poll::Ready(Ok(answer)), _) => Poll::Ready(Ok(answer)),
            (_, Poll::Ready(ran)) => Poll::Ready(without_execution(operation, ran)),
            (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// A text as part of a scope: one that is too long for that by its digest.
fn short(text: String) -> String {
    if text.len() <= PART_BYTES_MAX { text } else { RecordId::derived(text.as_bytes()).to_string() }
}

/// Passes an answer on to the client, if there is one, to its end. What its key is to keep then;
/// `None`: nothing was charged, or nobody knows.
async fn hand_out<RB>(
    answer: Response<AnswerBody<RB>>,
    owed: Owed<Response<AnswerBody<RB>>>,
    attempt: &Attempt,
    most: usize,
) -> Option<Vec<u8>>
where
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let (mut head, body) = answer.into_parts();
    // Not ours to say for another one's replay.
    head.headers.remove(REPLAYED);
    let mut recording = Recording::new(&head, most);
    let answer = Response::from_parts(head, body);
    let hand = |answer| drop(owed.give(answer));
    match pass_on(answer, hand, |data| recording.add(data)).await {
        Some(End::Completed) => Some(recording.into_bytes()),
        Some(End::Billed) => Some(billed_but_broken(attempt.charge(), most)),
        Some(End::Unknown) if attempt.is_takeover() => {
            Some(billed_but_broken(attempt.charge(), most))
        }
        Some(End::Uncalled) => {
            attempt.mark_uncharged();
            None
        }
        Some(End::Unbilled | End::Unknown) | None => None,
    }
}

/// What a call is answered that has no answer of its own execution.
fn without_execution<RB, E>(
    operation: &'static str,
    ran: Result<Ran, RunError<Option<E>>>,
) -> Result<Response<AnswerBody<RB>>, E> {
    let (met, answer) = match ran {
        Ok(Ran::Replayed(kept)) => (Some(Met::Replayed), replay(&kept)),
        // Its answer was handed out before it ended, so these come to nobody.
        Ok(Ran::Fresh(kept)) | Err(RunError::NotCompleted { result: kept, .. }) => {
            (None, replay(&kept))
        }
        Err(RunError::BrokeOff | RunError::Failed(None)) => (None, Err(broke_off())),
        Err(RunError::Failed(Some(error))) => return Err(error),
        Err(RunError::NotKept { charge }) => (Some(Met::NotKept), Err(not_kept(charge))),
        Err(RunError::InFlight { .. }) => (Some(Met::InFlight), Err(in_flight())),
        Err(RunError::Mismatch) => (Some(Met::Mismatch), Err(mismatch())),
        Err(RunError::Claim(_)) => (Some(Met::Unavailable), Err(unavailable())),
    };
    met.into_iter().for_each(|met| telemetry::keyed(operation, met));
    Ok(answer.unwrap_or_else(Refusal::into_response).map(AnswerBody::whole))
}

fn replay(kept: &[u8]) -> Result<Response<Bytes>, Refusal> {
    let mut answer = stored::read(kept).map_err(|_| {
        let message = "the request with this Idempotency-Key was executed, and the gateway cannot \
                       read the answer that it kept; send a new key to execute it again";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        refusal(status, "idempotency_answer_unreadable", message).for_good()
    })?;
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(answer)
}

fn mismatch() -> Refusal {
    let message = "the Idempotency-Key was used before, for a request with another method, path, \
                   query or body; send the request as it was, or a new key";
    refusal(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
}

fn in_flight() -> Refusal {
    let message = "a request with this Idempotency-Key is still in flight; send it again later to \
                   get its answer";
    refusal(StatusCode::CONFLICT, "idempotency_key_in_use", message).again_in(1)
}

fn not_kept(charge: RecordId) -> Refusal {
    let message = format!(
        "the request with this Idempotency-Key was executed and charged once, as the record \
         {charge}; its answer was too large to be kept; send a new key to execute it again"
    );
    refusal(StatusCode::CONFLICT, "idempotency_answer_not_kept", message).for_good()
}

fn unavailable() -> Refusal {
    let message = "it cannot be told now whether the request with this Idempotency-Key was \
                   executed before, so it was not; send it again later, with the same key";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    refusal(status, "idempotency_unavailable", message).kind("api_error").again_in(1)
}

/// What is replayed in place of an answer that was charged and broke off.
fn billed_but_broken(charge: RecordId, most: usize) -> Vec<u8> {
    let message = format!(
        "the answer to the request with this Idempotency-Key broke off; what it used until then, \
         or may have used, was charged, once, as the record {charge}; send a new key to execute it \
         again"
    );
    let refusal = refusal(StatusCode::BAD_GATEWAY, "upstream_broke_off", message);
    let (head, body) = refusal.kind("api_error").for_good().into_response().into_parts();
    let mut recording = Recording::new(&head, most);
    recording.add(&body);
    recording.into_bytes()
}

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(status, code, message).kind("idempotency_error")
}
