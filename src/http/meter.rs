//! The meter: how a request ends, by its response.

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

enum State {
    Open {
        fare: Fare,
        /// `None` where the body cannot be read.
        reader: Option<Box<dyn UsageReader>>,
    },
    Booking(Booking),
    Over,
}

impl Meter {
    pub(super) fn new(
        fare: Fare,
        reader: Option<Box<dyn UsageReader>>,
        status: StatusCode,
        left: Option<u64>,
        at_once: bool,
    ) -> Self {
        Self { state: State::Open { fare, reader }, status, left, at_once, end: None }
    }

    /// Of a response that tells nothing of what was used.
    pub(super) fn unknown(fare: Fare, status: StatusCode, at_once: bool) -> Self {
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
