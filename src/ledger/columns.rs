//! How values stand in a store's columns: 64 bits with a sign, and texts.
//!
//! Every store checks a group by [`check`] before it writes anything, memory too, so that what one
//! accepts all accept. Of what has passed, the conversions here lose nothing.

// Which of it is used depends on the stores that are built.
#![cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]

use std::fmt::Display;

use super::entry::{Entry, Nulled};
use super::grant::TopUp;
use super::record::{Posting, UsageRecord};
use super::store::StoreError;
use crate::engine::OverrideState;
use crate::id::LimitId;
use crate::time::Timestamp;
use crate::units::Dimension;

/// What every store says it is doing when it writes a group.
pub(crate) const WRITING: &str = "writing to the ledger";

/// The same of what is granted.
pub(crate) const GRANTING: &str = "granting";
pub(crate) const READING_GRANTS: &str = "reading what is granted";

/// The largest number of a column.
const LARGEST: u64 = i64::MAX as u64;

/// Refuses what no store can keep.
pub(crate) fn check(group: &[Entry]) -> Result<(), StoreError> {
    for entry in group {
        match &entry.record {
            Some(record) => check_record(record)?,
            None => {
                if let Some(charge) = entry.postings.iter().find(|posting| posting.amount != 0) {
                    let what = format!("the posting on {} without a record", charge.limit);
                    return Err(refused(what, charge.amount, "an amount of 0"));
                }
            }
        }
        for (at, posting) in entry.postings.iter().enumerate() {
            check_posting(posting)?;
            if entry.postings[..at].iter().any(|other| same_total(other, posting)) {
                let what = format!("the {} of {}", posting.dimension, posting.limit);
                return Err(refused(what, "charged twice in one window", "one posting for each"));
            }
        }
    }
    Ok(())
}

fn check_record(record: &UsageRecord) -> Result<(), StoreError> {
    let usage = &record.usage;
    for (what, number) in [
        ("input tokens", usage.input_tokens),
        ("output tokens", usage.output_tokens),
        ("cached tokens", usage.cached_tokens),
        ("cache write tokens", usage.cache_write_tokens),
        ("requests", usage.requests),
    ] {
        if number > LARGEST {
            let what = format!("the {what} of record {}", record.id);
            return Err(refused(what, number, "at most 9223372036854775807"));
        }
    }
    for (what, at) in [("admission", record.admitted_at), ("settlement", record.settled_at)] {
        if at.as_nanos() >= LARGEST {
            return Err(too_late(format!("the {what} of record {}", record.id), at));
        }
    }
    for (what, text) in [("model", &record.model), ("reason", &record.reason)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            let what = format!("the {what} of record {}", record.id);
            return Err(refused(what, "a text with a NUL character", "any other text"));
        }
    }
    Ok(())
}

fn check_posting(posting: &Posting) -> Result<(), StoreError> {
    if posting.dimension == Dimension::InFlight {
        let what = format!("the posting on {}", posting.limit);
        return Err(refused(what, Dimension::InFlight, "money, tokens and requests"));
    }
    for (what, at) in [("start", posting.window.start), ("anchor", posting.anchor)] {
        if at.as_nanos() >= LARGEST {
            return Err(too_late(format!("the window's {what} of {}", posting.limit), at));
        }
    }
    Ok(())
}

/// Whether two postings are summed in one total.
fn same_total(one: &Posting, other: &Posting) -> bool {
    let key = |posting: &Posting| (posting.dimension, posting.window.start);
    key(one) == key(other) && one.limit == other.limit
}

/// Refuses a top-up that no store can keep.
pub(crate) fn check_top_up(top_up: &TopUp) -> Result<(), StoreError> {
    if top_up.at.as_nanos() >= LARGEST {
        return Err(too_late(format!("the time of the top-up {}", top_up.id), top_up.at));
    }
    Ok(())
}

/// Refuses an override that no store can keep.
pub(crate) fn check_override(
    limit: &LimitId,
    instead: Option<OverrideState>,
) -> Result<(), StoreError> {
    match instead {
        Some(OverrideState { limit: instead, .. }) if instead > LARGEST => {
            let what = format!("the override of {limit}");
            Err(refused(what, instead, "at most 9223372036854775807"))
        }
        _ => Ok(()),
    }
}

/// Credit that has become too large.
pub(crate) fn credit_too_large(top_up: &TopUp) -> StoreError {
    let what = format!("the credit of {}", top_up.limit);
    refused(what, "beyond 64 bits", "at most 9223372036854775807")
}

fn too_late(what: String, at: Timestamp) -> StoreError {
    refused(what, at, "instants before 2262-04-11T23:47:16.854775807Z")
}

fn refused(what: String, found: impl Display, accepted: &str) -> StoreError {
    let text = format!("{what} is {found}; accepted: {accepted}");
    StoreError::Rejected { doing: WRITING, constraint: None, source: text.into() }
}

/// A total that has become too large.
pub(crate) fn total_too_large(posting: &Posting) -> StoreError {
    let what = format!("the total of {} in {}", posting.dimension, posting.limit);
    refused(what, "beyond 64 bits", "-9223372036854775808 to 9223372036854775807")
}

/// A number that has been checked.
pub(crate) fn number(checked: u64) -> i64 {
    i64::try_from(checked).unwrap_or(i64::MAX)
}

/// An instant; one after 2262 as the largest number.
pub(crate) fn instant(at: Timestamp) -> i64 {
    number(at.as_nanos())
}

/// The instant of a column: the largest number is [`Timestamp::MAX`]. `None` for a negative one.
pub(crate) fn to_instant(column: i64) -> Option<Timestamp> {
    match u64::try_from(column) {
        Ok(LARGEST) => Some(Timestamp::MAX),
        Ok(nanos) => Some(Timestamp::from_nanos(nanos)),
        Err(_) => None,
    }
}

/// An instant as it comes back: one that columns cannot hold is one that never comes.
pub(crate) fn kept(at: Timestamp) -> Timestamp {
    to_instant(instant(at)).unwrap_or(Timestamp::MAX)
}

/// An attempt: the same 64 bits.
pub(crate) fn attempt(attempt: u64) -> i64 {
    attempt.cast_signed()
}

/// Which references are NULL, as bits: 1 the api key, 2 the upstream.
pub(crate) fn nulled(nulled: Nulled) -> i64 {
    i64::from(nulled.api_key) + 2 * i64::from(nulled.upstream)
}

/// The references of these bits. `None` for other numbers.
pub(crate) fn to_nulled(column: i64) -> Option<Nulled> {
    let bits = (0..4).contains(&column);
    bits.then_some(Nulled { api_key: column & 1 != 0, upstream: column & 2 != 0 })
}

/// The number of a dimension: 0 money, 1 tokens, 2 requests, as they are ordered.
pub(crate) fn dimension(dimension: Dimension) -> i64 {
    match dimension {
        Dimension::Money => 0,
        Dimension::Tokens => 1,
        Dimension::Requests => 2,
        Dimension::InFlight => 3,
    }
}

/// The dimension of a number, requests in flight too. `None` for other numbers.
pub(crate) fn to_any_dimension(column: i64) -> Option<Dimension> {
    if column == 3 { Some(Dimension::InFlight) } else { to_dimension(column) }
}

/// The dimension of a number that is recorded. `None` for other numbers.
pub(crate) fn to_dimension(column: i64) -> Option<Dimension> {
    match column {
        0 => Some(Dimension::Money),
        1 => Some(Dimension::Tokens),
        2 => Some(Dimension::Requests),
        _ => None,
    }
}
