//! The barrier in several processes of the operating system, with one PostgreSQL between them.
//!
//! The processes are this test's own program, started again: it sees by an environment variable
//! that it is one of them. Each critical section writes a line when it begins and one when it ends
//! to one file, in the append mode, in which lines stand in the order of their being written,
//! whoever wrote them.

#![cfg(all(feature = "postgres", unix))]

#[path = "support/postgres.rs"]
mod postgres_server;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{Barrier, BarrierBuilder, LockPool, OwnerId, PostgresLocks};

use postgres_server::{connect, named, shared, wait_until};

const PROCESSES: usize = 2;
const USERS: usize = 3;
/// Of each user, in each process.
const CALLERS: usize = 8;
const ROUNDS: usize = 12;

/// More connections than calls: they are not what limits them.
const PLENTY: usize = USERS * CALLERS * 2;

/// What a process is started as: `<process>|<url>|<connections>|<file>`, or with 0 connections for
/// no lock.
const ROLE: &str = "TOLLKEEPER_BARRIER_PROCESS";

fn application(process: usize) -> String {
    format!("barrier-{process}")
}

fn barrier(runtime: &tokio::runtime::Runtime) -> BarrierBuilder {
    let handle = runtime.handle().clone();
    Barrier::builder(move |task| {
        handle.spawn(task);
    })
}

