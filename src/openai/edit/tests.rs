//! The edit, byte by byte, and against `serde_json` on any body.

use super::*;
use crate::openai::operation::Operation;
use proptest::prelude::*;
use serde_json::{Value, json};

fn edited(body: &str) -> Result<Option<String>, Refusal> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let members = Members::of(Operation::Chat, &body)?;
    let edited = ask_for_usage(&body, &members)?;
    Ok(edited.map(|body| String::from_utf8(body.to_vec()).expect("it was text")))
}

#[test]
fn the_edit_is_one_place() {
    let table: &[(&str, Option<&str>)] = &[
        (r#"{"stream":true}"#, Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#)),
        (
            " {\n\t\"stream\" : true }\r\n",
            Some(" {\"stream_options\":{\"include_usage\":true},\n\t\"stream\" : true }\r\n"),
        ),
        (
            r#"{"x":{"stream_options":0}}"#,
            Some(r#"{"stream_options":{"include_usage":true},"x":{"stream_options":0}}"#),
        ),
        (
            r#"{"a":1.0,"stream_options": null ,"a":2}"#,
            Some(r#"{"a":1.0,"stream_options": {"include_usage":true} ,"a":2}"#),
        ),
        (
            r#"{"stream_options":{},"a":1}"#,
            Some(r#"{"stream_options":{"include_usage":true},"a":1}"#),
        ),
        (r#"{"stream_options":{ }}"#, Some(r#"{"stream_options":{"include_usage":true }}"#)),
        (
            r#"{"stream_options":{"x":{"include_usage":false}}}"#,
            Some(r#"{"stream_options":{"include_usage":true,"x":{"include_usage":false}}}"#),
        ),
        (
            r#"{"stream_options":{"x":1, "include_usage" : false}}"#,
            Some(r#"{"stream_options":{"x":1, "include_usage" : true}}"#),
        ),
        (
            r#"{"stream_options":{"include_usage":null}}"#,
            Some(r#"{"stream_options":{"include_usage":true}}"#),
        ),
        (
            r#"{"stream_\u006fptions":{"include\u005fusage":false}}"#,
            Some(r#"{"stream_\u006fptions":{"include\u005fusage":true}}"#),
        ),
        (r#"{"stream_options":{"include_usage":true}}"#, None),
        (r#"{"stream_options":{"include_usage" : true , "x":1}}"#, None),
    ];
    for (body, wanted) in table {
        let edited = edited(body).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
        assert_eq!(edited.as_deref(), *wanted, "{body}");
    }
}

#[test]
fn what_cannot_be_edited_is_refused() {
    for (body, param) in [
        (r#"{"stream_options":false}"#, "stream_options"),
        (r#"{"stream_options":true}"#, "stream_options"),
        (r#"{"stream_options":[]}"#, "stream_options"),
        (r#"{"stream_options":"include_usage"}"#, "stream_options"),
        (r#"{"stream_options":{},"stream_options":{}}"#, "stream_options"),
        (r#"{"Stream_Options":{}}"#, "stream_options"),
        (r#"{"stream_options":{"include_usage":1}}"#, "stream_options.include_usage"),
        (r#"{"stream_options":{"include_usage":"true"}}"#, "stream_options.include_usage"),
        (
            r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#,
            "stream_options.include_usage",
        ),
        (r#"{"stream_options":{"INCLUDE_USAGE":false}}"#, "stream_options.include_usage"),
    ] {
        let refusal = edited(body).expect_err(body);
        assert_eq!(refusal.status(), 400, "{body}");
        let said = format!("{refusal:?}");
        assert!(said.contains(&format!("param: Some(\"{param}\")")), "{body}: {said}");
        assert!(said.contains("accepted: "), "{body}: {said}");
    }
}

/// Bodies that stream, with options of all kinds.
fn bodies() -> impl Strategy<Value = Value> {
    let usage = prop_oneof![
        Just(None),
        prop::sample::select(vec![json!(true), json!(false), json!(null)]).prop_map(Some),
    ];
    let options = prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        (usage, any::<bool>()).prop_map(|(usage, other)| {
            let mut options = json!({});
            usage.into_iter().for_each(|usage| options["include_usage"] = usage);
            other.then(|| options["a\"b"] = json!([{"include_usage": false}]));
            Some(options)
        }),
    ];
    (options, "\\PC{0,8}", any::<f64>()).prop_map(|(options, text, number)| {
        let mut body = json!({"stream": true, "a": {&*text: number}, "z": [text]});
        options.into_iter().for_each(|options| body["stream_options"] = options);
        body
    })
}

proptest! {
    /// Whatever the body, it then asks for usage, and says nothing else than it did.
    #[test]
    fn nothing_else_changes(body in bodies(), pretty in any::<bool>()) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&body).unwrap(),
            false => body.to_string(),
        };
        // What is read of the text, because a fraction may be read as one next to it.
        let mut body: Value = serde_json::from_str(&text).unwrap();
        let edited = edited(&text).expect("these can be edited");
        let after: Value = serde_json::from_str(edited.as_deref().unwrap_or(&text)).unwrap();
        prop_assert_eq!(&after["stream_options"]["include_usage"], &json!(true));
        prop_assert_eq!(edited.is_none(), body["stream_options"]["include_usage"] == json!(true));
        if body["stream_options"].is_null() {
            body["stream_options"] = json!({});
        }
        body["stream_options"]["include_usage"] = json!(true);
        prop_assert_eq!(after, body);
        // And once it asks, it is left alone.
        if let Some(text) = edited {
            prop_assert_eq!(super::tests::edited(&text).expect("it was edited"), None);
        }
    }
}
