//! The lock that replicas share, on a real PostgreSQL. A replica is a `PostgresLocks` of its own.

#![cfg(feature = "postgres")]

#[path = "support/postgres.rs"]
mod server;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use server::{Stop, wait_until};
use tollkeeper::{
    LockError, LockKey, LockPool, LockRequest, PostgresLocks, RemoteGuard, RemoteLock, StoreError,
};

/// Longer than any test waits for what is to happen.
const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(300);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future, on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn key(user: &str) -> LockKey {
    LockKey::of(&format!("user:{user}").parse().expect("an owner"))
}

fn take(locks: &PostgresLocks, user: &str) -> Box<dyn RemoteGuard> {
    wait(locks.request(key(user), LONG)).expect("the lock is granted")
}

/// Whether a request has no answer yet.
fn is_pending(request: &mut LockRequest) -> bool {
    request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn locks(url: &str) -> PostgresLocks {
    PostgresLocks::connect(url, LockPool::default()).expect("locks")
}

/// How many advisory locks of this database are held or waited for.
fn advisory(url: &str, granted: bool) -> i64 {
    let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = $1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    server::connect(url).query_one(query, &[&granted]).expect("a count").get(0)
}

#[test]
fn two_replicas_exclude_each_other_for_a_user_and_not_for_two() {
    const EACH: usize = 40;
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let replicas = [locks(&url), locks(&url)];
    let (inside, done) = (AtomicI64::new(0), AtomicI64::new(0));
    thread::scope(|scope| {
        for replica in &replicas {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let guard = take(replica, "one");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                        thread::sleep(Duration::from_micros(200));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        assert!(!guard.loss().is_told());
                        drop(guard);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        }
    });
    assert_eq!(done.load(Ordering::SeqCst), 160);

    let first = take(&replicas[0], "one");
    let second = take(&replicas[1], "two");
    let third = take(&replicas[0], "three");
    assert_eq!(advisory(&url, true), 3);
    drop((first, second, third));
    wait_until("all are released", || advisory(&url, true) == 0);
}

#[test]
fn a_wait_ends_at_its_deadline_and_the_connection_is_used_again() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let name = "deadline";
    let (holder, late) = (locks(&url), locks(&server::named(&url, name)));
    let guard = take(&holder, "u");
    let mut client = server::connect(&url);
    let mut session = || -> i32 {
        let query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
        client.query_one(query, &[&name]).expect("one connection").get(0)
    };
    let first = session();
    for _ in 0..3 {
        let begun = Instant::now();
        let refused = wait(late.request(key("u"), SHORT));
        assert!(matches!(refused, Err(LockError::Timeout)));
        assert!((SHORT..SHORT * 20).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(session(), first);
    }
    drop(guard);
    drop(take(&late, "u"));
    // A deadline that has passed already is not worth a question.
    assert!(matches!(wait(late.request(key("u"), Duration::ZERO)), Err(LockError::Timeout)));
}

#[test]
fn a_cancelled_wait_leaves_no_lock_no_waiter_and_no_connection() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let name = "cancelled";
    let (holder, other) = (locks(&url), locks(&server::named(&url, name)));
    let guard = take(&holder, "u");
    for _ in 0..5 {
        let mut request = other.request(key("u"), LONG);
        wait_until("it waits", || advisory(&url, false) == 1);
        assert!(is_pending(&mut request));
        drop(request);
        wait_until("nobody waits", || advisory(&url, false) == 0);
    }
    wait_until("its connections are closed", || server.connections(name) == 0);

    // Dropped while the lock is granted: it is released, whoever was first.
    drop(guard);
    for round in 0..40 {
        let request = other.request(key("u"), LONG);
        thread::sleep(Duration::from_micros(100 * round));
        drop(request);
    }
    drop(take(&holder, "u"));
    wait_until("all are released", || advisory(&url, true) == 0);
}

#[test]
fn there_is_a_connection_for_each_user_at_most_and_idle_ones_are_closed() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let name = "count";
    let pool = LockPool { connections: 6, idle: SHORT, ..LockPool::default() };
    let locks = PostgresLocks::connect(&server::named(&url, name), pool).expect("locks");
    assert_eq!(server.connections(name), 1);
    for users in [1, 2, 4] {
        let guards: Vec<_> = (0..users).map(|user| take(&locks, &user.to_string())).collect();
        assert!(server.connections(name) <= users, "{users} users");
        assert_eq!(advisory(&url, true), i64::try_from(users).expect("few"));
        drop(guards);
        wait_until("all are released", || advisory(&url, true) == 0);
    }
    wait_until("they are closed", || server.connections(name) == 0);
    drop(take(&locks, "again"));
    drop(locks);
    wait_until("they are closed", || server.connections(name) == 0);
}

