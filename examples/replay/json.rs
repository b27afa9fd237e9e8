//! The outcome as one JSON object.

use super::books::Page;
use super::findings::Found;
use super::laws::Law;
use super::outcome::{Outcome, Written};
use super::tally::Tally;
use serde_json::{Value, json};
use tollkeeper::Dimension;

/// The object.
pub fn object(outcome: &Outcome) -> Value {
    let (cli, all) = (outcome.cli, &outcome.tallies.all);
    let owners = outcome.document.owners.iter().zip(&outcome.tallies.owners);
    let owners = owners.map(|(owner, tally)| owned(owner.id.as_str(), tally));
    let overshoot = |dimension: Dimension| {
        (dimension.to_string(), outcome.findings.overshoot.of(dimension).into())
    };
    let overshoot: serde_json::Map<String, Value> =
        Dimension::ALL.into_iter().map(overshoot).collect();
    json!({
        "trace": outcome.source.trace,
        "clients": outcome.source.clients,
        "limits_document": outcome.source.limits,
        "seed": cli.seed,
        "estimate": cli.estimate.to_string(),
        "admission": cli.admission.to_string(),
        "threads": cli.threads,
        "start": outcome.start.to_string(),
        "end": outcome.end.to_string(),
        "requests": all.requests,
        "admitted": all.admitted,
        "denied": all.denied,
        "tokens": all.tokens,
        "money": all.money,
        "unbilled": outcome.tallies.unbilled,
        "overshoot": overshoot,
        "laws_hold": outcome.findings.laws.hold(),
        "laws": outcome.findings.laws.iter().map(law).collect::<Vec<_>>(),
        "owners": owners.collect::<Vec<_>>(),
        "limits": outcome.findings.accounts.iter().map(limit).collect::<Vec<_>>(),
        "malformed": outcome.malformed.iter().map(|row| {
            json!({ "file": row.file, "line": row.line, "reason": row.reason })
        }).collect::<Vec<_>>(),
        "decisions_per_second": outcome.decisions_per_second(),
        "ledger": outcome.ledger.as_ref().map(|written| ledger(outcome, written)),
    })
}

fn ledger(outcome: &Outcome, written: &Written) -> Value {
    json!({
        "place": outcome.cli.ledger.as_ref().map(ToString::to_string),
        "records": written.records,
        "groups": written.groups,
        "settles_per_second": outcome.each_second(written.records),
        "records_before": written.before,
        "totals_restored": written.restored,
        "moved_seconds": written.moved.as_secs(),
    })
}

fn law(law: &Law) -> Value {
    json!({
        "law": law.name,
        "says": law.says,
        "holds": law.holds(),
        "checks": law.checks,
        "breaches": law.breaches,
        "told": law.told,
    })
}

fn owned(id: &str, tally: &Tally) -> Value {
    let by = tally.denied_by.iter().map(|((limit, dimension), count)| {
        json!({ "limit": limit, "dimension": dimension.to_string(), "denied": count })
    });
    json!({
        "id": id,
        "requests": tally.requests,
        "admitted": tally.admitted,
        "denied": tally.denied,
        "denied_by": by.collect::<Vec<_>>(),
        "tokens": tally.tokens,
        "money": tally.money,
    })
}

fn limit(found: &Found) -> Value {
    let rule = &found.rule;
    let unit = match rule.dimension {
        Dimension::Money => "nano-units of the currency",
        Dimension::Tokens => "weighted tokens",
        Dimension::Requests => "requests",
        Dimension::InFlight => "requests in flight",
    };
    let windows = found.pages.iter().filter(|page| !page.is_blank()).map(window);
    json!({
        "id": rule.limit,
        "owner": rule.owner,
        "dimension": rule.dimension.to_string(),
        "unit": unit,
        "period": rule.period.to_string(),
        "admitted": found.admitted(),
        "denied": found.denied(),
        "windows": windows.collect::<Vec<_>>(),
    })
}

/// What was held when a window closed stays booked there, so it counts as settled.
fn window(page: &Page) -> Value {
    json!({
        "start": page.span.start.to_string(),
        "end": page.span.end.to_string(),
        "limit": page.most,
        "settled": page.committed(),
        "peak": page.peak,
        "overshoot": page.over(),
        "admitted": page.admitted,
        "denied": page.denied,
    })
}
