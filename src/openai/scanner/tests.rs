//! The scanner against `serde_json`, which has the whole text at hand.

use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

const PATHS: &[Path] = &[&["usage"], &["response", "usage"], &["type"]];

/// What is kept when the text is read in these pieces, and whether it is whole.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<Vec<Kept>>, bool) {
    let mut scanner = Scanner::new(PATHS);
    pieces.into_iter().for_each(|bytes| scanner.read(bytes));
    (scanner.kept().map(<[Kept]>::to_vec), scanner.is_whole())
}

fn value_of(kept: &Kept) -> Option<Value> {
    match kept {
        Kept::Absent => None,
        Kept::Value(text) => Some(serde_json::from_slice(text).expect("a part of what is JSON")),
        Kept::TooLong => panic!("no text here is too long"),
    }
}

/// How deep the text would be if it is JSON.
fn depth(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// What holds for any text. Space ends a number, so each is read with some behind it.
fn check(text: &[u8]) {
    let text = [text, b" "].concat();
    let (kept, whole) = scan([&*text]);
    for at in 0..=text.len() {
        let (a, b) = text.split_at(at);
        assert_eq!(scan([a, b]), (kept.clone(), whole), "{} at {at}", text.escape_ascii());
    }
    assert_eq!(scan(text.chunks(1)), (kept.clone(), whole), "{}", text.escape_ascii());
    if depth(&text) <= DEPTH_MAX as usize {
        let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        assert_eq!(kept.is_some() && whole, is_json, "{}", text.escape_ascii());
    }
    // Of what one reader takes whole and the other not, strings that are no Unicode and numbers
    // that are too large, nothing is asked.
    if let Ok(value) = serde_json::from_slice::<Value>(&text) {
        let kept = kept.expect("it is JSON");
        let found: Vec<Option<Value>> = kept.iter().map(value_of).collect();
        let wanted: Vec<Option<Value>> = PATHS
            .iter()
            .map(|path| path.iter().try_fold(&value, |value, key| value.get(key)).cloned())
            .collect();
        assert_eq!(found, wanted, "{}", text.escape_ascii());
    }
}

#[test]
fn nasty_texts() {
    let texts: &[&str] = &[
        "",
        " ",
        "{}",
        "[]",
        "null",
        "0",
        "-0",
        "1.5e-7",
        "\"\"",
        "{",
        "}",
        "[",
        "]",
        "[}",
        "{]",
        "{\"usage\":{}}",
        "{\"usage\":null}",
        "{\"usage\":1}",
        "{\"usage\":1.5e3}",
        "{\"usage\":\"}\"}",
        "{\"usage\":[1,[2]]}",
        "{\"usage\":-}",
        "{\"usage\":{\"usage\":1}}",
        "{\"\\u0075sage\":{\"a\":1}}",
        "{\"\\u0075\\u0073\\u0061\\u0067\\u0065\":7}",
        "{\"usag\\u0065\":7,\"usage\":8}",
        "{\"usage\":7,\"usag\\u0065\":8}",
        "{\"usage\":7,\"usage\":null}",
        "{\"Usage\":7}",
        "{\"usage \":7}",
        "{\"usage\\u0000\":7}",
        "{\"\\ud800usage\":7}",
        "{\"usage\\\\\":7}",
        "{\"\\\"usage\":7}",
        "[{\"usage\":7}]",
        "{\"a\":{\"usage\":7}}",
        "{\"a\":[{\"usage\":7}],\"b\":1}",
        "{\"a\":{\"response\":{\"usage\":7}}}",
        "{\"response\":{\"usage\":7}}",
        "{\"response\":{\"a\":{\"usage\":7},\"usage\":8},\"usage\":9}",
        "{\"response\":[{\"usage\":7}]}",
        "{\"response\":{\"usage\":7},\"response\":{}}",
        "{\"response\":{\"usage\":7},\"response\":8,\"usage\":9}",
        "{\"response\":{\"response\":{\"usage\":7}}}",
        "{\"response\":{\"type\":7},\"type\":\"a\"}",
        "{\"response\":null,\"usage\":{\"a\":1}}",
        "{\"usage\":{\"response\":{\"usage\":7}}}",
        "{\"usage\":7}x",
        "{\"usage\":7}{}",
        "{\"usage\":7} \n\t\r ",
        "{\"usage\":7},",
        "{\"usage\":7,}",
        "{,\"usage\":7}",
        "{\"usage\" 7}",
        "{\"usage\":7 8}",
        "{usage:7}",
        "{'usage':7}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{1:2}",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "--1",
        "0x1",
        "NaN",
        "nul",
        "nulll",
        "truefalse",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"a",
        "\u{FEFF}{}",
        "// a\n{}",
        "\"\u{7f}é€𝄞\"",
        "{\"usage\":{\"a\":\"\\\"}\\\\\"}}",
        "1e999",
        "{\"usage\":1e999}",
        "\"\\ud800\"",
    ];
    texts.iter().for_each(|text| check(text.as_bytes()));
    check(b"\"\xFF\"");
    check(b"{\"\xFF\":1,\"usage\":2}");
}

#[test]
fn deep_texts_are_refused_at_a_known_depth() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    for depth in [1, 2, 127, 128] {
        let text = format!("{}{}", nested(depth), " ");
        assert_eq!(scan([text.as_bytes()]), (Some(vec![Kept::Absent; 3]), true), "{depth}");
    }
    assert_eq!(scan([nested(129).as_bytes()]).0, None);
    // As deep as one likes, in no more memory and time than its length.
    assert_eq!(scan([nested(1_000_000).as_bytes()]).0, None);
    let objects = ["{\"usage\":".repeat(128), "7".into(), "}".repeat(128)].concat();
    assert!(scan([objects.as_bytes()]).0.is_some());
}

