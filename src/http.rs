//! In a gateway: a tower layer that reserves before the upstream call and settles when the answer
//! has gone out.
//!
//! What a gateway brings along is two answers, each a trait: who is asking ([`Callers`]) and what is
//! asked for and was used ([`Protocol`]).

mod caller;
mod protocol;
mod refusal;

pub use caller::{Caller, Callers};
pub use protocol::{Asked, Class, Protocol, UsageReader};
pub use refusal::Refusal;

pub use crate::sse::{EventPiece, EventStream};
