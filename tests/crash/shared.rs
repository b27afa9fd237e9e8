//! Two processes that settle into one store at the same time, each with an engine of its own.

use std::thread::sleep;
use std::time::Duration;

use tollkeeper::Timestamp;

use crate::check;
use crate::child::{Job, open};
use crate::history::{History, Told};
use crate::place::{CHILD, PARENT, Place};
use crate::rounds::{Rounds, Run, usage};
use crate::work::Work;

/// Both settle; in every other round one of them is killed. Whoever is left learns what the other
/// has used.
pub fn round(run: &mut Run, place: &dyn Place) {
    let work = Work { shared: true, ..run.work };
    let job = Rounds::new(place, work).job(run);
    let mut one = job.start();
    let mut other = Job { first_thread: 10, place: place.of("crash-other"), ..job }.start();
    // Both begin with nothing.
    one.until("ready");
    other.until("ready");
    one.tell("go");
    other.tell("go");
    sleep(Duration::from_micros(run.draw().within(50_000..300_000)));
    let mut told = Told::default();
    let mut failures = Vec::new();
    let mut left = vec![one, other];
    if run.round % 2 == 1 {
        let mut killed = left.remove(0);
        killed.kill();
        place.outlast(CHILD);
        failures.extend(told.take(run.round, &killed.said));
    }
    left.iter_mut().for_each(|child| child.tell("stop"));
    let stopped = left.iter_mut().map(|child| child.until("done").parse::<u64>());
    let stopped: Vec<u64> = stopped.map(|nanos| nanos.expect("an instant")).collect();
    let history = History::read(place, &*open(&place.of(PARENT)));
    let now = stopped.iter().copied().map(Timestamp::from_nanos).max();
    let now = history.latest().max(now.expect("one is left"));
    for child in &mut left {
        child.ask(&format!("at {}", now.as_nanos()), "set");
        // What differs is repaired when it is seen for the second time.
        let first = child.ask("reconcile", "reconciled");
        let second = child.ask("reconcile", "reconciled");
        let third = child.ask("reconcile", "reconciled");
        let drifts = |found: &str| found.split("drifts=").nth(1).map(str::to_owned);
        let expected = first.replace("repaired=0", "");
        if !first.starts_with("quiet=true") || !first.ends_with("repaired=0") {
            failures.push(format!("seen for the first time: {first}"));
        }
        if !second.starts_with(expected.trim_end()) || drifts(&second).is_none() {
            failures.push(format!("seen for the second time: {second} after {first}"));
        }
        if third != "quiet=true drifts=0 repaired=0" {
            failures.push(format!("seen after the repair: {third} after {second}"));
        }
        for ((limit, dimension), settled) in usage(child) {
            let counter = tollkeeper::Dimension::ALL.into_iter();
            let counter = counter.filter(|counter| format!("{counter:?}") == dimension);
            let total = counter.filter_map(|counter| history.open(&limit, counter, now)).next();
            if total.map_or(0, |(_, total)| total) != settled {
                failures.push(format!("{limit} {dimension}: {settled}, the store has {total:?}"));
            }
        }
        child.close();
        failures.extend(told.take(run.round, &child.said));
    }
    let history = History::read(place, &*open(&place.of(PARENT)));
    failures.extend(check::all(work, &history, &told));
    failures.extend(check::restored(open(&place.of(PARENT)), &history, now).1);
    run.check(failures);
    run.count(told.written.len(), history.records.len());
}
