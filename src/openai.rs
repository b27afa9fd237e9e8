//! The APIs that OpenAI's clients speak, as a [`Protocol`]: chat completions, completions,
//! responses and embeddings, whole and streamed.

mod answer;
mod edit;
mod members;
mod operation;
mod request;
mod scanner;
mod text;
mod usage;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, UPGRADE};
use http::{Method, StatusCode, request as head, response};

use crate::http::{Asked, Class, Protocol, Refusal, UsageReader};
use operation::Operation;

/// Reads requests and answers of the OpenAI-compatible APIs.
///
/// **What is metered.** `POST` to `/v1/chat/completions`, `/v1/completions`, `/v1/responses` and
/// `/v1/embeddings`. `GET`, `HEAD` and `OPTIONS` are free, except to open a socket or to stand for
/// another method (`x-http-method-override`). Everything else is refused with 404, because it is
/// not known what it costs.
///
/// **What a request may come to.** Of its input the bytes of the text, tools included, divided by
/// [`bytes_per_token`](Self::bytes_per_token) and rounded up, and a few tokens for each message; a
/// fixed number for each image and recording; files that are in it by their bytes, as they are
/// written; arrays of tokens exactly. Of its output `max_completion_tokens`, `max_tokens` or
/// `max_output_tokens`, else [`default_output`](Self::default_output), and its `prediction`, for
/// each of its `n` or `best_of` answers and of its prompts. Zero is no limit: some upstreams have
/// none then. It is an estimate: what an answer used beyond it is charged when it is settled.
/// Nobody can tell what comes of a request without a limit of its output, or with input that is not
/// in it: an earlier response, a stored prompt, a file or a film by reference, a tool that is run
/// upstream. Then [`Asked::tokens`] is `None`, and [`Asked::at_least`] what is in it of its input.
///
/// **What a request must be.** An object whose members that decide what it costs are there once,
/// spelt as in OpenAI's documentation, and numbers where they should be. Its other members are
/// nobody's business here. `background` is refused: such an answer does not say what it used; and a
/// `service_tier` other than `auto`, `default` and `flex`: it may cost more than the model's price
/// says; and `models` and `fallbacks`: another model may cost more. A body that says that it is no
/// JSON in UTF-8 is refused with 415, because an upstream may read it otherwise.
///
/// **What goes on.** The body as it came, but for one thing: streamed completions are asked for
/// `stream_options.include_usage` where the client did not. The stream then has one more chunk,
/// with usage and no choices. Send requests on without `accept-encoding`: what an answer that is
/// compressed has used, cannot be read.
///
/// **What an answer used.** What `usage` says, of a stream the last one that is not null, and in
/// streamed responses that of the response in the event. Cached input and what was written to a
/// cache are taken out of the input, of which they are part (at most all of it). What was reasoned
/// is part of the output. A `usage` with a fraction, a negative number or one above 64 bits in it
/// is not known, and neither is one in a text that is no JSON, or longer than 64 KiB, or more than
/// 128 levels deep. Memory does not depend on the length of an answer.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use tollkeeper::Usage;
/// use tollkeeper::http::Protocol;
/// use tollkeeper::openai::OpenAi;
///
/// let openai = OpenAi::new();
/// let (head, ()) = Request::post("/v1/chat/completions").body(())?.into_parts();
/// let body = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}"#;
/// let asked = openai.read(&head, Bytes::from(body)).expect("it is a request");
/// // Six bytes of text, one message, and the beginning of the answer.
/// let estimate = Usage { input_tokens: 2 + 4 + 3, output_tokens: 50, ..Usage::default() };
/// assert_eq!(asked.tokens, Some(estimate));
///
/// let (head, ()) = Response::new(()).into_parts();
/// let mut reader = openai.usage_of(&asked, &head);
/// reader.read(br#"{"choices":[],"usage":{"prompt_tokens":9,"#);
/// assert_eq!(reader.tokens(), None);
/// reader.read(br#""completion_tokens":7,"total_tokens":16}}"#);
/// let used = Usage { input_tokens: 9, output_tokens: 7, ..Usage::default() };
/// assert_eq!(reader.tokens(), Some(used));
/// assert!(reader.is_whole());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OpenAi {
    prefix: String,
    bytes_per_token: u64,
    media_tokens: u64,
    default_output: Option<u64>,
}

