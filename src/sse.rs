//! Event streams (`text/event-stream`), read as they arrive, as the HTML standard interprets them.
//!
//! Nothing of an event's data is kept: it is handed on in pieces, so memory does not depend on how
//! long an event is. Bytes are not decoded either. Line ends and field names are ASCII, which is no
//! part of any other character in UTF-8, so a character split over two pieces is whole again when
//! they are put together, and bytes that are no UTF-8 change nothing around them.

use memchr::{memchr, memchr_iter, memchr2, memrchr_iter};

/// What an [`EventStream`] has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPiece<'a> {
    /// The next bytes of an event's data; its lines are joined by line feeds.
    Data(&'a [u8]),
    /// The event whose data came since the last `End` is complete. Data that no `End` follows is
    /// to be dropped: the stream broke off in its middle.
    End {
        /// The event's name; empty where none was given. Of a name longer than
        /// [`EventStream::NAME_MAX`] bytes the rest is cut off.
        name: &'a [u8],
    },
}

/// What an event stream is read into.
pub(crate) trait EventSink {
    /// The next bytes of an event's data.
    fn data(&mut self, bytes: &[u8]);
    /// The event is complete.
    fn end(&mut self, name: &[u8]);
}

struct Each<F>(F);

impl<F: FnMut(EventPiece<'_>)> EventSink for Each<F> {
    fn data(&mut self, bytes: &[u8]) {
        self.0(EventPiece::Data(bytes));
    }

    fn end(&mut self, name: &[u8]) {
        self.0(EventPiece::End { name });
    }
}

/// Reads an event stream from pieces of any size, in bounded memory.
///
/// Comments, blank events and the fields `id` and `retry` are passed over: they are for whoever
/// connects again.
///
/// ```
/// use tollkeeper::http::{EventPiece, EventStream};
///
/// let mut stream = EventStream::new();
/// let (mut data, mut events) = (Vec::new(), Vec::new());
/// for bytes in [&b"event: delta\r\nda"[..], b"ta:4", b"2\r", b"\n\r\n: idle\n"] {
///     stream.read(bytes, |piece| match piece {
///         EventPiece::Data(bytes) => data.extend_from_slice(bytes),
///         EventPiece::End { name } => events.push((name.to_vec(), std::mem::take(&mut data))),
///     });
/// }
/// assert_eq!(events, [(b"delta".to_vec(), b"42".to_vec())]);
/// ```
#[derive(Debug, Default)]
pub struct EventStream {
    start: Start,
    line: Line,
    field: Field,
    /// The last line ended in a carriage return, so a line feed that follows is of the same end.
    after_return: bool,
    has_data: bool,
    name: Vec<u8>,
}

/// How much of a byte order mark was read; `None` when it is decided whether there is one.
#[derive(Debug)]
struct Start(Option<usize>);

impl Default for Start {
    fn default() -> Self {
        Self(Some(0))
    }
}

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    /// Before the colon.
    #[default]
    Field,
    /// Behind the colon.
    Value { of: Known, begun: bool },
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Data,
    Event,
    Other,
}

/// The name of a field, as far as it can be one that is known.
#[derive(Debug, Default)]
struct Field {
    bytes: [u8; Field::LONGEST],
    /// How long the name is, at most one above what is kept of it.
    length: usize,
}

impl Field {
    const LONGEST: usize = b"event".len();

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().take(Self::LONGEST + 1 - self.length) {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
            }
            self.length += 1;
        }
    }

    fn known(&self) -> Known {
        match self.bytes.get(..self.length) {
            Some(b"data") => Known::Data,
            Some(b"event") => Known::Event,
            _ => Known::Other,
        }
    }
}

impl EventStream {
    /// The longest name of an event that is kept whole, in bytes.
    pub const NAME_MAX: usize = 256;

