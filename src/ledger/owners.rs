//! Which owners the store knows, and which of them this process has seen deleted.

use std::collections::HashMap;

use super::entry::{Entry, Nulled};
use crate::engine::LimitUsage;
use crate::id::OwnerId;

/// Kept under a lock from before a group is prepared until it is written, and while an owner is
/// deleted: so a deletion is either before an entry, which then leaves its owner out, or after it.
///
/// What is registered is an owner of the engine, not its id. Another process may have deleted it
/// since, which nobody tells this one: while the engine has that same owner its references become
/// NULL, and that is right. If the engine has removed it and created another one of its id, the
/// store does not know that one yet; taken for known, it would be charged nothing, ever (L5).
///
/// A deletion of which the store did not say that it is done is done, or it is not. Taken for not
/// done, the owner would be charged nothing where it is a record's reference, and where it is none,
/// to a total that has lost all from before. So whoever writes next asks for it once more, first
/// (`Books::finish_deletions`).
#[derive(Default)]
pub(crate) struct Owners {
    /// By its id, which owner it was: see `Engine::owner_born`.
    registered: HashMap<OwnerId, u32>,
    /// Deletions are counted; each owner's last one by its number.
    deleted: HashMap<OwnerId, u64>,
    /// Whose deletion may be done, each with which owner it was.
    in_doubt: HashMap<OwnerId, u32>,
    /// The limits of those that were deleted by whoever wrote next, until somebody asks for them.
    finished: HashMap<OwnerId, Vec<LimitUsage>>,
}

impl Owners {
    /// Whether this very owner of its id was registered.
    pub(crate) fn is_registered(&self, owner: &OwnerId, born: u32) -> bool {
        self.registered.get(owner) == Some(&born)
    }

    pub(crate) fn registered(&mut self, owners: impl IntoIterator<Item = (OwnerId, u32)>) {
        self.registered.extend(owners);
    }

    /// Takes note of a deletion, the one of this number.
    pub(crate) fn deleted(&mut self, owner: &OwnerId, number: u64) {
        self.no_doubt(owner);
        self.deleted.insert(owner.clone(), number);
    }

    /// Takes note of a deletion that may be done.
    pub(crate) fn doubt(&mut self, owner: &OwnerId, born: u32) {
        self.in_doubt.insert(owner.clone(), born);
    }

    /// One whose deletion may be done, and which owner it was.
    pub(crate) fn in_doubt(&self) -> Option<(OwnerId, u32)> {
        self.in_doubt.iter().next().map(|(owner, born)| (owner.clone(), *born))
    }

    /// A deletion is not in doubt any more. Where the owner stays, it is registered again: it may
    /// be gone from the store.
    pub(crate) fn no_doubt(&mut self, owner: &OwnerId) {
        self.in_doubt.remove(owner);
        self.registered.remove(owner);
    }

    /// Keeps what was removed with an owner for whoever asks for its removal again.
    pub(crate) fn finished(&mut self, owner: OwnerId, limits: Vec<LimitUsage>) {
        self.finished.insert(owner, limits);
    }

    /// What was removed with an owner, if nobody was told so yet.
    pub(crate) fn take_finished(&mut self, owner: &OwnerId) -> Option<Vec<LimitUsage>> {
        self.finished.remove(owner)
    }

    /// Whether an owner, or a member of that pair, was deleted after so many deletions.
    pub(crate) fn is_gone(&self, owner: &OwnerId, after: u64) -> bool {
        // Deletions are rare: most processes have seen none.
        if self.deleted.is_empty() {
            return false;
        }
        let gone = |owner: &OwnerId| self.deleted.get(owner).is_some_and(|&number| number > after);
        gone(owner) || owner.members().is_some_and(|(a, b)| gone(&a) || gone(&b))
    }

    /// Leaves out of an entry what was deleted after so many deletions, though it may have been
    /// created again: references become `None`, postings are not written. Says which references.
    pub(crate) fn leave_out(&self, entry: &mut Entry, after: u64) -> Nulled {
        let mut nulled = Nulled::default();
        if self.deleted.is_empty() {
            return nulled;
        }
        if let Some(record) = &mut entry.record {
            let null = |reference: &mut Option<OwnerId>| {
                let gone = reference.as_ref().is_some_and(|owner| self.is_gone(owner, after));
                if gone {
                    *reference = None;
                }
                gone
            };
            nulled =
                Nulled { api_key: null(&mut record.api_key), upstream: null(&mut record.upstream) };
        }
        entry.postings.retain(|posting| !self.is_gone(&posting.owner, after));
        nulled
    }
}
