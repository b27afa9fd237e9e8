//! What operators do.

use std::num::NonZeroU16;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tollkeeper::{
    Applied, Dimension, Lasts, LimitId, Money, OperatorError, OwnerId, RecordId, ResetOutcome,
};

use super::super::house::ChangeError;
use super::super::switches;
use super::usage::{dimension_name, money, window};
use super::{Problem, Shared, blocking, dimension};

/// So long does a reset wait for the store.
const DURABLE: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    dimension: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    amount: Money,
    /// Which payment it is: the same one is added once.
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    dimension: String,
    /// A number, or money as text.
    limit: Value,
    /// For so many windows. Without it, until it is cleared.
    windows: Option<NonZeroU16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    dimension: String,
}

fn limit_id(text: &str) -> Result<LimitId, Problem> {
    LimitId::new(text).map_err(Problem::bad)
}

fn refused(error: OperatorError) -> Problem {
    let status = match error {
        OperatorError::UnknownLimit { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem(status, error.to_string())
}

pub async fn reset(
    State(house): Shared,
    Path(id): Path<String>,
    asked: Result<Option<Json<Reset>>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = asked?.unwrap_or_default();
    let id = limit_id(&id)?;
    let one = asked.dimension.as_deref().map(dimension).transpose()?;
    let (outcomes, settling) = house.ledger.reset(&id, one).map_err(refused)?;
    let durable = tokio::time::timeout(DURABLE, settling).await;
    let counters = outcomes.iter().filter_map(|outcome| match outcome {
        ResetOutcome::Reset { dimension, total, window: span, .. } => Some(json!({
            "dimension": dimension_name(*dimension), "reset": true, "total": total,
            "window": window(span.start, span.end),
        })),
        ResetOutcome::Lost { dimension, window: span, .. } => Some(json!({
            "dimension": dimension_name(*dimension), "reset": false,
            "window": window(span.start, span.end),
        })),
        _ => None,
    });
    let counters: Vec<Value> = counters.collect();
    Ok(Json(json!({ "counters": counters, "durable": matches!(durable, Ok(Ok(_))) })))
}

pub async fn top_up(
    State(house): Shared,
    Path(id): Path<String>,
    asked: Result<Json<TopUp>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(TopUp { amount, id: payment }) = asked?;
    let id = limit_id(&id)?;
    if payment.is_empty() {
        return Err(Problem::bad("the id is empty; accepted: that of the payment"));
    }
    let payment = RecordId::derived(payment.as_bytes());
    let done = blocking(move || house.ledger.top_up(&id, amount, payment)).await??;
    let admits = money(done.admits.as_nanos());
    Ok(Json(json!({ "added": done.added, "limit": done.admits.as_nanos(), "text": admits })))
}

pub async fn override_limit(
    State(house): Shared,
    Path(id): Path<String>,
    asked: Result<Json<Override>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Override { dimension: name, limit, windows }) = asked?;
    let (id, dimension) = (limit_id(&id)?, dimension(&name)?);
    let instead = match (&limit, dimension) {
        (Value::String(text), Dimension::Money) => {
            text.parse::<Money>().map_err(Problem::bad)?.as_nanos()
        }
        (Value::Number(number), _) if number.is_u64() => number.as_u64().unwrap_or_default(),
        _ => {
            let accepted = "accepted for limit: a whole number, or money as text, \"$5\"";
            return Err(Problem::bad(accepted));
        }
    };
    let lasts = windows.map_or(Lasts::UntilCleared, Lasts::Windows);
    blocking(move || house.ledger.override_limit(&id, dimension, instead, lasts)).await??;
    Ok(Json(json!({ "limit": instead })))
}

pub async fn clear_override(
    State(house): Shared,
    Path(id): Path<String>,
    asked: Result<Json<Which>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Which { dimension: name }) = asked?;
    let (id, dimension) = (limit_id(&id)?, dimension(&name)?);
    blocking(move || house.ledger.clear_override(&id, dimension)).await??;
    Ok(Json(json!({ "cleared": true })))
}

/// Defines a limit anew, as it is written in the configuration.
pub async fn define(
    State(house): Shared,
    Path(id): Path<String>,
    asked: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(definition) = asked?;
    let id = limit_id(&id)?;
    let Ok(definition) = toml::Table::try_from(definition) else {
        return Err(Problem::bad("accepted: a table, as a limit is written in the configuration"));
    };
    let done = blocking(move || house.change(&id, definition)).await?.map_err(|error| {
        let status = match error {
            ChangeError::Unknown(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem(status, error.to_string())
    })?;
    let lasts = "until the configuration is read again: write it there, too";
    Ok(Json(json!({ "applied": applied(&done), "lasts": lasts })))
}

pub async fn suspend(State(house): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    turn(State(house), &id, false).await
}

pub async fn resume(State(house): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    turn(State(house), &id, true).await
}

async fn turn(State(house): Shared, id: &str, on: bool) -> Result<Json<Value>, Problem> {
    let owner: OwnerId = id.parse().map_err(Problem::bad)?;
    let unknown = Problem(StatusCode::NOT_FOUND, format!("there is no owner {owner}"));
    let done = blocking(move || switches::turn(&house.ledger, &owner, on)).await?;
    done.ok_or(unknown)??;
    Ok(Json(json!({ "suspended": !on })))
}

/// Reads the configuration again.
pub async fn reload(State(house): Shared) -> Result<Json<Value>, Problem> {
    let done = blocking(move || house.reload()).await?.map_err(Problem::bad)?;
    Ok(Json(json!({ "applied": applied(&done.applied), "needs_restart": done.restart })))
}

fn applied(applied: &Applied) -> Value {
    let texts = |ids: &[LimitId]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let owners: Vec<&str> = applied.owners_removed.iter().map(|id| id.as_str()).collect();
    json!({
        "created": texts(&applied.created),
        "changed": texts(&applied.changed),
        "removed": texts(&applied.removed),
        "owners_removed": owners,
    })
}
