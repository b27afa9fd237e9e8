//! Usage records and what they charge.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::id::{LimitId, OwnerId};
use crate::time::{Span, Timestamp};
use crate::units::{Dimension, Usage};

/// Which usage record it is: 128 bits, written as a UUID.
///
/// It is what makes a write idempotent: a record that is there already is not written again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u128);

/// A text that is no [`RecordId`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no record id; accepted: a UUID, such as 0198c0a8-5b7e-7cc0-9d2f-0a8f6f0e1b2c")]
pub struct RecordIdError {
    /// The text, cut when it is very long.
    pub text: String,
}

impl RecordId {
    /// A new one: time-ordered (UUID version 7, by the system's clock), so that records of about
    /// the same time lie together in a store.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().as_u128())
    }

    /// The one that belongs to these bytes, always the same: 128 bits of their SHA-256.
    pub fn derived(from: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(from).into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// The one of this number.
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        match Uuid::try_parse(text) {
            Ok(id) => Ok(Self(id.as_u128())),
            Err(_) => Err(RecordIdError { text: text.chars().take(80).collect() }),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded, and this is what it used.
    Completed,
    /// It broke off: its client went away, or its stream ended early. What was used until then is
    /// charged: tokens and money, and no request.
    Partial,
    /// It failed and was billed all the same: tokens and money are charged, and no request.
    Failed,
    /// It was not billed. Nothing is charged.
    Unbilled,
    /// Nobody knows what it used: what was held is charged, until somebody knows better.
    Uncertain,
    /// Not a request: a correction of the uncertain record that it names, by its postings.
    Correction,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 6] = [
        Outcome::Completed,
        Outcome::Partial,
        Outcome::Failed,
        Outcome::Unbilled,
        Outcome::Uncertain,
        Outcome::Correction,
    ];

    /// The name in stores and texts: `completed`, `partial`, `failed`, `unbilled`, `uncertain`,
    /// `correction`.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
            Outcome::Unbilled => "unbilled",
            Outcome::Uncertain => "uncertain",
            Outcome::Correction => "correction",
        }
    }

    /// The outcome of this name.
    pub fn from_name(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One request, as it is recorded. Never changed once written, except that a reference becomes
/// `None` when what it refers to is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// Which it is.
    pub id: RecordId,
    /// The api key that made the request.
    pub api_key: Option<OwnerId>,
    /// The upstream that served it.
    pub upstream: Option<OwnerId>,
    /// The model.
    pub model: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that is worth saying: of an unbilled outcome always.
    pub reason: Option<String>,
    /// What was used. Of an uncertain record, what was estimated.
    pub usage: Usage,
    /// When it was admitted.
    pub admitted_at: Timestamp,
    /// When it was settled.
    pub settled_at: Timestamp,
    /// The uncertain record that this one corrects. There is at most one for each.
    pub corrects: Option<RecordId>,
}

/// What a record charges to one counter in one window: exactly what memory books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// The counter: money, tokens or requests.
    pub dimension: Dimension,
    /// The window that is charged. Its start names it, together with limit and dimension.
    pub window: Span,
    /// Where the lattice of the limit's rolling periods began.
    pub anchor: Timestamp,
    /// In the dimension's unit. Negative in corrections only.
    pub amount: i64,
}
