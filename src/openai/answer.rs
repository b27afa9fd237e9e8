//! Answers, read for what they used.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::operation::Operation;
use super::scanner::{Kept, Path, Scanner};
use super::usage::{self, Said};
use crate::http::UsageReader;
use crate::sse::{EventPiece, EventStream};
use crate::units::Usage;

/// The reader of an answer that has these fields.
pub(super) fn reader(operation: Operation, fields: &HeaderMap) -> Box<dyn UsageReader> {
    let identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !fields.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Box::new(Encoded);
    }
    if fields.get(CONTENT_TYPE).is_some_and(|value| is_event_stream(value.as_bytes())) {
        return Box::new(Events::new(operation));
    }
    Box::new(Document { operation, scanner: Scanner::new(&[&["usage"]]) })
}

fn is_event_stream(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// A body that is compressed: nobody looks into it here.
struct Encoded;

impl UsageReader for Encoded {
    fn read(&mut self, _: &[u8]) {}

    fn tokens(&self) -> Option<Usage> {
        None
    }

    fn is_whole(&self) -> bool {
        false
    }
}

/// One JSON text, in which the outermost `usage` counts.
struct Document {
    operation: Operation,
    scanner: Scanner,
}

impl UsageReader for Document {
    fn read(&mut self, bytes: &[u8]) {
        self.scanner.read(bytes);
    }

    fn tokens(&self) -> Option<Usage> {
        match said(self.scanner.kept()?.first()?, self.operation) {
            Said::Tokens(tokens) => Some(tokens),
            Said::Nothing | Said::Unreadable => None,
        }
    }

    fn is_whole(&self) -> bool {
        self.scanner.is_whole()
    }
}

fn said(kept: &Kept, operation: Operation) -> Said {
    match kept {
        Kept::Absent => Said::Nothing,
        Kept::Value(text) => usage::read(text, operation == Operation::Embeddings),
        Kept::TooLong => Said::Unreadable,
    }
}

/// An event stream, in which the last event that says something of usage counts.
struct Events {
    operation: Operation,
    stream: EventStream,
    scanner: Scanner,
    head: Head,
    said: Said,
    is_whole: bool,
}

/// The first bytes of an event's data.
#[derive(Default)]
struct Head {
    bytes: [u8; DONE.len()],
    length: usize,
}

/// The event that ends a stream, which is no JSON. Whatever is behind it, clients stop there.
const DONE: &[u8] = b"[DONE]";

/// The types of the events that end the stream of a response.
const LAST: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];

impl Events {
    fn new(operation: Operation) -> Self {
        const CHUNK: &[Path] = &[&["usage"]];
        const OF_RESPONSE: &[Path] = &[&["response", "usage"], &["type"]];
        let paths = if operation == Operation::Responses { OF_RESPONSE } else { CHUNK };
        Self {
            operation,
            stream: EventStream::new(),
            scanner: Scanner::new(paths),
            head: Head::default(),
            said: Said::Nothing,
            is_whole: false,
        }
    }
}

impl UsageReader for Events {
    fn read(&mut self, bytes: &[u8]) {
        let Self { operation, stream, scanner, head, said: latest, is_whole } = self;
        stream.read(bytes, |piece| match piece {
            EventPiece::Data(bytes) => {
                head.push(bytes);
                scanner.read(bytes);
            }
            // The name is in the data as well, and that is where clients look for it.
            EventPiece::End { name: _ } => {
                if let Some([usage, rest @ ..]) = scanner.kept() {
                    match said(usage, *operation) {
                        // Every chunk but the last says so.
                        Said::Nothing => {}
                        other => *latest = other,
                    }
                    *is_whole |= matches!(rest, [Kept::Value(text)] if is_last(text));
                }
                *is_whole |= head.bytes == DONE;
                *head = Head::default();
                scanner.begin_again();
            }
        });
    }

    fn tokens(&self) -> Option<Usage> {
        match self.said {
            Said::Tokens(tokens) => Some(tokens),
            Said::Nothing | Said::Unreadable => None,
        }
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }
}

fn is_last(text: &[u8]) -> bool {
    let kind = serde_json::from_slice::<String>(text);
    kind.is_ok_and(|kind| LAST.contains(&&*kind))
}

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests;
