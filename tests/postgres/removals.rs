//! Owners that are removed while a connection breaks.

use std::thread;
use std::time::Duration;

use tollkeeper::{
    Budget, Draft, Engine, Ledger, Money, Postgres, Receipt, RemoveError, Settling, StoreError,
    Timestamp, Usage, Writer,
};

use crate::entries::{KEY, TEAM, limit, owner};
use crate::server::{self, Server, Stop};

/// Who deletes a total waits at the commit for a standby that there is not. If such a session is
/// ended, what it has committed is there, and nobody is told so.
fn deletions_wait_at_the_commit(server: &Server, url: &str) {
    let mut client = server::connect(url);
    for setting in ["synchronous_standby_names = 'nobody'", "synchronous_commit = 'local'"] {
        client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).expect("set");
    }
    let wait = "
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM set_config('synchronous_commit', 'on', true); RETURN OLD;
        END $$;
        CREATE TRIGGER wait BEFORE DELETE ON tollkeeper.totals
            FOR EACH ROW EXECUTE FUNCTION wait();";
    client.batch_execute(wait).expect("a trigger");
    // The settings are in force, in every process of the server.
    server.stop(Stop::Fast);
    server.start();
}

/// Ends the session that waits at its commit.
fn cut_at_the_commit(url: &str) {
    let mut client = server::connect(url);
    server::wait_until("a deletion is committed", || {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event = 'SyncRep'";
        client.query(cut, &[]).expect("it can be cut").len() == 1
    });
}

fn written(writer: &mut Writer, mut settling: Settling) -> Receipt {
    writer.turn(Timestamp::from_secs(1));
    let answer = settling.wait_timeout(Duration::ZERO).expect("it is answered");
    answer.expect("it is written")
}

#[test]
fn an_owner_whose_deletion_was_committed_by_a_connection_that_was_cut_is_gone() {
    let Some(server) = server::own() else { return };
    let url = server.database();
    drop(Postgres::connect(&url).expect("tables"));
    deletions_wait_at_the_commit(&server, &url);

    let engine = Engine::new();
    for of in [KEY, TEAM] {
        engine.upsert_owner(&owner(of), &[]).expect("an owner");
        let budget = Budget::new("$100".parse().expect("money"), "1d".parse().expect("a period"));
        engine.upsert_limit(&owner(of), &limit(of), budget).expect("a limit");
    }
    let store = Postgres::connect(&url).expect("a store");
    let (ledger, mut writer) = Ledger::builder(&engine).by_hand(store).expect("a ledger");
    let route = engine.route(&[owner(KEY), owner(TEAM)]);
    let used = |nanos| Usage {
        cost: Money::from_nanos(nanos).expect("money"),
        requests: 1,
        ..Usage::default()
    };
    let record = |nanos| ledger.record(&route, &used(nanos), Draft::new().api_key(&owner(KEY)));
    let totals = |of| -> Vec<i64> {
        let totals = ledger.totals(&limit(of)).expect("totals are read");
        totals.iter().map(|total| total.settled).collect()
    };
    written(&mut writer, record(5));
    assert_eq!((totals(KEY), totals(TEAM)), (vec![5], vec![5]));

    // No record refers to the team, so no lock of a reference is waited for.
    let error = thread::scope(|scope| {
        let removing = scope.spawn(|| ledger.remove_owner(&owner(TEAM)));
        cut_at_the_commit(&url);
        removing.join().expect("no panic").expect_err("its answer is lost")
    });
    assert!(matches!(error, RemoveError::Store { .. }), "{error}");
    assert!(totals(TEAM).is_empty());

    // What is written next begins no total of it anew, beside which the one from before is missing.
    assert!(!written(&mut writer, record(7)).nulled.any());
    assert_eq!((totals(KEY), totals(TEAM)), (vec![12], vec![]));
    assert!(engine.usage(&limit(TEAM)).is_none());
    assert_eq!(ledger.remove_owner(&owner(TEAM)).expect("it is removed").len(), 1);
}

/// Nothing is in doubt, so what the store will not do holds up nothing.
#[test]
fn a_deletion_that_the_server_has_not_done_holds_nothing_up() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let store = Postgres::connect(&url).expect("a store");
    let refuse = "
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'it takes too long' USING ERRCODE = '57014';
        END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON tollkeeper.totals
            FOR EACH ROW EXECUTE FUNCTION refuse();";
    server::connect(&url).batch_execute(refuse).expect("a trigger");

    let engine = Engine::new();
    engine.upsert_owner(&owner(TEAM), &[]).expect("an owner");
    let budget = Budget::new("$100".parse().expect("money"), "1d".parse().expect("a period"));
    engine.upsert_limit(&owner(TEAM), &limit(TEAM), budget).expect("a limit");
    let (ledger, mut writer) = Ledger::builder(&engine).by_hand(store).expect("a ledger");
    let route = engine.route(&[owner(TEAM)]);
    let used = Usage { cost: Money::from_nanos(5).expect("money"), ..Usage::default() };
    for total in [5, 10, 15] {
        written(&mut writer, ledger.record(&route, &used, Draft::new()));
        let totals = ledger.totals(&limit(TEAM)).expect("totals are read");
        assert_eq!(totals.iter().map(|total| total.settled).sum::<i64>(), total);
        let error = ledger.remove_owner(&owner(TEAM)).expect_err("it will not");
        let RemoveError::Store { source: StoreError::Undone { .. }, .. } = &error else {
            panic!("{error}")
        };
    }
}
