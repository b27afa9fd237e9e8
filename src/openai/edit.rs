//! The one edit of a request: a stream is asked to say at its end what it used.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::members::{Members, object, wrong};
use crate::http::Refusal;

const MEMBER: &str = "stream_options.include_usage";

/// The body with `stream_options.include_usage` true, every other byte as it is. `None` when it
/// says so already.
pub(super) fn ask_for_usage(body: &Bytes, members: &Members<'_>) -> Result<Option<Bytes>, Refusal> {
    let Some(options) = members.get("stream_options") else {
        // The body is an object, and not an empty one: it says that it wants a stream.
        let inside = 1 + body.iter().position(|byte| *byte == b'{').unwrap_or(0);
        let text = "\"stream_options\":{\"include_usage\":true},";
        return Ok(Some(splice(body, inside..inside, text)));
    };
    let place = place(body, options);
    if options.get() == "null" {
        return Ok(Some(splice(body, place, "{\"include_usage\":true}")));
    }
    let object = object(options.get().as_bytes(), &["include_usage"])
        .map_err(|_| wrong("stream_options", "invalid_type", "an object"))?;
    let known = object.checked().map_err(|refusal| refusal.param(MEMBER))?;
    let Some((_, value)) = known.first() else {
        let inside = place.start + 1;
        let comma = if object.is_empty { "" } else { "," };
        let text = format!("\"include_usage\":true{comma}");
        return Ok(Some(splice(body, inside..inside, &text)));
    };
    match value.get() {
        "true" => Ok(None),
        "false" | "null" => Ok(Some(splice(body, self::place(body, value), "true"))),
        _ => Err(wrong(MEMBER, "invalid_type", "true or false")),
    }
}

/// Where in the body a value of it is.
fn place(body: &Bytes, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + value.get().len()
}

fn splice(body: &Bytes, place: Range<usize>, text: &str) -> Bytes {
    [&body[..place.start], text.as_bytes(), &body[place.end..]].concat().into()
}

#[cfg(test)]
mod tests;
