//! What is told to `tracing`.
//!
//! Levels: `error` is what nobody but a person puts right; `warn` is what an operator should look
//! at; `info` is what happens to limits; `debug` is what happens to requests, and windows that end
//! in the course of time.

#[cfg(feature = "http")]
use std::error::Error;

use tracing::{debug, error, info, warn};

#[cfg(feature = "http")]
use super::report::{Decided, Ended, Met};
use crate::engine::{Event, EventKind};
use crate::ledger::Health;
#[cfg(feature = "http")]
use crate::units::Usage;
use crate::units::amount_text;

/// The target of all events.
const TARGET: &str = "tollkeeper";

#[cfg(feature = "http")]
pub(super) fn decided(operation: &'static str, decided: Decided<'_>) {
    let decision = decided.name();
    match decided {
        Decided::Denied(denied) => {
            debug!(target: TARGET, operation, decision, %denied, "a request is denied");
        }
        Decided::Refused(status) => {
            debug!(target: TARGET, operation, decision, status, "a request is refused");
        }
        Decided::Admitted => {
            debug!(target: TARGET, operation, decision, "a request is admitted");
        }
        Decided::Barred | Decided::Full | Decided::Closed | Decided::Gone => {
            debug!(target: TARGET, operation, decision, "a request is not admitted");
        }
    }
}

#[cfg(feature = "http")]
pub(super) fn ended(operation: &'static str, end: Ended, used: Option<&Usage>) {
    let end = end.name();
    match used {
        Some(used) => debug!(
            target: TARGET,
            operation,
            end,
            input_tokens = used.input_tokens,
            output_tokens = used.output_tokens,
            cached_tokens = used.cached_tokens,
            cache_write_tokens = used.cache_write_tokens,
            cost = %used.cost,
            "a request has ended"
        ),
        None => debug!(target: TARGET, operation, end, "a request has ended"),
    }
}

#[cfg(feature = "http")]
pub(super) fn keyed(operation: &'static str, met: Met) {
    debug!(target: TARGET, operation, met = met.name(), "an idempotency key was looked for");
}

#[cfg(feature = "http")]
pub(super) fn broke_off(operation: &'static str, error: Option<&(dyn Error + Send + Sync)>) {
    let error = error.map_or_else(|| "it ended early".to_owned(), ToString::to_string);
    warn!(target: TARGET, operation, error, "an upstream's answer broke off before it had begun");
}

/// Tells an event of a limit, with its own instant: it is told a little later.
pub(super) fn event(event: &Event) {
    macro_rules! tell {
        ($level:ident, $text:literal $(, $name:ident = $value:expr)*) => {
            $level!(
                target: TARGET,
                at = %event.at,
                limit = %event.limit,
                owner = %event.owner,
                dimension = event.dimension.name(),
                generation = event.generation,
                $($name = %$value,)*
                $text
            )
        };
    }
    let text = |amount| amount_text(event.dimension, amount);
    match event.what {
        EventKind::Threshold { percent, settled, limit } => tell!(
            info,
            "a limit reached a threshold",
            percent = percent,
            settled = text(settled),
            allowed = text(limit)
        ),
        EventKind::Exhausted { settled, held, limit } => tell!(
            info,
            "a limit is exhausted",
            settled = text(settled),
            held = text(held),
            allowed = text(limit)
        ),
        EventKind::Passed { requested, settled, held, limit } => tell!(
            info,
            "a request passed a limit that does not deny",
            requested = text(requested),
            settled = text(settled),
            held = text(held),
            allowed = text(limit)
        ),
        EventKind::WindowClosed { window, total, held } => tell!(
            debug,
            "a window closed",
            start = window.start,
            end = window.end,
            total = text(total),
            held = text(held)
        ),
        EventKind::Withdrawn { amount } => {
            tell!(debug, "a closed total is less", amount = text(amount));
        }
        EventKind::Reset { window } => tell!(info, "a limit was reset", start = window.start),
        EventKind::Uncertain { amount } => {
            tell!(warn, "what was held is charged, nobody knows the usage", amount = text(amount));
        }
    }
}

pub(super) fn missed(more: u64) {
    warn!(target: TARGET, more, "events of limits were missed: more came than could be told");
}

/// What was told of the ledger last.
#[derive(Default)]
pub(super) struct Ledger {
    failing: bool,
    rejected: u64,
}

impl Ledger {
    /// Tells what is new.
    pub(super) fn look(&mut self, health: &Health) {
        let failing = health.failures > 0;
        if failing != self.failing {
            let (queued, unpersisted) = (health.queued, health.unpersisted.entries);
            let error = health.last_error.as_deref().unwrap_or_default();
            if failing {
                warn!(target: TARGET, error, queued, "the ledger's store does not write");
            } else {
                info!(target: TARGET, queued, unpersisted, "the ledger's store writes again");
            }
        }
        if health.rejected > self.rejected {
            let (rejected, error) = (health.rejected, health.last_error.as_deref());
            error!(target: TARGET, rejected, error, "the ledger's store refuses records");
        }
        (self.failing, self.rejected) = (failing, health.rejected);
    }
}
