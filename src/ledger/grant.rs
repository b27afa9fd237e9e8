//! Grants: what operators add to a limit or put in its place, kept in the store.
//!
//! What is granted is written first and set in memory then, so what a caller was told is there
//! after a restart (L11); and it is set to what the store says, so that memory has no more and no
//! less (L10). Calls of one process take turns, and so does deleting an owner; a deletion that may
//! be done is finished first, so that it takes away nothing that was granted after it.

use thiserror::Error;

use super::entry::Fate;
use super::front::Ledger;
use super::record::RecordId;
use super::store::{LedgerStore, StoreError};
use crate::counter::SETTLED_MAX;
use crate::engine::{Engine, Lasts, OperatorError, OverrideState};
use crate::id::{LimitId, OwnerId};
use crate::snapshot::Grant;
use crate::time::Timestamp;
use crate::units::{Dimension, Money};

/// What is granted on one counter, as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// The counter.
    pub dimension: Dimension,
    /// The sum of the top-ups, in the counter's unit.
    pub credit: u64,
    /// What the counter admits in place of its limit.
    pub instead: Option<OverrideState>,
}

/// Credit that a prepaid budget is topped up by, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUp {
    /// Which it is: that of the payment, say.
    pub id: RecordId,
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// How much.
    pub amount: Money,
    /// When.
    pub at: Timestamp,
}

/// What became of a top-up in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credited {
    /// [`Fate::Now`]: it was added. [`Fate::Before`]: one of this id, limit and amount was added by
    /// an earlier call. [`Fate::Duplicate`]: one of this id and another limit or amount was.
    pub fate: Fate,
    /// The sum of the limit's top-ups from then on, in nano-units.
    pub credit: u64,
}

/// What became of a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToppedUp {
    /// Whether this call has added it. If not, an earlier call of the same id has.
    pub added: bool,
    /// What the budget admits from then on.
    pub admits: Money,
}

/// Why something was not granted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It cannot be granted on this limit. Nothing was changed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Another top-up has the id, one of another limit or amount. Nothing was changed.
    #[error(
        "the limit {limit} is not topped up: {id} is the id of a top-up of another limit or \
         amount; accepted: an id of its own for each"
    )]
    Taken {
        /// The limit.
        limit: LimitId,
        /// The id.
        id: RecordId,
    },
    /// The store did not say that it is written. Nothing was changed in memory. Whether it was in
    /// the store is not known: do it again, a top-up under the same id.
    #[error("granting on {limit}: {source}")]
    Store {
        /// The limit.
        limit: LimitId,
        /// The store's error.
        source: StoreError,
    },
}

