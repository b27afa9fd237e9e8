//! Answers, read for what they used.

use std::sync::LazyLock;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memchr2;
use memchr::memmem::Finder;

use super::operation::Operation;
use super::scanner::{Kept, Path, Scanner};
use super::usage::{self, Said};
use crate::http::UsageReader;
use crate::sse::{EventSink, EventStream, first_end, last_end};
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
    stream: EventStream,
    event: Event,
}

/// What is known of the event that is being read, and of those before it.
struct Event {
    operation: Operation,
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
        let event = Event {
            operation,
            scanner: Scanner::new(paths),
            head: Head::default(),
            said: Said::Nothing,
            is_whole: false,
        };
        Self { stream: EventStream::new(), event }
    }
}

impl EventSink for Event {
    fn data(&mut self, bytes: &[u8]) {
        self.head.push(bytes);
        self.scanner.read(bytes);
    }

    /// The name is in the data as well, and that is where clients look for it.
    fn end(&mut self, _: &[u8]) {
        self.is_whole |= self.head.is_done();
        self.head = Head::default();
        // What broke off in its middle was not said.
        if self.scanner.is_whole()
            && let Some([usage, rest @ ..]) = self.scanner.kept()
        {
            match said(usage, self.operation) {
                // Every chunk but the last says so.
                Said::Nothing => {}
                other => self.said = other,
            }
            self.is_whole |= matches!(rest, [Kept::Value(text)] if is_last(text));
        }
        self.scanner.begin_again();
    }
}

impl UsageReader for Events {
    /// Takes apart what is left of an event, and the beginning of another. The whole events in
    /// between nearly always say nothing that counts, and are only searched.
    fn read(&mut self, bytes: &[u8]) {
        let Self { stream, event } = self;
        let begun = if stream.is_between() { 0 } else { first_end(bytes) };
        let (begun, bytes) = bytes.split_at(begun);
        stream.read_into(begun, event);
        let whole = if stream.is_between() { last_end(bytes) } else { 0 };
        let (whole, rest) = bytes.split_at(whole);
        if whole.is_empty() || may_count(event.operation, whole) {
            stream.read_into(whole, event);
        } else {
            stream.skip(whole);
        }
        stream.read_into(rest, event);
    }

    fn tokens(&self) -> Option<Usage> {
        match self.event.said {
            Said::Tokens(tokens) => Some(tokens),
            Said::Nothing | Said::Unreadable => None,
        }
    }

    fn is_whole(&self) -> bool {
        self.event.is_whole
    }
}

/// Whether these events can have something that counts. Names and words are in them as they are, or
/// with an escape: letters have none but by their number.
fn may_count(operation: Operation, events: &[u8]) -> bool {
    static WORDS: LazyLock<[Finder; 2]> = LazyLock::new(|| [DONE, b"\\u"].map(Finder::new));
    static LASTS: LazyLock<[Finder; 3]> = LazyLock::new(|| LAST.map(Finder::new));
    let has = |word: &Finder<'_>| word.find(events).is_some();
    // One look for both, because mostly neither byte is there.
    let has_word = || memchr2(b'D', b'\\', events).is_some() && WORDS.iter().any(has);
    let has_last = || operation == Operation::Responses && LASTS.iter().any(has);
    has_usage(events) || has_word() || has_last()
}

/// Whether there may be a key `usage` that is not null, which it is in all chunks but the last. A
/// quotation mark behind the word ends a string, whose value is null then, so that it says nothing
/// wherever it is.
fn has_usage(mut events: &[u8]) -> bool {
    const KEY: &[u8] = b"usage";
    static USAGE: LazyLock<Finder> = LazyLock::new(|| Finder::new(KEY));
    while let Some(place) = USAGE.find(events) {
        events = &events[place + KEY.len()..];
        let value = events.strip_prefix(b"\":").map(<[u8]>::trim_ascii_start);
        if !value.is_some_and(|value| value.starts_with(b"null")) {
            return true;
        }
    }
    false
}

fn is_last(text: &[u8]) -> bool {
    let kind = serde_json::from_slice::<String>(text);
    kind.is_ok_and(|kind| LAST.contains(&&*kind))
}

impl Head {
    fn is_done(&self) -> bool {
        self.bytes == DONE
    }

    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests;
