//! What is peculiar to a ledger in an SQLite file: the file itself, who else has it open, and which
//! files are refused.
#![cfg(feature = "sqlite")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use rusqlite::Connection;
use tollkeeper::{Fate, Filter, LedgerStore, Outcome, Sqlite, StoreError, Timestamp};

#[path = "ledger_stores/kit.rs"]
#[allow(dead_code)]
mod kit;

use kit::{ids, posting, put, record, register, sums, usual, write, written};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path).expect("the file can be opened")
}

fn raw(path: &Path) -> Connection {
    Connection::open(path).expect("the file can be opened")
}

fn asked(connection: &Connection, question: &str) -> i64 {
    connection.query_row(question, [], |row| row.get(0)).expect("it has an answer")
}

/// What is said of a file that is refused.
fn refusal(path: &Path) -> String {
    let error = Sqlite::open(path).expect_err("it is refused");
    assert!(matches!(error, StoreError::Schema { .. }), "{error:?}");
    assert!(!error.is_transient());
    error.to_string()
}

#[test]
fn a_fresh_file_gets_its_tables_and_keeps_them() {
    let folder = folder();
    // A path is a path, whatever it looks like.
    let path = folder.path().join("a ledger?mode=ro&x=%20#");
    for open_again in 0..3 {
        let store = open(&path);
        put(&store, &[kit::entry(record(open_again), vec![posting("team:t", "t", 60, 1)])]);
    }
    let raw = raw(&path);
    assert_eq!(asked(&raw, "SELECT count(*) FROM refinery_schema_history"), 2);
    assert_eq!(asked(&raw, "SELECT count(*) FROM records"), 3);
    assert_eq!(asked(&raw, "SELECT settled FROM windows"), 3);
    assert_eq!(asked(&raw, "PRAGMA application_id"), 0x746f_6c6c);
    assert_eq!(
        asked(
            &raw,
            "SELECT count(*) FROM pragma_integrity_check WHERE \
        integrity_check = 'ok'"
        ),
        1
    );
    let journal: String =
        raw.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("it is known");
    assert_eq!(journal, "wal");
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let folder = folder();
    let path = folder.path().join("l");
    put(&open(&path), &[kit::entry(record(1), vec![])]);
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
        VALUES (99, 'far_ahead', '2026-01-01T00:00:00Z', '1')";
    raw(&path).execute(newer, []).expect("it can be written");
    let said = refusal(&path);
    assert!(said.contains("newer release: V99__far_ahead"), "{said}");
    assert!(said.contains("up to V2__keys") && said.contains("use a newer release"), "{said}");
    raw(&path)
        .execute("DELETE FROM refinery_schema_history WHERE version = 99", [])
        .expect("it can be written");
    assert_eq!(ids(&open(&path)), [1]);
}

#[test]
fn a_file_with_other_tables_of_the_same_number_is_refused() {
    let folder = folder();
    let path = folder.path().join("l");
    drop(open(&path));
    raw(&path)
        .execute("UPDATE refinery_schema_history SET checksum = '7' WHERE version = 1", [])
        .expect("it can be written");
    let said = refusal(&path);
    assert!(said.contains("another release: V1__ledger with other contents"), "{said}");
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let folder = folder();
    let text = folder.path().join("text");
    let contents = "no database, and longer than the head of one is. ".repeat(100);
    fs::write(&text, &contents).expect("it can be written");
    let said = refusal(&text);
    assert!(said.contains("no SQLite database"), "{said}");
    assert_eq!(fs::read_to_string(&text).expect("it can be read"), contents);

    for (name, content) in [
        ("tables", "CREATE TABLE records (id INTEGER)"),
        ("application", "PRAGMA application_id = 7; CREATE TABLE t (id INTEGER)"),
    ] {
        let path = folder.path().join(name);
        raw(&path).execute_batch(content).expect("it can be written");
        let before = fs::read(&path).expect("it can be read");
        let said = refusal(&path);
        assert!(said.contains("a database of something else"), "{said}");
        assert_eq!(fs::read(&path).expect("it can be read"), before, "{name} was changed");
    }
}

