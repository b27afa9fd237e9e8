//! Keys whose holders are killed: between the claim, the charge, and the completion.

use std::collections::{BTreeMap, BTreeSet};
use std::process;
use std::sync::Arc;
use std::thread::{scope, sleep};
use std::time::Duration;

use tollkeeper::{
    Claim, Draft, Fingerprint, Idempotency, KeyStore, Lease, Ledger, LedgerStore, Scope, Timestamp,
    Usage,
};

use crate::check;
use crate::child::{open, say};
use crate::draw::Draw;
use crate::history::{History, Told};
use crate::place::{CHILD, PARENT, Place};
use crate::process::Child;
use crate::rounds::{Run, START};
use crate::world::{World, limit, money, owner};

/// So many requests are under way at once.
const KEYS: u64 = 4;
/// The one of the processes that is killed; the others are 1 and 2.
const KILLED: u64 = 0;
/// Short, so that the one who takes over waits for less.
const LEASE: Duration = Duration::from_millis(150);
/// Longer than it takes everybody before.
const WAIT: Duration = Duration::from_secs(60);

/// What is charged, by whom.
fn used(name: u64) -> Usage {
    Usage { requests: 1, cost: money(1_000_000 + name), ..Usage::default() }
}

/// What a child does for these tests.
pub fn process(job: &str) -> ! {
    let words: Vec<_> = job.splitn(4, ' ').collect();
    let [name, seed, round, place] = words[..] else { panic!("no job: {job}") };
    let number = |word: &str| word.parse().expect("a number");
    let draws = [number(seed), number(round), number(name)];
    match place.strip_prefix("sqlite:") {
        #[cfg(feature = "sqlite")]
        Some(path) => gateway(Arc::new(tollkeeper::Sqlite::open(path).expect("a file")), draws),
        #[cfg(feature = "postgres")]
        None => gateway(Arc::new(tollkeeper::Postgres::connect(place).expect("it is up")), draws),
        #[allow(unreachable_patterns)] // With one feature.
        _ => panic!("{place}: without its feature"),
    }
}

/// One process: all keys of the round at once.
fn gateway(store: Arc<impl LedgerStore + KeyStore>, draws: [u64; 3]) -> ! {
    let world = World::at(start());
    let ledger = Ledger::builder(&world.engine).start(Arc::clone(&store)).expect("a ledger");
    let keys = Idempotency::builder(|_| ()).lease(LEASE).start(store).expect("keys");
    let spent = || {
        let usage = world.engine.usage(&limit("k2-prepaid")).expect("the limit");
        usage.counters[0].settled
    };
    say(&format!("is {}", draws[2]));
    say(&format!("began {}", spent()));
    scope(|threads| {
        for key in 0..KEYS {
            let (world, ledger, keys) = (&world, &ledger, &keys);
            threads.spawn(move || request(world, ledger, keys, draws, key));
        }
    });
    say(&format!("spent {}", spent()));
    if draws[2] == KILLED {
        // Until it is, or until its parent has gone.
        let _ = std::io::stdin().read_line(&mut String::new());
    }
    assert!(ledger.close(WAIT).is_clean(), "everything is written");
    process::exit(0);
}

/// Goes on until the request is executed, by whomever.
fn request(world: &World, ledger: &Ledger, keys: &Idempotency, draws: [u64; 3], key: u64) {
    let [seed, round, name] = draws;
    let mut draw = Draw::of(&[seed, round, name, key]);
    let mut pause = || sleep(Duration::from_micros(draw.within(0..8_000)));
    let text = format!("{seed}-{round}-{key}");
    let scope = Scope::new("tenant", "POST /v1/chat", &text).expect("a scope");
    let execute = |lease: &Lease| {
        let draft = Draft::new().api_key(&owner("key:k2")).model(name.to_string());
        let route = world.engine.route(&[owner("key:k2")]);
        let charge = ledger.reserve(&route, &used(name), draft.id(lease.charge()));
        let mut charge = charge.expect("there is enough");
        charge.mark_dispatched();
        charge.settle(&used(name)).wait().expect("it is written")
    };
    loop {
        match keys.claim(&scope, Fingerprint::of(&[b"the same"]), WAIT).wait().expect("an answer") {
            Claim::Owned(lease) => {
                let (fence, charge) = (lease.fence(), lease.charge());
                say(&format!("claimed {key} {charge} {fence}"));
                pause();
                let fate = execute(&lease).fate;
                say(&format!("charged {key} {charge} {fate:?}"));
                pause();
                match lease.complete(name.to_string().into_bytes()).wait() {
                    Ok(()) => return say(&format!("completed {key} {charge} {name}")),
                    // Somebody else has taken over: then there is an answer.
                    Err(_) => say(&format!("lost {key} {charge} {name}")),
                }
            }
            Claim::Replay { result, charge } => {
                let result = String::from_utf8(result.expect("it is small").to_vec());
                let result = result.expect("a name");
                return say(&format!("replayed {key} {charge} {result}"));
            }
            Claim::InFlight { .. } => {}
            Claim::Mismatch => panic!("it is the same request"),
        }
    }
}

fn start() -> Timestamp {
    START.parse().expect("an instant")
}

