//! Several threads at one store.

use std::thread;
use std::time::Duration;

use tollkeeper::{Entry, Fate, Filter, StoreError, Written};

use crate::kit::*;

/// Writes as a writer does that tries again while the store is busy.
fn write_until_done(place: &impl Place, group: &[Entry]) -> Vec<Written> {
    loop {
        match place.store().write(group) {
            Ok(written) => return written,
            Err(error @ StoreError::Unavailable { .. }) => {
                assert!(error.is_transient());
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn writers_lose_nothing(place: &mut impl Place) {
    const GROUPS: u128 = 20;
    const EACH: u128 = 5;
    register(place.store(), &["key:k", "provider:p"]);
    let place = &*place;
    thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for group in 0..GROUPS {
                    let number = |entry| (thread * GROUPS + group) * EACH + entry;
                    let entries: Vec<Entry> =
                        (0..EACH).map(|entry| usual(number(entry), "k", "p", 3)).collect();
                    let fates = write_until_done(place, &entries);
                    assert!(fates.iter().all(|fate| *fate == written(NOW, NONE)));
                    // Reading does not wait for the others to be done.
                    assert_eq!(
                        place.store().totals(&limit("t-tokens")).map(|all| all.len()).ok(),
                        Some(1)
                    );
                }
            });
        }
    });
    let all = 8 * GROUPS * EACH;
    assert_eq!(ids(place.store()), (0..all).collect::<Vec<_>>());
    for limit_text in ["k-tokens", "p-tokens", "t-tokens"] {
        assert_eq!(sums(place.store(), limit_text), [(60, 3 * i64::try_from(all).expect("small"))]);
    }
}

pub fn the_same_entry_from_many_threads_is_written_once(place: &mut impl Place) {
    let place = &*place;
    for round in 0..10 {
        let fates: Vec<Fate> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|attempt| {
                    let same = Entry {
                        attempt,
                        ..entry(record(round), vec![posting("team:t", "t", 60, 1)])
                    };
                    scope.spawn(move || write_until_done(place, &[same])[0].fate)
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Now).count(), 1);
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Duplicate).count(), 7);
    }
    assert_eq!(sums(place.store(), "t"), [(60, 10)]);
}

pub fn a_deleted_owner_leaves_no_ghost(place: &mut impl Place) {
    const EACH: u128 = 40;
    register(place.store(), &["key:k", "provider:p"]);
    let place = &*place;
    let charged: i64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let mut charged = 0;
                    for number in 0..EACH {
                        let mut entry = usual(thread * EACH + number, "k", "p", 1);
                        entry.postings.push(posting("key:k&model:m", "pair", 60, 1));
                        let fate = write_until_done(place, &[entry])[0];
                        assert_eq!(fate.fate, NOW);
                        charged += i64::from(!fate.nulled.api_key);
                    }
                    charged
                })
            })
            .collect();
        // In the midst of it.
        loop {
            let written = sums(place.store(), "t-tokens");
            if written.first().is_some_and(|(_, sum)| *sum > 20) {
                break;
            }
        }
        while let Err(error) = place.store().delete(&owner("key:k")) {
            assert!(error.is_transient(), "{error}");
        }
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    assert!(charged >= 20 - 4, "{charged} were charged before the key was deleted");
    assert_eq!(sums(place.store(), "k-tokens"), []);
    assert_eq!(sums(place.store(), "pair"), []);
    let all = i64::try_from(4 * EACH).expect("small");
    assert_eq!(sums(place.store(), "t-tokens"), [(60, all)]);
    assert_eq!(sums(place.store(), "p-tokens"), [(60, all)]);
    // What was told to the writers is what the records say.
    let filter = Filter { owner: Some(owner("key:k")), ..Filter::default() };
    assert_eq!(found(place.store(), &filter).len() as i64, charged);
}
