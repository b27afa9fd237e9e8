//! Children that settle into an SQLite file.

use rusqlite::Connection;
use tempfile::TempDir;

use crate::keys;
use crate::place::{Place, Raw, RawTotal};
use crate::rounds::{Rounds, Run};
use crate::shared;

pub struct File {
    name: String,
    _folder: TempDir,
}

impl File {
    fn new() -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.sqlite");
        File { name: format!("sqlite:{}", path.display()), _folder: folder }
    }
}

impl Place for File {
    fn of(&self, _: &str) -> String {
        self.name.clone()
    }

    fn raw(&self) -> Raw {
        let file = Connection::open(&self.name["sqlite:".len()..]).expect("the file opens");
        let mut raw = Raw::default();
        let mut each = |sql: &str, take: &mut dyn FnMut(&rusqlite::Row<'_>, &mut Raw)| {
            let mut asked = file.prepare(sql).expect("a query");
            let mut rows = asked.query([]).expect("rows");
            while let Some(row) = rows.next().expect("a row") {
                take(row, &mut raw);
            }
        };
        fn get<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>, column: usize) -> T {
            row.get(column).expect("a column")
        }
        each("SELECT id FROM owners", &mut |row, raw| {
            raw.owners.insert(get(row, 0));
        });
        each("SELECT count(*) FROM records", &mut |row, raw| raw.records = get(row, 0));
        each(
            "SELECT limit_id, dimension, window_start, sum(amount) FROM postings
               JOIN records ON records.seq = postings.record
               JOIN windows ON windows.id = postings.window_id GROUP BY 1, 2, 3",
            &mut |row, raw| {
                raw.sums.insert((get(row, 0), get(row, 1), get(row, 2)), get(row, 3));
            },
        );
        each(
            "SELECT limit_id, dimension, window_start, owner, window_end, settled FROM windows
              WHERE standing > 0",
            &mut |row, raw| {
                let total = RawTotal { owner: get(row, 3), end: get(row, 4), settled: get(row, 5) };
                let twice = raw.totals.insert((get(row, 0), get(row, 1), get(row, 2)), total);
                assert_eq!(twice, None, "two totals of one window");
            },
        );
        each(
            "SELECT count(*) FROM postings WHERE record NOT IN (SELECT seq FROM records)
                 OR window_id NOT IN (SELECT id FROM windows)",
            &mut |row, raw| raw.orphans = get(row, 0),
        );
        raw
    }
}

#[test]
fn what_is_acknowledged_outlives_a_kill() {
    let mut run = Run::new("sqlite, killed", 300);
    while run.goes_on() {
        // Histories are read whole after each round: a new one from time to time keeps them short.
        let file = File::new();
        let mut rounds = Rounds::new(&file, run.work);
        for _ in 0..25 {
            if run.goes_on() {
                rounds.killed(&mut run);
            }
        }
    }
    run.report();
}

#[test]
fn two_processes_settle_into_one_file() {
    let mut run = Run::new("sqlite, shared", 6);
    while run.goes_on() {
        shared::round(&mut run, &File::new());
    }
    run.report();
}

#[test]
fn a_request_whose_process_is_killed_is_charged_once() {
    let file = File::new();
    let mut run = Run::new("sqlite, keys", 24);
    let mut met = keys::Met::default();
    while run.goes_on() {
        keys::round(&mut run, &file, &mut met);
    }
    met.report(&run);
}
