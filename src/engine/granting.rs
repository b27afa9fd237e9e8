//! What a ledger does of what operators do: it checks what is granted, writes it down, and sets it.

use super::operator::{counter_of, topped_up, until};
use crate::counter::SETTLED_MAX;
use crate::engine::{Engine, Lasts, OperatorError};
use crate::id::{LimitId, OwnerId};
use crate::snapshot::Grant;
use crate::time::Timestamp;
use crate::units::{Dimension, Money};

/// A counter after what is granted on it was set.
pub(crate) struct Regranted {
    /// What it admits. `None` if it only counts.
    pub(crate) limit: Option<u64>,
    /// Whether anything was granted differently before.
    pub(crate) changed: bool,
}

impl Engine {
    /// Whose prepaid budget it is, if it may be topped up by this.
    pub(crate) fn may_top_up(
        &self,
        limit: &LimitId,
        credit: Money,
    ) -> Result<OwnerId, OperatorError> {
        let entry = self.find(limit)?;
        topped_up(limit, &entry.snapshot(), credit)?;
        Ok(entry.owner.clone())
    }

    /// Whose limit it is, and the instant before which the windows begin that an override would
    /// last for.
    pub(crate) fn may_override(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        instead: u64,
        lasts: Lasts,
    ) -> Result<(OwnerId, Timestamp), OperatorError> {
        let entry = self.find(limit)?;
        let counter = counter_of(&entry, dimension)?;
        if instead > SETTLED_MAX {
            return Err(OperatorError::TooLarge { limit: limit.clone() });
        }
        // The window in force is the first of those, though nobody has come to it yet.
        let until = until(&entry.in_force(&self.shared.desk.at()), counter, lasts);
        let none = || OperatorError::NotCounted { limit: limit.clone(), dimension };
        Ok((entry.owner.clone(), until.ok_or_else(none)?))
    }

    /// Whose limit it is, if it counts the dimension.
    pub(crate) fn owner_of(
        &self,
        limit: &LimitId,
        dimension: Dimension,
    ) -> Result<OwnerId, OperatorError> {
        let entry = self.find(limit)?;
        counter_of(&entry, dimension)?;
        Ok(entry.owner.clone())
    }

    /// Changes what is granted on a counter of an owner's limit. `None` if there is no such
    /// counter.
    pub(crate) fn regrant(
        &self,
        limit: &LimitId,
        owner: &OwnerId,
        dimension: Dimension,
        change: impl Fn(Grant) -> Grant,
    ) -> Option<Regranted> {
        let entry = self.find(limit).ok().filter(|entry| entry.owner == *owner)?;
        let counter = counter_of(&entry, dimension).ok()?;
        let granted = self.grant(&entry, counter, |seen| {
            let before = seen.grant(counter);
            Some(change(before)).filter(|after| *after != before)
        });
        let limit = entry.snapshot().windows[counter].limit();
        Some(Regranted { limit, changed: granted.is_some() })
    }
}
