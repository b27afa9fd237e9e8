//! What is known of a record before its request has been made.

use super::record::RecordId;
use crate::id::OwnerId;

/// What is known of a record before its request has been made: the references it will have, and
/// what it will be called.
///
/// ```
/// use tollkeeper::{Draft, OwnerId};
///
/// let (key, upstream): (OwnerId, OwnerId) = ("key:k1".parse()?, "provider:openai".parse()?);
/// let draft = Draft::new().api_key(&key).upstream(&upstream).model("gpt-5");
/// # Ok::<(), tollkeeper::IdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Draft {
    pub(crate) id: Option<RecordId>,
    pub(crate) api_key: Option<OwnerId>,
    pub(crate) upstream: Option<OwnerId>,
    pub(crate) model: Option<String>,
}

impl Draft {
    /// One without references, whose record gets a new id.
    pub fn new() -> Self {
        Self::default()
    }

    /// The api key that makes the request.
    pub fn api_key(mut self, key: &OwnerId) -> Self {
        self.api_key = Some(key.clone());
        self
    }

    /// The upstream that will serve it.
    pub fn upstream(mut self, upstream: &OwnerId) -> Self {
        self.upstream = Some(upstream.clone());
        self
    }

    /// The model.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The record's id, such as one that is [derived](RecordId::derived) from an idempotency key:
    /// of all that is settled under it, one record is charged. A new one unless given.
    pub fn id(mut self, id: RecordId) -> Self {
        self.id = Some(id);
        self
    }
}
