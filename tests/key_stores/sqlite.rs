//! The cases in an SQLite file, each in one of its own.

use std::time::Duration;

use tollkeeper::{KeyStore, Sqlite, Timestamp};

use crate::kit::*;

struct File {
    folder: tempfile::TempDir,
    clock: Told,
}

impl Place for File {
    const DURABLE: bool = true;

    fn fresh() -> File {
        File { folder: tempfile::tempdir().expect("a folder"), clock: Told::default() }
    }

    fn open(&self) -> Box<dyn KeyStore> {
        let path = self.folder.path().join("keys.sqlite");
        Box::new(Sqlite::open(path).expect("the file can be opened"))
    }

    fn now(&self) -> Timestamp {
        self.clock.0
    }

    fn pass(&mut self, time: Duration) {
        self.clock.0 = self.clock.0.saturating_add(time);
    }
}

every_store!(File);
