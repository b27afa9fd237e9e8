//! Whole answers and streams, cut at every place, as the layer reads them.

use super::*;

/// A text, the tokens that it tells of (input, output), and whether it is whole.
type Row = (String, Option<(u64, u64)>, bool);

const USAGE: &str = r#"{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}"#;
const OF_RESPONSE: &str = r#"{"input_tokens":9,"output_tokens":7,"total_tokens":16}"#;

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in pairs {
        fields.append(*name, http::HeaderValue::from_static(value));
    }
    fields
}

/// The input and output used, and whether the answer is whole; the same wherever it is cut.
fn read(operation: Operation, media_type: &'static str, body: &str) -> (Option<(u64, u64)>, bool) {
    let fields = fields(&[("content-type", media_type)]);
    let of = |pieces: &[&[u8]]| {
        let mut reader = reader(operation, &fields);
        pieces.iter().for_each(|bytes| reader.read(bytes));
        (reader.tokens().map(|used| (used.input_tokens, used.output_tokens)), reader.is_whole())
    };
    let all = of(&[body.as_bytes()]);
    for at in 0..=body.len() {
        let (a, b) = body.as_bytes().split_at(at);
        assert_eq!(of(&[a, b]), all, "{body:?} cut at {at}");
    }
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(of(&bytes), all, "{body:?} byte by byte");
    all
}

fn json(body: &str) -> (Option<(u64, u64)>, bool) {
    read(Operation::Chat, "application/json", body)
}

