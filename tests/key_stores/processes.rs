//! Eight operating-system processes that claim one key at one instant.
//!
//! The test binary starts itself again as each of them, with the store in an environment variable.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tollkeeper::{Clock, KeyAnswer, KeyStore, SystemClock, Timestamp};

use crate::kit::*;

const PROCESSES: u64 = 8;
const ROUNDS: u64 = 20;
/// Between rounds: all have claimed by then.
const ROUND: Duration = Duration::from_millis(250);

const STORE: &str = "TOLLKEEPER_TEST_STORE";
const PROCESS: &str = "TOLLKEEPER_TEST_PROCESS";
const START: &str = "TOLLKEEPER_TEST_START";

/// What a process does; nothing when the tests run as usual.
#[test]
fn child() {
    let Ok(store) = env::var(STORE) else { return };
    let number = |name| env::var(name).expect("it is set").parse::<u64>().expect("a number");
    let (process, mut start) = (number(PROCESS), Timestamp::from_nanos(number(START)));
    let store = open(&store);
    for round in 0..ROUNDS {
        let ops = [op(&format!("k{round}"), claim("a", process, HOUR))];
        thread::sleep(start.saturating_since(SystemClock.now()));
        let late = SystemClock.now().saturating_since(start);
        let answer = store.apply(&ops, SystemClock.now());
        let said = match answer.as_deref() {
            Ok([KeyAnswer::Owned { fence: 1, .. }]) => "owned".to_owned(),
            Ok([KeyAnswer::InFlight { fence: 1, .. }]) => "in-flight".to_owned(),
            other => format!("{other:?}").replace(' ', "-"),
        };
        println!("claimed {round} {said} {}", late.as_micros());
        start = start.saturating_add(ROUND);
    }
}

fn open(store: &str) -> Box<dyn KeyStore> {
    match store.split_once('=') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", path)) => Box::new(tollkeeper::Sqlite::open(path).expect("it opens")),
        #[cfg(feature = "postgres")]
        Some(("postgres", url)) => Box::new(tollkeeper::Postgres::connect(url).expect("it opens")),
        _ => panic!("{store} is no store of this build"),
    }
}

/// Of each round: how many owned, how many met one in flight, what else, and how late the latest
/// was.
fn race(store: &str) {
    drop(open(store));
    // Time for eight processes to start.
    let start = SystemClock.now().saturating_add(Duration::from_secs(2));
    let process = |number: u64| {
        Command::new(env::current_exe().expect("the test binary"))
            .args(["--exact", "processes::child", "--nocapture"])
            .env(STORE, store)
            .env(PROCESS, (number + 1).to_string())
            .env(START, start.as_nanos().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let processes: Vec<_> = (0..PROCESSES).map(process).collect();
    let mut rounds = vec![(0_u64, 0_u64, Vec::new(), 0_u64); usize::try_from(ROUNDS).expect("few")];
    for process in processes {
        let output = process.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("a text");
        for line in text.lines().filter_map(|line| line.split_once("claimed ")) {
            let words: Vec<&str> = line.1.split(' ').collect();
            let round = &mut rounds[words[0].parse::<usize>().expect("a number")];
            match words[1] {
                "owned" => round.0 += 1,
                "in-flight" => round.1 += 1,
                other => round.2.push(other.to_owned()),
            }
            round.3 = round.3.max(words[2].parse().expect("a number"));
        }
    }
    let kind = store.split('=').next().unwrap_or_default();
    for (number, (owned, in_flight, other, late)) in rounds.iter().enumerate() {
        println!(
            "{kind} round {number}: {owned} owned, {in_flight} in flight, {} errors; \
             all awake within {late} us",
            other.len()
        );
    }
    // Past the capture of the tests.
    let told = writeln!(
        std::io::stderr(),
        "{kind}: {} rounds of {PROCESSES} processes for one key",
        rounds.len()
    );
    told.expect("stderr");
    for (owned, in_flight, other, _) in rounds {
        assert_eq!((owned, in_flight, other), (1, PROCESSES - 1, Vec::new()));
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn one_of_eight_owns_a_key_in_an_sqlite_file() {
    let folder = tempfile::tempdir().expect("a folder");
    race(&format!("sqlite={}", folder.path().join("keys.sqlite").display()));
}

#[cfg(feature = "postgres")]
#[test]
fn one_of_eight_owns_a_key_in_postgresql() {
    if let Some(server) = crate::server::shared() {
        race(&format!("postgres={}", server.database()));
    }
}
