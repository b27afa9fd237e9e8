//! Connections that break, and a server that dies.

use std::thread;

use tollkeeper::{Fate, LedgerStore, Postgres, StoreError};

use crate::entries::{KEY, TEAM, entry, limit, owner, posting, register, total, write_one};
use crate::server::{self, Stop};

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    let error = result.expect_err("the store is not there");
    assert!(error.is_transient(), "{error:?}");
    matches!(error, StoreError::Unavailable { .. })
}

#[test]
fn a_connection_ended_at_work_is_unavailable_and_the_next_call_makes_another() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&server::named(&url, "ended at work")).expect("a store");
    register(&store);
    write_one(&store, &entry("first"));
    let mut locking = server::connect(&url);
    let mut lock = locking.transaction().expect("a transaction");
    lock.execute("LOCK TABLE tollkeeper.totals IN EXCLUSIVE MODE", &[]).expect("locked");
    thread::scope(|scope| {
        let writer = scope.spawn(|| store.write(&[entry("second")]));
        server::wait_until("the writer is at work", || {
            let query = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            let waiting: i64 = lock.query_one(query, &[]).expect("a count").get(0);
            waiting > 0
        });
        server.terminate("ended at work");
        assert!(is_unavailable(writer.join().expect("no panic")));
    });
    lock.rollback().expect("given back");
    assert_eq!(write_one(&store, &entry("second")).fate, Fate::Now);
    assert_eq!(total(&store, TEAM), Some(10));
}

#[test]
fn a_group_whose_answer_was_lost_is_not_written_twice() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&server::named(&url, "answer lost")).expect("a store");
    register(&store);
    let group = [entry("one"), entry("two")];
    store.write(&group).expect("written");
    assert_eq!(total(&store, KEY), Some(10));
    // Both connections, each found broken by the next call on it.
    assert_eq!(server.terminate("answer lost"), 2);
    assert!(is_unavailable(store.write(&group)));
    assert!(is_unavailable(store.totals(&limit(KEY))));

    let more = [group[0].clone(), entry("three"), group[1].clone()];
    let fates: Vec<Fate> =
        store.write(&more).expect("written").iter().map(|written| written.fate).collect();
    assert_eq!(fates, [Fate::Before, Fate::Now, Fate::Before]);
    assert_eq!(total(&store, KEY), Some(15));
    assert_eq!(server.connections("answer lost"), 2);
}

#[test]
fn what_was_acknowledged_is_there_after_the_server_died() {
    let Some(server) = server::own() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    register(&store);
    for (round, how) in [Stop::Immediate, Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        let names = [format!("{round} one"), format!("{round} two")];
        let group = names.each_ref().map(|name| entry(name));
        assert!(store.write(&group).expect("written").iter().all(|w| w.fate == Fate::Now));
        server.stop(how);
        // The first finds the connection broken, the second that nobody is there.
        assert!(is_unavailable(store.write(&[entry("while it was down")])));
        assert!(is_unavailable(store.write(&[entry("while it was down")])));
        assert!(is_unavailable(Postgres::connect(&url)));
        server.start();
        assert!(store.write(&group).expect("there").iter().all(|w| w.fate == Fate::Before));
        if round > 0 {
            // The connection that reads was open when the server stopped.
            assert!(is_unavailable(store.totals(&limit(KEY))));
        }
        let sum = 10 * (i64::try_from(round).expect("few") + 1);
        assert_eq!(total(&store, KEY), Some(sum));
    }
}

#[test]
fn a_database_that_may_only_be_read_is_unavailable_for_writes() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    Postgres::connect(&url).expect("tables");
    let mut client = server::connect(&url);
    let database: String = client.query_one("SELECT current_database()", &[]).expect("one").get(0);
    let alter = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    client.batch_execute(&alter).expect("altered");

    // Nothing is to be changed, so it connects.
    let store = Postgres::connect(&url).expect("a store");
    assert!(is_unavailable(store.register(&[owner(KEY)])));
    assert_eq!(total(&store, KEY), None);
}

#[test]
fn commits_reach_the_disk_where_the_database_would_not_wait_for_it() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let mut client = server::connect(&url);
    let database: String = client.query_one("SELECT current_database()", &[]).expect("one").get(0);
    let alter = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    client.batch_execute(&alter).expect("altered");
    let store = Postgres::connect(&url).expect("a store");
    // A trigger of the test's reads the setting within the store's own transaction.
    let trigger = "
        CREATE TABLE seen (setting text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW;
        END $$;
        CREATE TRIGGER see BEFORE INSERT ON tollkeeper.totals
            FOR EACH ROW EXECUTE FUNCTION see();";
    client.batch_execute(trigger).expect("a trigger");
    let window = tollkeeper::Entry { record: None, postings: vec![posting(TEAM, 0)], attempt: 1 };
    write_one(&store, &window);
    let seen: String = client.query_one("SELECT setting FROM seen", &[]).expect("one").get(0);
    assert_eq!(seen, "on");
}

#[test]
fn a_url_that_is_malformed_or_wants_encryption_is_refused() {
    for (url, said) in [
        ("postgresql://h/d?sslmode=require", "sslmode=require"),
        ("postgresql://h:nothing/d", "port"),
        ("nonsense", ""),
    ] {
        let error = Postgres::connect(url).expect_err("refused");
        assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error).and_then(|e| e.source()) {
            text += &source.to_string();
        }
        assert!(text.contains(said), "{text}");
    }
}
