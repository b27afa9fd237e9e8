//! What was recorded.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tollkeeper::{Filter, LimitId, Posting, RecordId, StoreError, Stored, Timestamp, UsageRecord};

use super::super::house::House;
use super::usage::{dimension_name, money, window};
use super::{Problem, Shared, blocking};

/// So many records are told at once, unless asked for fewer.
const MOST: usize = 1_000;
const USUAL: usize = 100;

/// So many are looked at for that, in pages.
const LOOKED_AT: usize = 100_000;
const PAGE: usize = 1_000;

/// Which records: those that charge an owner or a limit, that were settled since an instant, and
/// that come after another in the order of their ids.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    owner: Option<String>,
    limit: Option<String>,
    since: Option<String>,
    after: Option<String>,
    max: Option<usize>,
}

struct Wanted {
    filter: Filter,
    since: Timestamp,
    after: Option<RecordId>,
    most: usize,
}

pub async fn records(
    State(house): Shared,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(asked) = asked?;
    let most = asked.max.unwrap_or(USUAL);
    if !(1..=MOST).contains(&most) {
        return Err(Problem::bad(format!("max is {most}; accepted: 1 to {MOST}")));
    }
    let owner = asked.owner.map(|text| text.parse()).transpose().map_err(Problem::bad)?;
    let limit = asked.limit.map(|text| LimitId::new(&text)).transpose().map_err(Problem::bad)?;
    let filter = Filter { owner, limit, ..Filter::default() };
    let since = asked.since.map(|text| Timestamp::parse_rfc3339(&text));
    let since = since.transpose().map_err(Problem::bad)?.unwrap_or(Timestamp::UNIX_EPOCH);
    let after = asked.after.map(|text| text.parse()).transpose().map_err(Problem::bad)?;
    let wanted = Wanted { filter, since, after, most };
    let (found, next) = blocking(move || find(&house, &wanted)).await??;
    let records: Vec<Value> = found.iter().map(record).collect();
    Ok(Json(json!({ "records": records, "next": next.map(|id| id.to_string()) })))
}

/// The records, and after which to go on, if there may be more.
fn find(house: &House, wanted: &Wanted) -> Result<(Vec<Stored>, Option<RecordId>), StoreError> {
    let (mut found, mut after) = (Vec::new(), wanted.after);
    for _ in 0..LOOKED_AT / PAGE {
        let page = house.ledger.records(&wanted.filter, after, PAGE)?;
        let last = page.len() < PAGE;
        for stored in page {
            if found.len() == wanted.most {
                return Ok((found, after));
            }
            after = Some(stored.record.id);
            if stored.record.settled_at >= wanted.since {
                found.push(stored);
            }
        }
        if last {
            return Ok((found, None));
        }
    }
    Ok((found, after))
}

fn record(stored: &Stored) -> Value {
    let UsageRecord { id, api_key, upstream, model, outcome, reason, usage, .. } = &stored.record;
    let record = &stored.record;
    json!({
        "id": id.to_string(),
        "api_key": api_key.as_ref().map(|owner| owner.as_str()),
        "upstream": upstream.as_ref().map(|owner| owner.as_str()),
        "model": model,
        "outcome": outcome.name(),
        "reason": reason,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "requests": usage.requests,
            "cost": usage.cost.as_nanos(),
            "cost_text": money(usage.cost.as_nanos()),
        },
        "admitted_at": record.admitted_at.to_string(),
        "settled_at": record.settled_at.to_string(),
        "corrects": record.corrects.map(|id| id.to_string()),
        "postings": stored.postings.iter().map(posting).collect::<Vec<_>>(),
    })
}

fn posting(posting: &Posting) -> Value {
    json!({
        "limit": posting.limit.as_str(),
        "owner": posting.owner.as_str(),
        "dimension": dimension_name(posting.dimension),
        "window": window(posting.window.start, posting.window.end),
        "amount": posting.amount,
    })
}
