//! Admission: what a request may cost is worked out, and held.

use http::StatusCode;

use super::booking::Rest;
use super::fare::{Fare, estimated};
use super::passage::Passage;
use super::quota;
use super::refusal::Refusal;
use crate::barrier::{BarrierError, Permit};
use crate::engine::Route;
use crate::ledger::{Draft, RecordId, Unreserved};
use crate::sync::Arc;
use crate::telemetry::Decided;
use crate::units::{Price, PriceError, Usage};

/// The longest name of a model, in bytes: what is recorded is bounded.
const MODEL_MAX: usize = 256;

impl Passage {
    /// Holds what it may cost.
    pub(super) async fn admit(
        &mut self,
        id: Option<RecordId>,
    ) -> Result<(Box<Fare>, Route), Refusal> {
        let price = self.price()?;
        let tokens = self.asked.tokens.unwrap_or(self.asked.at_least);
        let estimate = estimated(price.as_ref(), tokens).ok_or_else(uncountable)?;
        let permit = self.permit(self.asked.tokens.map(|_| &estimate)).await?;
        let Self { booth, asked, caller, report, .. } = self;
        let route = booth.ledger.engine().route(&caller.owners);
        let mut draft = Draft::new().api_key(&caller.key);
        draft = caller.upstream.iter().fold(draft, Draft::upstream);
        draft = asked.model.iter().fold(draft, |draft, model| draft.model(model.as_str()));
        draft = id.into_iter().fold(draft, Draft::id);
        match booth.ledger.reserve(&route, &estimate, draft) {
            Ok(charge) => {
                report.decided(Decided::Admitted);
                let spawn = Arc::clone(&booth.spawn);
                let correct_in = id.map(|_| booth.ledger.clone());
                let rest = Rest { permit, correct_in, ..Rest::default() };
                Ok((Box::new(Fare::new(charge, price, rest, spawn, asked.operation)), route))
            }
            Err(Unreserved::Denied(denied)) => {
                report.decided(Decided::Denied(&denied));
                Err(quota::refuse(&denied, booth, &route, caller))
            }
            Err(Unreserved::OutboxFull { .. }) => {
                report.decided(Decided::Full);
                Err(unavailable("the gateway cannot record more requests at the moment"))
            }
            Err(Unreserved::Closed) => {
                report.decided(Decided::Closed);
                Err(unavailable("the gateway is shutting down"))
            }
        }
    }

    /// The price of its model. `None` where money is not counted.
    fn price(&self) -> Result<Option<Price>, Refusal> {
        let engine = self.booth.ledger.engine();
        let Some(model) = &self.asked.model else {
            // Nothing is free because nobody said what it is.
            return if engine.has_prices() { Err(no_model()) } else { Ok(None) };
        };
        if model.len() > MODEL_MAX || model.chars().any(char::is_control) {
            let message = format!(
                "the model's name cannot be recorded; accepted: at most {MODEL_MAX} bytes, and no \
                 control characters"
            );
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid_model", message);
            return Err(refusal.param("model"));
        }
        engine.price(model).map_err(|error| unpriced(model, &error))
    }

    /// The right to go on, where the barrier is asked for it.
    async fn permit(&mut self, estimate: Option<&Usage>) -> Result<Option<Permit>, Refusal> {
        let Some(barrier) = &self.booth.barrier else {
            return if estimate.is_some() { Ok(None) } else { Err(unestimated()) };
        };
        if !barrier.serialises(estimate) {
            return Ok(None);
        }
        let user = self.caller.user.as_ref().unwrap_or(&self.caller.key);
        let acquired = Box::pin(barrier.acquire(user, estimate));
        let permit = match self.report.at_barrier(acquired).await {
            Ok(permit) => permit,
            Err(error) => {
                let closed = matches!(error, BarrierError::Closed);
                self.report.decided(if closed { Decided::Closed } else { Decided::Barred });
                return Err(barred(&error));
            }
        };
        if permit.is_lost() {
            self.report.decided(Decided::Barred);
            return Err(unavailable("the turn of this request was lost; try again"));
        }
        Ok(Some(permit))
    }
}

fn no_model() -> Refusal {
    let message = "the request names no model, so there is no price for it";
    Refusal::new(StatusCode::BAD_REQUEST, "missing_required_parameter", message).param("model")
}

fn unpriced(model: &str, error: &PriceError) -> Refusal {
    let message = format!("the model {model:?} has no price: {error}");
    Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
}

fn uncountable() -> Refusal {
    let message = "the request may cost more than can be counted; ask for fewer tokens";
    Refusal::new(StatusCode::BAD_REQUEST, "estimate_too_large", message)
}

fn unestimated() -> Refusal {
    let message = "what the request costs at most cannot be estimated: set `max_tokens`, and send \
                   all of its input with it";
    Refusal::new(StatusCode::BAD_REQUEST, "missing_required_parameter", message).param("max_tokens")
}

fn unavailable(why: &'static str) -> Refusal {
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", why);
    refusal.kind("server_error").again_in(1)
}

fn barred(error: &BarrierError) -> Refusal {
    match error {
        BarrierError::Timeout { .. } | BarrierError::QueueFull { .. } => {
            let message = error.to_string();
            let refusal =
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
            refusal.kind("requests").again_in(1)
        }
        // Nothing of what lies behind the gateway is told.
        _ => unavailable("the gateway cannot put the request in line at the moment"),
    }
}
