//! Streams against a reading of the standard that has the whole text at hand.

use super::*;
use proptest::prelude::*;

/// The events of a stream, each with its name and data.
type Events = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads the stream in these pieces. The data behind the last event is dropped.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Events {
    let (mut stream, mut events, mut data) = (EventStream::new(), Events::new(), Vec::new());
    for bytes in pieces {
        stream.read(bytes, |piece| match piece {
            EventPiece::Data(bytes) => data.extend_from_slice(bytes),
            EventPiece::End { name } => events.push((name.to_vec(), std::mem::take(&mut data))),
        });
    }
    events
}

/// What the standard says, word by word, for a whole stream: lines, then fields, then events.
fn by_the_standard(stream: &[u8]) -> Events {
    let mut stream = stream.strip_prefix(MARK).unwrap_or(stream);
    let mut lines = Vec::new();
    while let Some(end) = stream.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&stream[..end]);
        let both = stream[end..].starts_with(b"\r\n");
        stream = &stream[end + 1 + usize::from(both)..];
    }
    let (mut events, mut name, mut data) = (Events::new(), Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if data.pop().is_some() {
                events.push((std::mem::take(&mut name), std::mem::take(&mut data)));
            }
            name.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"event" => name = value[..value.len().min(EventStream::NAME_MAX)].to_vec(),
            _ => {}
        }
    }
    events
}

#[test]
fn streams_are_read_as_the_standard_says() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        ("data: a\n\n", &[("", "a")]),
        ("data:a\n\n", &[("", "a")]),
        ("data:  a \n\n", &[("", " a ")]),
        ("data: a\r\n\r\n", &[("", "a")]),
        ("data: a\r\r", &[("", "a")]),
        ("data: a\n\r", &[("", "a")]),
        ("data: a\r\n\n", &[("", "a")]),
        ("data: a\ndata: b\n\n", &[("", "a\nb")]),
        ("data\n\n", &[("", "")]),
        ("data\ndata\n\n", &[("", "\n")]),
        ("data:\n\ndata: \n\n", &[("", ""), ("", "")]),
        ("\n\n\n: hello\n\ndata: a\n\n", &[("", "a")]),
        (":data: a\n\n", &[]),
        ("data: a\n:\ndata: b\n\n", &[("", "a\nb")]),
        ("event: e\ndata: a\n\ndata: b\n\n", &[("e", "a"), ("", "b")]),
        ("data: a\nevent: e\nevent: f\n\n", &[("f", "a")]),
        ("event: e\nevent\ndata: a\n\n", &[("", "a")]),
        // No data, no event, and its name is gone.
        ("event: e\n\ndata: a\n\n", &[("", "a")]),
        ("id: 1\nretry: 5\nother: x\ndata: a\n\n", &[("", "a")]),
        // Names are compared as they are.
        ("Data: a\ndata : b\n data: c\ndatax: d\ndat: e\ndata: f\n\n", &[("", "f")]),
        ("data: a:b: c\n\n", &[("", "a:b: c")]),
        // What no blank line ends was never sent.
        ("data: a\n\ndata: b\n", &[("", "a")]),
        ("data: a\n\ndata: b", &[("", "a")]),
        ("\u{FEFF}data: a\n\n", &[("", "a")]),
        ("\u{FEFF}\u{FEFF}data: a\n\n", &[]),
        ("data: \u{FEFF}é€𝄞\n\n", &[("", "\u{FEFF}é€𝄞")]),
        ("\0: x\ndata: \0\n\n", &[("", "\0")]),
    ];
    for (text, wanted) in table {
        let wanted: Events =
            wanted.iter().map(|(name, data)| ((*name).into(), (*data).into())).collect();
        assert_eq!(events([text.as_bytes()]), wanted, "{text:?}");
        assert_eq!(by_the_standard(text.as_bytes()), wanted, "{text:?} by the standard");
        for at in 0..=text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            assert_eq!(events([a, b]), wanted, "{text:?} cut at {at}");
        }
        assert_eq!(events(text.as_bytes().chunks(1)), wanted, "{text:?} byte by byte");
    }
}

/// Bytes that are no UTF-8 stay what they are, and half a byte order mark is a field.
#[test]
fn bytes_are_not_decoded() {
    assert_eq!(events([&b"data: \xFF\xC3\n\n"[..]]), [(vec![], b"\xFF\xC3".to_vec())]);
    assert_eq!(events([&b"\xEF"[..], b"\xBBdata: a\ndata: b\n\n"]), [(vec![], b"b".to_vec())]);
    assert_eq!(events([&b"\xEF\xBB"[..], b"\n\ndata: b\n\n"]), [(vec![], b"b".to_vec())]);
}

/// Nothing grows with the length of an event, of its name, or of a line.
#[test]
fn memory_is_bounded() {
    let mut stream = EventStream::new();
    let (mut longest, mut all) = (0, 0);
    let block = [b'x'; 4_096];
    stream.read(b"event: ", |_| panic!("no data yet"));
    (0..100).for_each(|_| stream.read(&block, |_| panic!("a name is no data")));
    assert_eq!(stream.name.len(), EventStream::NAME_MAX);
    assert!(stream.name.capacity() <= 2 * EventStream::NAME_MAX);
    stream.read(b"\n", |_| panic!("no data yet"));
    (0..100).for_each(|_| stream.read(&block, |_| panic!("a field's name is no data")));
    stream.read(b"\ndata:", |_| panic!("no data yet"));
    for _ in 0..100 {
        stream.read(&block, |piece| {
            let EventPiece::Data(bytes) = piece else { panic!("the event goes on") };
            longest = longest.max(bytes.len());
            all += bytes.len();
        });
    }
    assert_eq!((longest, all), (block.len(), 100 * block.len()));
    let mut ended = false;
    stream.read(b"\n\n", |piece| match piece {
        EventPiece::Data(_) => panic!("no more data"),
        EventPiece::End { name } => ended = name == [b'x'; EventStream::NAME_MAX],
    });
    assert!(ended);
}

/// Texts that look like event streams, and some that do not.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"data"[..], b"data:", b"data: ", b"event:", b"event", b"id: 1", b":", b" ", b"\n",
            b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", MARK, b"\xEF", b"\xBB", b"[DONE]",
            "é€𝄞".as_bytes(), b"dat", b"x", b"\0",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_stream_cut_anywhere_is_the_same(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let wanted = by_the_standard(&stream);
        prop_assert_eq!(&events([&*stream]), &wanted);
        for at in 0..=stream.len() {
            let (a, b) = stream.split_at(at);
            prop_assert_eq!(&events([a, b]), &wanted, "cut at {}", at);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        prop_assert_eq!(&events(pieces), &wanted, "cut at {:?}", cuts);
        prop_assert_eq!(&events(stream.chunks(1)), &wanted);
    }
}
