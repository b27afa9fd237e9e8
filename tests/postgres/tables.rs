//! The tables: made once by many, and refused when they are another release's.

use std::thread;

use tollkeeper::{Postgres, StoreError};

use crate::entries::{KEY, entry, register, total, write_one};
use crate::server;

#[test]
fn many_processes_may_begin_at_once() {
    let Some(server) = server::shared() else { return };
    for _ in 0..3 {
        let url = server.database();
        thread::scope(|scope| {
            let connecting: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Postgres::connect(&url))).collect();
            for one in connecting {
                one.join().expect("no panic").expect("a store");
            }
        });
        let mut client = server::connect(&url);
        let query = "SELECT count(*), count(DISTINCT version) FROM tollkeeper.migrations";
        let row = client.query_one(query, &[]).expect("a row");
        assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(client.query_one(locks, &[]).expect("a row").get::<_, i64>(0), 0);
    }
}

#[test]
fn tables_of_another_release_are_refused_and_left_alone() {
    let Some(server) = server::shared() else { return };
    for (change, said) in [
        (
            "INSERT INTO tollkeeper.migrations VALUES (900, 'later', '', '1')",
            "version 900 (later), of a later release",
        ),
        (
            "UPDATE tollkeeper.migrations SET checksum = '7' WHERE version = 1",
            "version 1 (ledger), with other contents",
        ),
    ] {
        let url = server.database();
        let store = Postgres::connect(&url).expect("a store");
        register(&store);
        write_one(&store, &entry("before"));
        let mut client = server::connect(&url);
        client.batch_execute(change).expect("changed");
        let error = Postgres::connect(&url).expect_err("refused");
        assert!(!error.is_transient());
        let StoreError::Schema { found, accepted } = &error else { panic!("{error:?}") };
        assert_eq!(found, said);
        assert!(accepted.contains("use the release that made the tables"), "{accepted}");
        // One that is connected works on.
        assert_eq!(total(&store, KEY), Some(5));
    }
}

#[test]
fn one_who_may_only_use_the_tables_connects_once_they_are_there() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let mut client = server::connect(&url);
    client.batch_execute("CREATE ROLE plain LOGIN").expect("a role");
    let plain = url.replace("user=postgres", "user=plain");
    let error = Postgres::connect(&plain).expect_err("it may not make them");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");

    Postgres::connect(&url).expect("a store");
    let grant = "
        GRANT USAGE ON SCHEMA tollkeeper TO plain;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tollkeeper TO plain;";
    client.batch_execute(grant).expect("granted");
    let store = Postgres::connect(&plain).expect("a store");
    register(&store);
    write_one(&store, &entry("plain"));
    assert_eq!(total(&store, KEY), Some(5));
}

#[test]
fn every_table_and_column_says_what_it_is() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    Postgres::connect(&url).expect("a store");
    let query = "
        SELECT c.relname || coalesce('.' || a.attname, '')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT NULL::name AS attname, 0 AS attnum
            UNION ALL SELECT attname, attnum FROM pg_attribute
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        ) a
        WHERE n.nspname = 'tollkeeper' AND c.relkind = 'r' AND c.relname <> 'migrations'
            AND NOT EXISTS (SELECT FROM pg_description d WHERE d.objoid = c.oid
                AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum)";
    let rows = server::connect(&url).query(query, &[]).expect("rows");
    let silent: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(silent, [""; 0]);
}
