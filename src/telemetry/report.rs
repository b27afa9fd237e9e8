//! Reports of what a layer does with a request.
//!
//! A report costs what the recorder and the subscriber make of it, so it is made outside of
//! decisions: after them, and after the hold's end.

use std::error::Error;

use crate::engine::Denied;
use crate::units::Usage;

/// The operation of a request that is refused before anybody knows which it is.
pub(crate) const NO_OPERATION: &str = "unknown";

/// What became of a request before its upstream was called. Each request is decided once, but one
/// that costs nothing.
#[derive(Clone, Copy, Debug)]
// Who listens decides how much of it is told.
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) enum Decided<'a> {
    /// It is let through.
    Admitted,
    /// A limit denies it.
    Denied(&'a Denied),
    /// It was not its turn at the barrier before its time was up, or too many waited there.
    Barred,
    /// The ledger's outbox is full.
    Full,
    /// The ledger or the barrier is closed.
    Closed,
    /// It is no request that is accepted, whatever limits say: its key, its body, its model. The
    /// status of the answer.
    Refused(u16),
    /// Its client went before it was decided.
    Gone,
}

/// What became of an admitted request. Each is ended once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Settled by what was used.
    Settled,
    /// The answer broke off; settled by what was used until then.
    Partial,
    /// It failed, and is billed.
    Failed,
    /// It failed, and is not billed.
    Unbilled,
    /// Nobody knows what was used: what was held is charged.
    Uncertain,
    /// Its upstream was never reached.
    Void,
}

/// What an idempotency key met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// Nothing: the request is executed.
    Executed,
    /// An answer, which is given again.
    Replayed,
    /// An answer that was too large to be kept.
    NotKept,
    /// An execution that has not ended.
    InFlight,
    /// Another request.
    Mismatch,
    /// It is no key.
    Malformed,
    /// Its store does not answer, or is full.
    Unavailable,
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl Decided<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Decided::Admitted => "admitted",
            Decided::Denied(_) => "denied",
            Decided::Barred => "barred",
            Decided::Full => "full",
            Decided::Closed => "closed",
            Decided::Refused(_) => "refused",
            Decided::Gone => "gone",
        }
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl Ended {
    pub(super) fn name(self) -> &'static str {
        match self {
            Ended::Settled => "settled",
            Ended::Partial => "partial",
            Ended::Failed => "failed",
            Ended::Unbilled => "unbilled",
            Ended::Uncertain => "uncertain",
            Ended::Void => "void",
        }
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl Met {
    pub(super) fn name(self) -> &'static str {
        match self {
            Met::Executed => "executed",
            Met::Replayed => "replayed",
            Met::NotKept => "not_kept",
            Met::InFlight => "in_flight",
            Met::Mismatch => "mismatch",
            Met::Malformed => "malformed",
            Met::Unavailable => "unavailable",
        }
    }
}

/// Reports a decision.
#[inline]
pub(crate) fn decided(operation: &'static str, decided: Decided<'_>) {
    #[cfg(feature = "metrics")]
    super::counts::decided(operation, decided);
    #[cfg(feature = "tracing")]
    super::told::decided(operation, decided);
    let _ = (operation, decided);
}

/// Reports the end of an admitted request, with what it used as far as that is known.
#[inline]
pub(crate) fn ended(operation: &'static str, end: Ended, used: Option<&Usage>) {
    #[cfg(feature = "metrics")]
    super::counts::ended(operation, end, used);
    #[cfg(feature = "tracing")]
    super::told::ended(operation, end, used);
    let _ = (operation, end, used);
}

/// Reports what a request's idempotency key met.
#[inline]
pub(crate) fn keyed(operation: &'static str, met: Met) {
    #[cfg(feature = "metrics")]
    super::counts::keyed(operation, met);
    #[cfg(feature = "tracing")]
    super::told::keyed(operation, met);
    let _ = (operation, met);
}

/// Reports that an upstream's answer broke off when only its head had come.
#[inline]
pub(crate) fn broke_off(operation: &'static str, error: Option<&(dyn Error + Send + Sync)>) {
    #[cfg(feature = "tracing")]
    super::told::broke_off(operation, error);
    let _ = (operation, error);
}

#[cfg(all(test, feature = "metrics"))]
mod tests;
