//! Chat completions.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::JsonRejection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error;
use super::knobs::Manner;
use super::sending::{self, Event, created, new_id, with};
use super::words::{Said, count, say};

#[derive(Deserialize)]
pub struct Asked {
    model: String,
    messages: Vec<Message>,
    max_completion_tokens: Option<usize>,
    max_tokens: Option<usize>,
    n: Option<usize>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

/// The text of a message: a string, or parts of which some have text.
pub fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

pub async fn answer(
    Extension(manner): Extension<Manner>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let Json(asked) = match asked {
        Ok(asked) => asked,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let choices = asked.n.unwrap_or(1);
    if !(1..=16).contains(&choices) {
        return error(StatusCode::BAD_REQUEST, "n is from 1 to 16");
    }
    // One token of each message is its role.
    let input: usize =
        asked.messages.iter().map(|m| count(&m.role) + count(&text(&m.content))).sum();
    let last = asked.messages.iter().rfind(|message| message.role == "user");
    let question = last.map(|message| text(&message.content)).unwrap_or_default();
    let at_most = asked.max_completion_tokens.or(asked.max_tokens);
    let said: Vec<Said> = (0..choices).map(|_| say(&question, at_most)).collect();
    let output = said.iter().map(|said| said.tokens.len()).sum();
    let usage = usage(input, output);
    if manner.billed {
        let error = json!({ "message": "it broke down", "type": "upstream_error" });
        let body = json!({ "error": error, "usage": usage });
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    }
    let head = json!({ "id": new_id("chatcmpl"), "created": created(), "model": asked.model });
    let wants_usage = asked.stream_options.is_some_and(|options| options.include_usage);
    match asked.stream {
        true => {
            let usage = (wants_usage && !manner.without_usage).then_some(usage);
            sending::events(chunks(&head, &said, usage), Some("data: [DONE]\n\n"), manner)
        }
        false => whole(&head, &said, usage, manner),
    }
}

fn whole(head: &Value, said: &[Said], usage: Value, manner: Manner) -> Response {
    let choices = said.iter().enumerate().map(|(index, said)| {
        let message =
            json!({ "role": "assistant", "content": said.tokens.concat(), "refusal": null });
        let finish_reason = finish(said);
        json!({
            "index": index, "message": message, "finish_reason": finish_reason, "logprobs": null,
        })
    });
    let choices: Vec<Value> = choices.collect();
    let mut answer = with(head, json!({ "object": "chat.completion", "choices": choices }));
    if !manner.without_usage {
        answer["usage"] = usage;
    }
    sending::whole(answer, manner)
}

fn chunks(head: &Value, said: &[Said], usage: Option<Value>) -> Vec<Event> {
    let chunk = |choices: Value| {
        let mut data = with(head, json!({ "object": "chat.completion.chunk", "choices": choices }));
        if usage.is_some() {
            data["usage"] = Value::Null;
        }
        Event { name: None, data }
    };
    let choice = |index: usize, delta: Value, finish: Option<&str>| {
        chunk(
            json!([{ "index": index, "delta": delta, "finish_reason": finish, "logprobs": null }]),
        )
    };
    let mut chunks = Vec::new();
    for (index, said) in said.iter().enumerate() {
        chunks.push(choice(index, json!({ "role": "assistant", "content": "" }), None));
        for token in &said.tokens {
            chunks.push(choice(index, json!({ "content": token }), None));
        }
        chunks.push(choice(index, json!({}), Some(finish(said))));
    }
    if let Some(usage) = &usage {
        let mut last = chunk(json!([]));
        last.data["usage"] = usage.clone();
        chunks.push(last);
    }
    chunks
}

fn finish(said: &Said) -> &'static str {
    if said.whole { "stop" } else { "length" }
}

fn usage(input: usize, output: usize) -> Value {
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}