/// A value that is too long is not kept, and said to be so; nothing else grows with the text.
#[test]
fn memory_is_bounded() {
    let fits = "7".repeat(KEPT_MAX);
    let one_more = "7".repeat(KEPT_MAX + 1);
    let read = |text: String| scan(text.as_bytes().chunks(1_000)).0.expect("it is JSON").remove(0);
    assert_eq!(read(format!("{{\"usage\":{fits}}}")), Kept::Value(fits.clone().into()));
    assert_eq!(read(format!("{{\"usage\":{one_more}}}")), Kept::TooLong);
    assert_eq!(read(format!("{{\"usage\":{one_more},\"usage\":8}}")), Kept::Value(b"8".to_vec()));
    let mut scanner = Scanner::new(PATHS);
    scanner.read(b"{\"usage\":\"");
    (0..1_000).for_each(|_| scanner.read(&[b'x'; 1_000]));
    assert!(scanner.keeping.as_ref().is_some_and(|keeping| keeping.text.is_none()));
    scanner.read(b"\",\"");
    (0..1_000).for_each(|_| scanner.read(&[b'x'; 1_000]));
    assert_eq!(scanner.key.len(), KEY_MAX + 1);
    assert!(scanner.key.capacity() <= 1_024);
    scanner.read(b"\":0}");
    assert_eq!(
        (scanner.kept().expect("JSON")[0].clone(), scanner.is_whole()),
        (Kept::TooLong, true)
    );
}

/// A long key that spells a short one with escapes is that key; one that only begins so is not.
#[test]
fn the_longest_spelling_of_a_key_fits() {
    let spelt: String = "response".bytes().map(|byte| format!("\\u{byte:04X}")).collect();
    check(format!("{{\"{spelt}\":{{\"usage\":7}}}}").as_bytes());
    check(format!("{{\"{spelt}{}\":{{\"usage\":7}}}}", "x".repeat(KEY_MAX)).as_bytes());
    assert!(PATHS.iter().flat_map(|path| path.iter()).all(|key| key.len() * 6 <= KEY_MAX));
}

/// JSON that has the keys in question at every place, printed with or without space.
fn documents() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "usage",
        "response",
        "type",
        "a",
        "",
        "us\u{61}ge",
        "é\"\\\n",
        "\u{1}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[\\PC\"\\\\\n]{0,6}".prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(5, 40, 5, move |inner| {
        let members = prop::collection::vec((key.clone(), inner.clone()), 0..5);
        let object = members.prop_map(|members| {
            members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        });
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            3 => object.prop_map(Value::Object),
        ]
    });
    (tree, any::<bool>()).prop_map(|(value, pretty)| {
        if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
    })
}

/// Pieces of JSON, put together as they come.
fn rubble() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "0075",
        "usage",
        "\"usage\":",
        "\"response\":{",
        "\"type\"",
        "null",
        "true",
        "fals",
        "-",
        "0",
        "1",
        ".",
        "e",
        "E+",
        " ",
        "\n",
        "é",
        "\u{1}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_document_is_read_as_serde_json_reads_it(text in documents()) {
        check(text.as_bytes());
    }

    #[test]
    fn any_document_with_one_wrong_byte_too(
        text in documents(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        check(&text);
    }

    #[test]
    fn any_rubble_too(text in rubble()) {
        check(&text);
        check(&[b"{\"usage\":", &*text, b"}"].concat());
    }
}

/// Wherever it is, and of several the first.
#[test]
fn what_is_not_plain_text_is_found() {
    for length in 0..70 {
        let mut bytes = vec![b' '; length];
        assert_eq!(find_special(&bytes), None);
        for at in (0..length).rev() {
            for special in [b'"', b'\\', 0x1f, b'\n', 0] {
                bytes[at] = special;
                assert_eq!(find_special(&bytes), Some(at), "{special} of {length}");
            }
        }
    }
}
