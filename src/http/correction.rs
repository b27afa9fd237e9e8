//! A record that is not the first one under its id: what an attempt used that came after another.

use std::thread;
use std::time::Duration;

use crate::ledger::{Fate, Ledger, Outcome, Receipt, RecordId, ResolveError};
use crate::promise::{Promise, promise};
use crate::units::Usage;

/// So often a store that does not answer is asked, with a pause after each time that is twice as
/// long as the one before.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);

/// Charges what a receipt says was used and not written, where an earlier attempt of the same
/// request has left a record under its id: if that attempt broke off and its record is uncertain,
/// this is what the request used. Otherwise it is charged already. `None`: there is nothing to do.
///
/// What is returned ends when it is done, or when nobody will do it: then the record stays
/// uncertain, and what was held for it is charged. It is done whether or not anybody waits.
pub(super) fn correct(ledger: &Ledger, receipt: &Receipt) -> Option<Promise<()>> {
    let record = receipt.record.as_ref().filter(|_| receipt.fate == Fate::Duplicate)?;
    if record.outcome == Outcome::Uncertain {
        // Nobody knows it still.
        return None;
    }
    let (owed, done) = promise();
    let (ledger, id, used) = (ledger.clone(), record.id, record.usage);
    // Reading the record blocks, which a thread of a runtime may not. It happens to few requests.
    let thread = thread::Builder::new().name("tollkeeper-resolve".into());
    let spawned = thread.spawn(move || {
        resolve(&ledger, id, &used);
        let _ = owed.give(());
    });
    spawned.is_ok().then_some(done)
}

fn resolve(ledger: &Ledger, id: RecordId, used: &Usage) {
    for attempt in 0..TRIES {
        match ledger.resolve(id, used) {
            Err(ResolveError::Store { .. }) => thread::sleep(PAUSE * 2_u32.pow(attempt)),
            // Written, or in the ledger's list of what was not.
            Ok(settling) => return drop(settling.wait()),
            // It is charged by what the first attempt used, or by an earlier correction.
            Err(_) => return,
        }
    }
}
