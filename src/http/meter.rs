//! The meter: how a request ends, by its response.
//!
//! ```text
//!  reserve         dispatch           the head has come        the body ends, breaks, is dropped
//!  ──────► Fare ─────────────► Fare ──────────────────► Meter ─────────────────────► Booking ─►
//!          dropped: void       dropped: uncertain       decides, once                durable
//! ```
//!
//! # Proof that nothing stays held, and nothing is free
//!
//! At any moment exactly one value owns what a request owes, and each end of each of them ends it:
//!
//! - **L6** Nothing is held before the charge exists, and [`Ledger::reserve`] holds on all limits
//!   or on none. Until [`Fare::dispatch`] nothing has been sent: a fare that is dropped there, by
//!   an error, a panic, or a client that goes, gives its charge back.
//! - **L7** A [`Fare`] has its charge until it is taken, by `end`, which consumes the fare, or by
//!   its `Drop`: one of the two happens, and one only. After the dispatch `Drop` charges what was
//!   held. So as long as the fare is a local of the request's future, a future that is dropped, an
//!   error of the service inside, and a panic of it all come to uncertain. When the head has come
//!   the fare moves into the meter, without an await in between, and the meter into the body.
//!   While the first piece of that is waited for, the body is a local of the future in turn.
//!   Where nothing was estimated, both are in a task of their own, which reads to the end though
//!   the client goes: what is held there is too little to be charged in place of what was used.
//! - A meter that is open ends its fare in `decide`, the only place that leaves [`State::Open`]. It
//!   is called at the end of the body, at an error of it, and by the meter's own `Drop`: a body
//!   that is never polled, or not to its end, is dropped at the latest with its connection's task,
//!   or with its runtime. What a server would not poll at all (the answer to HEAD, a 204, no bytes,
//!   or none left of those announced) is decided without waiting for a poll.
//! - The reader is the user's code, and may panic. While it reads it is not in the meter, so the
//!   meter that is dropped then knows nothing, and the request is uncertain; what it is asked in
//!   the end is asked where a panic is caught. The rest of what runs between the dispatch and the
//!   decision may panic too: then the fare is dropped, or the meter.
//! - **L10** What is decided goes through [`Charge`], which tells the ledger, and memory books what
//!   the ledger wrote. Nothing here counts.
//! - **L11** What comes last is handed out after the [`Booking`] is ready, which is when the
//!   receipt is there. A permit of the barrier is in the booking, and is dropped there or in a task
//!   that waits for the receipt: the next request of the user finds what this one has used.
//!
//! Forgetting a body (`mem::forget`) would leave its hold: that is a leak of the server's memory as
//! well.
//!
//! [`Ledger::reserve`]: crate::Ledger::reserve
//! [`Charge`]: crate::Charge

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::booking::Booking;
use super::fare::{Fare, Verdict};
use super::protocol::UsageReader;
use crate::units::Usage;

/// What became of an answer, for who keeps answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is whole, and charged.
    Completed,
    /// What it used until then is charged, and it is not whole.
    Billed,
    /// What was held is charged, because nobody knows what was used; and it is not whole, or not
    /// the upstream's.
    Unknown,
    /// Nothing is charged.
    Unbilled,
    /// Nothing is charged, because the upstream was not called.
    Uncalled,
}

/// Reads one response as it passes, and ends its request: once, by what was seen of it.
pub(super) struct Meter {
    state: State,
    status: StatusCode,
    /// So many bytes of the body are still to come, if it has said how many it has.
    left: Option<u64>,
    /// Whether the end of the body is not held back.
    at_once: bool,
    end: Option<End>,
}

#[allow(clippy::large_enum_variant)] // A meter is boxed as a whole.
enum State {
    Open {
        fare: Box<Fare>,
        /// `None` where the body cannot be read.
        reader: Option<Box<dyn UsageReader>>,
    },
    Booking(Booking),
    Over,
}

impl Meter {
    pub(super) fn new(
        fare: Box<Fare>,
        reader: Option<Box<dyn UsageReader>>,
        status: StatusCode,
        left: Option<u64>,
        at_once: bool,
    ) -> Self {
        Self { state: State::Open { fare, reader }, status, left, at_once, end: None }
    }

    /// Of a response that tells nothing of what was used.
    pub(super) fn unknown(fare: Box<Fare>, status: StatusCode, at_once: bool) -> Self {
        let mut meter = Self::new(fare, None, status, None, at_once);
        meter.decide(false);
        meter
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether nothing is to come that this meter waits for.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next bytes pass.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        if let State::Open { reader, .. } = &mut self.state
            && let Some(mut reading) = reader.take()
        {
            // If it panics it is gone, and nobody asks it again.
            reading.read(bytes);
            *reader = Some(reading);
        }
    }

    /// Whether it has said how long it is.
    pub(super) fn is_announced(&self) -> bool {
        self.left.is_some()
    }

    /// Whether all has passed that was announced.
    pub(super) fn has_all(&self) -> bool {
        self.left == Some(0)
    }

