//! What is asked for, and what it came to: how the layer reads requests and responses.

use bytes::Bytes;
use http::{request, response};

use super::Refusal;
use crate::units::Usage;

/// What the layer does with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Class {
    /// It is reserved for and settled.
    Metered,
    /// It costs nothing: it goes on untouched, and the layer asks nobody whose it is. What others
    /// have stored at the upstream may be read that way: a gateway looks before the layer.
    Free,
    /// It is not known what it costs, so it does not go on.
    Refused(Refusal),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// The operation, one of a few names: `chat.completions`. A label of metrics.
    pub operation: &'static str,
    /// The model, by the name that its price has.
    pub model: Option<String>,
    /// The tokens that it may come to, at most. `None`: nobody can tell, so it waits at the
    /// barrier. Requests and money are not the protocol's to fill in.
    pub tokens: Option<Usage>,
    /// What is estimated of the tokens that it comes to in any case, where nobody can tell how many
    /// at most. They are held while it is under way, and charged if nobody ever knows.
    pub at_least: Usage,
    /// The body that goes to the upstream.
    pub body: Bytes,
}

impl Asked {
    /// What asks for this operation, by this body, for nothing yet.
    pub fn new(operation: &'static str, body: Bytes) -> Self {
        Self { operation, model: None, tokens: None, at_least: Usage::default(), body }
    }
}

/// Reads requests and responses of one kind of API.
pub trait Protocol: Send + Sync + 'static {
    /// What to do with a request, by its head alone.
    fn class(&self, request: &request::Parts) -> Class;

    /// What a metered request asks for.
    ///
    /// # Errors
    ///
    /// The answer to a request that is not one.
    fn read(&self, request: &request::Parts, body: Bytes) -> Result<Asked, Refusal>;

    /// Reads what the answer to it has used, success or not.
    fn usage_of(&self, asked: &Asked, response: &response::Parts) -> Box<dyn UsageReader>;
}

/// Reads one response body as it passes, in pieces of any size, in bounded memory.
pub trait UsageReader: Send {
    /// The next bytes.
    fn read(&mut self, bytes: &[u8]);

    /// The tokens used, as far as the body has told. `None` as long as it has not: an explicit zero
    /// is `Some`.
    fn tokens(&self) -> Option<Usage>;

    /// Whether what was read is a whole answer, after which nothing is to come that is charged.
    fn is_whole(&self) -> bool;
}
