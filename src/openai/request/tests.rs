//! Requests: what they are estimated at, and those that are refused.

use super::*;

/// An operation, a body, and the tokens that it may come to (input, output).
type Row = (Operation, &'static str, Option<(u64, u64)>);

fn read_by(shape: &OpenAi, operation: Operation, body: &str) -> Result<Asked, Refusal> {
    read(shape, operation, Bytes::copy_from_slice(body.as_bytes()))
}

/// The estimated input and output.
fn estimate(operation: Operation, body: &str) -> Option<(u64, u64)> {
    let asked = read_by(&OpenAi::new(), operation, body);
    let asked = asked.unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
    assert_eq!(asked.model.as_deref(), Some("m"), "{body}");
    assert_eq!(asked.operation, operation.name());
    let tokens = asked.tokens?;
    let both = (tokens.input_tokens, tokens.output_tokens);
    let only = Usage { input_tokens: both.0, output_tokens: both.1, ..Usage::default() };
    assert_eq!(tokens, only, "requests, money and caches are not the protocol's to fill in");
    Some(both)
}

/// What some upstreams take on beyond what is usual.
#[test]
fn estimates_of_what_is_seldom_said() {
    use Operation::*;
    let table: &[Row] = &[
        // What is predicted may be paid for as output, twelve bytes of it here.
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":7,"prediction":{"content":1}}"#,
            Some((3, 12)),
        ),
        // A file counts by its bytes, and what is not there cannot be counted.
        (
            Responses,
            r#"{"model":"m","input":[{"content":[{"file_data":"AAAAAA"}]}],"max_output_tokens":5}"#,
            Some((2 + 4 + 3, 5)),
        ),
        (
            Responses,
            r#"{"model":"m","input":[{"content":[{"file_id":"f"}]}],"max_output_tokens":5}"#,
            None,
        ),
        (Responses, r#"{"model":"m","input":[{"id":"x"}],"max_output_tokens":5}"#, None),
    ];
    for (operation, body, wanted) in table {
        assert_eq!(estimate(*operation, body), *wanted, "{body}");
    }
}

/// What is in the request has to be paid for, whatever comes of it.
#[test]
fn what_goes_in_is_known_though_nobody_can_tell_what_comes_out() {
    for (operation, body, wanted) in [
        (
            Operation::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"ab"}]}"#,
            2 + 4 + 3,
        ),
        (
            Operation::Responses,
            r#"{"model":"m","input":"abc","previous_response_id":"r"}"#,
            1 + 4 + 3,
        ),
    ] {
        assert_eq!(estimate(operation, body), None, "{body}");
        let asked = read_by(&OpenAi::new(), operation, body).unwrap_or_else(|_| panic!("{body}"));
        let at_least = Usage { input_tokens: wanted, ..Usage::default() };
        assert_eq!(asked.at_least, at_least, "{body}");
    }
}

