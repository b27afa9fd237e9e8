//! Counts of content.

use super::*;

fn of(text: &str) -> Content {
    content(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn strings_count_decoded_and_numbers_one_each() {
    let table: &[(&str, u64, u64, u64)] = &[
        ("\"abc\"", 3, 0, 0),
        ("\"\\u0061\\n\"", 2, 0, 0),
        ("\"é\"", 2, 0, 0),
        ("\"\\ud834\\udd1e\"", 4, 0, 0),
        ("[1,2,3]", 0, 3, 0),
        ("[[1,2],[3]]", 0, 3, 0),
        ("[1,-2,3.5,18446744073709551615]", 0, 4, 0),
        ("[true,null,false]", 0, 0, 0),
        (r#"[{"role":"user","content":"Hi"}]"#, 6, 0, 0),
        (r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#, 9, 0, 1),
        (r#"{"image_url":"https://example.com/a.png","detail":"low"}"#, 3, 0, 1),
        (r#"[{"input_audio":{"data":"AAAA"}},{"audio":{"id":"a"}}]"#, 0, 0, 2),
        (r#"{"file":{"file_data":"AAAA","filename":"a"}}"#, 5, 0, 0),
        (r#"{"audio":null,"file_id":null}"#, 0, 0, 0),
        // Not every file in the place of an image is one.
        (r#"{"image_url":"Data:text/plain,abcd"}"#, 20, 0, 1),
        (r#"{"image_url":{"url":"\u0064ata:text/plain,abcd"}}"#, 20, 0, 1),
        (r#"{"image_url":{"url":"data:Image/png;base64,AAAA","detail":"low"}}"#, 0, 0, 1),
    ];
    for (text, bytes, numbers, media) in table {
        let wanted =
            Content { bytes: *bytes, numbers: *numbers, media: *media, has_reference: false };
        assert_eq!(of(text), wanted, "{text}");
    }
    assert!(of(r#"[{"type":"item_reference","id":"m"}]"#).has_reference);
    assert!(!of(r#"[{"content":"item_reference"}]"#).has_reference);
    assert!(of(r#"[{"id":"m"}]"#).has_reference, "its type may be left out");
    assert!(of(r#"[{"type":null,"id":"m"}]"#).has_reference);
    assert!(!of(r#"[{"id":"m","role":"user","content":"a"}]"#).has_reference);
    for name in ["file_id", "file_url", "audio_url", "video_url"] {
        assert!(of(&format!(r#"[{{"type":"input_file","{name}":"x"}}]"#)).has_reference, "{name}");
    }
}

#[test]
fn inputs_are_the_items_that_are_no_numbers() {
    for (text, wanted) in [
        ("\"a\"", 1),
        ("[]", 0),
        ("[1,2,3]", 0),
        ("[\"a\"]", 1),
        ("[\"a\",\"b\"]", 2),
        ("[[1],[2],[]]", 3),
        ("[{},{}]", 2),
        ("{\"a\":1}", 1),
        ("null", 1),
        ("[null]", 0),
    ] {
        assert_eq!(inputs(text).ok(), Some(wanted), "{text}");
    }
}

/// Nesting has a limit, so that it cannot use the stack up.
#[test]
fn depth_is_limited() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(content(&nested(100)).is_ok());
    assert!(content(&nested(1_000)).is_err());
    assert!(content(&"[".repeat(1_000_000)).is_err());
    let objects = |depth: usize| ["{\"a\":".repeat(depth), "1".into(), "}".repeat(depth)].concat();
    assert!(content(&objects(100)).is_ok());
    assert!(content(&objects(1_000)).is_err());
}
