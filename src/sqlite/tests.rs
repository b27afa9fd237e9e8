//! What only the inside can bring about: a full disk, a lock, a connection that may not write; and
//! that statements find what they look for by an index.

use std::time::Duration;

use rusqlite::Connection;

use super::{Sqlite, grants, ledger};
use crate::id::LimitId;
use crate::ledger::{
    Entry, Fate, Filter, LedgerStore, Outcome, Posting, RecordId, StoreError, UsageRecord,
};
use crate::time::{Span, Timestamp};
use crate::units::{Dimension, Usage};

struct Scene {
    folder: tempfile::TempDir,
    store: Sqlite,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Sqlite::open(folder.path().join("ledger.sqlite")).expect("it can be opened");
    store.writer.lock().connection.busy_timeout(Duration::from_millis(20)).expect("it can be set");
    Scene { folder, store }
}

impl Scene {
    fn other(&self) -> Connection {
        Connection::open(self.folder.path().join("ledger.sqlite")).expect("it can be opened")
    }

    fn pragma(&self, name: &str, value: i64) {
        let writer = self.store.writer.lock();
        writer.connection.pragma_update(None, name, value).expect("it can be set");
    }

    fn total(&self) -> i64 {
        let totals = self.store.totals(&limit()).expect("totals can be read");
        totals.iter().map(|total| total.settled).sum()
    }

    /// A group is not written, which is said to pass, and leaves nothing; once it has passed, all
    /// of it is written once.
    fn fails_until(&self, group: &[Entry], passes: impl FnOnce()) {
        let total = self.total();
        for _ in 0..2 {
            let error = self.store.write(group).expect_err("it cannot be written");
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            assert!(error.is_transient());
        }
        assert_eq!(self.total(), total);
        passes();
        let written = self.store.write(group).expect("it can be written now");
        assert!(written.iter().all(|written| written.fate == Fate::Now));
        let again = self.store.write(group).expect("it can be written now");
        assert!(again.iter().all(|written| written.fate == Fate::Before));
        let added = i64::try_from(group.len()).expect("it is short");
        assert_eq!(self.total(), total + added);
    }
}

fn limit() -> LimitId {
    LimitId::new("t").expect("an id")
}

/// Each with a window of its own, so that windows are new in the group that fails.
fn group(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |number: u64| {
        let start = Timestamp::from_secs(number);
        let posting = Posting {
            limit: limit(),
            owner: "team:t".parse().expect("an owner"),
            dimension: Dimension::Requests,
            window: Span { start, end: Timestamp::MAX },
            anchor: start,
            amount: 1,
        };
        let record = UsageRecord {
            id: RecordId::from_u128(number.into()),
            api_key: None,
            upstream: None,
            model: Some("a model with a name that is long enough to fill pages".to_owned()),
            outcome: Outcome::Completed,
            reason: None,
            usage: Usage::default(),
            admitted_at: start,
            settled_at: start,
            corrects: None,
        };
        Entry { record: Some(record), postings: vec![posting], attempt: number }
    };
    numbers.map(entry).collect()
}

#[test]
fn what_does_not_fit_on_the_disk_is_written_when_there_is_room() {
    let scene = scene();
    scene.store.write(&group(0..10)).expect("there is room");
    // Not less than there are already.
    scene.pragma("max_page_count", 1);
    scene.fails_until(&group(10..500), || scene.pragma("max_page_count", 1_000_000));
}

#[test]
fn what_a_lock_holds_up_is_written_when_it_is_gone() {
    let scene = scene();
    scene.store.write(&group(0..10)).expect("nobody else writes");
    let other = scene.other();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM owners").expect("it can be locked");
    for doing in [
        scene.store.register(&["key:k".parse().expect("an owner")]).map(|()| 0),
        scene.store.delete(&"key:k".parse().expect("an owner")).map(u64::from),
        scene.store.purge(Timestamp::MAX, 5),
    ] {
        assert!(doing.expect_err("it is locked").is_transient());
    }
    // Readers do not wait.
    assert_eq!(scene.store.records(&Filter::default(), None, 100).expect("it is read").len(), 10);
    scene.fails_until(&group(10..20), || other.execute_batch("COMMIT").expect("it can be"));
}