    /// A reader of a stream of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes, and hands on what they complete. How the stream is cut into pieces
    /// changes how data is cut, and nothing else. Linear in the bytes.
    pub fn read(&mut self, bytes: &[u8], each: impl FnMut(EventPiece<'_>)) {
        self.read_into(bytes, &mut Each(each));
    }

    /// The same, into a sink.
    pub(crate) fn read_into(&mut self, bytes: &[u8], sink: &mut impl EventSink) {
        let mut bytes = self.past_mark(bytes, sink);
        while let Some(&first) = bytes.first() {
            let again = std::mem::take(&mut self.after_return) && first == b'\n';
            if again {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            self.part_of_line(&bytes[..end.unwrap_or(bytes.len())], sink);
            let Some(end) = end else { return };
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_of_line(sink);
        }
    }

    /// Whether what comes next begins an event: nothing of one has been read.
    pub(crate) fn is_between(&self) -> bool {
        let at_line = matches!(self.line, Line::Field) && self.field.length == 0;
        at_line && !self.has_data && self.name.is_empty() && matches!(self.start.0, None | Some(0))
    }

    /// Passes over whole events, one at least, between two others.
    pub(crate) fn skip(&mut self, events: &[u8]) {
        debug_assert!(self.is_between() && is_end(events));
        // A mark was in them, or there is none.
        self.start = Start(None);
    }

    /// The bytes without a byte order mark, which only the very first may be.
    fn past_mark<'a>(&mut self, mut bytes: &'a [u8], sink: &mut impl EventSink) -> &'a [u8] {
        while let Some(read) = self.start.0 {
            let Some(&first) = bytes.first() else { return bytes };
            if first != MARK[read] {
                // It was none: what looked like one is the beginning of the first line.
                self.start.0 = None;
                self.part_of_line(&MARK[..read], sink);
                return bytes;
            }
            self.start.0 = (read + 1 < MARK.len()).then_some(read + 1);
            bytes = &bytes[1..];
        }
        bytes
    }

    fn part_of_line(&mut self, mut part: &[u8], sink: &mut impl EventSink) {
        if let Line::Field = self.line {
            let colon = memchr(b':', part);
            self.field.push(&part[..colon.unwrap_or(part.len())]);
            let Some(colon) = colon else { return };
            self.begin_value(sink);
            part = &part[colon + 1..];
        }
        let Line::Value { of, begun } = &mut self.line else { return };
        let Some(first) = part.first() else { return };
        // One space behind the colon is not of the value.
        let space = !std::mem::replace(begun, true) && *first == b' ';
        let value = &part[usize::from(space)..];
        match of {
            Known::Data if !value.is_empty() => sink.data(value),
            Known::Event => {
                let room = Self::NAME_MAX - self.name.len();
                self.name.extend_from_slice(&value[..value.len().min(room)]);
            }
            Known::Data | Known::Other => {}
        }
    }

    fn begin_value(&mut self, sink: &mut impl EventSink) {
        let of = self.field.known();
        match of {
            Known::Data if self.has_data => sink.data(b"\n"),
            Known::Data => self.has_data = true,
            // The last name given is the event's.
            Known::Event => self.name.clear(),
            Known::Other => {}
        }
        self.line = Line::Value { of, begun: false };
    }

    fn end_of_line(&mut self, sink: &mut impl EventSink) {
        if let Line::Field = self.line {
            if self.field.length == 0 {
                // A blank line ends the event, which is none without data.
                if std::mem::take(&mut self.has_data) {
                    sink.end(&self.name);
                }
                self.name.clear();
            } else {
                // A line without a colon is a field with an empty value.
                self.begin_value(sink);
            }
        }
        self.line = Line::Field;
        self.field.length = 0;
    }
}

/// Where the first of these bytes' blank lines ends, or the bytes do. One that began before them,
/// or that ends in a carriage return, is not seen.
pub(crate) fn first_end(bytes: &[u8]) -> usize {
    let mut lines = memchr_iter(b'\n', bytes).map(|end| end + 1);
    lines.find(|end| is_end(&bytes[..*end])).unwrap_or(bytes.len())
}

/// Where the last of these bytes' blank lines ends, or the bytes begin; the same are not seen.
pub(crate) fn last_end(bytes: &[u8]) -> usize {
    if is_end(bytes) {
        return bytes.len();
    }
    let mut lines = memrchr_iter(b'\n', bytes).map(|end| end + 1);
    lines.find(|end| is_end(&bytes[..*end])).unwrap_or(0)
}

/// Whether bytes end in a blank line behind another.
fn is_end(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n")
}

#[cfg(test)]
mod tests;
