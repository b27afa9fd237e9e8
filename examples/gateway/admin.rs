//! The admin API, the metrics and the status page.
//!
//! It has an address of its own, and a token that is compared in constant time. The page itself
//! and whether the gateway is well are for everybody who can reach it: they say nothing of anybody.

mod change;
mod events;
mod records;
mod usage;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tollkeeper::{Dimension, GrantError, StoreError};

pub use events::watch;
pub use usage::dimension_name;

use super::house::House;
use super::keys::{Hash, bearer};

/// What requests to the admin API may be as large as.
const BODY_BYTES_MAX: usize = 64 << 10;

type Shared = State<Arc<House>>;

/// An answer that says what is wrong.
struct Problem(StatusCode, String);

impl Problem {
    fn bad(why: impl ToString) -> Problem {
        Problem(StatusCode::BAD_REQUEST, why.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": { "message": self.1 } }))).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(wrong: JsonRejection) -> Problem {
        Problem(wrong.status(), wrong.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(wrong: QueryRejection) -> Problem {
        Problem(wrong.status(), wrong.body_text())
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Problem {
        let status = match &error {
            GrantError::Operator(tollkeeper::OperatorError::UnknownLimit { .. }) => {
                StatusCode::NOT_FOUND
            }
            GrantError::Taken { .. } => StatusCode::CONFLICT,
            GrantError::Store { source, .. } if source.is_transient() => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::BAD_REQUEST,
        };
        Problem(status, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let transient = error.is_transient();
        let status =
            if transient { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        Problem(status, error.to_string())
    }
}

/// All of it.
pub fn router(house: Arc<House>, metrics: PrometheusHandle) -> Router {
    let token = Arc::new(house.fixed().admin.token_sha256.clone());
    let guarded = Router::new()
        .route("/admin/usage", get(usage::usage))
        .route("/admin/denials", get(usage::denials))
        .route("/admin/events", get(events::events))
        .route("/admin/records", get(records::records))
        .route("/admin/limits/{id}", put(change::define))
        .route("/admin/limits/{id}/reset", post(change::reset))
        .route("/admin/limits/{id}/top-up", post(change::top_up))
        .route("/admin/limits/{id}/override", post(change::override_limit))
        .route("/admin/limits/{id}/clear-override", post(change::clear_override))
        .route("/admin/owners/{id}/suspend", post(change::suspend))
        .route("/admin/owners/{id}/resume", post(change::resume))
        .route("/admin/reload", post(change::reload))
        .layer(from_fn_with_state(token, only_with_token));
    Router::new()
        .merge(guarded)
        .route("/health", get(health))
        .route("/metrics", get(move || exposition(metrics.clone())))
        .route("/status", get(page))
        .fallback(|| async { Problem(StatusCode::NOT_FOUND, "there is no such path".to_owned()) })
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(house)
}

async fn only_with_token(State(token): State<Arc<Hash>>, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some_and(|sent| Hash::of(sent) == *token) {
        return next.run(request).await;
    }
    let problem = Problem(StatusCode::UNAUTHORIZED, "the admin token is needed".to_owned());
    ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}

/// Nobody frames the page, and its own policy says the rest.
async fn page() -> impl IntoResponse {
    let fields = [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, Html(include_str!("status.html")))
}

async fn exposition(metrics: PrometheusHandle) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}

/// Whether requests can be recorded.
async fn health(State(house): Shared) -> (StatusCode, Json<Value>) {
    let health = house.ledger.health();
    let well = health.failures == 0 && health.rejected == 0 && health.taken < health.capacity;
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if well { "ok" } else { "failing" },
        "ledger": {
            "open_charges": health.open_charges,
            "queued": health.queued,
            "taken": health.taken,
            "capacity": health.capacity,
            "unpersisted": health.unpersisted.entries,
            "rejected": health.rejected,
            "written": health.written,
            "failures": health.failures,
        },
    });
    (status, Json(body))
}

/// Does what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let broken = |_| Problem(StatusCode::INTERNAL_SERVER_ERROR, "it broke down".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(broken)
}

fn dimension(name: &str) -> Result<Dimension, Problem> {
    let named = Dimension::ALL.into_iter().find(|dimension| dimension_name(*dimension) == name);
    let wrong =
        || format!("there is no dimension {name:?}; accepted: cost, tokens, requests, in_flight");
    named.ok_or_else(|| Problem::bad(wrong()))
}
