//! The cases on PostgreSQL, each in a database of its own.

use tollkeeper::{LedgerStore, Postgres};

use crate::kit::Place;
use crate::server;

pub struct Database {
    url: String,
    store: Option<Postgres>,
}

impl Place for Database {
    const DURABLE: bool = true;

    fn is_here() -> bool {
        server::shared().is_some()
    }

    fn fresh() -> Database {
        let server = server::shared().expect("it is here");
        let mut place = Database { url: server.database(), store: None };
        place.reopen();
        place
    }

    fn store(&self) -> &dyn LedgerStore {
        self.store.as_ref().expect("it is open")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Postgres::connect(&self.url).expect("the database can be opened"));
    }

    fn forbid_a_model(&self) {
        let add = "ALTER TABLE tollkeeper.records
            ADD CONSTRAINT no_forbidden_model CHECK (model <> 'forbidden')";
        server::connect(&self.url).batch_execute(add).expect("a constraint can be added");
    }
}

every_store!(Database);
durable_store!(Database);
