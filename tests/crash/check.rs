//! What is held to what: acknowledgements, records, postings, totals, and a restored engine.

use std::collections::{BTreeMap, BTreeSet};

use tollkeeper::{Dimension, Engine, Ledger, LedgerStore, OwnerId, Stored, Timestamp, Usage};

use crate::hand::rest;
use crate::history::{History, Told, number};
use crate::work::{End, Mark, REASON, Step, Work};
use crate::world::{TIGHT, World, charged, create, is_passing, on_the_way, owner, passing_limit};

/// What was found not to be so.
pub type Failures = Vec<String>;

/// Everything that must be so, whenever a store is looked at.
pub fn all(work: Work, history: &History, told: &Told) -> Failures {
    let mut failures = acknowledged(history, told);
    failures.extend(sums(history, told));
    let (known, strangers) = history.by_mark();
    failures.extend(strangers);
    for (mark, stored) in &known {
        let step = work.step(mark.round, mark.thread, mark.number);
        if let Err(wrong) = request(work, history, (mark, &step), stored) {
            failures.push(format!("{wrong}: {mark}, {step:?}, {stored:?}"));
        }
    }
    failures.extend(corrections(work, history, &known));
    failures.extend(gaps(work, told, &known));
    if !work.shared {
        failures.extend(tight(history));
    }
    failures
}

/// What is acknowledged is there, the same.
fn acknowledged(history: &History, told: &Told) -> Failures {
    let mut failures = Failures::new();
    let records: BTreeMap<_, _> = history.records.iter().map(|s| (s.record.id, s)).collect();
    if records.len() != history.records.len() || history.raw.records != records.len() as i64 {
        failures.push(format!(
            "{} records in the table, {} read, of {} ids",
            history.raw.records,
            history.records.len(),
            records.len()
        ));
    }
    for (id, (key, upstream, said)) in &told.written {
        let Some(stored) = records.get(id) else {
            failures.push(format!("acknowledged, and not there: {id} {key} {upstream} {said}"));
            continue;
        };
        let record = &stored.record;
        // A reference becomes NULL when what it refers to is deleted, or was about to be when the
        // process was killed.
        let same = |now: &Option<OwnerId>, said: &String| match now {
            Some(now) => now.as_str() == said,
            None => {
                let passing = said.starts_with("key:p");
                said == "-" || passing || !history.raw.owners.contains(said)
            }
        };
        let (a, b) = (same(&record.api_key, key), same(&record.upstream, upstream));
        if !a || !b || rest(record) != *said {
            failures.push(format!("acknowledged as {key} {upstream} {said}, and is {record:?}"));
        }
    }
    failures
}

/// Totals are the sums of the postings, but for those of owners that are deleted: they have none.
/// Of an owner that is not registered and whose deletion is not acknowledged both may be so.
pub fn sums(history: &History, told: &Told) -> Failures {
    let mut failures = Failures::new();
    let raw = &history.raw;
    if raw.orphans != 0 {
        failures.push(format!("{} postings of nothing", raw.orphans));
    }
    for gone in &told.gone {
        if raw.owners.contains(gone.as_str()) {
            failures.push(format!("{gone} is deleted, and there"));
        }
    }
    let is_passing = |limit: &str| limit.starts_with("of-");
    let there = |limit: &str| {
        let passing = limit.strip_prefix("of-").map(|name| format!("key:{name}"));
        passing.is_none_or(|passing| raw.owners.contains(&passing))
    };
    let gone: BTreeSet<_> = told.gone.iter().map(|gone| passing_limit(gone).to_string()).collect();
    let windows: BTreeSet<_> = raw.sums.keys().chain(raw.totals.keys()).collect();
    for window in windows {
        let total = raw.totals.get(window);
        let sum = raw.sums.get(window).copied();
        let equal = total.map(|total| total.settled) == sum
            || total.is_some_and(|total| total.settled == 0) && sum.is_none();
        let none = total.is_none();
        let limit = &window.0;
        let right = match is_passing(limit) {
            true if gone.contains(limit) => none,
            true if !there(limit) => none || equal,
            _ => equal,
        };
        if !right {
            failures.push(format!("{window:?}: the total is {total:?}, the sum {sum:?}"));
        }
    }
    for ((limit, dimension), start) in &told.begun {
        let starts = raw.totals.keys().filter(|window| {
            let dimension = Dimension::ALL.into_iter().find(|d| format!("{d:?}") == *dimension);
            window.0 == *limit && Some(window.1) == dimension.map(number)
        });
        let last = starts.map(|window| window.2).max();
        if last.is_none_or(|last| u64::try_from(last).unwrap_or(0) < *start) {
            failures.push(format!("{limit} {dimension} was reset at {start}, and is at {last:?}"));
        }
    }
    failures
}

