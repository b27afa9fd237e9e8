//! One request against several limits: held on all of them, or on none.
//!
//! # Proof
//!
//! - **L5** Each limit admits its own hold in one swap (`entry`), so none is passed at any moment.
//! - **L6** Holds are taken in the order of the route. At the first refusal, those taken are taken
//!   back, in the opposite order, by the thread that took them; nothing in between can panic or run
//!   code of a user. A request that comes in the meantime may be refused because of a hold that is
//!   then taken back: allowed, because the answer to a race for the last unit is "not now" for one
//!   of the two at least, and both would have been refused had the first one stayed.
//! - **L7** [`settle`] consumes the holds.
//!
//! A window that closes between a hold and its withdrawal has the hold in its total, which is
//! final. The withdrawal then gives the notice [`Notice::Withdrawn`], so that totals less
//! withdrawals are exactly what was admitted.
//!
//! # Models
//!
//! `tests/loom_admission.rs`.
//!
//! [`Notice::Withdrawn`]: crate::entry::Notice::Withdrawn

use smallvec::SmallVec;

use crate::entry::{Actual, At, Entry, Hold, Posted, Refused};
use crate::sync::Arc;
use crate::units::Usage;

/// What a reservation holds, in the order of its route. As many as a route of five owners with a
/// budget and a rate limit each needs are kept without an allocation.
pub(crate) type Holds = SmallVec<[Hold; 16]>;

/// The limit that refused: its place in the route, and its answer.
pub(crate) struct RefusedBy {
    pub(crate) place: usize,
    pub(crate) refused: Refused,
}

/// Holds an estimate on all limits or on none.
pub(crate) fn reserve(entries: &[Arc<Entry>], usage: &Usage, at: &At) -> Result<Holds, RefusedBy> {
    let mut holds = Holds::new();
    for (place, entry) in entries.iter().enumerate() {
        if let Err(refused) = entry.hold(place as u32, usage, at, |hold| holds.push(hold)) {
            for hold in holds.iter().rev() {
                of(entries, hold).withdraw(hold, hold.amount, at);
            }
            return Err(RefusedBy { place, refused });
        }
    }
    Ok(holds)
}

/// Holds more on all limits of a reservation or on none.
pub(crate) fn extend(
    entries: &[Arc<Entry>],
    holds: &mut Holds,
    more: &Usage,
    at: &At,
) -> Result<(), RefusedBy> {
    let mut extended = SmallVec::<[(Hold, u64); 16]>::new();
    for hold in holds.iter() {
        match of(entries, hold).extend(*hold, more, at) {
            Ok(done) => extended.push(done),
            Err(refused) => {
                for (hold, added) in extended.iter().rev() {
                    of(entries, hold).withdraw(hold, *added, at);
                }
                return Err(RefusedBy { place: hold.place as usize, refused });
            }
        }
    }
    *holds = extended.into_iter().map(|(hold, _)| hold).collect();
    Ok(())
}

/// Ends a reservation on all limits, and reports what each booking came to.
pub(crate) fn settle(
    entries: &[Arc<Entry>],
    holds: &Holds,
    actual: Actual,
    at: &At,
    mut posted: impl FnMut(&Entry, Posted),
) {
    for hold in holds {
        let entry = of(entries, hold);
        posted(entry, entry.settle(*hold, actual, at));
    }
}

fn of<'a>(entries: &'a [Arc<Entry>], hold: &Hold) -> &'a Entry {
    &entries[hold.place as usize]
}
