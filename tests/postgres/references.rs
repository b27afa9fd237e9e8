//! References to owners that are deleted meanwhile.

use std::error::Error;
use std::thread;

use postgres::Client;
use postgres::error::SqlState;
use tollkeeper::{Fate, LedgerStore, Nulled, Postgres, StoreError};

use crate::entries::{KEY, TEAM, UPSTREAM, entry, owner, register, total, write_one};
use crate::server;

const NEITHER: Nulled = Nulled { api_key: false, upstream: false };
const BOTH: Nulled = Nulled { api_key: true, upstream: true };

/// Counts the rows that are tried, also those whose transaction is rolled back.
const COUNT_TRIES: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('tries'); RETURN NEW; END $$;
    CREATE TRIGGER count_try BEFORE INSERT ON tollkeeper.records
        FOR EACH ROW EXECUTE FUNCTION count_try();";

fn tries(client: &mut Client) -> i64 {
    client.query_one("SELECT last_value FROM tries", &[]).expect("a row").get(0)
}

/// Waits until so many sessions wait for another's lock.
fn wait_for_waiting(client: &mut Client, sessions: i64) {
    server::wait_until("sessions wait for a lock", || {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let waiting: i64 = client.query_one(query, &[]).expect("a count").get(0);
        waiting == sessions
    });
}

#[test]
fn both_references_may_be_gone_and_the_rest_of_the_group_lands() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    let mut other = server::connect(&url);
    other.batch_execute(COUNT_TRIES).expect("a trigger");

    store.register(&[owner("key:stays")]).expect("registered");
    let mut stays = entry("stays");
    let record = stays.record.as_mut().expect("a record");
    record.api_key = Some(owner("key:stays"));
    record.upstream = None;
    let group = [entry("gone"), stays];
    let written = store.write(&group).expect("written");
    assert_eq!(written.iter().map(|w| w.nulled).collect::<Vec<_>>(), [BOTH, NEITHER]);
    // Of `gone` only the team is charged; of `stays`, whose references are there, everything.
    assert_eq!([KEY, UPSTREAM, TEAM].map(|of| total(&store, of)), [Some(5), Some(5), Some(10)]);
    // Each reference fails once: three times two rows.
    assert_eq!(tries(&mut other), 6);

    let stored = store.record(group[0].record.as_ref().expect("a record").id);
    let stored = stored.expect("read").expect("there");
    assert_eq!((stored.record.api_key, stored.record.upstream), (None, None));
    assert_eq!(stored.nulled, BOTH);
    assert_eq!(stored.postings, [entry("gone").postings[2].clone()]);

    // Written once more, it is told what was NULL then, although the key is there now.
    register(&store);
    let again = write_one(&store, &group[0]);
    assert_eq!((again.fate, again.nulled), (Fate::Before, BOTH));
}

#[test]
fn a_reference_that_is_checked_at_the_commit_may_be_gone_as_well() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    let defer = "ALTER TABLE tollkeeper.records
        ALTER CONSTRAINT records_api_key_fkey DEFERRABLE INITIALLY DEFERRED";
    server::connect(&url).batch_execute(defer).expect("deferred");
    assert_eq!(write_one(&store, &entry("gone")).nulled, BOTH);
    assert_eq!([KEY, UPSTREAM, TEAM].map(|of| total(&store, of)), [None, None, Some(5)]);
}

#[test]
fn a_write_waits_for_a_deletion_under_way_and_goes_by_its_end() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    let (mut deleting, mut watching) = (server::connect(&url), server::connect(&url));
    for (name, commits) in [("rolled back", false), ("committed", true)] {
        register(&store);
        let mut deletion = deleting.transaction().expect("a transaction");
        let delete = "DELETE FROM tollkeeper.owners WHERE id = $1";
        assert_eq!(deletion.execute(delete, &[&UPSTREAM]).expect("deleted"), 1);
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_one(&store, &entry(name)));
            wait_for_waiting(&mut watching, 1);
            let ended = if commits { deletion.commit() } else { deletion.rollback() };
            ended.expect("the deletion ends");
            let written = writer.join().expect("it is written");
            assert_eq!(written.fate, Fate::Now);
            assert_eq!(written.nulled, Nulled { api_key: false, upstream: commits });
        });
    }
    assert_eq!(total(&store, KEY), Some(10));
    assert_eq!(total(&store, UPSTREAM), Some(5));
}

