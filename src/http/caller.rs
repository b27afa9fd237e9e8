//! Who is asking.

use http::request::Parts;

use super::{Asked, Refusal};
use crate::id::OwnerId;

/// Who makes a request: the owners whose limits are on its way, and what it goes by elsewhere.
///
/// ```
/// use tollkeeper::OwnerId;
/// use tollkeeper::http::Caller;
///
/// let key: OwnerId = "key:k1".parse()?;
/// let caller = Caller::new(&key); // its ancestors' limits apply as well
/// # Ok::<(), tollkeeper::IdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Caller {
    pub(super) key: OwnerId,
    pub(super) owners: Vec<OwnerId>,
    pub(super) upstream: Option<OwnerId>,
    pub(super) user: Option<OwnerId>,
    pub(super) tenant: Option<String>,
}

impl Caller {
    /// The one who uses this api key.
    pub fn new(key: &OwnerId) -> Self {
        Self {
            key: key.clone(),
            owners: vec![key.clone()],
            upstream: None,
            user: None,
            tenant: None,
        }
    }

    /// One more owner whose limits the request is held against, such as its model.
    pub fn owner(mut self, owner: &OwnerId) -> Self {
        self.owners.push(owner.clone());
        self
    }

    /// The upstream that will serve it: an owner, and the record's second reference.
    pub fn upstream(mut self, upstream: &OwnerId) -> Self {
        self.upstream = Some(upstream.clone());
        self.owner(upstream)
    }

    /// In whose line it waits where its cost cannot be estimated. The api key unless given.
    pub fn user(mut self, user: &OwnerId) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Among whose idempotency keys its own is looked for. The api key unless given.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }
}

/// Tells who makes a request. A function of the request's head will often do.
pub trait Callers: Send + Sync + 'static {
    /// Who makes it, by its head alone: nothing of the body is read before this is known.
    ///
    /// # Errors
    ///
    /// The answer to one who may not.
    fn caller(&self, request: &Parts) -> Result<Caller, Refusal>;

    /// The same caller, once it is known what is asked for: here the model's limits join.
    ///
    /// # Errors
    ///
    /// The answer to one who may not have this.
    fn asks(&self, caller: Caller, asked: &Asked) -> Result<Caller, Refusal> {
        let _ = asked;
        Ok(caller)
    }
}

impl<F> Callers for F
where
    F: Fn(&Parts) -> Result<Caller, Refusal> + Send + Sync + 'static,
{
    fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        self(request)
    }
}
