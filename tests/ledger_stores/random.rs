//! Random histories, held against the simplest account of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tollkeeper::{Entry, Fate, LimitId, Nulled, OwnerId, Posting, RecordId, UsageRecord};

use crate::kit::*;

const OWNERS: [&str; 5] = ["key:k", "key:j", "provider:p", "team:t", "key:k&model:m"];

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Entry>),
    Register(usize),
    Delete(usize),
    Purge(u64, usize),
    Reopen,
}

fn an_entry() -> impl Strategy<Value = Entry> {
    let reference = || prop_oneof![1 => Just(None), 3 => (0..3usize).prop_map(Some)];
    let charge = ((0..OWNERS.len(), 0..2u8), 0..3u64, -5..50i64);
    (0..40u128, 0..3u64, reference(), reference(), vec(charge, 0..6), 0..100u64).prop_map(
        |(number, attempt, api_key, upstream, charges, secs)| {
            let mut postings: Vec<Posting> = Vec::new();
            for ((of, which), start, amount) in charges {
                let new =
                    posting(OWNERS[of], &format!("{}/{which}", OWNERS[of]), start * 60, amount);
                let same = |old: &Posting| old.limit == new.limit && old.window == new.window;
                if !postings.iter().any(same) {
                    postings.push(new);
                }
            }
            let reference = |at: Option<usize>| at.map(|at| owner(OWNERS[at]));
            let record = UsageRecord {
                api_key: reference(api_key),
                upstream: reference(upstream),
                settled_at: at(secs),
                ..record(number)
            };
            Entry { record: Some(record), postings, attempt }
        },
    )
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(an_entry(), 0..6).prop_map(Step::Write),
        2 => (0..3usize).prop_map(Step::Register),
        1 => (0..OWNERS.len()).prop_map(Step::Delete),
        1 => (0..100u64, 0..5usize).prop_map(|(before, at_most)| Step::Purge(before, at_most)),
        1 => Just(Step::Reopen),
    ]
}

/// What should be there.
#[derive(Default)]
struct Account {
    owners: BTreeSet<OwnerId>,
    records: BTreeMap<RecordId, (Entry, Nulled)>,
    totals: BTreeMap<(LimitId, u64), (OwnerId, i64)>,
}

impl Account {
    fn write(&mut self, entry: &Entry) -> (Fate, Nulled) {
        let record = entry.record.as_ref().expect("all have one");
        if let Some((there, nulled)) = self.records.get(&record.id) {
            return match there.attempt == entry.attempt {
                true => (Fate::Before, *nulled),
                false => (Fate::Duplicate, NONE),
            };
        }
        let gone = |reference: &Option<OwnerId>| {
            reference.as_ref().is_some_and(|owner| !self.owners.contains(owner))
        };
        let nulled = Nulled { api_key: gone(&record.api_key), upstream: gone(&record.upstream) };
        for posting in entry.kept(nulled) {
            let key = (posting.limit.clone(), posting.window.start.as_nanos());
            let total = self.totals.entry(key).or_insert((posting.owner.clone(), 0));
            total.1 += posting.amount;
        }
        self.records.insert(record.id, (entry.clone(), nulled));
        (Fate::Now, nulled)
    }

    fn delete(&mut self, gone: &OwnerId) -> bool {
        self.totals.retain(|_, (owner, _)| {
            let members = owner.members();
            owner != gone && !members.is_some_and(|(a, b)| a == *gone || b == *gone)
        });
        self.owners.remove(gone)
    }

    fn old(&self, before: u64) -> usize {
        let settled = |entry: &Entry| entry.record.as_ref().expect("all have one").settled_at;
        self.records.values().filter(|(entry, _)| settled(entry) < at(before)).count()
    }
}

/// What a history does to a store is what it does to the account.
fn play<P: Place>(place: &mut P, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut account = Account::default();
    for step in steps {
        match step {
            Step::Write(group) => {
                let fates = write(place.store(), group);
                for (entry, fate) in group.iter().zip(fates) {
                    let expected = account.write(entry);
                    prop_assert_eq!((fate.fate, fate.nulled), expected);
                }
            }
            Step::Register(at) => {
                register(place.store(), &[OWNERS[*at]]);
                account.owners.insert(owner(OWNERS[*at]));
            }
            Step::Delete(at) => {
                let gone = owner(OWNERS[*at]);
                let was = place.store().delete(&gone).expect("it can be deleted");
                prop_assert_eq!(was, account.delete(&gone));
            }
            Step::Purge(before, at_most) => {
                let old = account.old(*before);
                let purged = place.store().purge(at(*before), *at_most).expect("it can be purged");
                prop_assert_eq!(purged, old.min(*at_most) as u64);
                let left = ids(place.store());
                account.records.retain(|id, _| left.contains(&id.as_u128()));
                prop_assert_eq!(account.records.len(), left.len());
            }
            Step::Reopen if P::DURABLE => place.reopen(),
            Step::Reopen => {}
        }
    }
    let mut totals = BTreeMap::new();
    for limit in OWNERS.iter().flat_map(|owner| (0..2).map(move |which| format!("{owner}/{which}")))
    {
        for total in place.store().totals(&limit.parse().expect("it is one")).expect("it is read") {
            let key = (total.limit, total.window.start.as_nanos());
            totals.insert(key, (total.owner, total.settled));
        }
    }
    prop_assert_eq!(&totals, &account.totals);
    let mut last = BTreeMap::new();
    for ((limit, start), (_, sum)) in totals {
        last.insert(limit, (start, sum));
    }
    let open = open(place.store(), at(0)).into_iter();
    let open: BTreeMap<_, _> =
        open.map(|total| (total.limit, (total.window.start.as_nanos(), total.settled))).collect();
    prop_assert_eq!(open, last);
    Ok(())
}

pub fn totals_equal_a_recount<P: Place>(_: &mut P) {
    let cases = if P::DURABLE { 24 } else { 256 };
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let played = runner.run(&vec(a_step(), 1..30), |steps| play(&mut P::fresh(), &steps));
    played.unwrap_or_else(|failure| panic!("{failure}"));
}