impl Ledger {
    /// Adds credit to a prepaid budget, once for each id, and says what it admits from then on.
    /// Blocks until it is durable. Other processes on the store learn of it by
    /// [`reconcile`](Self::reconcile).
    ///
    /// An id is known for good, also when the limit's owner has been removed since.
    ///
    /// # Errors
    ///
    /// [`GrantError`]: the limit is unknown, no prepaid budget, or would be more than can be
    /// counted; the id is another top-up's; the store fails.
    ///
    /// ```
    /// use tollkeeper::{
    ///     Budget, Engine, Ledger, LimitId, MemoryLedger, OwnerId, Period, RecordId,
    /// };
    ///
    /// let engine = Engine::new();
    /// let (customer, prepaid): (OwnerId, _) = ("customer:c".parse()?, LimitId::new("prepaid")?);
    /// engine.upsert_owner(&customer, &[])?;
    /// engine.upsert_limit(&customer, &prepaid, Budget::new("$0".parse()?, Period::NEVER))?;
    /// let ledger = Ledger::builder(&engine).start(MemoryLedger::default())?;
    ///
    /// let payment = RecordId::derived(b"invoice 4711");
    /// let done = ledger.top_up(&prepaid, "$20".parse()?, payment)?;
    /// assert_eq!((done.added, done.admits), (true, "$20".parse()?));
    /// // The payment's notice comes twice:
    /// let done = ledger.top_up(&prepaid, "$20".parse()?, payment)?;
    /// assert_eq!((done.added, done.admits), (false, "$20".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn top_up(
        &self,
        limit: &LimitId,
        credit: Money,
        id: RecordId,
    ) -> Result<ToppedUp, GrantError> {
        let (engine, books) = (&self.desk().engine, &self.desk().books);
        let _turn = books.granting.lock();
        books.finish_deletions(engine, &mut books.owners.lock()).map_err(failed(limit))?;
        let owner = engine.may_top_up(limit, credit)?;
        let top_up = TopUp { id, limit: limit.clone(), owner, amount: credit, at: engine.now() };
        let Credited { fate, credit } = books.store.top_up(&top_up).map_err(failed(limit))?;
        if fate == Fate::Duplicate {
            return Err(GrantError::Taken { limit: limit.clone(), id });
        }
        let credit = credit.min(SETTLED_MAX);
        let granted = engine
            .regrant(limit, &top_up.owner, Dimension::Money, |grant| Grant { credit, ..grant });
        // It is gone meanwhile, or counts money no more.
        let unknown = || OperatorError::UnknownLimit { limit: limit.clone() };
        let admits = granted.ok_or_else(unknown)?.limit.unwrap_or(SETTLED_MAX);
        let admits = Money::from_nanos(admits).unwrap_or(Money::MAX);
        Ok(ToppedUp { added: fate == Fate::Now, admits })
    }

    /// Puts another limit in the place of a counter's own, as [`Engine::override_limit`] does, for
    /// good: a restart begins with it. Blocks until it is durable.
    ///
    /// # Errors
    ///
    /// [`GrantError`]: the limit is unknown, does not count the dimension, or would be more than
    /// can be counted; the store fails.
    pub fn override_limit(
        &self,
        limit: &LimitId,
        dimension: Dimension,
        instead: u64,
        lasts: Lasts,
    ) -> Result<(), GrantError> {
        let (engine, books) = (&self.desk().engine, &self.desk().books);
        let _turn = books.granting.lock();
        books.finish_deletions(engine, &mut books.owners.lock()).map_err(failed(limit))?;
        let (owner, until) = engine.may_override(limit, dimension, instead, lasts)?;
        let kept = Some(OverrideState { limit: instead, until });
        books.store.set_override(limit, &owner, dimension, kept).map_err(failed(limit))?;
        let instead = Some((instead, until));
        engine.regrant(limit, &owner, dimension, |grant| Grant { instead, ..grant });
        Ok(())
    }

    /// Takes an override away, as [`Engine::clear_override`] does, and from the store. Without one,
    /// nothing changes. Blocks until it is durable.
    ///
    /// # Errors
    ///
    /// [`GrantError`]: the limit is unknown or does not count the dimension; the store fails.
    pub fn clear_override(&self, limit: &LimitId, dimension: Dimension) -> Result<(), GrantError> {
        let (engine, books) = (&self.desk().engine, &self.desk().books);
        let _turn = books.granting.lock();
        books.finish_deletions(engine, &mut books.owners.lock()).map_err(failed(limit))?;
        let owner = engine.owner_of(limit, dimension)?;
        books.store.set_override(limit, &owner, dimension, None).map_err(failed(limit))?;
        engine.regrant(limit, &owner, dimension, |grant| Grant { instead: None, ..grant });
        Ok(())
    }

    /// Sets what is granted to what the store has, and says on how many counters it was another.
    pub(crate) fn bring_grants(&self) -> Result<usize, StoreError> {
        let (engine, books) = (&self.desk().engine, &self.desk().books);
        // What is read now is set before anything else is written.
        let _turn = books.granting.lock();
        books.finish_deletions(engine, &mut books.owners.lock())?;
        Ok(set_grants(engine, &*books.store)?.changed)
    }
}

/// Of how many counters what is granted was set to what a store has, and was another before.
#[derive(Default)]
pub(crate) struct SetGrants {
    pub(crate) set: u64,
    pub(crate) changed: usize,
}

/// Sets what is granted to what the store has, on the counters of which it has anything.
pub(crate) fn set_grants(
    engine: &Engine,
    store: &dyn LedgerStore,
) -> Result<SetGrants, StoreError> {
    let mut done = SetGrants::default();
    store.grants(&mut |granted| {
        let Granted { limit, owner, dimension, credit, instead } = granted;
        let grant = Grant {
            credit: credit.min(SETTLED_MAX),
            instead: instead.map(|instead| (instead.limit.min(SETTLED_MAX), instead.until)),
        };
        let granted = engine.regrant(&limit, &owner, dimension, |_| grant);
        done.set += u64::from(granted.is_some());
        done.changed += usize::from(granted.is_some_and(|granted| granted.changed));
    })?;
    Ok(done)
}

fn failed(limit: &LimitId) -> impl FnOnce(StoreError) -> GrantError {
    let limit = limit.clone();
    |source| GrantError::Store { limit, source }
}