/// How often it came to what is looked for.
#[derive(Default)]
pub struct Met {
    takeovers: usize,
    /// Takeovers of what was charged already.
    charged_before: usize,
}

/// A process is killed at any moment, two others take over at once.
pub fn round(run: &mut Run, place: &dyn Place, met: &mut Met) {
    let Run { work, round, .. } = *run;
    let child = |name: u64| {
        let place = place.of(if name == KILLED { CHILD } else { "crash-other" });
        let job = format!("keys {name} {} {round} {place}", work.seed);
        Child::start(&job)
    };
    let before = History::read(place, &*open(&place.of(PARENT))).records.len();
    let mut killed = child(KILLED);
    killed.until("claimed");
    sleep(Duration::from_micros(run.draw().within(0..25_000)));
    killed.kill();
    place.outlast(CHILD);
    let history = History::read(place, &*open(&place.of(PARENT)));
    let spent = history.records.iter().map(|stored| stored.record.usage.cost.as_nanos());
    let spent: u64 = spent.sum();
    let mut others = [child(1), child(2)];
    let mut failures = Vec::new();
    let mut keys: BTreeMap<String, Key> = BTreeMap::new();
    take(&mut keys, &killed.said);
    let mut written = Vec::new();
    for other in &mut others {
        let number = |said: String| said.parse::<u64>().expect("an amount");
        let (began, has) = (number(other.until("began")), number(other.until("spent")));
        other.finish();
        take(&mut keys, &other.said);
        let mut own = BTreeMap::new();
        take(&mut own, &other.said);
        written.push((began, has, own.values().map(|key: &Key| key.written.len()).sum::<usize>()));
    }
    for (name, (began, has, own)) in (1..).zip(&written) {
        // It began with what was there, and with what the other one had charged by then; and has
        // added what it has charged itself.
        let (_, _, others) = written[name % 2];
        let cost = |name: usize| used(name as u64).cost.as_nanos();
        let may_begin = |charged: usize| spent + charged as u64 * cost(3 - name);
        if has - began != *own as u64 * cost(name)
            || !(0..=others).map(may_begin).any(|b| b == *began)
        {
            failures
                .push(format!("{name} began with {began} of {spent}, and has {has}: {written:?}"));
        }
    }
    let history = History::read(place, &*open(&place.of(PARENT)));
    failures.extend(check::sums(&history, &Told::default()));
    if history.records.len() != before + keys.len() || keys.len() as u64 != KEYS {
        let records = history.records.len();
        failures.push(format!("{records} records after {before}, of {} keys", keys.len()));
    }
    let records = history.records.iter();
    let records: BTreeMap<_, _> = records.map(|s| (s.record.id.to_string(), &s.record)).collect();
    for (key, Key { charges, fences, written, duplicates, results }) in &keys {
        let charge = charges.first().filter(|_| charges.len() == 1);
        let record = charge.and_then(|charge| records.get(charge));
        let by = record.and_then(|record| record.model.as_deref()?.parse::<u64>().ok());
        let right = written.len() <= 1
            && written.iter().all(|name| by == Some(*name))
            && by.is_some_and(|by| record.is_some_and(|record| record.usage == used(by)))
            && results.len() == 1;
        if !right {
            failures.push(format!(
                "key {key}: charges {charges:?}, written by {written:?}, results {results:?}, \
                 {record:?}"
            ));
        }
        met.takeovers += usize::from(fences.len() > 1);
        met.charged_before += duplicates;
    }
    run.check(failures);
    run.count(keys.values().map(|key| key.written.len()).sum(), keys.len());
}

/// What processes said about one key.
#[derive(Default)]
struct Key {
    charges: BTreeSet<String>,
    fences: BTreeSet<u64>,
    /// Who has charged it.
    written: Vec<u64>,
    /// Who has found it charged.
    duplicates: usize,
    /// What it was completed with, and what was replayed.
    results: BTreeSet<String>,
}

fn take(keys: &mut BTreeMap<String, Key>, said: &[String]) {
    // Who it was that says it.
    let mut name = 0;
    for line in said {
        let words: Vec<_> = line.split(' ').collect();
        let [what, of, charge, rest] = words[..] else {
            if let ["is", number] = words[..] {
                name = number.parse().expect("a number");
            }
            continue;
        };
        let key = keys.entry(of.to_owned()).or_default();
        key.charges.insert(charge.to_owned());
        match (what, rest) {
            ("claimed", fence) => drop(key.fences.insert(fence.parse().expect("a number"))),
            ("charged", "Duplicate") => key.duplicates += 1,
            ("charged", _) => key.written.push(name),
            ("completed" | "replayed", result) => drop(key.results.insert(result.to_owned())),
            _ => {}
        }
    }
}

impl Met {
    pub fn report(&self, run: &Run) {
        let Met { takeovers, charged_before } = self;
        println!("taken over: {takeovers}, of which charged before: {charged_before}");
        run.report();
        // In so many rounds it comes to all of it.
        let is_enough = run.round >= 8;
        assert!(!is_enough || (*takeovers > 0 && *charged_before > 0), "nothing was taken over");
    }
}