#[test]
fn a_deletion_waits_for_a_write_under_way_and_leaves_no_ghost() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    let other = Postgres::connect(&url).expect("another store");
    register(&store);
    // Only the team has a total yet: that of the key is one that a deletion cannot see before the
    // write is committed.
    let mut first = entry("first");
    first.postings.retain(|posting| posting.owner == owner(TEAM));
    write_one(&store, &first);
    let (mut locking, mut watching) = (server::connect(&url), server::connect(&url));

    // The write stops at the team's total: its records are checked, its totals not written.
    let mut lock = locking.transaction().expect("a transaction");
    let rows =
        lock.execute("SELECT 1 FROM tollkeeper.totals WHERE owner = $1 FOR UPDATE", &[&TEAM]);
    assert_eq!(rows.expect("locked"), 1);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_one(&store, &entry("second")));
        wait_for_waiting(&mut watching, 1);
        let deletion = scope.spawn(|| other.delete(&owner(KEY)).expect("deleted"));
        wait_for_waiting(&mut watching, 2);
        lock.rollback().expect("given back");
        assert_eq!(writer.join().expect("written").nulled, NEITHER);
        assert!(deletion.join().expect("deleted"));
    });
    assert_eq!(total(&store, KEY), None);
    assert_eq!(total(&store, TEAM), Some(10));
    let id = entry("second").record.expect("a record").id;
    let stored = store.record(id).expect("read").expect("there");
    assert_eq!(stored.record.api_key, None);
    // It was there when the record was written, so it was charged.
    assert_eq!((stored.nulled, stored.postings.len()), (NEITHER, 3));
    assert!(!store.delete(&owner(KEY)).expect("nothing to delete"));
}

#[test]
fn a_foreign_key_of_someone_else_is_reported_as_it_is_after_one_try() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    register(&store);
    let mut client = server::connect(&url);
    client.batch_execute(COUNT_TRIES).expect("a trigger");
    let theirs = "
        CREATE TABLE models (name text PRIMARY KEY);
        ALTER TABLE tollkeeper.records ADD CONSTRAINT records_api_key_fkey_of_models
            FOREIGN KEY (model) REFERENCES models;";
    client.batch_execute(theirs).expect("a constraint");

    let mut entry = entry("unknown model");
    entry.record.as_mut().expect("a record").model = Some("m".to_owned());
    let error = store.write(&[entry]).expect_err("the model is not there");
    assert!(!error.is_transient());
    let StoreError::Rejected { constraint, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(constraint.as_deref(), Some("records_api_key_fkey_of_models"));
    let source: &(dyn Error + 'static) = source.as_ref();
    let source = source.downcast_ref::<postgres::Error>().expect("the driver's error");
    assert_eq!(source.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    assert_eq!(tries(&mut client), 1);
    assert_eq!(total(&store, TEAM), None);
}

#[test]
fn a_foreign_key_of_the_same_name_on_another_table_is_none_of_ours() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    register(&store);
    let mut client = server::connect(&url);
    let theirs = "
        CREATE TABLE others (id text PRIMARY KEY);
        CREATE TABLE records (id text CONSTRAINT records_api_key_fkey REFERENCES others);
        CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.records VALUES (NEW.api_key); RETURN NEW; END $$;
        CREATE TRIGGER copy AFTER INSERT ON tollkeeper.records
            FOR EACH ROW EXECUTE FUNCTION copy();";
    client.batch_execute(theirs).expect("a trigger");
    client.batch_execute(COUNT_TRIES).expect("a trigger");
    let error = store.write(&[entry("copied")]).expect_err("their constraint");
    assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    assert_eq!(tries(&mut client), 1);
}

#[test]
fn errors_are_told_apart_by_their_codes_whatever_they_say() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    register(&store);
    let mut client = server::connect(&url);
    let unavailable = ["53100", "53200", "40001", "40P01", "25006", "55P03", "57014", "58030"];
    let rejected = ["22003", "23505", "23514", "44000", "54000", "P0001"];
    let unavailable = unavailable.map(|code| (code, true));
    let rejected = rejected.map(|code| (code, false));
    for (code, transient) in unavailable.into_iter().chain(rejected) {
        let fail = format!(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'violates foreign key constraint \"records_api_key_fkey\"'
                    USING ERRCODE = '{code}', CONSTRAINT = 'records_api_key_fkey';
            END $$;
            DROP TRIGGER IF EXISTS fail ON tollkeeper.records;
            CREATE TRIGGER fail BEFORE INSERT ON tollkeeper.records
                FOR EACH ROW EXECUTE FUNCTION fail();"
        );
        client.batch_execute(&fail).expect("a trigger");
        let error = store.write(&[entry("fails")]).expect_err("the trigger fails");
        assert_eq!(error.is_transient(), transient, "{code}: {error:?}");
        if let StoreError::Rejected { constraint, .. } = error {
            assert_eq!(constraint.as_deref(), Some("records_api_key_fkey"));
        }
    }
    client.batch_execute("DROP TRIGGER fail ON tollkeeper.records").expect("dropped");
    assert_eq!(write_one(&store, &entry("fails")).fate, Fate::Now);
}
