//! Requests, read for what they may come to.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::OpenAi;
use super::members::{Members, wrong};
use super::operation::Operation;
use super::{edit, text};
use crate::http::{Asked, Refusal};
use crate::units::Usage;

/// What a message costs beside its text: who speaks, and where it begins and ends.
const TOKENS_PER_MESSAGE: u64 = 4;

/// What the beginning of the answer costs.
const TOKENS_PER_ANSWER: u64 = 3;

/// The longest name of a model, in bytes.
const MODEL_MAX: usize = 256;

/// The tools that the client runs itself. Others are run upstream, and what they find is input.
const OWN_TOOLS: [&str; 5] =
    ["function", "custom", "local_shell", "computer_use_preview", "apply_patch"];

/// The tiers that cost no more than the price of a model says.
const TIERS: [&str; 3] = ["auto", "default", "flex"];

/// By these some upstreams let a client say which other models may answer.
const OTHER_MODELS: [&str; 2] = ["models", "fallbacks"];

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

/// What a request of this operation asks for.
pub(super) fn read(shape: &OpenAi, operation: Operation, body: Bytes) -> Result<Asked, Refusal> {
    let members = Members::of(operation, &body)?;
    let model = model(&members)?;
    if members.read("background", "true or false")? == Some(true) {
        let message = "an answer in the background does not say what it used; accepted: false";
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, "unsupported_value", message);
        return Err(refusal.param("background"));
    }
    for name in OTHER_MODELS {
        if members.given(name).is_some() {
            return Err(wrong(name, "unsupported_value", "none: what `model` costs is charged"));
        }
    }
    let accepted = "`auto`, `default` or `flex`: what others cost is not known";
    let tier = members.read::<String>("service_tier", accepted)?;
    if tier.is_some_and(|tier| !TIERS.contains(&&*tier)) {
        return Err(wrong("service_tier", "unsupported_value", accepted));
    }
    let streams = members.read("stream", "true or false")? == Some(true);
    let tokens = tokens(shape, operation, &members)?;
    let edited = match streams && operation.asks_for_usage() {
        true => edit::ask_for_usage(&body, &members)?,
        false => None,
    };
    let mut asked = Asked::new(operation.name(), edited.unwrap_or(body));
    asked.model = Some(model);
    (asked.tokens, asked.at_least) = tokens;
    Ok(asked)
}

fn model(members: &Members<'_>) -> Result<String, Refusal> {
    let accepted = "the name of a model, at most 256 bytes";
    let Some(model) = members.read::<String>("model", accepted)? else {
        let message = format!("`model` is missing; accepted: {accepted}");
        let code = "missing_required_parameter";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, code, message).param("model"));
    };
    if model.is_empty() || model.len() > MODEL_MAX {
        return Err(wrong("model", "invalid_value", accepted));
    }
    Ok(model)
}

/// The tokens that it may come to, `None` where its input or its output can be of any length; and
/// those that it comes to at least.
fn tokens(
    shape: &OpenAi,
    operation: Operation,
    members: &Members<'_>,
) -> Result<(Option<Usage>, Usage), Refusal> {
    let Input { tokens: input_tokens, is_all } = input(shape, operation, members)?;
    let output = output(shape, operation, members)?.filter(|_| is_all);
    let at_least = Usage { input_tokens, ..Usage::default() };
    Ok((output.map(|output_tokens| Usage { output_tokens, ..at_least }), at_least))
}

/// What goes into an answer, as far as it is in the request, and whether it all is.
struct Input {
    tokens: u64,
    is_all: bool,
}

fn input(shape: &OpenAi, operation: Operation, members: &Members<'_>) -> Result<Input, Refusal> {
    let name = operation.input();
    let mut content = text::Content::default();
    let mut messages = 0;
    if let Some(value) = members.given(name) {
        let unreadable = |_| wrong(name, "invalid_value", "at most some hundred levels of nesting");
        content = text::content(value.get()).map_err(unreadable)?;
        messages = text::inputs(value.get()).map_err(unreadable)?;
    }
    let is_list = members.given(name).is_some_and(|value| value.get().starts_with('['));
    if operation == Operation::Chat && !is_list {
        return Err(wrong(name, "invalid_type", "a list of messages"));
    }
    let unseen = operation.unseen().iter().any(|name| members.given(name).is_some());
    let is_all = !(unseen || content.has_reference || has_foreign_tools(members)?);
    let mut bytes = content.bytes.saturating_add(members.other_bytes);
    if let Some(tools) = members.given("tools") {
        bytes = bytes.saturating_add(tools.get().len() as u64);
    }
    let framing = match operation {
        Operation::Chat | Operation::Responses => TOKENS_PER_MESSAGE * messages + TOKENS_PER_ANSWER,
        Operation::Completions | Operation::Embeddings => 0,
    };
    let parts = [
        bytes.div_ceil(shape.bytes_per_token),
        content.numbers,
        content.media.saturating_mul(shape.media_tokens),
        framing,
    ];
    Ok(Input { tokens: parts.into_iter().fold(0, u64::saturating_add), is_all })
}

fn has_foreign_tools(members: &Members<'_>) -> Result<bool, Refusal> {
    let tools: Option<Vec<Tool<'_>>> = members.read("tools", "a list of tools")?;
    let foreign = |tool: &Tool<'_>| match &tool.kind {
        Some(kind) => !OWN_TOOLS.contains(&&**kind),
        None => false,
    };
    Ok(tools.is_some_and(|tools| tools.iter().any(foreign)))
}

fn output(
    shape: &OpenAi,
    operation: Operation,
    members: &Members<'_>,
) -> Result<Option<u64>, Refusal> {
    // To some servers zero is no limit.
    let limit = members.largest(operation.output_limits())?.filter(|limit| *limit > 0);
    let choices = members.largest(operation.choices())?.unwrap_or(1);
    let prompts = match members.given(operation.input()) {
        Some(prompts) if operation == Operation::Completions => text::inputs(prompts.get()).ok(),
        _ => None,
    };
    if choices == 0 {
        return Err(wrong("n", "invalid_value", "at least 1"));
    }
    if operation == Operation::Embeddings {
        return Ok(Some(0));
    }
    let Some(each) = limit.or(shape.default_output) else { return Ok(None) };
    // What is predicted and not said is paid for as output, beside what is said.
    let predicted = members.given("prediction").map_or(0, |text| text.get().len() as u64);
    let each = each.checked_add(predicted.div_ceil(shape.bytes_per_token));
    let answers = choices.checked_mul(prompts.unwrap_or(1).max(1));
    match answers.zip(each).and_then(|(answers, each)| answers.checked_mul(each)) {
        Some(tokens) => Ok(Some(tokens)),
        None => Err(wrong("n", "invalid_value", "at most 2^64 - 1 tokens of output in all")),
    }
}

#[cfg(test)]
mod tests;