/// What a record of a request must be.
fn request(
    work: Work,
    history: &History,
    (mark, step): (&Mark, &Step),
    stored: &Stored,
) -> Result<(), String> {
    let Stored { record, nulled, postings } = stored;
    let passing = mark.passing.as_ref();
    let (outcome, usage) = step.recorded().ok_or("nothing of it may be recorded")?;
    let is = |right: bool, what: &str| if right { Ok(()) } else { Err(what.to_owned()) };
    is(record.outcome == outcome && record.usage == usage, "it is another one")?;
    is(record.admitted_at <= record.settled_at, "it ended before it began")?;
    is(passing.is_none() || step.wants_passing, "it has an owner that it does not want")?;
    if step.end == End::Unbilled {
        is(record.id != work.id(mark), "it has taken an id that it did not use")?;
        is(record.reason.as_deref() == Some(REASON), "its reason is another one")?;
    } else {
        is(record.id == work.id(mark), "its id is another one")?;
    }
    let key = step.api_key(passing);
    let is_deleted = |owner: &OwnerId| !history.owners.contains(owner.as_str());
    let key_is_right = match &record.api_key {
        Some(now) => *now == key && !nulled.api_key && !is_deleted(&key),
        // Its deletion may have been on its way when the process was killed.
        None => is_deleted(&key) || passing == Some(&key) && !nulled.api_key,
    };
    is(key_is_right, "its key is another one")?;
    is(record.upstream == step.upstream() && !nulled.upstream, "its upstream is another one")?;
    let owners = step.owners(passing);
    let mut left: BTreeSet<_> = postings.iter().map(|p| (p.limit.clone(), p.dimension)).collect();
    for (limit, dimension) in on_the_way(&owners) {
        left.remove(&(limit.clone(), dimension));
        let of = postings.iter().filter(|p| p.limit == limit && p.dimension == dimension);
        let of: Vec<_> = of.collect();
        let sum: i64 = of.iter().map(|posting| posting.amount).sum();
        let gone = passing.filter(|passing| limit == passing_limit(passing));
        if gone.is_some_and(|gone| of.is_empty() && is_deleted(gone)) {
            // What was on its way when its owner was deleted is not charged to it.
            continue;
        }
        let no_ghost = gone.is_none() || !nulled.api_key;
        is(no_ghost, "an owner is charged that was deleted before")?;
        is(amounts(step, dimension).contains(&sum), &format!("{limit} {dimension:?}: {sum}"))?;
        is(of.iter().all(|p| p.amount >= 0), "it gives something back")?;
    }
    is(left.is_empty(), "it charges limits that are not on its way")
}

/// What it may have come to on a counter: what was used or, where the window is over in which it
/// was held, what was held, if that is more (it stays booked there).
fn amounts(step: &Step, dimension: Dimension) -> BTreeSet<i64> {
    let of = |usage: &Usage| charged(usage, dimension);
    let Some((_, used)) = step.recorded() else { return BTreeSet::new() };
    let used = of(&used);
    match step.end {
        End::Unbilled | End::Record | End::Uncertain => BTreeSet::from([used]),
        _ => BTreeSet::from([used, used.max(of(&step.estimate)), used.max(of(&step.held()))]),
    }
}

