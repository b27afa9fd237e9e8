//! What goes into a ledger in one piece, and what became of it.

use super::record::{Posting, UsageRecord};
use crate::id::OwnerId;

/// A record with its postings: written whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record. `None` for what is no request's: a window that an operator began (its postings
    /// are of amount zero, and make the window known).
    pub record: Option<UsageRecord>,
    /// What it charges, each (limit, dimension, window) at most once.
    pub postings: Vec<Posting>,
    /// Drawn once for this entry, kept by every attempt to write it: by this a writer that lost an
    /// acknowledgement recognises its own record.
    pub attempt: u64,
}

/// The references of a record that were written as NULL because what they refer to is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nulled {
    /// The api key.
    pub api_key: bool,
    /// The upstream.
    pub upstream: bool,
}

/// Whether an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// By this call.
    Now,
    /// By an earlier call for the same entry whose answer was lost.
    Before,
    /// Not at all: another entry has been written under the same record id.
    Duplicate,
}

/// What became of an entry: what was written of it, and only what a store has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Whether it was written.
    pub fate: Fate,
    /// The references that were written as NULL.
    pub nulled: Nulled,
}

impl Nulled {
    /// Whether any is.
    pub fn any(self) -> bool {
        self.api_key || self.upstream
    }
}

impl Entry {
    /// The postings that are written when these references are NULL: all but those on their
    /// owners, and on pairs with them. Stores write by this and memory books by it, so the two
    /// cannot differ (L10).
    pub fn kept(&self, nulled: Nulled) -> impl Iterator<Item = &Posting> {
        self.postings.iter().filter(move |posting| self.keeps(nulled, &posting.owner))
    }

    /// Whether what is charged to this owner is written when these references are NULL.
    pub fn keeps(&self, nulled: Nulled, owner: &OwnerId) -> bool {
        let Some(record) = &self.record else { return true };
        let gone = |reference: &Option<OwnerId>, nulled| {
            nulled && reference.as_ref().is_some_and(|gone| involves(owner, gone))
        };
        !gone(&record.api_key, nulled.api_key) && !gone(&record.upstream, nulled.upstream)
    }
}

/// Whether an owner is that one, or a pair with it.
pub(crate) fn involves(owner: &OwnerId, gone: &OwnerId) -> bool {
    owner == gone || owner.members().is_some_and(|(a, b)| a == *gone || b == *gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LimitId;
    use crate::ledger::{Outcome, RecordId};
    use crate::time::{Span, Timestamp};
    use crate::units::{Dimension, Usage};

    #[test]
    fn what_is_charged_to_a_nulled_reference_or_a_pair_with_it_is_not_kept() {
        let owner = |text: &str| text.parse::<OwnerId>().expect("an owner");
        let at = Timestamp::from_secs(1);
        let posting = |owner: OwnerId| Posting {
            limit: LimitId::new(owner.as_str()).expect("an id"),
            owner,
            dimension: Dimension::Requests,
            window: Span { start: at, end: Timestamp::MAX },
            anchor: at,
            amount: 1,
        };
        let owners = ["key:k", "key:k&model:m", "model:m", "provider:p", "team:t"].map(owner);
        let entry = Entry {
            record: Some(UsageRecord {
                id: RecordId::derived(b"r"),
                api_key: Some(owner("key:k")),
                upstream: Some(owner("provider:p")),
                model: None,
                outcome: Outcome::Completed,
                reason: None,
                usage: Usage::default(),
                admitted_at: at,
                settled_at: at,
                corrects: None,
            }),
            postings: owners.into_iter().map(posting).collect(),
            attempt: 1,
        };
        let kept = |api_key, upstream| {
            let kept = entry.kept(Nulled { api_key, upstream });
            kept.map(|posting| posting.owner.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(kept(false, false).len(), 5);
        assert_eq!(kept(true, false), ["model:m", "provider:p", "team:t"]);
        assert_eq!(kept(false, true), ["key:k", "key:k&model:m", "model:m", "team:t"]);
        assert_eq!(kept(true, true), ["model:m", "team:t"]);
    }
}
