//! In a gateway: a tower layer that reserves before the upstream call and settles when the answer
//! has gone out.
//!
//! What a gateway brings along is two answers, each a trait: who is asking ([`Callers`]) and what is
//! asked for and was used ([`Protocol`]).

mod body;
mod booking;
mod caller;
mod correction;
mod denial;
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
