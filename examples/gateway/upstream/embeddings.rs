//! Embeddings: vectors of length one that follow from the text.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Json, extract::rejection::JsonRejection};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error;
use super::knobs::Manner;
use super::sending;
use super::words::count;

/// A vector has so many places unless asked for others.
const PLACES: usize = 32;

#[derive(Deserialize)]
pub struct Asked {
    model: String,
    input: Input,
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    Lists(Vec<Vec<u32>>),
}

pub async fn answer(
    Extension(manner): Extension<Manner>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let Json(asked) = match asked {
        Ok(asked) => asked,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let places = asked.dimensions.unwrap_or(PLACES);
    if !(1..=4096).contains(&places) {
        return error(StatusCode::BAD_REQUEST, "dimensions are from 1 to 4096");
    }
    // Each with its bytes and its tokens: those that come as numbers count as they are.
    let text = |text: String| (text.as_bytes().to_vec(), count(&text));
    let numbers =
        |list: Vec<u32>| (list.iter().flat_map(|token| token.to_be_bytes()).collect(), list.len());
    let inputs: Vec<(Vec<u8>, usize)> = match asked.input {
        Input::Text(one) => vec![text(one)],
        Input::Texts(several) => several.into_iter().map(text).collect(),
        Input::Tokens(one) => vec![numbers(one)],
        Input::Lists(several) => several.into_iter().map(numbers).collect(),
    };
    let tokens: usize = inputs.iter().map(|(_, tokens)| tokens).sum();
    let data = inputs.iter().enumerate().map(|(index, (bytes, _))| {
        json!({ "object": "embedding", "index": index, "embedding": vector(bytes, places) })
    });
    let data: Vec<Value> = data.collect();
    let mut answer = json!({ "object": "list", "model": asked.model, "data": data });
    if !manner.without_usage {
        answer["usage"] = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    }
    sending::whole(answer, manner)
}

fn vector(bytes: &[u8], places: usize) -> Vec<f32> {
    let mut vector = Vec::with_capacity(places);
    for round in 0u32.. {
        let digest = Sha256::new().chain_update(round.to_be_bytes()).chain_update(bytes).finalize();
        vector.extend(digest.iter().map(|&byte| f32::from(byte) - 127.5));
        if vector.len() >= places {
            break;
        }
    }
    vector.truncate(places);
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.into_iter().map(|value| value / length).collect()
}
