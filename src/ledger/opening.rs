//! Openings: entries of nothing that tell the store where windows in force have moved to.
//!
//! A change of a limit's period or anchor moves its window, keeps the window's name and its usage,
//! and charges nothing; so the store learns of it by the next charge. A restart before that would
//! go by the end that the store knows, and take the window for over (L9). So whoever compares the
//! two, and whoever leaves, tells the store.

use super::columns::instant;
use super::desk::posting;
use super::entry::Entry;
use super::ids::Ids;
use super::record::Posting;
use super::store::{LedgerStore, StoreError, Total};
use crate::engine::{Engine, Line};
use crate::time::Timestamp;
use crate::units::Usage;

/// So many windows are told by one entry.
const EACH: usize = 256;

/// The posting that a counter's window in force needs, if it is the window of this total and lies
/// elsewhere by now.
pub(crate) fn opening(line: &Line, total: &Total) -> Option<Posting> {
    let is_it = *line.owner() == total.owner && line.window().start == total.window.start;
    let stays = instant(line.window().end) == instant(total.window.end)
        && is_on_the_lattice_of(line, total);
    (is_it && !stays).then(|| posting(line, 0))
}

/// Whether the windows to come are the same by the anchor of a counter and by that of its total.
pub(crate) fn is_on_the_lattice_of(line: &Line, total: &Total) -> bool {
    line.anchor() == total.anchor || !line.is_anchored()
}

/// The same for the counter of a total.
pub(crate) fn opening_of(engine: &Engine, total: &Total) -> Option<Posting> {
    let line = engine.bill_of(&total.limit, total.dimension, &Usage::default())?;
    opening(&line, total)
}

/// All that the store needs to be told. Reads the last total of every counter, of those too that
/// the store takes for over.
pub(crate) fn openings(
    engine: &Engine,
    store: &dyn LedgerStore,
) -> Result<Vec<Posting>, StoreError> {
    let mut moved = Vec::new();
    store.open_totals(Timestamp::UNIX_EPOCH, &mut |total| {
        moved.extend(opening_of(engine, &total))
    })?;
    Ok(moved)
}

/// The entries of these postings.
pub(crate) fn entries(postings: Vec<Posting>, ids: &Ids) -> Vec<Entry> {
    let entry =
        |each: &[Posting]| Entry { record: None, postings: each.to_vec(), attempt: ids.attempt() };
    postings.chunks(EACH).map(entry).collect()
}