/// Of an uncertain record there is one correction at most, and both together come to what was used
/// or, in windows that are over, what was held.
fn corrections(work: Work, history: &History, known: &BTreeMap<Mark, &Stored>) -> Failures {
    let mut failures = Failures::new();
    let corrections = history.records.iter().filter(|stored| stored.record.corrects.is_some());
    let mut corrected = BTreeSet::new();
    for stored in corrections {
        let record = &stored.record;
        let mark = record.model.as_deref().and_then(Mark::parse);
        let Some((mark, of)) = mark.and_then(|mark| known.get_key_value(&mark)) else {
            failures.push(format!("nothing is corrected by {stored:?}"));
            continue;
        };
        let step = work.step(mark.round, mark.thread, mark.number);
        let right = record.corrects == Some(of.record.id)
            && Some(record.usage) == step.later
            && corrected.insert(mark.clone());
        if !right {
            failures.push(format!("{mark} is not corrected so: {step:?}, {stored:?}"));
        }
        for (limit, dimension) in on_the_way(&step.owners(mark.passing.as_ref())) {
            let there = |stored: &Stored| -> i64 {
                let of = stored.postings.iter();
                let of = of.filter(|p| p.limit == limit && p.dimension == dimension);
                of.map(|posting| posting.amount).sum()
            };
            let (held, sum) = (there(of), there(of) + there(stored));
            let used = step.later.map_or(0, |later| charged(&later, dimension));
            let parts = [charged(&step.estimate, dimension), held];
            // What is charged to an owner that is deleted is not corrected.
            let deleted = mark.passing.as_ref().is_some_and(|passing| {
                limit == passing_limit(passing) && !history.owners.contains(passing.as_str())
            });
            if !deleted && sum != used && !parts.iter().any(|part| sum == used.max(*part)) {
                failures
                    .push(format!("{limit} {dimension:?} of {mark}: {sum}: {step:?} {stored:?}"));
            }
        }
    }
    failures
}

/// What a thread settled before something that is there is there too, also what it let go. Of a
/// thread that was not killed everything is there.
fn gaps(work: Work, told: &Told, known: &BTreeMap<Mark, &Stored>) -> Failures {
    let mut threads: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
    for mark in known.keys() {
        threads.entry((mark.round, mark.thread)).or_default().insert(mark.number);
    }
    for thread in told.steps.keys() {
        threads.entry(*thread).or_default();
    }
    let mut failures = Failures::new();
    for ((round, thread), numbers) in threads {
        let last = numbers.last().map_or(0, |last| last + 1);
        for number in 0..told.steps.get(&(round, thread)).copied().unwrap_or(last) {
            let step = work.step(round, thread, number);
            let is_due = step.recorded().is_some() && !step.may_be_denied();
            if is_due && !numbers.contains(&number) {
                failures.push(format!("r{round}.t{thread}.n{number} is not there: {step:?}"));
            }
        }
    }
    failures
}

/// No window of a limit that is reached admits more than the limit, over any number of crashes.
fn tight(history: &History) -> Failures {
    let tight = history.raw.sums.iter().filter(|((limit, ..), _)| limit == "tight-rate");
    let over = tight.filter(|(_, sum)| **sum > i64::try_from(TIGHT).expect("it is small"));
    over.map(|(window, sum)| format!("{window:?} admits {TIGHT}, and has {sum}")).collect()
}

/// What each counter has used, by its limit and dimension.
pub type Used = BTreeMap<(String, String), i64>;

/// What an engine that begins with a store has used, at an instant.
pub fn restored(store: impl LedgerStore, history: &History, now: Timestamp) -> (Used, Failures) {
    let world = World::at(now);
    for passing in history.owners.iter().map(|name| owner(name)).filter(is_passing) {
        create(&world.engine, &passing);
    }
    let opened = Ledger::builder(&world.engine).by_hand(store);
    let (_ledger, _writer) = opened.expect("the ledger opens");
    (used(&world.engine), held_to(history, &world.engine, now))
}

fn used(engine: &Engine) -> Used {
    let mut used = Used::new();
    for usage in engine.usage_all() {
        for counter in usage.counters {
            let place = (usage.limit.to_string(), format!("{:?}", counter.dimension));
            used.insert(place, i64::try_from(counter.settled).expect("amounts are small"));
        }
    }
    used
}

/// Every counter has what the store has for the window that is open, or nothing.
fn held_to(history: &History, engine: &Engine, now: Timestamp) -> Failures {
    let mut failures = Failures::new();
    for usage in engine.usage_all() {
        for counter in &usage.counters {
            let open = history.open(usage.limit.as_str(), counter.dimension, now);
            let start = i64::try_from(counter.window.start.as_nanos()).expect("before 2262");
            let settled = i64::try_from(counter.settled).expect("amounts are small");
            let right = match open {
                Some((began, total)) => total == settled && began == start,
                None => settled == 0,
            };
            if !right || counter.held != 0 {
                let limit = &usage.limit;
                failures.push(format!("{limit} at {now:?}: {open:?} in the store, {counter:?}"));
            }
        }
    }
    failures
}
