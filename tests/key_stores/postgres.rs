//! The cases on PostgreSQL, each in a database of its own, by the server's clock.

use std::thread;
use std::time::Duration;

use tollkeeper::{KeyAnswer, KeyStore, Postgres, Timestamp};

use crate::kit::*;
use crate::server;

struct Database {
    url: String,
}

impl Place for Database {
    const DURABLE: bool = true;

    fn is_here() -> bool {
        server::shared().is_some()
    }

    fn fresh() -> Database {
        Database { url: server::shared().expect("it is here").database() }
    }

    fn open(&self) -> Box<dyn KeyStore> {
        Box::new(Postgres::connect(&self.url).expect("the database can be opened"))
    }

    /// What a client's clock says does not matter: it is wrong by years.
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(77)
    }

    fn pass(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

every_store!(Database);

#[test]
fn a_lease_counts_from_when_the_key_was_locked() {
    if !Database::is_here() {
        return;
    }
    let place = Database::fresh();
    let store = place.open();
    owned(ask(&place, &*store, claim("a", 1, HOUR)));
    assert_eq!(ask(&place, &*store, fail(1, 1, HOUR)), KeyAnswer::Done);
    // Somebody else has the row for longer than the lease.
    let mut other = server::connect(&place.url);
    let mut transaction = other.transaction().expect("a transaction");
    transaction.execute("SELECT FROM tollkeeper.keys FOR UPDATE", &[]).expect("it is locked");
    thread::scope(|scope| {
        let claim = scope.spawn(|| ask(&place, &*store, claim("a", 2, SHORT)));
        thread::sleep(SHORT * 2);
        transaction.commit().expect("it is committed");
        assert_eq!(owned(claim.join().expect("it does not panic")).0, 2);
    });
    let (_, left) = in_flight(ask(&place, &*store, peek("a")));
    assert!(left > Duration::ZERO, "{left:?}");
}
