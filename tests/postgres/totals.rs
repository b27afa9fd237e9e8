//! Several writers on the same totals.

use std::thread;

use postgres::Client;
use tollkeeper::{LedgerStore, Postgres};

use crate::entries::{entry, owner, posting, register, total};
use crate::server;

const LIMITS: usize = 12;

fn names() -> Vec<String> {
    (0..LIMITS).map(|n| format!("team:{n:02}")).collect()
}

#[test]
fn writers_of_the_same_totals_do_not_deadlock_and_the_sums_are_exact() {
    const WRITERS: usize = 4;
    const GROUPS: usize = 40;
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let stores: Vec<Postgres> =
        (0..WRITERS).map(|_| Postgres::connect(&url).expect("a store")).collect();
    register(&stores[0]);
    thread::scope(|scope| {
        for (writer, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for group in 0..GROUPS {
                    // Each in another order, so that a writer in its entries' order deadlocks.
                    let entries = (0..3).map(|number| {
                        let mut entry = entry(&format!("{writer} {group} {number}"));
                        let mut names = names();
                        names.rotate_left((writer * 5 + group + number) % LIMITS);
                        if writer % 2 == 0 {
                            names.reverse();
                        }
                        entry.postings = names.iter().map(|name| posting(name, 1)).collect();
                        entry
                    });
                    store.write(&entries.collect::<Vec<_>>()).expect("written");
                }
            });
        }
        scope.spawn(|| {
            // A deletion locks totals in the same order: of an owner that is charged meanwhile.
            let store = Postgres::connect(&url).expect("a store");
            for _ in 0..GROUPS {
                store.delete(&owner("team:00")).expect("deleted");
            }
        });
    });
    let expected = i64::try_from(WRITERS * GROUPS * 3).expect("few");
    for name in &names()[1..] {
        assert_eq!(total(&stores[0], name), Some(expected), "{name}");
    }
}

#[test]
fn a_restart_reads_one_row_for_each_counter_however_long_the_history() {
    let Some(server) = server::shared() else { return };
    let database = server.database();
    let url = server::named(&database, "restart");
    let store = Postgres::connect(&url).expect("a store");
    let mut client = server::connect(&database);
    // 50 counters with 4,000 windows each, of which the last is open.
    let fill = "
        INSERT INTO tollkeeper.totals
        SELECT 'limit' || l, d, w, w + 1, 0, 'team:t', w
        FROM generate_series(1, 25) l, generate_series(1, 2) d, generate_series(1, 4000) w;
        ANALYZE tollkeeper.totals;";
    client.batch_execute(fill).expect("filled");
    // What the server says that it read; it says so when the connection ends.
    let read = |client: &mut Client| -> i64 {
        let query = "
            SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
            WHERE schemaname = 'tollkeeper' AND relname = 'totals'";
        client.query_one(query, &[]).expect("a row").get(0)
    };
    drop(store);
    server::wait_until("the connections are gone", || server.connections("restart") == 0);
    let before = read(&mut client);

    let store = Postgres::connect(&url).expect("a store");
    let mut found = Vec::new();
    let now = tollkeeper::Timestamp::from_nanos(4000);
    store.open_totals(now, &mut |total| found.push(total)).expect("read");
    drop(store);
    server::wait_until("the connections are gone", || server.connections("restart") == 0);
    let rows = read(&mut client) - before;
    // Each counter's row, by the index, and nothing else of 200,000.
    assert!((50..=110).contains(&rows), "{rows} rows were read");
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|total| total.settled == 4000));
    assert!(
        found
            .windows(2)
            .all(|two| { (&two[0].limit, two[0].dimension) < (&two[1].limit, two[1].dimension) })
    );
}

#[test]
fn a_restart_reads_more_than_one_statement_does() {
    const COUNTERS: usize = 5_000;
    let Some(server) = server::shared() else { return };
    let database = server.database();
    let store = Postgres::connect(&database).expect("a store");
    let mut client = server::connect(&database);
    // Closed are every other counter of the first 2,500 and all behind them, so those too at which
    // a statement ends.
    let fill = "
        INSERT INTO tollkeeper.totals
        SELECT 'limit' || to_char(l, 'FM0000'), d, w,
            CASE WHEN l < 1250 AND (l + d) % 2 = 0 THEN 9000 ELSE 10 END, 0, 'team:t', l
        FROM generate_series(0, 2499) l, generate_series(1, 2) d, generate_series(1, 2) w;
        INSERT INTO tollkeeper.grants
        SELECT 'limit' || to_char(l, 'FM0000'), d, 'team:t', l FROM
            generate_series(0, 2499) l, generate_series(0, 1) d;
        ANALYZE;";
    client.batch_execute(fill).expect("filled");
    let mut found = Vec::new();
    let now = tollkeeper::Timestamp::from_nanos(4000);
    store.open_totals(now, &mut |total| found.push(total)).expect("read");
    assert_eq!(found.len(), COUNTERS / 4);
    for (number, total) in found.iter().enumerate() {
        assert_eq!(total.limit.as_str(), format!("limit{number:04}"));
        assert_eq!(total.settled, i64::try_from(number).expect("few"));
    }
    // All are open at an instant before.
    let mut found = Vec::new();
    let now = tollkeeper::Timestamp::from_nanos(5);
    store.open_totals(now, &mut |total| found.push(total)).expect("read");
    assert_eq!(found.len(), COUNTERS);
    let keys: Vec<_> = found.iter().map(|total| (total.limit.clone(), total.dimension)).collect();
    assert!(keys.is_sorted_by(|a, b| a < b));
    let mut granted = Vec::new();
    store.grants(&mut |grant| granted.push((grant.limit, grant.dimension))).expect("read");
    assert_eq!(granted.len(), COUNTERS);
    assert!(granted.is_sorted_by(|a, b| a < b));
}
