//! `restore_sqlite` and `restore_postgres`: how long it takes to open a ledger that has a total for
//! each of so many limits, and to set them, beside reading those totals alone.

use super::Group;
use crate::drawn::id;
use crate::ours;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::scale::Scale;
use std::sync::Arc;
use std::time::Instant;
use tollkeeper::{
    Dimension, Engine, Entry, Ledger, LedgerStore, LimitId, OwnerId, Posting, Span, Timestamp,
};

pub const SQLITE: Group = Group { rows: &["restore_sqlite"], measure: sqlite };
pub const POSTGRES: Group = Group { rows: &["restore_postgres"], measure: postgres };

#[cfg(feature = "sqlite")]
fn sqlite(scale: &Scale, progress: &Progress, report: &mut Report) {
    let folder = super::disk();
    let store = tollkeeper::Sqlite::open(folder.path().join("totals.sqlite"));
    let store = Arc::new(store.expect("a file can be made"));
    restore("restore_sqlite", store, (scale, progress, report));
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &Scale, _: &Progress, _: &mut Report) {
    eprintln!("    left out: built without --features sqlite");
}

#[cfg(feature = "postgres")]
fn postgres(scale: &Scale, progress: &Progress, report: &mut Report) {
    progress.say("starting a server");
    // Where there is none, it says so.
    let Some(server) = crate::server::shared() else { return };
    let store = tollkeeper::Postgres::connect(&server.database());
    let store = Arc::new(store.expect("the server is there"));
    restore("restore_postgres", store, (scale, progress, report));
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &Scale, _: &Progress, _: &mut Report) {
    eprintln!("    left out: built without --features postgres");
}

/// Postings of an entry, and entries of a transaction, when the store is filled.
const POSTINGS: usize = 100;
const ENTRIES: usize = 100;

#[allow(dead_code)] // Where there is no store to build.
fn restore(
    name: &'static str,
    store: Arc<dyn LedgerStore>,
    (scale, progress, report): (&Scale, &Progress, &mut Report),
) {
    let limits = scale.totals;
    progress.say(format!("making {limits} limits"));
    let engine = Engine::new();
    let owners = (0..limits).map(id);
    engine.apply(&ours::document_of_requests(owners)).expect("it fits");
    progress.say(format!("writing {limits} totals"));
    fill(&*store, &engine, limits);
    // As it was before the restart.
    drop(Ledger::builder(&engine).start(Arc::clone(&store)).expect("the store answers"));
    progress.say(format!("reading {limits} totals"));
    let (began, mut read) = (Instant::now(), 0);
    store.open_totals(engine.now(), &mut |_| read += 1).expect("the store answers");
    let theirs = began.elapsed();
    assert_eq!(read, limits);
    progress.say(format!("restoring {limits} totals"));
    let began = Instant::now();
    let ledger = Ledger::builder(&engine).start(store).expect("the store answers");
    let ours = began.elapsed();
    assert_eq!(ledger.restored().counters, limits as u64);
    let (ours, theirs) = (ours.as_nanos() as f64, theirs.as_nanos() as f64);
    report.add(Row::of(name, limits, ours, "reading the totals", theirs));
    progress.say("dropping them");
}

#[allow(dead_code)] // As above.
fn fill(store: &dyn LedgerStore, engine: &Engine, limits: usize) {
    let now = engine.now();
    let mut numbers = 0..limits;
    loop {
        let group: Vec<Entry> = (0..ENTRIES)
            .map(|_| {
                let some = numbers.by_ref().take(POSTINGS);
                Entry {
                    record: None,
                    postings: some.map(|n| posting(n, now)).collect(),
                    attempt: 0,
                }
            })
            .filter(|entry| !entry.postings.is_empty())
            .collect();
        if group.is_empty() {
            return;
        }
        store.write(&group).expect("the store takes it");
    }
}

/// A day's window that is open.
fn posting(number: usize, now: Timestamp) -> Posting {
    let owner: OwnerId = id(number).parse().expect("an owner's text");
    let end = now.saturating_add(std::time::Duration::from_secs(86_400));
    Posting {
        limit: LimitId::new(&id(number)).expect("a limit's id"),
        owner,
        dimension: Dimension::Requests,
        window: Span { start: now, end },
        anchor: now,
        amount: 0,
    }
}