fn locks(url: &str, process: usize, connections: usize) -> PostgresLocks {
    let pool = LockPool { connections, ..LockPool::default() };
    PostgresLocks::connect(&named(url, &application(process)), pool).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn user(n: usize) -> OwnerId {
    OwnerId::new("user", &n.to_string()).unwrap()
}

/// What the processes write to, in whole lines.
#[derive(Clone)]
struct Story(Arc<File>);

impl Story {
    fn open(path: &Path) -> Story {
        Story(Arc::new(OpenOptions::new().append(true).create(true).open(path).unwrap()))
    }

    fn tell(&self, line: &str) {
        (&*self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// This program again, as one of the processes.
fn start(test: &str, role: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What this process is to do, if it is one of them.
fn role() -> Option<Vec<String>> {
    let role = std::env::var(ROLE).ok()?;
    Some(role.split('|').map(str::to_owned).collect())
}

/// Tells the parent that it is there, and waits until it is told to go on.
fn report_and_wait() {
    println!("\nready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn wait_for_report(child: &mut Child) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut said = lines.map_while(Result::ok);
    assert!(said.any(|line| line == "ready"), "the process ended before it was ready");
}

/// One process: every caller has a number of calls, one after another.
fn compete(role: &[String]) {
    let (process, connections): (usize, usize) =
        (role[0].parse().unwrap(), role[2].parse().unwrap());
    let (url, path) = (&role[1], Path::new(&role[3]));
    let runtime = runtime();
    let mut builder = barrier(&runtime);
    if connections > 0 {
        builder = builder.remote_lock(locks(url, process, connections));
    }
    let barrier = Arc::new(builder.start().unwrap());
    let story = Story::open(path);
    report_and_wait();
    let callers = (0..USERS * CALLERS).map(|caller| {
        let (barrier, story) = (Arc::clone(&barrier), story.clone());
        let (user, who) = (caller % USERS, format!("{process}.{caller}"));
        runtime.spawn(async move {
            for _ in 0..ROUNDS {
                let (story, who) = (story.clone(), who.clone());
                let section = barrier.run(&self::user(user), None, move |permit| async move {
                    story.tell(&format!("{user} {who} begins"));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    story.tell(&format!("{user} {who} ends"));
                    assert!(!permit.is_lost());
                });
                section.await.unwrap();
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    callers.into_iter().for_each(|caller| runtime.block_on(caller).unwrap());
    assert_eq!(barrier.counts().users, 0);
}

/// What the file says.
#[derive(Debug, Default)]
struct Told {
    sections: usize,
    /// Sections that began while another one of the same user was there.
    overlaps: usize,
    /// Sections that began while one of another user was there.
    side_by_side: usize,
    /// Times that a user's next section was in another process.
    handed_over: usize,
}

fn read(path: &Path) -> Told {
    let text = std::fs::read_to_string(path).unwrap();
    let mut told = Told::default();
    let mut inside: Vec<Vec<&str>> = vec![Vec::new(); USERS];
    let mut before: Vec<Option<&str>> = vec![None; USERS];
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (user, who): (usize, &str) = (words[0].parse().unwrap(), words[1]);
        if words[2] == "begins" {
            told.sections += 1;
            told.overlaps += usize::from(!inside[user].is_empty());
            let others = inside.iter().enumerate().filter(|(other, _)| *other != user);
            told.side_by_side += usize::from(others.into_iter().any(|(_, who)| !who.is_empty()));
            let process = who.split('.').next();
            told.handed_over += usize::from(before[user].is_some() && before[user] != process);
            before[user] = process;
            inside[user].push(who);
        } else {
            let place = inside[user].iter().position(|other| *other == who).unwrap();
            inside[user].remove(place);
        }
    }
    assert!(inside.iter().all(Vec::is_empty));
    told
}

/// Starts the processes, lets them go at once, and watches them until they end.
fn let_them_compete(test: &str, url: &str, connections: usize, mut watch: impl FnMut()) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story");
    let role = |process| format!("{process}|{url}|{connections}|{}", path.display());
    let mut children: Vec<Child> = (0..PROCESSES).map(|n| start(test, &role(n))).collect();
    children.iter_mut().for_each(wait_for_report);
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    wait_until("the processes are done", || {
        watch();
        children.iter_mut().all(|child| child.try_wait().unwrap().is_some())
    });
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    read(&path)
}

/// How many connections one process uses for one user, where that is the most.
const BUSIEST: &str = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
     WHERE locktype = 'advisory' AND datname = current_database() \
     GROUP BY application_name, classid, objid \
     ORDER BY count(*) DESC LIMIT 1";

#[test]
fn processes_never_have_two_calls_of_one_user_inside() {
    if let Some(role) = role() {
        return compete(&role);
    }
    let Some(server) = shared() else { return };
    let url = server.database();
    let test = "processes_never_have_two_calls_of_one_user_inside";
    let mut watcher = connect(&url);
    let (mut samples, mut most_busy, mut most) = (0, 0, [0_i64; PROCESSES]);
    let told = let_them_compete(test, &url, PLENTY, || {
        samples += 1;
        let busy = watcher.query_opt(BUSIEST, &[]).unwrap();
        most_busy = most_busy.max(busy.map_or(0, |row| row.get::<_, i64>(0)));
        for (process, most) in most.iter_mut().enumerate() {
            let row = watcher.query_one(CONNECTIONS, &[&application(process)]).unwrap();
            *most = (*most).max(row.get::<_, i64>(0));
        }
    });
    // Past the capture of the tests.
    let said = writeln!(
        std::io::stderr(),
        "{PROCESSES} processes, {USERS} users, {CALLERS} callers each, {ROUNDS} rounds: {told:?}; \
         in {samples} samples a process had at most {most_busy} connections busy for one user, and \
         {most:?} altogether"
    );
    said.expect("stderr");
    assert_eq!(told.sections, PROCESSES * USERS * CALLERS * ROUNDS);
    assert_eq!(told.overlaps, 0);
    assert!(told.side_by_side > 0, "users do not wait for each other");
    assert!(told.handed_over > PROCESSES * USERS, "the processes take turns");
    assert_eq!(most_busy, 1, "connections for one user");
    assert!(most.iter().all(|most| (1..=USERS as i64).contains(most)), "{most:?}");
}

/// However many calls a user has, a pool needs one connection for each user who has some.
#[test]
fn a_connection_for_each_active_user_is_enough() {
    if let Some(role) = role() {
        return compete(&role);
    }
    let Some(server) = shared() else { return };
    let (url, mut most) = (server.database(), 0);
    let mut client = connect(&url);
    let told = let_them_compete("a_connection_for_each_active_user_is_enough", &url, USERS, || {
        let row = client.query_one(CONNECTIONS, &[&application(0)]).unwrap();
        most = most.max(row.get::<_, i64>(0));
    });
    println!("{told:?}; connections of a process at most {most}");
    assert_eq!(told.sections, PROCESSES * USERS * CALLERS * ROUNDS);
    assert_eq!(told.overlaps, 0);
    assert!((1..=USERS).contains(&usize::try_from(most).unwrap()));
}

/// Those of one application in this test's own database.
const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE application_name = $1 AND datname = current_database()";

/// What the tests above would see if the lock did nothing.
#[test]
fn without_the_lock_processes_do_overlap() {
    if let Some(role) = role() {
        return compete(&role);
    }
    let told = let_them_compete("without_the_lock_processes_do_overlap", "", 0, || ());
    println!("{told:?}");
    assert_eq!(told.sections, PROCESSES * USERS * CALLERS * ROUNDS);
    assert!(told.overlaps > 0);
}

/// A process that is killed while it is inside lets the other one in.
#[test]
fn a_process_that_is_killed_inside_does_not_keep_the_others_out() {
    if let Some(role) = role() {
        let runtime = runtime();
        let barrier = barrier(&runtime).remote_lock(locks(&role[1], 0, 1)).start().unwrap();
        let _permit = barrier.acquire(&user(0), None).wait().unwrap();
        return report_and_wait();
    }
    let Some(server) = shared() else { return };
    let url = server.database();
    let test = "a_process_that_is_killed_inside_does_not_keep_the_others_out";
    let mut child = start(test, &format!("0|{url}"));
    wait_for_report(&mut child);
    let runtime = runtime();
    let barrier = barrier(&runtime).remote_lock(locks(&url, 1, 2)).start().unwrap();
    let entered = runtime.spawn(barrier.acquire(&user(0), None));
    drop(barrier.acquire(&user(1), None).wait().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!entered.is_finished(), "the other process is inside");

    child.kill().unwrap();
    child.wait().unwrap();
    let permit = runtime.block_on(entered).unwrap().unwrap();
    assert!(!permit.is_lost());
}

/// One that stands still, as if its machine were gone, lets it in as well: but only then.
#[test]
fn a_process_that_stands_still_inside_does_not_keep_the_others_out() {
    if let Some(role) = role() {
        let runtime = runtime();
        let pool = LockPool { keep_alive: Duration::from_millis(100), ..LockPool::default() };
        let locks = PostgresLocks::connect(&role[1], pool).unwrap();
        let barrier = barrier(&runtime).remote_lock(locks).start().unwrap();
        let permit = barrier.acquire(&user(0), None).wait().unwrap();
        report_and_wait();
        return runtime.block_on(permit.lost());
    }
    let Some(server) = shared() else { return };
    let url = server.database();
    let test = "a_process_that_stands_still_inside_does_not_keep_the_others_out";
    let mut child = start(test, &format!("0|{url}"));
    wait_for_report(&mut child);
    let runtime = runtime();
    let barrier = barrier(&runtime).remote_lock(locks(&url, 1, 1)).start().unwrap();
    let entered = runtime.spawn(barrier.acquire(&user(0), None));
    // Longer than the server is silent about it.
    std::thread::sleep(Duration::from_secs(6));
    assert!(!entered.is_finished(), "the other process is inside, and says so");

    let signal = |name: &str| {
        let killed = Command::new("kill").args([name, &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
    };
    signal("-STOP");
    let entered = runtime.block_on(entered).unwrap();
    signal("-CONT");
    assert!(!entered.unwrap().is_lost());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success(), "it learns that it has lost it");
}