#[test]
fn whole_answers() {
    let known = Some((9, 7));
    let table: &[Row] = &[
        (format!(r#"{{"choices":[],"usage":{USAGE}}}"#), known, true),
        (format!(r#"{{"usage":{USAGE},"choices":[{{"message":"é"}}]}}"#), known, true),
        (format!("{{\r\n\t\"\\u0075sage\" : {USAGE} }}\n\n"), known, true),
        // Errors, with and without.
        (format!(r#"{{"error":{{"message":"m"}},"usage":{USAGE}}}"#), known, true),
        (r#"{"error":{"message":"m","usage":{"prompt_tokens":9}}}"#.into(), None, true),
        // Nothing, and nothing there.
        (r#"{"choices":[],"usage":null}"#.into(), None, true),
        (r#"{"choices":[]}"#.into(), None, true),
        (format!(r#"{{"choices":[{{"usage":{USAGE}}}]}}"#), None, true),
        (format!(r#"{{"response":{{"usage":{USAGE}}}}}"#), None, true),
        (format!(r#"[{{"usage":{USAGE}}}]"#), None, true),
        (format!(r#"{{"a":"\"usage\":{{","usage":{USAGE}}}"#), known, true),
        // The last one counts.
        (format!(r#"{{"usage":{{}},"usage":{USAGE}}}"#), known, true),
        (format!(r#"{{"usage":{USAGE},"usage":null}}"#), None, true),
        (format!(r#"{{"usage":{USAGE},"usage":{{"prompt_tokens":-1}}}}"#), None, true),
        // Broken off, behind the usage and before its end.
        (format!(r#"{{"usage":{USAGE},"choices":[{{"te"#), known, false),
        (r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7"#.into(), None, false),
        // No JSON.
        (format!(r#"{{"usage":{USAGE}}}}}"#), None, false),
        (format!(r#"{{"usage":{USAGE},}}"#), None, false),
        ("<html>502</html>".into(), None, false),
        (String::new(), None, false),
        (format!("data: {{\"usage\":{USAGE}}}\n\n"), None, false),
    ];
    for (body, used, whole) in table {
        assert_eq!(json(body), (*used, *whole), "{body}");
    }
    let big = format!(r#"{{"choices":[{}],"usage":{USAGE}}}"#, "0.5,".repeat(500) + "1");
    assert_eq!(json(&big), (known, true));
    let padded = USAGE.replace(",", &format!(",{}", " ".repeat(64 * 1024)));
    let mut reader = reader(Operation::Chat, &HeaderMap::new());
    reader.read(format!(r#"{{"usage":{padded}}}"#).as_bytes());
    assert_eq!((reader.tokens(), reader.is_whole()), (None, true));
}

#[test]
fn streams_of_completions() {
    let chunk = r#"{"choices":[{"delta":{"content":"é"}}],"usage":null}"#;
    let last = format!(r#"{{"choices":[],"usage":{USAGE}}}"#);
    let known = Some((9, 7));
    let table: &[Row] = &[
        (format!("data: {chunk}\n\ndata: {last}\n\ndata: [DONE]\n\n"), known, true),
        (format!("data:{chunk}\r\n\r\ndata:{last}\r\n\r\ndata:[DONE]\r\n\r\n"), known, true),
        (format!("\u{FEFF}: hi\n\nevent: x\ndata: {last}\n\ndata: [DONE] \n\n"), known, true),
        (format!("\u{FEFF}data:{chunk}\n\ndata:{last}\n\ndata:[DONE]\n\n"), known, true),
        // A mark that is not the first is of the field's name.
        (format!("data: {chunk}\n\n\u{FEFF}data: {last}\n\n"), None, false),
        (format!("data:{chunk}\r\n\r\n\ndata:{last}\r\r\ndata:[DONE]\n\n"), known, true),
        (format!("data:{chunk}\r\rdata:{last}\r\rdata:[DONE]\r\r"), known, true),
        (format!("data: {{\"usage\": null}}\n\ndata: {last}\n\n"), known, false),
        // Behind what is null, and beside what only looks like it.
        (format!("data: {{\"a\":{{\"usage\":null}},\"usage\":{USAGE}}}\n\n"), known, false),
        (format!("data: {{\"a\":\"\\\"usage\",\"usage\":{USAGE}}}\n\n"), known, false),
        // What counts is escaped, in the key and beside it.
        (format!("data: {{\"\\u0075sage\":{USAGE}}}\n\n"), known, false),
        (format!("data: {{\"us\\u0061ge\":{USAGE},\"a\":\"\\n\"}}\n\n"), known, false),
        // Over several lines, in the middle of the object.
        (format!("data: {{\"usage\":\ndata: {USAGE}\ndata: }}\n\n"), known, false),
        // Absent, null, and null behind it.
        (format!("data: {chunk}\n\ndata: [DONE]\n\n"), None, true),
        (format!("data: {last}\n\ndata: {chunk}\n\ndata: {{}}\n\n"), known, false),
        // Counts that grow from chunk to chunk, and one that cannot be read behind them.
        (format!("data: {{\"usage\":{{\"total_tokens\":1}}}}\n\ndata: {last}\n\n"), known, false),
        (format!("data: {last}\n\ndata: {{\"usage\":{{\"total_tokens\":1}}}}\n\n"), None, false),
        // Not sent to its end: nobody has it.
        (format!("data: {last}\n"), None, false),
        (format!("data: {last}\n\ndata: [DONE]\n"), known, false),
        (format!("data: {last}\n\n: [DONE]\n\n"), known, false),
        (format!("data: {last}\n\ndata: \"[DONE]\"\n\n"), known, false),
        // An event that is no JSON says nothing, and nothing of the others.
        (format!("data: {{\"usage\":{USAGE}\n\n"), None, false),
        (format!("data: {last}\n\ndata: {{oops\n\ndata: [DONE]\n\n"), known, true),
        (format!("data: {{oops\n\ndata: {last}\n\n"), known, false),
        (format!("data: {{\"x\":{{\"usage\":{USAGE}}}}}\n\n"), None, false),
        (last.clone(), None, false),
    ];
    for (body, used, whole) in table {
        for operation in [Operation::Chat, Operation::Completions] {
            let of = read(operation, "text/event-stream; charset=utf-8", body);
            assert_eq!(of, (*used, *whole), "{body}");
        }
    }
}

#[test]
fn streams_of_responses() {
    let event = |kind: &str, usage: &str| {
        let text = format!(r#"{{"type":"{kind}","response":{{"output":["é"],"usage":{usage}}}}}"#);
        format!("event: {kind}\ndata: {text}\n\n")
    };
    let begun = event("response.created", "null");
    let delta = "event: x\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";
    for kind in ["response.completed", "response.incomplete", "response.failed"] {
        let body = [&begun, delta, &event(kind, OF_RESPONSE)].concat();
        let of = read(Operation::Responses, "Text/Event-Stream", &body);
        assert_eq!(of, (Some((9, 7)), true), "{kind}");
        let body = [&begun, delta, &event(kind, "null")].concat();
        let of = read(Operation::Responses, "text/event-stream", &body);
        assert_eq!(of, (None, true), "{kind}");
    }
    let table: &[Row] = &[
        (begun.clone(), None, false),
        (format!("{begun}{delta}"), None, false),
        (event("response.in_progress", OF_RESPONSE), Some((9, 7)), false),
        // The usage of something else.
        (
            format!("data: {{\"type\":\"response.completed\",\"usage\":{OF_RESPONSE}}}\n\n"),
            None,
            true,
        ),
        ("data: {\"type\":\"error\",\"message\":\"m\"}\n\n".into(), None, false),
        ("data: {\"type\":\"response.completed\"}\n\n".into(), None, true),
        ("data: {\"type\":\"response.f\\u0061iled\"}\n\n".into(), None, true),
        ("data: {\"type\":\"response.other\",\"x\":\"response.failed\"}\n\n".into(), None, false),
        ("data: {\"type\":[\"response.completed\"]}\n\n".into(), None, false),
        ("event: response.completed\ndata: {\"response\":null}\n\n".into(), None, false),
    ];
    for (body, used, whole) in table {
        let of = read(Operation::Responses, "text/event-stream", body);
        assert_eq!(of, (*used, *whole), "{body}");
    }
    // A whole response that is megabytes long goes through, and its usage is read.
    let text = "x".repeat(5_000_000);
    let body = format!(
        "data: {{\"type\":\"response.completed\",\"response\":{{\"output\":\"{text}\",\
         \"usage\":{OF_RESPONSE}}}}}\n\n"
    );
    let mut reader =
        reader(Operation::Responses, &fields(&[("content-type", "text/event-stream")]));
    body.as_bytes().chunks(16_384).for_each(|bytes| reader.read(bytes));
    assert!(reader.is_whole());
    assert_eq!(reader.tokens().map(|used| used.output_tokens), Some(7));
}

#[test]
fn embeddings_need_no_count_of_output() {
    let body = r#"{"data":[{"embedding":[0.1,-2e-5]}],"usage":{"prompt_tokens":9}}"#;
    assert_eq!(read(Operation::Embeddings, "application/json", body), (Some((9, 0)), true));
    assert_eq!(json(body), (None, true));
}

#[test]
fn what_is_compressed_cannot_be_read() {
    let body = format!(r#"{{"usage":{USAGE}}}"#);
    for (encodings, known) in [
        (&[("content-encoding", "identity")][..], true),
        (&[("content-encoding", "gzip")], false),
        (&[("content-encoding", "identity"), ("content-encoding", "br")], false),
        (&[("content-encoding", "")], false),
    ] {
        let mut reader = reader(Operation::Chat, &fields(encodings));
        reader.read(body.as_bytes());
        assert_eq!((reader.tokens().is_some(), reader.is_whole()), (known, known), "{encodings:?}");
    }
}

/// Nearly all events of a stream are passed over. What the wrong answer costs here is time only,
/// which nothing else would show.
#[test]
fn events_that_say_nothing_are_not_taken_apart() {
    let counts = |operation, events: &str| may_count(operation, events.as_bytes());
    let chat = Operation::Chat;
    for nothing in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"é\\n\"}}]}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\ndata: {\"usage\": null}\n\n",
        ": Done\n\n",
    ] {
        assert!(!counts(chat, nothing), "{nothing}");
    }
    for something in ["\"usage\":{", "\"usage\":null,\"usage\":1", "usage", "\\u0075", "[DONE]"] {
        assert!(counts(chat, something), "{something}");
    }
    for kind in LAST {
        assert!(counts(Operation::Responses, kind) && !counts(chat, kind), "{kind}");
    }
}
