//! `settle_sqlite` and `settle_postgres`: how long a settle takes until it is durable, for all
//! settlers together, beside the same rows written by plain statements in groups as large.

use super::Group;
use crate::peers::plain::Plain;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::scale::Scale;
use crate::settlers::Settlers;
use crate::side::median;
use std::sync::Arc;
use std::time::Duration;
use tollkeeper::LedgerStore;

pub const SQLITE: Group = Group { rows: &["settle_sqlite"], measure: sqlite };
pub const POSTGRES: Group = Group { rows: &["settle_postgres"], measure: postgres };

const CREWS: [usize; 2] = [1, 64];
/// 0.6 of the plain statements' throughput.
const TARGET: f64 = 1.67;

#[cfg(feature = "sqlite")]
fn sqlite(scale: &Scale, progress: &Progress, report: &mut Report) {
    use crate::peers::plain_sqlite::PlainSqlite;

    let folder = super::disk();
    let opened = tollkeeper::Sqlite::open(folder.path().join("ours.sqlite"));
    let store = Arc::new(opened.expect("a file can be made"));
    let mut plain = PlainSqlite::open(&folder.path().join("plain.sqlite"));
    settle("settle_sqlite", store, &mut plain, (scale, progress, report));
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &Scale, _: &Progress, _: &mut Report) {
    eprintln!("    left out: built without --features sqlite");
}

#[cfg(feature = "postgres")]
fn postgres(scale: &Scale, progress: &Progress, report: &mut Report) {
    use crate::peers::plain_postgres::PlainPostgres;

    progress.say("starting a server");
    // Where there is none, it says so.
    let Some(server) = crate::server::shared() else { return };
    let opened = tollkeeper::Postgres::connect(&server.database());
    let store = Arc::new(opened.expect("the server is there"));
    let mut plain = PlainPostgres::connect(&server.database());
    settle("settle_postgres", store, &mut plain, (scale, progress, report));
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &Scale, _: &Progress, _: &mut Report) {
    eprintln!("    left out: built without --features postgres");
}

#[allow(dead_code)] // Where there is no store to build.
fn settle(
    name: &'static str,
    store: Arc<dyn LedgerStore>,
    plain: &mut dyn Plain,
    (scale, progress, report): (&Scale, &Progress, &mut Report),
) {
    let mut settlers = Settlers::new(store);
    for threads in CREWS {
        let pace = scale.durable;
        progress.begin(pace.rounds);
        let mut settles = calibrated(&mut settlers, threads, pace.batch);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..pace.rounds {
            let (took, group) = settlers.settle(threads, settles);
            ours.push(took.as_nanos() as f64 / settles as f64);
            // Groups are whole, and so is their number.
            let records = group.round().max(1.0) as usize;
            let groups = settles.div_ceil(records);
            let took = plain.write(groups, records);
            theirs.push(took.as_nanos() as f64 / (groups * records) as f64);
            let all = pace.batch.as_nanos() as f64 / ours[ours.len() - 1];
            settles = (all as usize).next_multiple_of(threads).max(threads);
            progress.step();
        }
        settlers.check();
        plain.check();
        let (ours, theirs) = (median(ours), median(theirs));
        let row = Row::of(name, crate::settlers::POSTINGS, ours, "plain statements", theirs);
        let row = row.threads(threads);
        report.add(if threads > 1 { row.target(TARGET) } else { row });
    }
}

/// How many settles make a batch. Warms up meanwhile.
fn calibrated(settlers: &mut Settlers, threads: usize, batch: Duration) -> usize {
    let mut settles = threads;
    loop {
        let (took, _) = settlers.settle(threads, settles);
        if took >= batch / 2 {
            return settles;
        }
        settles *= 2;
    }
}