#[test]
fn what_cannot_be_opened_may_be_later() {
    let folder = folder();
    let path = folder.path().join("not there").join("l");
    for path in [&path, &folder.path().to_path_buf(), &PathBuf::new()] {
        let error = Sqlite::open(path).expect_err("it cannot be opened");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().starts_with("opening the SQLite file"), "{error}");
    }
    fs::create_dir(folder.path().join("not there")).expect("it can be made");
    drop(open(&path));
}

#[test]
fn what_another_program_has_changed_is_told() {
    let folder = folder();
    let path = folder.path().join("l");
    let store = open(&path);
    put(&store, &[kit::entry(record(1), vec![posting("team:t", "t", 60, 1)])]);
    for (change, what) in [
        ("UPDATE records SET outcome = 'fine'", "records.outcome"),
        ("UPDATE records SET outcome = 'failed', api_key = NULL, requests = -1", "a number of"),
        ("UPDATE records SET requests = 1, settled_at = -1", "an instant"),
        ("UPDATE records SET settled_at = 1, nulled = 4", "records.nulled"),
        ("UPDATE records SET nulled = 0, id = x'00'", "a column"),
        ("UPDATE records SET id = zeroblob(16), cost = -1", "records.cost"),
        ("UPDATE records SET cost = 0; UPDATE windows SET dimension = 9", "windows.dimension"),
        ("UPDATE windows SET dimension = 1, owner = 'nobody'", "windows.owner"),
    ] {
        raw(&path).execute_batch(change).expect("it can be changed");
        let error = store.records(&Filter::default(), None, 9).expect_err("it cannot be read");
        assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error} does not say {what}");
    }
    let payment = tollkeeper::TopUp {
        id: kit::id(1),
        limit: kit::limit("t"),
        owner: kit::owner("team:t"),
        amount: tollkeeper::Money::ZERO,
        at: Timestamp::UNIX_EPOCH,
    };
    store.top_up(&payment).expect("it can be topped up");
    for (change, what) in [
        ("UPDATE grants SET credit = -1", "grants.credit"),
        ("UPDATE grants SET credit = 0, instead = -1, until = 1", "grants.instead"),
        ("UPDATE grants SET instead = 1, until = NULL", "a column"),
        ("UPDATE grants SET until = -1", "an instant"),
        ("UPDATE grants SET until = 1, dimension = 9", "grants.dimension"),
        ("UPDATE grants SET dimension = 0, owner = 'nobody'", "grants.owner"),
    ] {
        raw(&path).execute_batch(change).expect("it can be changed");
        let error = store.grants(&mut |_| ()).expect_err("it cannot be read");
        assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error} does not say {what}");
    }
    // A window that was known and is gone: nothing is charged to nowhere.
    raw(&path).execute_batch("DELETE FROM windows").expect("it can be changed");
    let lost = kit::entry(record(2), vec![posting("team:t", "t", 60, 1)]);
    let error = store.write(std::slice::from_ref(&lost)).expect_err("it cannot be written");
    assert!(matches!(error, StoreError::Malformed { what: "windows", .. }), "{error:?}");
    put(&store, &[lost]);
    assert_eq!(sums(&store, "t"), [(60, 1)]);
    raw(&path).execute_batch("UPDATE windows SET owner = 'nobody'").expect("it can be changed");
    let error = store.open_totals(Timestamp::UNIX_EPOCH, &mut |_| ()).expect_err("it is read");
    assert!(matches!(error, StoreError::Malformed { what: "windows.owner", .. }), "{error:?}");
}