#[test]
fn what_may_not_be_written_is_written_when_it_may() {
    let scene = scene();
    scene.store.write(&group(0..10)).expect("it may be written");
    scene.pragma("query_only", 1);
    scene.fails_until(&group(10..20), || scene.pragma("query_only", 0));
}

#[test]
fn a_commit_that_fails_leaves_nothing_behind() {
    let scene = scene();
    // A deferred constraint is looked at when the transaction is committed.
    let other = scene.other();
    let table = "CREATE TABLE checks (id INTEGER PRIMARY KEY, \
         refers INTEGER REFERENCES checks (id) DEFERRABLE INITIALLY DEFERRED) STRICT; \
         CREATE TRIGGER late AFTER INSERT ON records WHEN new.seq = 5 \
         BEGIN INSERT INTO checks (id, refers) VALUES (1, 99); END";
    other.execute_batch(table).expect("a table can be added");
    let error = scene.store.write(&group(0..10)).expect_err("its commit fails");
    assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    assert_eq!(scene.total(), 0);
    other.execute_batch("DROP TRIGGER late").expect("it can be dropped");
    scene.store.write(&group(0..10)).expect("it can be written");
    assert_eq!(scene.total(), 10);
}

/// How the statement finds its rows.
fn plan(connection: &Connection, query: &str) -> String {
    let mut explain =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).expect("it is SQL");
    let steps = explain
        .raw_query()
        .mapped(|row| row.get::<_, String>(3))
        .map(|step| step.expect("a step is a text"));
    steps.collect::<Vec<_>>().join("; ")
}

#[test]
fn no_statement_looks_through_all_records_or_windows() {
    let scene = scene();
    let connection = scene.other();
    let filter = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        ledger::query(&filter)
    };
    let start = Some(Timestamp::from_secs(1));
    for (query, by) in [
        (ledger::open_totals_query(), "windows_last"),
        (ledger::total_before_query(), "windows_description"),
        (ledger::UNLINK_API_KEY.to_owned(), "records_api_key"),
        (ledger::UNLINK_UPSTREAM.to_owned(), "records_upstream"),
        (ledger::LAST_OF_OWNER.to_owned(), "windows_pair_second"),
        (ledger::RETIRE.to_owned(), "windows_pair_first"),
        (ledger::PROMOTE.to_owned(), "windows_description"),
        (grants::DELETE_GRANTS.to_owned(), "grants_pair_second"),
        (ledger::PURGE_RECORDS.to_owned(), "records_settled_at"),
        (ledger::PURGE_POSTINGS.to_owned(), "records_settled_at"),
        (filter(&|_| ()), "sqlite_autoindex_records_1"),
        (filter(&|filter| filter.owner = "key:k".parse().ok()), "windows_owner"),
        (filter(&|filter| filter.limit = Some(limit())), "windows_description"),
        (filter(&|filter| filter.window_start = start), "windows_start"),
        (filter(&|filter| filter.uncorrected = true), "records_uncertain"),
    ] {
        let plan = plan(&connection, &query);
        assert!(plan.contains(by), "{query}: {plan}");
        // The windows that stand are read all, and by an index that has no others.
        let scans = plan.replace("SCAN windows USING INDEX windows_last", "");
        assert!(!scans.contains("SCAN"), "{query}: {plan}");
        let charges = query.contains("JOIN postings");
        assert!(!charges || plan.contains("(record>? AND record<?)"), "{query}: {plan}");
        if query.contains("ORDER BY") && !query.contains("seq IN") {
            assert!(!plan.contains("TEMP B-TREE"), "{query}: {plan}");
        }
    }
    // Of the references, when an owner is deleted.
    for reference in ["api_key", "upstream"] {
        let query = format!("UPDATE records SET {reference} = NULL WHERE {reference} = ?1");
        assert!(plan(&connection, &query).contains(&format!("records_{reference}")));
    }
}
