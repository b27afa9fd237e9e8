//! Several at once.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tollkeeper::{Claim, Idempotency, KeyAnswer, KeyStore, Timestamp};

use crate::kit::*;

const THREADS: u64 = 8;

/// What each thread is answered by a store of its own.
fn at_once<P: Place, T: Send>(
    place: &P,
    work: impl Fn(u64, &dyn KeyStore, Timestamp) -> T + Sync,
) -> Vec<T> {
    let start = Barrier::new(usize::try_from(THREADS).expect("a few"));
    thread::scope(|scope| {
        let thread = |n| {
            let (start, work, now) = (&start, &work, place.now());
            scope.spawn(move || {
                let store = place.open();
                start.wait();
                work(n, &*store, now)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

pub fn of_many_claims_at_once_one_owns<P: Place>(place: &mut P) {
    for round in 0..10 {
        let key = format!("k{round}");
        let answers = at_once(place, |n, store, now| {
            store.apply(&[op(&key, claim("a", n, HOUR))], now).expect("the store answers").remove(0)
        });
        let owners = answers.iter().filter(|answer| matches!(answer, KeyAnswer::Owned { .. }));
        assert_eq!(owners.count(), 1, "{answers:?}");
        let others =
            answers.iter().filter(|answer| matches!(answer, KeyAnswer::InFlight { fence: 1, .. }));
        assert_eq!(others.count(), 7, "{answers:?}");
    }
}

pub fn groups_in_any_order_end<P: Place>(place: &mut P) {
    const KEYS: u64 = 12;
    let owned = at_once(place, |n, store, now| {
        let mut owned = 0;
        for round in 0..20 {
            // Some keys are there by then and some are not, and everybody names them in an order of
            // its own.
            let keys = (0..KEYS).map(|at| (round / 2 * 6 + at * (2 * n + 1)) % (KEYS * 20));
            let mut keys: Vec<u64> = keys.collect();
            if n % 2 == 0 {
                keys.reverse();
            }
            let attempt = n * 1_000 + round;
            let ops: Vec<_> =
                keys.iter().map(|key| op(&format!("k{key}"), claim("a", attempt, HOUR))).collect();
            let answers = store.apply(&ops, now).expect("the store answers");
            owned += answers.iter().filter(|a| matches!(a, KeyAnswer::Owned { .. })).count();
        }
        owned
    });
    let mut keys = 0;
    let store = place.open();
    for key in 0..KEYS * 20 {
        let answer = ask_of(place, &*store, &format!("k{key}"), peek("a"));
        keys += usize::from(answer != KeyAnswer::Free);
    }
    assert_eq!(owned.iter().sum::<usize>(), keys, "each key has one owner");
}

pub fn claims_and_purges_at_once_lose_nothing<P: Place>(place: &mut P) {
    let lives = at_once(place, |n, store, now| {
        let mut lives = 0_u64;
        for round in 0..50_u64 {
            // A key each for two threads, so that claims revive what others purge.
            let key = format!("k{}", n / 2);
            let attempt = n * 1_000 + round;
            let ask =
                |act| store.apply(&[op(&key, act)], now).expect("the store answers").remove(0);
            if let KeyAnswer::Owned { fence, .. } = ask(claim("a", attempt, HOUR)) {
                in_flight(ask(peek("a")));
                assert_eq!(ask(fail(fence, attempt, Duration::ZERO)), KeyAnswer::Done);
                lives += 1;
            }
            store.purge(now, 3).expect("it purges");
        }
        lives
    });
    assert!(lives.iter().sum::<u64>() >= 50, "{lives:?}");
}

pub fn fronts_that_share_a_store_execute_once<P: Place>(place: &mut P) {
    let calls = AtomicUsize::new(0);
    let results = thread::scope(|scope| {
        let front = |_| {
            let nothing = |_: Pin<Box<dyn Future<Output = ()> + Send>>| ();
            let keys = Idempotency::builder(nothing).lease(Duration::from_secs(5));
            let keys = keys.start(Arc::<dyn KeyStore>::from(place.open())).expect("it starts");
            let calls = &calls;
            scope.spawn(move || {
                let wait = Duration::from_secs(30);
                match keys.claim(&self::scope("k"), body("a"), wait).wait().expect("an answer") {
                    Claim::Owned(lease) => {
                        calls.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(SHORT);
                        lease.complete(*b"42").wait().expect("it is completed");
                        b"42".to_vec()
                    }
                    Claim::Replay { result: Some(result), .. } => result.to_vec(),
                    other => panic!("{other:?}"),
                }
            })
        };
        let threads: Vec<_> = (0..THREADS).map(front).collect();
        let results = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        results.collect::<Vec<_>>()
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(results.iter().all(|result| result == b"42"), "{results:?}");
}
