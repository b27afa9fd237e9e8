//! The cases on SQLite, each in a file of its own.

use tollkeeper::{LedgerStore, Sqlite};

use crate::kit::Place;

pub struct File {
    folder: tempfile::TempDir,
    store: Option<Sqlite>,
}

impl File {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger.sqlite")
    }
}

impl Place for File {
    const DURABLE: bool = true;

    fn fresh() -> File {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut place = File { folder, store: None };
        place.reopen();
        place
    }

    fn store(&self) -> &dyn LedgerStore {
        self.store.as_ref().expect("it is open")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Sqlite::open(self.path()).expect("the file can be opened"));
    }

    fn forbid_a_model(&self) {
        let connection = rusqlite::Connection::open(self.path()).expect("the file can be opened");
        let trigger = "CREATE TRIGGER no_forbidden_model BEFORE INSERT ON records \
             WHEN new.model = 'forbidden' BEGIN SELECT raise(ABORT, 'no_forbidden_model'); END";
        connection.execute_batch(trigger).expect("a trigger can be added");
    }
}

every_store!(File);
durable_store!(File);
