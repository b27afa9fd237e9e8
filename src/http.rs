//! In a gateway: a tower layer that reserves before the upstream call and settles when the answer
//! has gone out.
//!
//! What a gateway brings along is two answers, each a trait: who is asking ([`Callers`]) and what
//! is asked for and was used ([`Protocol`]). [`Toll`] is the layer. It goes around any service over
//! `http` types: a router of axum, a handler, a client of hyper.
//!
//! ```
//! use axum::{Router, routing::post};
//! use bytes::Bytes;
//! use http::{StatusCode, request, response};
//! use tollkeeper::http::{Asked, Caller, Class, Protocol, Refusal, Toll, UsageReader};
//! use tollkeeper::{Budget, Engine, Ledger, LimitId, MemoryLedger, OwnerId, Usage};
//!
//! /// An API whose requests are charged by the letter: two for each that is sent.
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn class(&self, _: &request::Parts) -> Class {
//!         Class::Metered
//!     }
//!     fn read(&self, _: &request::Parts, body: Bytes) -> Result<Asked, Refusal> {
//!         let mut asked = Asked::new("echo", body);
//!         let letters = 2 * asked.body.len() as u64;
//!         asked.tokens = Some(Usage { output_tokens: letters, ..Usage::default() });
//!         Ok(asked)
//!     }
//!     fn usage_of(&self, _: &Asked, _: &response::Parts) -> Box<dyn UsageReader> {
//!         Box::new(Letters(0))
//!     }
//! }
//!
//! struct Letters(u64);
//!
//! impl UsageReader for Letters {
//!     fn read(&mut self, bytes: &[u8]) {
//!         self.0 += bytes.len() as u64;
//!     }
//!     fn tokens(&self) -> Option<Usage> {
//!         Some(Usage { output_tokens: self.0, ..Usage::default() })
//!     }
//!     fn is_whole(&self) -> bool {
//!         false // only the end of the body tells
//!     }
//! }
//!
//! fn caller(request: &request::Parts) -> Result<Caller, Refusal> {
//!     let key = request.headers.get("authorization").and_then(|field| field.to_str().ok());
//!     let owner = key.and_then(|key| format!("key:{key}").parse().ok());
//!     let owner: OwnerId = owner.ok_or_else(|| {
//!         Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "no api key")
//!     })?;
//!     Ok(Caller::new(&owner))
//! }
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let engine = Engine::new();
//! let key: OwnerId = "key:k1".parse()?;
//! engine.upsert_owner(&key, &[])?;
//! let rate = tollkeeper::RateLimit::new().tokens(15, "1d".parse()?);
//! engine.upsert_limit(&key, &LimitId::new("k1-letters")?, rate)?;
//! let ledger = Ledger::builder(&engine).start(MemoryLedger::default())?;
//!
//! let toll = Toll::builder(&ledger, caller, Echo, |task| { tokio::spawn(task); }).build();
//! let service = Router::new()
//!     .route("/", post(|body: String| async move { format!("{body} {body}") }))
//!     .layer(toll);
//! // axum::serve(listener, service).await?;
//! # use tower::ServiceExt;
//! # use http_body_util::BodyExt;
//! # let ask = |body: &'static str| {
//! #     let request = http::Request::post("/").header("authorization", "k1");
//! #     service.clone().oneshot(request.body(axum::body::Body::from(body)).expect("a request"))
//! # };
//!
//! let answer = ask("hello").await?; // ten are held, eleven used
//! assert_eq!(answer.into_body().collect().await?.to_bytes(), "hello hello");
//! assert_eq!(engine.usage(&LimitId::new("k1-letters")?).unwrap().counters[0].settled, 11);
//! assert_eq!(ask("hello").await?.status(), StatusCode::TOO_MANY_REQUESTS);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way of a request
//!
//! What is metered ([`Protocol::class`]) is taken in whole, of a limited size, once it is known
//! whose it is. Its estimate is what the protocol says of its tokens, one request, and the money
//! that these come to by the engine's price table, at the price at which it will be settled too.
//! Without a price table money is not counted; with one, a model that has no price is refused,
//! never free. A request that cannot be estimated waits for its turn at the
//! [barrier](TollBuilder::barrier), with what it costs at least held, and goes on to its end though
//! its client goes: what was held is far less than what it has used. Then the service inside is
//! called, and its answer passes piece by piece, read as it does; nothing of it is buffered. One
//! that says how long it is begins with its first piece, which is mostly the only one: then head
//! and body go out in one write. If it breaks off before that, a 502 goes out in its place.
//!
//! An answer that is compressed cannot be read, so the upstream is not asked for one: the field
//! `accept-encoding` of metered requests goes no further. Trailers of requests go no further
//! either.
//!
//! # What is charged
//!
//! | the answer | is recorded as | charged |
//! |---|---|---|
//! | 2xx, to its end, with usage | completed | what was used |
//! | 2xx, to its end, without usage | uncertain | what was held |
//! | it breaks off or the client goes: usage seen, the answer whole | completed | what was used |
//! | … usage seen, the answer not whole | partial | tokens and money of that |
//! | … no usage seen | uncertain | what was held |
//! | any other status, with usage | failed | tokens and money of that |
//! | … to its end, without usage | unbilled | nothing |
//! | … 408, 504, or 101, without usage | uncertain | what was held |
//! | compressed | uncertain | what was held |
//! | none: the service inside fails or panics, or the client goes | uncertain | what was held |
//! | none: the service inside is not ready | – | nothing |
//! | the handler says [`Upstream::Unreached`] | – | nothing |
//! | the handler says [`Upstream::Unknown`] | uncertain | what was held |
//!
//! The price of a request itself, beside that of its tokens, is charged with completed and partial
//! ones. Usage that costs more than can be counted is taken for unknown.
//!
//! The last piece of an answer is held back until its record is durable, so who has read an answer
//! to its end has been charged for good, whatever happens to the gateway ([unless it may
//! go](TollBuilder::answer_at_once)). How that is decided, and why no request leaves a hold behind
//! or is free, is shown in the head of `http/meter.rs`.
//!
//! # What the server has to do
//!
//! Slow clients are the server's to time out; the layer takes nothing that is counted before a
//! request is whole. When the gateway shuts down, close the [ledger](crate::Ledger::close) after
//! the last connection and the last task that was spawned for the layer: what ends later is not
//! recorded.
//!
//! # Cost
//!
//! Per request an allocation for each of: the future, what has been read of the request, the route,
//! what it owes, the body of the answer, the reader; those of
//! [`Ledger::reserve`](crate::Ledger::reserve); and the fields that tell what is left. Per piece of
//! an answer the reader's, and no copy.

mod body;
mod booking;
mod caller;
mod correction;
mod denial;
mod detached;
mod entrance;
mod fare;
mod fields;
mod forwarded;
mod intake;
mod key_field;
mod keyed;
mod layer;
mod meter;
mod passage;
mod protocol;
mod quota;
mod refusal;
mod relay;
mod report;
mod service;
mod stored;
mod upstream;

pub use body::AnswerBody;
pub use caller::{Caller, Callers};
pub use denial::{refuse, usual_status};
pub use fields::put_quota;
pub use forwarded::Forwarded;
pub use layer::{Toll, TollBuilder};
pub use protocol::{Asked, Class, Protocol, UsageReader};
pub use refusal::Refusal;
pub use service::TollService;
pub use upstream::Upstream;

pub use crate::sse::{EventPiece, EventStream};
