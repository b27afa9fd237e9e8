//! How long the parts of a request take.

/// A part of a request's time. They follow each other; a request without one does not report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From its head until it is decided, without the barrier: its body is read in this time.
    Admission,
    /// Waiting at the barrier.
    Barrier,
    /// From the call of the upstream to the end of its answer.
    Upstream,
    /// From there until the record is durable.
    Record,
}

#[cfg(feature = "metrics")]
impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Admission => "admission",
            Phase::Barrier => "barrier",
            Phase::Upstream => "upstream",
            Phase::Record => "record",
        }
    }
}

/// Runs from its start. Without the feature `metrics` it is nothing and reads no clock.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Stopwatch {
    #[cfg(feature = "metrics")]
    since: std::time::Instant,
}

impl Stopwatch {
    /// Starts one.
    #[inline]
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            since: std::time::Instant::now(),
        }
    }

    /// Reports that a phase took from the start until now, and starts the next one.
    #[inline]
    pub(crate) fn took(&mut self, operation: &'static str, phase: Phase) {
        let now = Self::start();
        #[cfg(feature = "metrics")]
        super::counts::took(operation, phase, now.since.saturating_duration_since(self.since));
        let _ = (operation, phase);
        *self = now;
    }
}
