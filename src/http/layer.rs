//! The layer, and how it is set up.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tower_layer::Layer;

use super::caller::Callers;
use super::denial::usual_status;
use super::protocol::Protocol;
use super::service::TollService;
use crate::barrier::Barrier;
use crate::engine::Denied;
use crate::idempotency::Idempotency;
use crate::ledger::Ledger;
use crate::sync::Arc;
use crate::task::{Spawn, Task};

/// How many bytes the body of a metered request has at most, unless told otherwise.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A tower layer that reserves what a request may cost before the service inside is called, and
/// settles what it did cost when the answer has passed. Cheap to clone.
///
/// The head of the [module](crate::http) shows how it goes into a service, and how each request
/// ends.
#[derive(Clone)]
pub struct Toll {
    booth: Arc<Booth>,
}

/// What the services of a layer share.
pub(super) struct Booth {
    pub(super) ledger: Ledger,
    pub(super) callers: Box<dyn Callers>,
    pub(super) protocol: Box<dyn Protocol>,
    pub(super) spawn: Spawn,
    pub(super) barrier: Option<Barrier>,
    pub(super) keys: Option<(Idempotency, Duration)>,
    pub(super) body_limit: usize,
    pub(super) at_once: bool,
    pub(super) status_of: Box<dyn Fn(&Denied) -> StatusCode + Send + Sync>,
}

/// A layer to be set up. Made by [`Toll::builder`].
#[must_use = "a builder does nothing until it is built"]
pub struct TollBuilder {
    booth: Booth,
}

impl Toll {
    /// A layer that books in this ledger, for the requests of these callers, which are read by this
    /// protocol. `spawn` runs a task to its end, `|task| { tokio::spawn(task); }` on tokio: what
    /// must happen after the client has gone.
    pub fn builder(
        ledger: &Ledger,
        callers: impl Callers,
        protocol: impl Protocol,
        spawn: impl Fn(Task) + Send + Sync + 'static,
    ) -> TollBuilder {
        TollBuilder {
            booth: Booth {
                ledger: ledger.clone(),
                callers: Box::new(callers),
                protocol: Box::new(protocol),
                spawn: Arc::new(spawn),
                barrier: None,
                keys: None,
                body_limit: BODY_LIMIT,
                at_once: false,
                status_of: Box::new(usual_status),
            },
        }
    }
}

impl TollBuilder {
    /// Where requests wait that cannot be estimated, one of a user after another. Without it they
    /// are refused.
    pub fn barrier(mut self, barrier: Barrier) -> Self {
        self.booth.barrier = Some(barrier);
        self
    }

    /// Honours the field `Idempotency-Key`: a request with a key is executed once and charged once,
    /// also when its client goes away meanwhile, and answered the same from then on, with the field
    /// `idempotency-replayed: true`. Without it the field is ignored.
    ///
    /// A request whose key is in flight waits so long at most, and is answered 409 then. A key of
    /// another request is answered 422, one that is no key 400, and 503 while the keys' store does
    /// not answer. What was denied, or was not billed, is executed when it comes again. An answer
    /// larger than [`max_result_bytes`](crate::IdempotencyBuilder::max_result_bytes) goes to its
    /// client, and those who ask for it again are told that it was not kept (409).
    ///
    /// The upstream gets the id of the record as the key, the same for each try: the keys of
    /// different callers never meet there.
    pub fn keys(mut self, keys: Idempotency, wait: Duration) -> Self {
        self.booth.keys = Some((keys, wait));
        self
    }

    /// How many bytes the body of a metered request has at most. 4 MiB unless given. So much
    /// memory may each request take until its answer begins.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.booth.body_limit = bytes;
        self
    }

    /// Does not hold the end of an answer back until its record is durable: it is queued then, and
    /// a crash within the next moments may lose it. While the store is down, answers end all the
    /// same.
    pub fn answer_at_once(mut self) -> Self {
        self.booth.at_once = true;
        self
    }

    /// The status of the answer to a denied request, in place of [`usual_status`].
    pub fn status_of(
        mut self,
        status_of: impl Fn(&Denied) -> StatusCode + Send + Sync + 'static,
    ) -> Self {
        self.booth.status_of = Box::new(status_of);
        self
    }

    /// The layer.
    pub fn build(self) -> Toll {
        Toll { booth: Arc::new(self.booth) }
    }
}

impl<S> Layer<S> for Toll {
    type Service = TollService<S>;

    fn layer(&self, inner: S) -> TollService<S> {
        TollService::new(Arc::clone(&self.booth), inner)
    }
}

impl fmt::Debug for Booth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toll")
            .field("ledger", &self.ledger)
            .field("barrier", &self.barrier)
            .field("body_limit", &self.body_limit)
            .field("answer_at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.booth.fmt(f)
    }
}

impl fmt::Debug for TollBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.booth.fmt(f)
    }
}
