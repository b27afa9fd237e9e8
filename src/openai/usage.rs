//! What a `usage` object says.

use serde_json::{Map, Value};

use crate::units::Usage;

/// What one `usage` value says of the tokens used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: it is null.
    Nothing,
    Tokens(Usage),
    /// Something that cannot be read as counts of tokens.
    Unreadable,
}

/// Reads the text of a `usage` value. Without a count of output there is none if `input_only`.
pub(super) fn read(text: &[u8], input_only: bool) -> Said {
    match serde_json::from_slice(text) {
        Ok(Value::Null) => Said::Nothing,
        Ok(Value::Object(usage)) => {
            tokens(&usage, input_only).map_or(Said::Unreadable, Said::Tokens)
        }
        _ => Said::Unreadable,
    }
}

/// The four disjoint kinds. What goes in is never less than the upstream's sum of it, whatever it
/// says of caches, and what comes out never less than what its total leaves.
fn tokens(usage: &Map<String, Value>, input_only: bool) -> Option<Usage> {
    let given = Counts(usage);
    let details = |names: [&str; 2]| match names.iter().find_map(|name| given.value(name)) {
        None => Some(None),
        Some(details) => details.as_object().map(|details| Some(Counts(details))),
    };
    let of_input = details(["prompt_tokens_details", "input_tokens_details"])?;
    let total = given.first(&["total_tokens"])?;
    let sent = given.first(&["prompt_tokens", "input_tokens"])?;
    let received = given.first(&["completion_tokens", "output_tokens"])?;
    let received = received.or(input_only.then_some(0));
    let (sent, received) = match (sent, received, total) {
        // Some count what was reasoned only in the total. It is paid for as output.
        (Some(sent), Some(received), Some(total)) if !input_only => {
            (sent, received.max(total.saturating_sub(sent)))
        }
        (Some(sent), Some(received), _) => (sent, received),
        (Some(sent), None, Some(total)) => (sent, total.checked_sub(sent)?),
        (None, Some(received), Some(total)) => (total.checked_sub(received)?, received),
        _ => return None,
    };
    let in_details = |names| of_input.as_ref().map_or(Some(None), |of| of.first(names));
    let cached = match in_details(&["cached_tokens"])? {
        Some(cached) => Some(cached),
        None => given.first(&["prompt_cache_hit_tokens", "cache_read_input_tokens"])?,
    };
    let written = match in_details(&["cache_write_tokens", "cache_creation_tokens"])? {
        Some(written) => Some(written),
        None => given.first(&["cache_creation_input_tokens"])?,
    };
    // Both are parts of what was sent: no more of it can have been in a cache than there was.
    let cached_tokens = cached.unwrap_or(0).min(sent);
    let cache_write_tokens = written.unwrap_or(0).min(sent - cached_tokens);
    Some(Usage {
        input_tokens: sent - cached_tokens - cache_write_tokens,
        output_tokens: received,
        cached_tokens,
        cache_write_tokens,
        ..Usage::default()
    })
}

/// An object of counts.
struct Counts<'a>(&'a Map<String, Value>);

impl<'a> Counts<'a> {
    /// What is there, which null is not.
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The first of these counts that is there, if any. `None` when it is no count: a fraction,
    /// a negative number, one that 64 bits cannot hold, or none at all.
    fn first(&self, names: &[&str]) -> Option<Option<u64>> {
        match names.iter().find_map(|name| self.value(name)) {
            None => Some(None),
            Some(value) => value.as_u64().map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
