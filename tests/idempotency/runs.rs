//! Whole runs: with a keeper in its thread, callers in threads and tasks in a runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tollkeeper::{Attempt, Claim, Idempotency, MemoryKeys, Ran, RunError};

use crate::kit::*;

const PATIENT: Duration = Duration::from_secs(30);

fn started() -> Idempotency {
    Idempotency::builder(in_a_thread).start(MemoryKeys::new(1_000)).expect("it starts")
}

fn fresh(text: &str) -> Ran {
    Ran::Fresh(text.as_bytes().into())
}

fn again(text: &str) -> Ran {
    Ran::Replayed(text.as_bytes().into())
}

type Executed = Result<Ran, RunError<&'static str>>;

fn run(
    keys: &Idempotency,
    key: &str,
    wait: Duration,
    result: Result<&str, &'static str>,
) -> Executed {
    let result = result.map(|text| text.as_bytes().to_vec());
    block_on(keys.run(&scope(key), body("b"), wait, |_| async { result }))
}

/// Sleeps as an execution that takes its time.
async fn slowly(calls: &AtomicUsize) -> Result<Vec<u8>, &'static str> {
    calls.fetch_add(1, Ordering::SeqCst);
    thread::sleep(ms(40));
    Ok(b"42".to_vec())
}

#[test]
fn fifty_identical_calls_execute_once() {
    let (keys, calls) = (started(), Arc::new(AtomicUsize::new(0)));
    let start = Barrier::new(50);
    let results: Vec<Executed> = thread::scope(|scope| {
        let call =
            || {
                start.wait();
                let calls = calls.clone();
                let run = keys.run(&self::scope("k"), body("b"), PATIENT, |_| async move {
                    slowly(&calls).await
                });
                block_on(run)
            };
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let ran: Vec<Ran> = results.into_iter().map(|ran| ran.expect("it succeeds")).collect();
    assert_eq!(ran.iter().filter(|ran| **ran == fresh("42")).count(), 1);
    assert_eq!(ran.iter().filter(|ran| **ran == again("42")).count(), 49);
}

#[test]
fn calls_with_different_keys_execute_each() {
    let (keys, calls) = (started(), Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        for key in ["a", "b", "c"] {
            let (keys, calls) = (&keys, calls.clone());
            scope.spawn(move || {
                let run = keys.run(&self::scope(key), body("b"), PATIENT, |_| async move {
                    slowly(&calls).await
                });
                assert_eq!(block_on(run).expect("it succeeds"), fresh("42"));
            });
        }
    });
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_completed_run_is_replayed_and_a_failed_one_is_tried_again() {
    let keys = started();
    let failed = run(&keys, "k", PATIENT, Err("no"));
    assert!(matches!(failed, Err(RunError::Failed("no"))), "{failed:?}");
    assert_eq!(run(&keys, "k", PATIENT, Ok("42")).expect("it is tried again"), fresh("42"));
    assert_eq!(run(&keys, "k", PATIENT, Err("no")).expect("a replay"), again("42"));
    // An empty result is a result.
    assert_eq!(run(&keys, "l", PATIENT, Ok("")).expect("it succeeds"), fresh(""));
    assert_eq!(run(&keys, "l", PATIENT, Ok("x")).expect("a replay"), again(""));
    let other = block_on(keys.run(&scope("k"), body("other"), PATIENT, |_| async {
        Ok::<Vec<u8>, &str>(b"not executed".to_vec())
    }));
    assert!(matches!(other, Err(RunError::Mismatch)), "{other:?}");
}

#[test]
fn an_execution_that_panics_is_failed() {
    let keys = started();
    let panicking = block_on(keys.run(&scope("k"), body("b"), PATIENT, |_| async {
        if true {
            panic!("on purpose");
        }
        Ok::<Vec<u8>, &str>(Vec::new())
    }));
    assert!(matches!(panicking, Err(RunError::BrokeOff)), "{panicking:?}");
    let early = |_: Attempt| -> std::future::Ready<Result<Vec<u8>, &str>> { panic!("on purpose") };
    let panicking = block_on(keys.run(&scope("k"), body("b"), AT_ONCE, early));
    assert!(matches!(panicking, Err(RunError::BrokeOff)), "{panicking:?}");
    assert_eq!(run(&keys, "k", AT_ONCE, Ok("42")).expect("at once"), fresh("42"));
}

#[test]
fn a_task_that_is_never_run_breaks_off() {
    let keys = Idempotency::builder(drop).start(MemoryKeys::new(10)).expect("it starts");
    let dropped = run(&keys, "k", PATIENT, Ok("42"));
    assert!(matches!(dropped, Err(RunError::BrokeOff)), "{dropped:?}");
    // The key was failed, so it may be claimed.
    let claim = keys.claim(&scope("k"), body("b"), AT_ONCE).wait();
    assert_eq!(owned(claim).fence(), 2);
}

#[test]
fn a_call_does_not_wait_longer_than_it_wants() {
    let keys = started();
    let lease = owned(keys.claim(&scope("k"), body("b"), AT_ONCE).wait());
    let begun = Instant::now();
    let waited = run(&keys, "k", ms(80), Ok("42"));
    assert!(matches!(waited, Err(RunError::InFlight { .. })), "{waited:?}");
    assert!((ms(75)..secs(20)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    lease.complete(*b"43").wait().expect("it is completed");
    assert_eq!(run(&keys, "k", AT_ONCE, Ok("42")).expect("a replay"), again("43"));
}

#[test]
fn a_result_that_is_too_large_is_returned_once() {
    let keys = Idempotency::builder(in_a_thread).max_result_bytes(2);
    let keys = keys.start(MemoryKeys::new(10)).expect("it starts");
    assert_eq!(run(&keys, "k", PATIENT, Ok("123")).expect("it succeeds"), fresh("123"));
    let not_kept = run(&keys, "k", PATIENT, Ok("123"));
    assert!(matches!(not_kept, Err(RunError::NotKept { .. })), "{not_kept:?}");
}

#[test]
fn an_execution_longer_than_many_leases_is_the_only_one() {
    let store = Arc::new(MemoryKeys::new(10));
    let node = || {
        let builder = Idempotency::builder(in_a_thread).lease(ms(300));
        builder.start(store.clone()).expect("it starts")
    };
    let (here, there) = (node(), node());
    let calls = Arc::new(AtomicUsize::new(0));
    let call = |keys: &Idempotency| {
        let calls = calls.clone();
        block_on(keys.run(&scope("k"), body("b"), PATIENT, |attempt: Attempt| async move {
            calls.fetch_add(1, Ordering::SeqCst);
            thread::sleep(ms(1_500));
            assert!(!attempt.is_lost());
            Ok::<_, &str>(b"42".to_vec())
        }))
    };
    let results: Vec<Executed> = thread::scope(|scope| {
        let threads = [&here, &there].map(|keys| scope.spawn(move || call(keys)));
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[test]
fn an_execution_whose_lease_was_lost_has_its_result_all_the_same() {
    let store = Shaky::new(10);
    let keys = Idempotency::builder(in_a_thread).lease(ms(100));
    let keys = keys.start(store.clone()).expect("it starts");
    let same = store.clone();
    let lost = block_on(keys.run(&scope("k"), body("b"), PATIENT, move |attempt: Attempt| {
        // Another machine, whose clock is an hour ahead, takes over.
        let mut other = Node::of(&same, 2, |builder| builder);
        other.now = tollkeeper::Clock::now(&tollkeeper::SystemClock).saturating_add(secs(3_600));
        let lease = other.own("k", "b");
        assert_eq!((lease.fence(), lease.charge()), (2, attempt.charge()));
        other.complete(lease, "the other's");
        async { Ok::<_, &str>(b"its own".to_vec()) }
    }));
    match lost {
        Err(RunError::NotCompleted { result, error }) => {
            assert_eq!(&*result, b"its own");
            assert_eq!(
                error.to_string(),
                "the lease was lost: another claim has taken the key over"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(run(&keys, "k", AT_ONCE, Ok("42")).expect("a replay"), again("the other's"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_survives_its_caller() {
    let keys = Idempotency::builder(|task| drop(tokio::spawn(task)));
    let keys = keys.start(MemoryKeys::new(10)).expect("it starts");
    let (begun, has_begun) = std::sync::mpsc::channel();
    let slow = |_: Attempt| async move {
        begun.send(()).expect("the test waits");
        tokio::time::sleep(ms(50)).await;
        Ok::<_, &str>(b"42".to_vec())
    };
    let (k, b) = (scope("k"), body("b"));
    // The client disconnects: its future is dropped in the midst of it.
    let call = tokio::spawn(keys.run(&k, b, PATIENT, slow));
    has_begun.recv().expect("it begins");
    call.abort();
    assert!(call.await.expect_err("it is dropped").is_cancelled());
    let again = keys.run(&k, b, PATIENT, |_| async { Ok::<Vec<u8>, &str>(Vec::new()) }).await;
    assert_eq!(again.expect("a replay"), self::again("42"));
    // One that goes before it was claimed executes nothing.
    let never = keys.run(&scope("l"), b, PATIENT, |_| async { Ok::<_, &str>(b"x".to_vec()) });
    drop(never);
    let claim = keys.claim(&scope("l"), b, PATIENT).await;
    assert!(matches!(claim, Ok(Claim::Owned(lease)) if lease.fence() == 1));
}
