//! What is reported of a request that goes no further, and how it is answered.

use http::Response;

use super::body::AnswerBody;
use super::refusal::Refusal;
use crate::telemetry::{Decided, decided};

/// Reports what was decided about a request, once: if nothing was, its client has gone.
pub(super) struct Report {
    operation: &'static str,
    open: bool,
}

impl Report {
    pub(super) fn of(operation: &'static str) -> Self {
        Self { operation, open: true }
    }

    pub(super) fn decided(&mut self, what: Decided<'_>) {
        if std::mem::take(&mut self.open) {
            decided(self.operation, what);
        }
    }

    /// It is reported elsewhere.
    pub(super) fn done(&mut self) {
        self.open = false;
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
