//! Children that settle into a PostgreSQL database, and servers that do not stay.

use std::thread::sleep;
use std::time::Duration;

use postgres::Row;

use crate::draw::Draw;
use crate::keys;
use crate::place::{CHILD, Place, Raw, RawTotal};
use crate::rounds::{Rounds, Run, quiet};
use crate::server::{self, Server, Stop};
use crate::shared;

pub struct Database {
    url: String,
}

impl Database {
    fn new(server: &Server) -> Database {
        Database { url: server.database() }
    }
}

impl Place for Database {
    fn of(&self, process: &str) -> String {
        server::named(&self.url, process)
    }

    fn outlast(&self, process: &str) {
        let mut client = server::connect(&self.url);
        let connected = "SELECT 1 FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = $1";
        server::wait_until("its connections end", || {
            client.query(connected, &[&process]).expect("an answer").is_empty()
        });
    }

    fn raw(&self) -> Raw {
        let mut client = server::connect(&self.url);
        let mut rows = |sql: &str| -> Vec<Row> { client.query(sql, &[]).expect("rows") };
        // It may have been killed before it made the tables.
        if rows("SELECT 1 FROM pg_tables WHERE schemaname = 'tollkeeper'").is_empty() {
            return Raw::default();
        }
        let count = |rows: Vec<Row>| rows[0].get::<_, i64>(0);
        let window = |row: &Row| (row.get(0), row.get::<_, i16>(1).into(), row.get(2));
        let sums = rows(
            "SELECT limit_id, dimension, window_start, sum(amount)::bigint
               FROM tollkeeper.postings JOIN tollkeeper.records ON id = record GROUP BY 1, 2, 3",
        );
        let totals = rows(
            "SELECT limit_id, dimension, window_start, owner, window_end, settled
               FROM tollkeeper.totals",
        );
        let total =
            |row: &Row| RawTotal { owner: row.get(3), end: row.get(4), settled: row.get(5) };
        let owners = rows("SELECT id FROM tollkeeper.owners");
        Raw {
            owners: owners.iter().map(|row| row.get(0)).collect(),
            records: count(rows("SELECT count(*) FROM tollkeeper.records")),
            sums: sums.iter().map(|row| (window(row), row.get(3))).collect(),
            totals: totals.iter().map(|row| (window(row), total(row))).collect(),
            orphans: count(rows(
                "SELECT count(*) FROM tollkeeper.postings
                  WHERE record NOT IN (SELECT id FROM tollkeeper.records)",
            )),
        }
    }
}

#[test]
fn what_is_acknowledged_outlives_a_kill() {
    let Some(server) = server::shared() else { return };
    let mut run = Run::new("postgres, killed", 25);
    while run.goes_on() {
        let database = Database::new(server);
        let mut rounds = Rounds::new(&database, run.work);
        for _ in 0..25 {
            if run.goes_on() {
                rounds.killed(&mut run);
            }
        }
    }
    run.report();
}

/// What a child is in the middle of goes wrong, again and again. Nothing is lost and nothing is
/// there twice; in every other round the child is killed as well, once the store has failed.
fn troubled(run: &mut Run, server: &Server, mut trouble: impl FnMut(&mut Draw, &str)) -> u64 {
    let database = Database::new(server);
    let mut rounds = Rounds::new(&database, run.work);
    while run.goes_on() {
        let mut draw = run.draw();
        let mut child = rounds.job(run).start();
        child.go();
        trouble(&mut draw, &database.url);
        if run.round % 2 == 1 {
            sleep(Duration::from_micros(draw.within(0..60_000)));
            child.kill();
            rounds.look(run, &child, None);
        } else {
            // The store is back: everything is written, and memory has what the store has.
            let memory = quiet(&mut child);
            child.close();
            rounds.look(run, &child, Some(memory));
        }
    }
    println!("written by a call whose answer was lost: {}", rounds.told.recognised);
    rounds.told.recognised
}

#[test]
fn a_server_that_stops_at_once_loses_and_doubles_nothing() {
    let Some(server) = server::own() else { return };
    let mut run = Run::new("postgres, server stopped", 8);
    troubled(&mut run, &server, |draw, _| {
        sleep(Duration::from_micros(draw.within(20_000..80_000)));
        server.stop(Stop::Immediate);
        sleep(Duration::from_micros(draw.within(0..200_000)));
        server.start();
    });
    run.report();
}

/// Cuts the connections that a child has, once one of them is committing: what it commits is
/// there, and the answer that it is there is lost. If none is seen to commit, as they are. Says how
/// many.
fn cut(url: &str) -> usize {
    let mut client = server::connect(url);
    let mut cut = |which: &str| {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name = $1 AND {which}"
        );
        client.query(&sql, &[&CHILD]).expect("they can be cut").len()
    };
    let committing = "state = 'active' AND query ILIKE 'commit%'";
    let seen = (0..100).map(|_| cut(committing)).find(|cut| *cut > 0);
    seen.unwrap_or_else(|| cut("true"))
}

#[test]
fn connections_that_are_cut_lose_and_double_nothing() {
    let Some(server) = server::own() else { return };
    let mut run = Run::new("postgres, connections cut", 16);
    let mut cut = 0;
    let recognised = troubled(&mut run, &server, |draw, url| {
        for _ in 0..draw.within(2..8) {
            sleep(Duration::from_micros(draw.within(0..30_000)));
            cut += self::cut(url);
        }
    });
    run.report();
    assert!(run.round < 8 || (cut > 0 && recognised > 0), "no answer was lost, of {cut} cuts");
}

#[test]
fn two_processes_settle_into_one_database() {
    let Some(server) = server::shared() else { return };
    let mut run = Run::new("postgres, shared", 4);
    while run.goes_on() {
        shared::round(&mut run, &Database::new(server));
    }
    run.report();
}

#[test]
fn a_request_whose_process_is_killed_is_charged_once() {
    let Some(server) = server::shared() else { return };
    let database = Database::new(server);
    let mut run = Run::new("postgres, keys", 12);
    let mut met = keys::Met::default();
    while run.goes_on() {
        keys::round(&mut run, &database, &mut met);
    }
    met.report(&run);
}
