//! Requests of any form: what they are estimated at, what goes on, and why the others do not.
//!
//! An input is a digit, which says for which operation the request is, and the body.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tollkeeper::http::Protocol;
use tollkeeper::openai::OpenAi;

pub const OPERATIONS: [&str; 4] = ["chat.completions", "completions", "responses", "embeddings"];

const PATHS: [&str; 4] =
    ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"];

/// Any body is a request or gets an answer that says why not; what goes on means what came, but for
/// the usage that it asks for, and is a request with the same estimate.
pub fn requests(data: &[u8]) {
    let [kind, body @ ..] = data else { return };
    let kind = usize::from(kind % 4);
    let (head, ()) = Request::post(PATHS[kind]).body(()).expect("a path").into_parts();
    let openai = OpenAi::new();
    let asked = match openai.read(&head, Bytes::copy_from_slice(body)) {
        Ok(asked) => asked,
        Err(refusal) => {
            assert!(refusal.status() == 400, "{refusal:?}");
            assert!(format!("{refusal:?}").len() < 2_000, "{refusal:?}");
            return;
        }
    };
    assert_eq!(asked.operation, OPERATIONS[kind]);
    assert!(asked.model.as_ref().is_some_and(|model| !model.is_empty()));
    let again = openai.read(&head, asked.body.clone()).expect("what goes on is a request");
    assert_eq!(again, asked, "and asks for the same");
    // Strings that are no Unicode and numbers out of range have no value, and are not edited.
    let Ok(mut came) = serde_json::from_slice::<Value>(body) else { return };
    let goes: Value = serde_json::from_slice(&asked.body).expect("what went in was JSON");
    if came["stream"] == json!(true) && kind < 2 {
        if came["stream_options"].is_null() {
            came["stream_options"] = json!({});
        }
        came["stream_options"]["include_usage"] = json!(true);
    } else {
        assert_eq!(asked.body, body);
    }
    assert_eq!(goes, came.take());
}
