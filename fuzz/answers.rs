//! What an answer says it used, read in pieces, against readers that have all of it at hand.
//!
//! An input is a digit, which says of which operation the answer is (0 to 3: one JSON text of chat
//! completions, completions, responses, embeddings; 4 to 7: an event stream of the same), a
//! character, whose number is the length of the pieces, and the body.

use bytes::Bytes;
use http::Response;
use serde::de::IgnoredAny;
use serde_json::Value;
use tollkeeper::Usage;
use tollkeeper::http::{Asked, EventPiece, EventStream, Protocol};
use tollkeeper::openai::OpenAi;

use super::requests::OPERATIONS;

/// What a reader knows at the end: the tokens, and whether it was a whole answer.
type Read = (Option<Usage>, bool);

/// As deep as a text is surely read, and as long as a value is surely kept.
const DEPTH: usize = 120;
const KEPT: usize = 60_000;

/// However an answer is cut, what was read of it is the same, and as an independent reader has it.
pub fn answers(data: &[u8]) {
    let [kind, pieces, body @ ..] = data else { return };
    let operation = OPERATIONS[usize::from(kind % 4)];
    let streams = kind & 4 != 0;
    let all = read(operation, streams, [body]);
    let pieces = body.chunks(1 + usize::from(*pieces));
    assert_eq!(read(operation, streams, pieces), all, "in pieces");
    assert_eq!(read(operation, streams, body.chunks(1)), all, "byte by byte");
    let standard = events(body);
    assert_eq!(stream(body.chunks(1)), standard, "byte by byte");
    assert_eq!(stream([body]), standard, "all of it");
    let nested = body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if nested > DEPTH || body.len() > KEPT {
        return;
    }
    match streams {
        true => check_stream(operation, &standard, all),
        false => check_text(operation, body, all),
    }
}

fn read<'a>(
    operation: &'static str,
    streams: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Read {
    let media_type = if streams { "text/event-stream" } else { "application/json" };
    let head = Response::builder().header("content-type", media_type).body(());
    let (head, ()) = head.expect("a media type is a field").into_parts();
    let asked = Asked::new(operation, Bytes::new());
    let mut reader = OpenAi::new().usage_of(&asked, &head);
    pieces.into_iter().for_each(|bytes| reader.read(bytes));
    (reader.tokens(), reader.is_whole())
}

fn check_text(operation: &str, body: &[u8], (tokens, whole): Read) {
    // A number at the end could go on.
    let body = [body, b" "].concat();
    let read = serde_json::from_slice::<IgnoredAny>(&body);
    assert!(read.is_ok() || !whole, "it is not whole");
    // What only stops short may have said it before. It may stop in an escape, where the space that
    // was added would be wrong.
    let stops = |error: serde_json::Error| error.is_eof();
    let short = serde_json::from_slice::<IgnoredAny>(&body[..body.len() - 1]).is_err_and(stops);
    let possible = short || read.map_or_else(stops, |_| true);
    assert!(possible || tokens.is_none(), "it is no JSON");
    if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        let usage = value.get("usage").and_then(|usage| usage_of(operation, usage));
        assert_eq!(tokens, usage, "{value}");
    }
}

fn check_stream(operation: &str, events: &[(Vec<u8>, Vec<u8>)], (tokens, whole): Read) {
    let (mut last, mut ended) = (None, false);
    for (_, data) in events {
        ended |= data.starts_with(b"[DONE]");
        // One reader takes more than the other of what is no Unicode or out of range.
        if serde_json::from_slice::<IgnoredAny>(data).is_ok()
            && serde_json::from_slice::<Value>(data).is_err()
        {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
        let holder = match operation {
            "responses" => event.get("response"),
            _ => Some(&event),
        };
        if let Some(usage) = holder.and_then(|holder| holder.get("usage"))
            && !usage.is_null()
        {
            last = usage_of(operation, usage);
        }
        if operation == "responses" {
            let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
            let ends = ["response.completed", "response.incomplete", "response.failed"];
            ended |= ends.contains(&kind);
        }
    }
    assert_eq!((tokens, whole), (last, ended));
}

/// The tokens of a `usage` value, written down another way: each rule by itself.
fn usage_of(operation: &str, usage: &Value) -> Option<Usage> {
    let count = |value: &Value, name: &str| match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(()),
    };
    let any = |value: &Value, names: &[&str]| {
        let there = names.iter().find(|name| value.get(**name).is_some_and(|v| !v.is_null()));
        there.map_or(Ok(None), |name| count(value, name))
    };
    let details = ["prompt_tokens_details", "input_tokens_details"];
    let details = details.iter().filter_map(|name| usage.get(*name)).find(|v| !v.is_null());
    if !usage.is_object() || details.is_some_and(|details| !details.is_object()) {
        return None;
    }
    let of_details = |names: &[&str]| details.map_or(Ok(None), |details| any(details, names));
    let total = count(usage, "total_tokens").ok()?;
    let sent = any(usage, &["prompt_tokens", "input_tokens"]).ok()?;
    let mut received = any(usage, &["completion_tokens", "output_tokens"]).ok()?;
    let embeds = operation == "embeddings";
    if embeds && received.is_none() {
        received = Some(0);
    }
    let sent = match (sent, received) {
        (Some(sent), _) => sent,
        (None, Some(received)) => total?.checked_sub(received)?,
        (None, None) => return None,
    };
    let mut received = match received {
        Some(received) => received,
        None => total?.checked_sub(sent)?,
    };
    if !embeds {
        received = received.max(total.unwrap_or(0).saturating_sub(sent));
    }
    let cached = match of_details(&["cached_tokens"]).ok()? {
        Some(cached) => cached,
        None => {
            any(usage, &["prompt_cache_hit_tokens", "cache_read_input_tokens"]).ok()?.unwrap_or(0)
        }
    };
    let written = match of_details(&["cache_write_tokens", "cache_creation_tokens"]).ok()? {
        Some(written) => written,
        None => count(usage, "cache_creation_input_tokens").ok()?.unwrap_or(0),
    };
    let cached = cached.min(sent);
    let written = written.min(sent - cached);
    Some(Usage {
        input_tokens: sent - cached - written,
        output_tokens: received,
        cached_tokens: cached,
        cache_write_tokens: written,
        ..Usage::default()
    })
}

/// The events of a stream that is read in these pieces, each with its name and data.
fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut stream, mut events, mut data) = (EventStream::new(), Vec::new(), Vec::new());
    for bytes in pieces {
        stream.read(bytes, |piece| match piece {
            EventPiece::Data(bytes) => data.extend_from_slice(bytes),
            EventPiece::End { name } => events.push((name.to_vec(), std::mem::take(&mut data))),
        });
    }
    events
}

/// The same by the standard, for a stream that is all there.
fn events(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rest = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = &rest[..end];
        let both = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(both)..];
        if line.is_empty() {
            if data.pop().is_some() {
                events.push((std::mem::take(&mut name), std::mem::take(&mut data)));
            }
            name.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let value = colon.map_or(&line[line.len()..], |colon| &line[colon + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon.unwrap_or(line.len())] {
            b"data" => data.extend([value, b"\n"].concat()),
            b"event" => name = value[..value.len().min(EventStream::NAME_MAX)].to_vec(),
            _ => {}
        }
    }
    events
}
