//! Responses.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::JsonRejection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::text;
use super::error;
use super::knobs::Manner;
use super::sending::{self, Event, created, new_id, with};
use super::words::{Said, count, say};

#[derive(Deserialize)]
pub struct Asked {
    model: String,
    input: Value,
    instructions: Option<String>,
    max_output_tokens: Option<usize>,
    #[serde(default)]
    stream: bool,
}

pub async fn answer(
    Extension(manner): Extension<Manner>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let Json(asked) = match asked {
        Ok(asked) => asked,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let texts: Vec<String> = match &asked.input {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().map(|item| text(&item["content"])).collect(),
        _ => return error(StatusCode::BAD_REQUEST, "input is a string or a list"),
    };
    let input = texts.iter().chain(&asked.instructions).map(|text| 1 + count(text)).sum();
    let question = texts.last().map(String::as_str).unwrap_or_default();
    let said = say(question, asked.max_output_tokens);
    let usage = usage(input, said.tokens.len());
    if manner.billed {
        let error = json!({ "message": "it broke down", "type": "upstream_error" });
        let body = json!({ "error": error, "usage": usage });
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    }
    let draft =
        Draft { id: new_id("resp"), item: new_id("msg"), created: created(), asked: &asked };
    let usage = (!manner.without_usage).then_some(usage);
    match asked.stream {
        true => sending::events(draft.events(&said, usage), None, manner),
        false => sending::whole(draft.finished(&said, usage), manner),
    }
}

struct Draft<'a> {
    id: String,
    item: String,
    created: u64,
    asked: &'a Asked,
}

impl Draft<'_> {
    fn response(&self, status: &str, output: Value) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "model": self.asked.model, "output": output, "error": null, "incomplete_details": null,
            "instructions": self.asked.instructions,
            "max_output_tokens": self.asked.max_output_tokens,
            "parallel_tool_calls": true, "previous_response_id": null, "tool_choice": "auto",
            "tools": [], "metadata": {}, "usage": null,
        })
    }

    fn item(&self, status: &str, content: Value) -> Value {
        json!({
            "id": self.item, "type": "message", "role": "assistant", "status": status,
            "content": content,
        })
    }

    fn finished(&self, said: &Said, usage: Option<Value>) -> Value {
        let status = if said.whole { "completed" } else { "incomplete" };
        let output = json!([self.item(status, json!([part(&said.tokens.concat())]))]);
        let mut response = self.response(status, output);
        if !said.whole {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response["usage"] = usage.unwrap_or_default();
        response
    }

    fn events(&self, said: &Said, usage: Option<Value>) -> Vec<Event> {
        let begun = self.response("in_progress", json!([]));
        let place = json!({ "item_id": self.item, "output_index": 0, "content_index": 0 });
        let text = said.tokens.concat();
        let finished = self.finished(said, usage);
        let item = finished["output"][0].clone();
        let empty = self.item("in_progress", json!([]));
        let mut events = vec![
            ("response.created", json!({ "response": begun })),
            ("response.in_progress", json!({ "response": begun })),
            ("response.output_item.added", json!({ "output_index": 0, "item": empty })),
            ("response.content_part.added", with(&place, json!({ "part": part("") }))),
        ];
        let delta = |token| with(&place, json!({ "delta": token, "logprobs": [] }));
        events.extend(said.tokens.iter().map(|token| ("response.output_text.delta", delta(token))));
        let done = with(&place, json!({ "text": text, "logprobs": [] }));
        let end = if said.whole { "response.completed" } else { "response.incomplete" };
        events.extend([
            ("response.output_text.done", done),
            ("response.content_part.done", with(&place, json!({ "part": part(&text) }))),
            ("response.output_item.done", json!({ "output_index": 0, "item": item })),
            (end, json!({ "response": finished })),
        ]);
        let numbered = events.into_iter().enumerate().map(|(number, (name, data))| {
            let data = with(&data, json!({ "type": name, "sequence_number": number }));
            Event { name: Some(name), data }
        });
        numbered.collect()
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn usage(input: usize, output: usize) -> Value {
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + output,
    })
}
