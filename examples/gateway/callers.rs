//! Who makes a request, by its api key.

use std::sync::{Arc, OnceLock};

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use tollkeeper::OwnerId;
use tollkeeper::http::{Asked, Caller, Callers, Refusal};

use super::house::House;
use super::keys::bearer;

tokio::task_local! {
    /// The model that is asked for, as soon as it is known: for the list of denials.
    pub static MODEL: Arc<OnceLock<String>>;
}

/// In a request's extensions: whose key it has.
#[derive(Clone, Debug)]
pub struct Key(pub OwnerId);

/// The callers of a gateway.
pub struct ByKey(pub Arc<House>);

/// Whose key a request has.
pub fn key_of(house: &House, request: &Parts) -> Result<Key, Refusal> {
    let rules = house.rules();
    let owner = bearer(&request.headers).and_then(|key| rules.keys.owner(key));
    let Some(owner) = owner else {
        let message = "no such api key; send it as `Authorization: Bearer KEY`";
        let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(refusal);
    };
    match house.suspended(rules.above(owner)) {
        None => Ok(Key(owner.clone())),
        Some(_) => Err(suspended()),
    }
}

fn suspended() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "suspended", "the account is suspended")
}

impl Callers for ByKey {
    fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        let key = match request.extensions.get::<Key>() {
            Some(key) => key.clone(),
            None => key_of(&self.0, request)?,
        };
        let caller = Caller::new(&key.0);
        Ok(match &self.0.fixed().upstream.owner {
            Some(upstream) => caller.upstream(upstream),
            None => caller,
        })
    }

    fn asks(&self, caller: Caller, asked: &Asked) -> Result<Caller, Refusal> {
        let rules = self.0.rules();
        let model = asked.model.as_deref().unwrap_or_default();
        // Outside of a request there is nobody to tell.
        let _ = MODEL.try_with(|seen| seen.set(model.to_owned()));
        let Some(owner) = rules.models.get(model) else {
            let message = format!("there is no model {:?} here", model.escape_debug().to_string());
            let refusal = Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message);
            return Err(refusal.param("model"));
        };
        let upstream = &self.0.fixed().upstream.owner;
        if self.0.suspended(owner.iter().chain(upstream)).is_some() {
            return Err(suspended());
        }
        Ok(match owner {
            Some(owner) => caller.owner(owner),
            None => caller,
        })
    }
}