/// Not even while a lock is released or a wait is cancelled, both of which take their time.
#[test]
fn a_user_never_has_a_second_connection() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let name = "one each";
    let locks = locks(&server::named(&url, name));
    let mut client = server::connect(&url);
    let mut connections = || -> i64 {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        client.query_one(query, &[&name]).expect("a count").get(0)
    };
    for _ in 0..20 {
        let guard = take(&locks, "u");
        // Behind it, one that is given up, one whose time is up, and one that is not.
        let gone = locks.request(key("u"), LONG);
        let late = locks.request(key("u"), Duration::from_millis(1));
        let next = locks.request(key("u"), LONG);
        assert!(matches!(wait(late), Err(LockError::Timeout)));
        drop((gone, guard));
        drop(wait(next).expect("granted"));
        assert_eq!(connections(), 1);
    }
    // Another user does not wait for that.
    let (one, two) = (take(&locks, "u"), take(&locks, "v"));
    let behind = locks.request(key("u"), LONG);
    drop(take(&locks, "w"));
    assert_eq!(connections(), 3);
    drop((one, two));
    drop(wait(behind).expect("granted"));
}

#[test]
fn who_finds_all_connections_in_use_waits_for_one_until_the_deadline() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let name = "exhausted";
    let pool = LockPool { connections: 2, ..LockPool::default() };
    let locks = PostgresLocks::connect(&server::named(&url, name), pool).expect("locks");
    let (one, two) = (take(&locks, "1"), take(&locks, "2"));
    let Err(error) = wait(locks.request(key("3"), SHORT)) else { panic!("there is no third") };
    assert!(error.to_string().ends_with("all its 2 connections are in use"), "{error}");
    let mut gone = locks.request(key("4"), LONG);
    let mut third = locks.request(key("5"), LONG);
    thread::sleep(SHORT);
    assert!(is_pending(&mut gone) && is_pending(&mut third));
    assert_eq!(server.connections(name), 2);
    // The first in the queue has gone; the next gets what is free.
    drop(gone);
    drop(one);
    let third = wait(third).expect("granted");
    assert_eq!(server.connections(name), 2);
    assert_eq!(advisory(&url, true), 2);

    // Dropped with one that waits.
    let waiting = locks.request(key("6"), LONG);
    drop(locks);
    assert!(matches!(wait(waiting), Err(LockError::Unavailable(_))));
    assert_eq!(advisory(&url, true), 2);
    drop((two, third));
    wait_until("they are closed", || server.connections(name) == 0);
}

#[test]
fn a_lost_connection_is_noticed_within_twice_the_keep_alive_time() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let keep_alive = Duration::from_millis(200);
    let pool = LockPool { keep_alive, ..LockPool::default() };
    let held = PostgresLocks::connect(&server::named(&url, "lost"), pool).expect("locks");
    let other = locks(&url);
    let guard = take(&held, "u");
    // Looked after, it is held for longer than that.
    thread::sleep(keep_alive * 4);
    assert!(!guard.loss().is_told());

    server.terminate("lost");
    let begun = Instant::now();
    wait_until("the loss is told", || guard.loss().is_told());
    wait(guard.loss().clone());
    // Nothing but the scheduler may add to it.
    assert!(begun.elapsed() < keep_alive * 2 + Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(take(&other, "u"));
    drop(guard);
    drop(take(&held, "u"));
}

#[test]
fn locks_work_again_after_the_server_was_down() {
    let Some(server) = server::own() else { return };
    let url = server.database();
    let pool = LockPool { keep_alive: SHORT, ..LockPool::default() };
    let locks = PostgresLocks::connect(&url, pool).expect("locks");
    let guard = take(&locks, "u");
    drop(take(&locks, "idle"));
    server.stop(Stop::Immediate);
    wait_until("the loss is told", || guard.loss().is_told());
    assert!(matches!(wait(locks.request(key("u"), LONG)), Err(LockError::Unavailable(_))));
    let refused = PostgresLocks::connect(&url, LockPool::default());
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    server.start();
    drop(guard);
    drop(take(&locks, "u"));

    // What broke while it idled costs no answer.
    server.terminate("tollkeeper-locks");
    drop(take(&locks, "u"));
}

#[test]
fn timeouts_of_the_database_do_not_end_a_lock() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let mut client = server::connect(&url);
    let database: String = client.query_one("SELECT current_database()", &[]).expect("one").get(0);
    for setting in ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"] {
        let alter = format!("ALTER DATABASE {database} SET {setting} = '100ms'");
        client.batch_execute(&alter).expect("altered");
    }
    let (holder, waiter) = (locks(&url), locks(&url));
    let guard = take(&holder, "u");
    let mut request = waiter.request(key("u"), LONG);
    thread::sleep(SHORT * 2);
    assert!(is_pending(&mut request), "the wait has ended");
    assert_eq!(advisory(&url, true), 1);
    drop(guard);
    drop(wait(request).expect("granted"));
}

#[test]
fn stores_and_locks_may_be_made_used_and_dropped_within_a_runtime() {
    let Some(server) = server::shared() else { return };
    let url = server.database();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = tollkeeper::Postgres::connect(&url).expect("a store");
        let locks = locks(&url);
        let guard = locks.request(key("u"), LONG).await.expect("granted");
        tollkeeper::LedgerStore::register(&store, &["key:k".parse().expect("an owner")])
            .expect("registered");
        drop(guard);
        drop((store, locks));
    });
}
