//! What is reported of a request that goes no further, and how it is answered.

use std::future::Future;

use http::Response;

use super::body::AnswerBody;
use super::refusal::Refusal;
use crate::telemetry::{Decided, NO_OPERATION, Phase, Stopwatch, decided};

/// Reports what was decided about a request, once, and how long that took: if nothing was, its
/// client has gone.
pub(super) struct Report {
    pub(super) operation: &'static str,
    open: bool,
    /// Whether the time until here is reported already.
    timed: bool,
    watch: Stopwatch,
}

impl Report {
    /// Of a request whose head has come.
    pub(super) fn begin() -> Self {
        Self { operation: NO_OPERATION, open: true, timed: false, watch: Stopwatch::start() }
    }

    pub(super) fn decided(&mut self, what: Decided<'_>) {
        if std::mem::take(&mut self.open) {
            if !self.timed {
                self.watch.took(self.operation, Phase::Admission);
            }
            decided(self.operation, what);
        }
    }

    /// It waits at the barrier from now on, for as long as this future takes.
    pub(super) async fn at_barrier<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        self.timed = true;
        self.watch.took(self.operation, Phase::Admission);
        let ready = waiting.await;
        self.watch.took(self.operation, Phase::Barrier);
        ready
    }

    /// Whether it is this request that is decided is not known until it is opened again: an answer
    /// that was given before may do.
    pub(super) fn suspend(&mut self) {
        self.open = false;
    }

    pub(super) fn resume(&mut self) {
        self.open = true;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.decided(Decided::Gone);
    }
}

/// The answer to a request that goes no further. It is reported, unless it was before.
pub(super) fn refuse<R>(report: &mut Report, refusal: Refusal) -> Response<AnswerBody<R>> {
    report.decided(Decided::Refused(refusal.status().as_u16()));
    refusal.into_response().map(AnswerBody::whole)
}