#[test]
fn two_who_have_a_file_open_see_what_the_other_does() {
    let folder = folder();
    let path = folder.path().join("l");
    let (one, other) = (open(&path), open(&path));
    register(&one, &["key:k", "provider:p"]);
    put(&one, &[usual(1, "k", "p", 1)]);
    put(&other, &[usual(2, "k", "p", 2)]);
    assert_eq!(write(&one, &[usual(2, "k", "p", 2)]), [written(Fate::Before, kit::NONE)]);
    // What one has deleted, the other knows by its number, which does not lead it astray.
    assert!(one.delete(&kit::owner("key:k")).expect("it can be deleted"));
    assert_eq!(write(&other, &[usual(3, "k", "p", 4)]), [written(kit::NOW, kit::KEY)]);
    assert_eq!(sums(&one, "k-tokens"), []);
    register(&one, &["key:k"]);
    put(&other, &[usual(4, "k", "p", 8)]);
    put(&one, &[usual(5, "k", "p", 16)]);
    assert_eq!(sums(&other, "k-tokens"), [(60, 24)]);
    assert_eq!(sums(&other, "p-tokens"), [(60, 31)]);
}

#[test]
fn an_owner_with_a_long_history_is_deleted_by_indexes() {
    let folder = folder();
    let path = folder.path().join("l");
    let store = open(&path);
    register(&store, &["key:k", "provider:p"]);
    for group in 0..40 {
        let entries: Vec<_> = (0..64).map(|n| usual(group * 64 + n, "k", "p", 1)).collect();
        put(&store, &entries);
    }
    assert!(store.delete(&kit::owner("key:k")).expect("it can be deleted"));
    let raw = raw(&path);
    assert_eq!(asked(&raw, "SELECT count(*) FROM records WHERE api_key IS NULL"), 40 * 64);
    assert_eq!(asked(&raw, "SELECT count(*) FROM records WHERE upstream IS NULL"), 0);
    assert_eq!(asked(&raw, "SELECT count(*) FROM postings"), 40 * 64 * 3);
    assert_eq!(store.purge(Timestamp::MAX, 40 * 64 - 1).expect("it can be purged"), 40 * 64 - 1);
    assert_eq!(asked(&raw, "SELECT count(*) FROM postings"), 3);
    assert_eq!(store.records(&Filter::default(), None, 9).map(|all| all.len()).ok(), Some(1));
}

const PROCESSES: u128 = 8;
const EACH: u128 = 30;

/// This test starts itself several times over; those that it starts find the folder in their
/// environment.
#[test]
fn processes_that_open_a_fresh_file_at_once_all_write_to_it() {
    const FOLDER: &str = "TOLLKEEPER_TEST_FOLDER";
    const NUMBER: &str = "TOLLKEEPER_TEST_NUMBER";
    if let Some(folder) = env::var_os(FOLDER) {
        let number = env::var(NUMBER).expect("it is told").parse().expect("it is a number");
        return one_of_several(&PathBuf::from(folder), number);
    }
    for round in 0..3 {
        let folder = folder();
        let children: Vec<_> = (0..PROCESSES)
            .map(|number| {
                let mut child = Command::new(env::current_exe().expect("it is running"));
                child.args(["--exact", "processes_that_open_a_fresh_file_at_once_all_write_to_it"]);
                child.env(FOLDER, folder.path()).env(NUMBER, number.to_string());
                child.stdout(Stdio::null());
                child.spawn().expect("it can be started")
            })
            .collect();
        thread::sleep(std::time::Duration::from_millis(100));
        fs::write(folder.path().join("go"), "").expect("it can be written");
        for mut child in children {
            assert!(child.wait().expect("it ends").success(), "one of round {round} failed");
        }
        let store = open(&folder.path().join("l"));
        assert_eq!(ids(&store), (0..PROCESSES * EACH).collect::<Vec<_>>());
        let sum = i64::try_from(PROCESSES * EACH).expect("it is small");
        assert_eq!(sums(&store, "t-tokens"), [(60, sum)]);
        assert_eq!(sums(&store, "k-tokens"), [(60, sum)]);
        let uncertain = Filter { outcome: Some(Outcome::Uncertain), ..Filter::default() };
        assert_eq!(kit::found(&store, &uncertain), []);
    }
}

fn one_of_several(folder: &Path, number: u128) {
    while !folder.join("go").exists() {
        thread::yield_now();
    }
    let store = open(&folder.join("l"));
    register(&store, &["key:k", "provider:p"]);
    for entry in 0..EACH {
        put(&store, &[usual(number * EACH + entry, "k", "p", 1)]);
    }
}
