//! What is counted, for the `metrics` facade.
//!
//! Nothing is kept of a recorder: it may be installed at any time, and there may be one for each
//! thread.

#[cfg(feature = "http")]
use std::time::Duration;

use metrics::counter;
#[cfg(feature = "http")]
use metrics::histogram;

use super::names;
#[cfg(feature = "http")]
use super::report::{Decided, Ended, Met};
#[cfg(feature = "http")]
use super::stopwatch::Phase;
use crate::engine::{Event, EventKind};
#[cfg(feature = "http")]
use crate::units::Usage;

#[cfg(feature = "http")]
pub(super) fn decided(operation: &'static str, decided: Decided<'_>) {
    let decision = decided.name();
    counter!(names::REQUESTS, "operation" => operation, "decision" => decision).increment(1);
    if let Decided::Denied(denied) = decided {
        let dimension = denied.first().map_or("none", |binding| binding.dimension.name());
        counter!(names::DENIALS, "operation" => operation, "dimension" => dimension).increment(1);
    }
}

#[cfg(feature = "http")]
pub(super) fn ended(operation: &'static str, end: Ended, used: Option<&Usage>) {
    counter!(names::ENDED, "operation" => operation, "end" => end.name()).increment(1);
    let Some(used) = used else { return };
    let kinds = [
        ("input", used.input_tokens),
        ("output", used.output_tokens),
        ("cached", used.cached_tokens),
        ("cache_write", used.cache_write_tokens),
    ];
    for (kind, tokens) in kinds.into_iter().filter(|(_, tokens)| *tokens > 0) {
        counter!(names::USED_TOKENS, "operation" => operation, "kind" => kind).increment(tokens);
    }
    let cost = used.cost.as_nanos();
    if cost > 0 {
        counter!(names::USED_COST, "operation" => operation).increment(cost);
    }
}

#[cfg(feature = "http")]
pub(super) fn keyed(operation: &'static str, met: Met) {
    counter!(names::KEYED, "operation" => operation, "met" => met.name()).increment(1);
}

#[cfg(feature = "http")]
pub(super) fn took(operation: &'static str, phase: Phase, time: Duration) {
    histogram!(names::PHASE, "operation" => operation, "phase" => phase.name()).record(time);
}

pub(super) fn event(event: &Event) {
    let (name, dimension) = (name(&event.what), event.dimension.name());
    counter!(names::EVENTS, "event" => name, "dimension" => dimension).increment(1);
}

pub(super) fn missed(so_far: u64) {
    counter!(names::EVENTS_MISSED).absolute(so_far);
}

fn name(what: &EventKind) -> &'static str {
    match what {
        EventKind::Threshold { .. } => "threshold",
        EventKind::Exhausted { .. } => "exhausted",
        EventKind::Passed { .. } => "passed",
        EventKind::WindowClosed { .. } => "window_closed",
        EventKind::Withdrawn { .. } => "withdrawn",
        EventKind::Reset { .. } => "reset",
        EventKind::Uncertain { .. } => "uncertain",
    }
}