    /// The body has ended.
    pub(super) fn ended(&mut self) {
        self.decide(true);
    }

    /// The stream is over, be it too early.
    pub(super) fn closed(&mut self) {
        self.decide(self.left.is_none_or(|left| left == 0));
    }

    /// The body broke off.
    pub(super) fn broke(&mut self) {
        self.decide(false);
    }

    /// Waits until the record is durable.
    pub(super) fn poll_booked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Booking(booking) = &mut self.state {
            ready!(Pin::new(booking).poll(context));
            self.state = State::Over;
        }
        Poll::Ready(())
    }

    /// Ends the request, unless it has ended.
    fn decide(&mut self, ended: bool) {
        if !matches!(self.state, State::Open { .. }) {
            return;
        }
        let State::Open { fare, reader } = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let readable = reader.is_some();
        let (tokens, whole) = reader.map_or((None, false), seen);
        let (verdict, end) = verdict(self.status, readable, ended, tokens, whole);
        self.end = Some(end);
        let booking = fare.end(verdict);
        if !self.at_once {
            self.state = State::Booking(booking);
        }
    }
}

impl Drop for Meter {
    /// Its client has gone, or a panic passes.
    fn drop(&mut self) {
        self.decide(false);
    }
}

/// What a reader has seen: the tokens used, and whether that is a whole answer. It is asked where
/// nothing may panic.
fn seen(reader: Box<dyn UsageReader>) -> (Option<Usage>, bool) {
    let ask = AssertUnwindSafe(move || (reader.tokens(), reader.is_whole()));
    catch_unwind(ask).unwrap_or((None, false))
}

/// How a request ends whose answer has this status and has ended, or has not, and told of tokens,
/// or has not.
fn verdict(
    status: StatusCode,
    readable: bool,
    ended: bool,
    tokens: Option<Usage>,
    whole: bool,
) -> (Verdict, End) {
    let charged = if ended || whole { End::Completed } else { End::Billed };
    match tokens {
        Some(used) if !status.is_success() && used == Usage::default() => {
            (Verdict::Unbilled(status), End::Unbilled)
        }
        Some(used) if !status.is_success() => (Verdict::Failed(used), charged),
        Some(used) if ended || whole => (Verdict::Completed(used), charged),
        // Some upstreams say zero until they know.
        Some(used) if used == Usage::default() => (Verdict::Uncertain, End::Unknown),
        Some(used) => (Verdict::Partial(used), charged),
        None if ended && readable && is_refusal(status) => {
            (Verdict::Unbilled(status), End::Unbilled)
        }
        None if ended && status.is_success() => (Verdict::Uncertain, End::Completed),
        None => (Verdict::Uncertain, End::Unknown),
    }
}

/// Whether a response of this status that tells of no usage stands for work that was not done.
/// After a time-out nobody knows, and a connection that switches protocols goes on unseen.
fn is_refusal(status: StatusCode) -> bool {
    let unknown =
        [StatusCode::SWITCHING_PROTOCOLS, StatusCode::REQUEST_TIMEOUT, StatusCode::GATEWAY_TIMEOUT];
    !status.is_success() && !unknown.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every response there can be: what was used is charged, and where nobody knows what was used
    /// it is charged what was held, unless the upstream has refused it to the end.
    #[test]
    fn nothing_is_free_by_accident() {
        let used = Usage { output_tokens: 7, ..Usage::default() };
        for status in (100..1_000).map(|code| StatusCode::from_u16(code).unwrap()) {
            let all = [false, true].into_iter().flat_map(|a| [false, true].map(|b| (a, b)));
            for (ended, whole) in all {
                let (of_used, end) = verdict(status, true, ended, Some(used), whole);
                let charged = match (status.is_success(), ended || whole) {
                    (true, true) => Verdict::Completed(used),
                    (true, false) => Verdict::Partial(used),
                    (false, _) => Verdict::Failed(used),
                };
                assert_eq!(of_used, charged, "{status}");
                assert_eq!(end == End::Completed, ended || whole);

                let none = Some(Usage::default());
                let (of_zero, _) = verdict(status, true, ended, none, whole);
                let expected = match (status.is_success(), ended || whole) {
                    (true, true) => Verdict::Completed(Usage::default()),
                    (true, false) => Verdict::Uncertain,
                    (false, _) => Verdict::Unbilled(status),
                };
                assert_eq!(of_zero, expected, "{status}");

                let (unread, _) = verdict(status, false, ended, None, whole);
                assert_eq!(unread, Verdict::Uncertain, "{status}");

                let (of_none, end) = verdict(status, true, ended, None, whole);
                let refused = ended && !(200..300).contains(&status.as_u16());
                let unbilled = refused && ![101, 408, 504].contains(&status.as_u16());
                let expected =
                    if unbilled { Verdict::Unbilled(status) } else { Verdict::Uncertain };
                assert_eq!(of_none, expected, "{status}");
                assert_eq!(end == End::Unbilled, unbilled);
            }
        }
    }
}
