//! In a gateway: a tower layer that reserves before the upstream call and settles when the answer
//! has gone out.
//!
//! What a gateway brings along is two answers, each a trait: who is asking ([`Callers`]) and what is
//! asked for and was used ([`Protocol`]).

mod caller;
mod denial;
mod fields;
mod protocol;
mod refusal;

pub use caller::{Caller, Callers};
pub use denial::{refuse, usual_status};
pub use fields::put_quota;
pub use protocol::{Asked, Class, Protocol, UsageReader};
pub use refusal::Refusal;