/// A client may not choose what its model costs.
#[test]
fn tiers_that_cost_more_are_refused() {
    let asked = |tier: &str| {
        let body = format!(r#"{{"model":"m","messages":[],"service_tier":{tier}}}"#);
        read_by(&OpenAi::new(), Operation::Chat, &body)
    };
    for tier in ["null", "\"auto\"", "\"default\"", "\"flex\""] {
        assert!(asked(tier).is_ok(), "{tier}");
    }
    for tier in ["\"priority\"", "\"Default\"", "\"\"", "1"] {
        let refusal = asked(tier).unwrap_err().into_response();
        assert_eq!(refusal.status(), 400, "{tier}");
        let body = String::from_utf8_lossy(refusal.body()).into_owned();
        assert!(body.contains("accepted: `auto`, `default` or `flex`"), "{body}");
    }
}

#[test]
fn no_other_model_may_answer() {
    for name in ["models", "fallbacks"] {
        let body = format!(r#"{{"model":"m","messages":[],"{name}":["dear"]}}"#);
        let refusal = read_by(&OpenAi::new(), Operation::Chat, &body).unwrap_err();
        assert_eq!(refusal.status(), 400, "{name}");
        let body = format!(r#"{{"model":"m","messages":[],"{name}":null}}"#);
        assert!(read_by(&OpenAi::new(), Operation::Chat, &body).is_ok(), "{name}");
    }
}

#[test]
fn estimates() {
    use Operation::*;
    let table: &[Row] = &[
        // "user" and "Hi" are six bytes: two tokens, four for the message, three for the answer.
        (
            Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}"#,
            Some((9, 50)),
        ),
        // One byte more is a token more.
        (
            Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"Hi!"}],"max_tokens":50}"#,
            Some((10, 50)),
        ),
        (
            Chat,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi"},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAA"}}]}],
                "max_completion_tokens":50,"n":3}"#,
            Some((7 + 4 + 3 + 2_048, 150)),
        ),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":9,"max_completion_tokens":5}"#,
            Some((3, 9)),
        ),
        // Zero is no limit to some.
        (Chat, r#"{"model":"m","messages":[],"max_tokens":0}"#, None),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":7,"max_completion_tokens":0}"#,
            Some((3, 7)),
        ),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":7,"best_of":3}"#, Some((3, 21))),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":null,"n":null}"#, None),
        (Chat, r#"{"model":"m","messages":[]}"#, None),
        // Numbers, true and null are no text; other members are, tools too.
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":1,"temperature":0.25,"seed":1}"#,
            Some((3, 1)),
        ),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":1,"user":"abcd"}"#, Some((5, 1))),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{"type":"function"}]}"#,
            Some((3 + 7, 1)),
        ),
        // What is found elsewhere is input that nobody has seen.
        (Chat, r#"{"model":"m","messages":[],"max_tokens":1,"web_search_options":{}}"#, None),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{"type":"web_search"}]}"#,
            None,
        ),
        (Responses, r#"{"model":"m","input":"abc","max_output_tokens":5}"#, Some((1 + 4 + 3, 5))),
        (Responses, r#"{"model":"m","input":"abc","max_tokens":5}"#, None),
        (
            Responses,
            r#"{"model":"m","input":"abc","instructions":"a","max_output_tokens":5}"#,
            Some((9, 5)),
        ),
        (
            Responses,
            r#"{"model":"m","input":[{"content":"abc"},{"content":"abc"}],"max_output_tokens":5}"#,
            Some((2 + 8 + 3, 5)),
        ),
        (
            Responses,
            r#"{"model":"m","input":"a","max_output_tokens":5,"previous_response_id":"r"}"#,
            None,
        ),
        (Responses, r#"{"model":"m","input":"a","max_output_tokens":5,"prompt":{"id":"p"}}"#, None),
        (
            Responses,
            r#"{"model":"m","input":"a","max_output_tokens":5,"previous_response_id":null}"#,
            Some((8, 5)),
        ),
        (
            Responses,
            r#"{"model":"m","input":[{"type":"item_reference","id":"x"}],"max_output_tokens":5}"#,
            None,
        ),
        // The prompts are answered each for itself.
        (Completions, r#"{"model":"m","prompt":"abcd","max_tokens":5}"#, Some((2, 5))),
        (Completions, r#"{"model":"m","prompt":["ab","cd"],"max_tokens":5,"n":2}"#, Some((2, 20))),
        (
            Completions,
            r#"{"model":"m","prompt":[1,2,3],"max_tokens":5,"n":2,"best_of":4}"#,
            Some((3, 20)),
        ),
        (Completions, r#"{"model":"m","prompt":[[1],[2,3]],"max_tokens":5}"#, Some((3, 10))),
        (Completions, r#"{"model":"m","max_tokens":5}"#, Some((0, 5))),
        (Embeddings, r#"{"model":"m","input":"abcd"}"#, Some((2, 0))),
        (Embeddings, r#"{"model":"m","input":[1,2,3],"dimensions":8}"#, Some((3, 0))),
        (Embeddings, r#"{"model":"m","input":[[1,2],[3]]}"#, Some((3, 0))),
        (Embeddings, r#"{"model":"m","input":["abc","def"]}"#, Some((2, 0))),
    ];
    for (operation, body, wanted) in table {
        assert_eq!(estimate(*operation, body), *wanted, "{body}");
    }
}

#[test]
fn estimates_by_what_the_gateway_knows() {
    let shape = OpenAi::new().bytes_per_token(0).media_tokens(10).default_output(70);
    let body = r#"{"model":"m","messages":[{"content":"abcd","audio":{"id":"a"}}],"n":2}"#;
    let tokens = read_by(&shape, Operation::Chat, body).unwrap().tokens.unwrap();
    assert_eq!((tokens.input_tokens, tokens.output_tokens), (4 + 10 + 4 + 3, 140));
    let body = r#"{"model":"m","messages":[],"max_tokens":9}"#;
    let tokens = read_by(&shape, Operation::Chat, body).unwrap().tokens.unwrap();
    assert_eq!(tokens.output_tokens, 9);
    // Numbers that are set too large do not wrap.
    let shape = OpenAi::new().media_tokens(u64::MAX);
    let body = r#"{"model":"m","messages":[{"audio":1},{"audio":1}],"max_tokens":9}"#;
    let tokens = read_by(&shape, Operation::Chat, body).unwrap().tokens.unwrap();
    assert_eq!(tokens.input_tokens, u64::MAX);
}

#[test]
fn refusals_say_what_is_wrong() {
    use Operation::*;
    let table: &[(Operation, &str, Option<&str>)] = &[
        (Chat, "", None),
        (Chat, "[]", None),
        (Chat, "{", None),
        (Chat, "{}x", None),
        (Chat, "\u{FEFF}{}", None),
        (Chat, r#"{"model":"m","messages":[],}"#, None),
        (Chat, r#"{"messages":[]}"#, Some("model")),
        (Chat, r#"{"model":null,"messages":[]}"#, Some("model")),
        (Chat, r#"{"model":"","messages":[]}"#, Some("model")),
        (Chat, r#"{"model":5,"messages":[]}"#, Some("model")),
        (Chat, r#"{"model":["m"],"messages":[]}"#, Some("model")),
        // Twice, and in other capitals, of this world and of Unicode.
        (Chat, r#"{"model":"m","model":"m","messages":[]}"#, Some("model")),
        (Chat, r#"{"model":"m","mod\u0065l":"m","messages":[]}"#, Some("model")),
        (Chat, r#"{"model":"m","Model":"gold","messages":[]}"#, Some("model")),
        (Chat, r#"{"model":"m","messages":[],"MAX_TOKENS":1}"#, Some("max_tokens")),
        (Chat, "{\"model\":\"m\",\"messages\":[],\"max_to\u{212A}ens\":1}", Some("max_tokens")),
        (Chat, r#"{"model":"m","meſſageſ":[]}"#, Some("messages")),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":1,"max_tokens":2}"#, Some("max_tokens")),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":-1}"#, Some("max_tokens")),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":1.0}"#, Some("max_tokens")),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":1e3}"#, Some("max_tokens")),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":"1"}"#, Some("max_tokens")),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_tokens":18446744073709551616}"#,
            Some("max_tokens"),
        ),
        (
            Chat,
            r#"{"model":"m","messages":[],"max_completion_tokens":true}"#,
            Some("max_completion_tokens"),
        ),
        (Chat, r#"{"model":"m","messages":[],"max_tokens":18446744073709551615,"n":2}"#, Some("n")),
        (Chat, r#"{"model":"m","messages":[],"n":0}"#, Some("n")),
        (Chat, r#"{"model":"m","messages":[],"n":-1}"#, Some("n")),
        (Chat, r#"{"model":"m","messages":[],"stream":"true"}"#, Some("stream")),
        (Chat, r#"{"model":"m","messages":[],"stream":1}"#, Some("stream")),
        (Chat, r#"{"model":"m"}"#, Some("messages")),
        (Chat, r#"{"model":"m","messages":"Hi"}"#, Some("messages")),
        (Chat, r#"{"model":"m","messages":{}}"#, Some("messages")),
        (Chat, r#"{"model":"m","messages":[],"tools":{}}"#, Some("tools")),
        (Chat, r#"{"model":"m","messages":[],"tools":[5]}"#, Some("tools")),
        (
            Chat,
            r#"{"model":"m","messages":[],"stream":true,"stream_options":5}"#,
            Some("stream_options"),
        ),
        (Responses, r#"{"model":"m","input":"a","background":true}"#, Some("background")),
        (Responses, r#"{"model":"m","max_output_tokens":"x"}"#, Some("max_output_tokens")),
        (Completions, r#"{"model":"m","prompt":"","best_of":1.5}"#, Some("best_of")),
        (Embeddings, r#"{"input":"a"}"#, Some("model")),
    ];
    for (operation, body, param) in table {
        let refusal = read_by(&OpenAi::new(), *operation, body).expect_err(body);
        assert_eq!(refusal.status(), 400, "{body}");
        let said = format!("{refusal:?}");
        let param = param.map_or("param: None".into(), |param| format!("param: Some(\"{param}\")"));
        assert!(said.contains(&param), "{body}: {said}");
        assert!(said.contains("accepted: ") || said.contains("no JSON object: "), "{said}");
        assert!(said.len() < 600, "{said}");
    }
    let deep = ["[".repeat(500), "]".repeat(500)].concat();
    let body = format!(r#"{{"model":"m","messages":{deep}}}"#);
    assert_eq!(read_by(&OpenAi::new(), Chat, &body).unwrap_err().status(), 400);
    // What was sent is not sent back at any length.
    let text = format!("\"{}\"", "a".repeat(10_000));
    let said = format!("{:?}", read_by(&OpenAi::new(), Chat, &text).unwrap_err());
    assert!(said.len() < 600, "{} bytes", said.len());
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(257));
    assert_eq!(read_by(&OpenAi::new(), Chat, &long).unwrap_err().status(), 400);
}

/// Only a stream of completions is edited; nothing else is copied.
#[test]
fn bodies_go_on_as_they_came() {
    use Operation::*;
    for (operation, body, same) in [
        (Chat, r#"{"model":"m","messages":[],"stream":false}"#, true),
        (Chat, r#"{"model":"m","messages":[],"stream":null,"stream_options":null}"#, true),
        (Chat, r#"{"model":"m","messages":[],"stream":true}"#, false),
        (
            Chat,
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            true,
        ),
        (Completions, r#"{"model":"m","stream":true}"#, false),
        (Responses, r#"{"model":"m","stream":true}"#, true),
        (Embeddings, r#"{"model":"m","stream":true}"#, true),
    ] {
        let body = Bytes::from(body);
        let asked = read(&OpenAi::new(), operation, body.clone()).expect("it is a request");
        assert_eq!(asked.body == body, same, "{body:?}");
        assert_eq!(asked.body.as_ptr() == body.as_ptr(), same, "{body:?}");
    }
}

/// Work grows with the length of a body and not with its square, whatever it is made of. By the
/// processor's time of this thread, which other work does not change.
#[cfg(unix)]
#[test]
fn eight_times_the_body_is_some_eight_times_the_work() {
    let bodies = |length: usize| {
        let fill = |piece: &str| piece.repeat(length / piece.len());
        [
            format!(r#"{{"model":"m","messages":[{}1]}}"#, fill("1,")),
            format!(r#"{{"model":"m","messages":["{}"]}}"#, fill("\\u0061")),
            format!(r#"{{"model":"m","messages":[{}{{}}]}}"#, fill("{\"a\":[]},")),
            format!(r#"{{{}"model":"m","messages":[]}}"#, fill("\"a\":1,")),
            format!(r#"{{"model":"m","messages":[],"a":{}{}}}"#, fill("["), fill("]")),
            format!(r#"{{"model":"m","messages":[],"tools":[{}{{}}]}}"#, fill("{},")),
            // The same known members over and over.
            format!(r#"{{{}{}"n":1}}"#, fill("\"model\":1,"), fill("\"tools\":1,")),
        ]
    };
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        std::time::Duration::try_from(time).expect("a thread has run for no negative time")
    };
    let took = |body: &str| {
        let tries = (0..3).map(|_| {
            let begun = now();
            let _ = read_by(&OpenAi::new(), Operation::Chat, body);
            now() - begun
        });
        tries.min().expect("there are three")
    };
    for (short, long) in bodies(32 << 10).iter().zip(bodies(256 << 10)) {
        let (one, eight) = (took(short), took(&long));
        // The square would be 64 times as much.
        assert!(eight < 32 * one, "{one:?}, then {eight:?}: {}", &short[..60]);
    }
}