impl OpenAi {
    /// The APIs at `/v1`, three bytes to a token, 2,048 tokens for an image, and no output without
    /// a limit.
    pub fn new() -> Self {
        Self {
            prefix: String::new(),
            bytes_per_token: 3,
            media_tokens: 2_048,
            default_output: None,
        }
    }

    /// What comes before `/v1` in paths: `/openai`. Nothing unless given.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many bytes of text are taken for a token, at least 1; 3 unless given. English has some
    /// four, dense text less; by 1 no input is ever estimated too low.
    pub fn bytes_per_token(mut self, bytes: u64) -> Self {
        self.bytes_per_token = bytes.max(1);
        self
    }

    /// How many tokens an image or a recording is taken for; 2,048 unless given.
    pub fn media_tokens(mut self, tokens: u64) -> Self {
        self.media_tokens = tokens;
        self
    }

    /// How many tokens an answer is taken for whose request sets no limit. Only an upstream that
    /// makes no longer ones keeps this an upper bound. Unless given, nobody can tell.
    pub fn default_output(mut self, tokens: u64) -> Self {
        self.default_output = Some(tokens);
        self
    }

    fn operation(&self, path: &str) -> Option<Operation> {
        let path = path.strip_prefix(&*self.prefix)?;
        Operation::ALL.into_iter().find(|operation| operation.path() == path)
    }
}

impl Default for OpenAi {
    fn default() -> Self {
        Self::new()
    }
}

fn not_metered(request: &head::Parts) -> Refusal {
    let message = format!(
        "it is not known what {} {} costs; accepted: GET, and POST to the paths of chat \
         completions, completions, responses and embeddings",
        request.method,
        request.uri.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "unknown_url", message)
}

/// The fields by which a request of another method may have work done.
const NOT_FREE: [HeaderName; 4] = [
    UPGRADE,
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Whether a body is JSON in UTF-8, as far as it says what it is.
fn is_json(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let mut parts = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_json = parts.next().is_some_and(|it| it.eq_ignore_ascii_case(b"application/json"));
        is_json
            && parts.all(|parameter| match parameter.split_at_checked(b"charset".len()) {
                Some((name, value)) if name.eq_ignore_ascii_case(b"charset") => {
                    [&b"=utf-8"[..], b"=\"utf-8\""].iter().any(|it| value.eq_ignore_ascii_case(it))
                }
                _ => true,
            })
    })
}

impl Protocol for OpenAi {
    fn class(&self, request: &head::Parts) -> Class {
        let free = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
        if free && !NOT_FREE.iter().any(|name| request.headers.contains_key(name)) {
            Class::Free
        } else if request.method == Method::POST && self.operation(request.uri.path()).is_some() {
            Class::Metered
        } else {
            Class::Refused(not_metered(request))
        }
    }

    fn read(&self, request: &head::Parts, body: Bytes) -> Result<Asked, Refusal> {
        let Some(operation) = self.operation(request.uri.path()) else {
            return Err(not_metered(request));
        };
        if request.headers.contains_key(CONTENT_ENCODING) {
            let message = "the body is compressed; accepted: no content-encoding";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "unsupported_encoding", message));
        }
        if !is_json(&request.headers) {
            let message =
                "the body says that it is no JSON; accepted: content-type application/json";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "unsupported_media_type", message));
        }
        request::read(self, operation, body)
    }

    fn usage_of(&self, asked: &Asked, response: &response::Parts) -> Box<dyn UsageReader> {
        let named = |operation: &Operation| operation.name() == asked.operation;
        let operation = Operation::ALL.into_iter().find(named).unwrap_or(Operation::Chat);
        answer::reader(operation, &response.headers)
    }
}

#[cfg(test)]
mod tests;
