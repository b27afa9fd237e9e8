//! The same in a runtime and with threads, where nobody says in which order things happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollkeeper::{Barrier, BarrierBuilder, BarrierError, OwnerId};

use crate::hand::{Gate, Story, user};
use crate::simulated::Server;

fn builder() -> BarrierBuilder {
    Barrier::builder(|task| {
        tokio::spawn(task);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_calls_of_one_user_run_one_after_the_other() {
    let (barrier, user, story) = (builder().start().unwrap(), user("u1"), Story::default());
    let (entered, release) = (Gate::default(), Gate::default());
    let first = {
        let (story, entered, release) = (story.clone(), entered.clone(), release.clone());
        barrier.run(&user, None, |_| async move {
            story.tell("1-start");
            entered.open();
            release.pass().await;
            story.tell("1-end");
        })
    };
    let first = tokio::spawn(first);
    entered.pass().await;
    let second = {
        let story = story.clone();
        barrier.run(&user, None, |_| async move {
            story.tell("2-start");
            story.tell("2-end");
        })
    };
    let second = tokio::spawn(second);
    // The second one is in the queue and has every chance to go wrong.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(story.so_far(), "1-start");
    release.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(story.so_far(), "1-start 1-end 2-start 2-end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_run_side_by_side() {
    let (barrier, story, ended) = (builder().start().unwrap(), Story::default(), Gate::default());
    let (told, waits) = (story.clone(), ended.clone());
    let slow = barrier.run(&user("a"), None, |_| async move {
        // It ends only if the other one can begin and end meanwhile.
        waits.pass().await;
        told.tell("a-end");
    });
    let slow = tokio::spawn(slow);
    let told = story.clone();
    let quick = barrier.run(&user("b"), None, |_| async move { told.tell("b-end") });
    quick.await.unwrap();
    ended.open();
    slow.await.unwrap().unwrap();
    assert_eq!(story.so_far(), "b-end a-end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_calls_of_one_user_run_in_their_order_and_none_within_another() {
    let server = Server::default();
    let barrier = builder().remote_lock(server.process(0)).start().unwrap();
    let (user, story) = (user("u1"), Story::default());
    let calls: Vec<_> = (0..8)
        .map(|n| {
            let story = story.clone();
            tokio::spawn(barrier.run(&user, None, move |_| async move {
                story.tell(n.to_string());
                tokio::time::sleep(Duration::from_millis(2)).await;
                story.tell(n.to_string());
                n
            }))
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), n);
    }
    assert_eq!(story.so_far(), "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7");
    assert_eq!((server.asked(), server.most_for_a_key()), (8, 1));
}

#[tokio::test]
async fn a_client_that_goes_does_not_stop_its_section() {
    let (barrier, user) = (builder().start().unwrap(), user("u1"));
    let (entered, release, settled) = (Gate::default(), Gate::default(), Gate::default());
    let (enters, waits, settles) = (entered.clone(), release.clone(), settled.clone());
    let client = tokio::spawn(barrier.run(&user, None, |_| async move {
        enters.open();
        waits.pass().await;
        settles.open();
    }));
    entered.pass().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    release.open();
    settled.pass().await;
    assert_eq!(barrier.run(&user, None, |_| async { "next" }).await.unwrap(), "next");
}

/// Threads, tasks, clients that go, deadlines that are short, two processes: never two inside, and
/// everybody ends.
#[test]
fn under_stress_there_are_never_two_inside_and_everybody_ends() {
    const THREADS: usize = 4;
    const CALLS: usize = 400;
    const USERS: usize = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let server = Server::default();
    let barriers: Vec<Barrier> = (0..2)
        .map(|process| {
            let handle = runtime.handle().clone();
            let builder = Barrier::builder(move |task| {
                handle.spawn(task);
            });
            let builder = builder.wait_at_most(Duration::from_millis(3));
            builder.max_waiters_per_user(8).remote_lock(server.process(process)).start().unwrap()
        })
        .collect();
    let users: Vec<OwnerId> = (0..USERS).map(|n| user(&format!("u{n}"))).collect();
    let inside: Arc<Vec<AtomicUsize>> = Arc::new((0..USERS).map(|_| AtomicUsize::new(0)).collect());
    let ran = Arc::new(AtomicUsize::new(0));

    let ended: Vec<[usize; 3]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (barriers, users, inside, ran) = (&barriers, &users, &inside, &ran);
                scope.spawn(move || {
                    let mut ended = [0; 3];
                    for n in 0..CALLS {
                        let (who, barrier) = ((thread + n * 7) % USERS, &barriers[n % 2]);
                        let (inside, ran) = (Arc::clone(inside), Arc::clone(ran));
                        let section = barrier.run(&users[who], None, move |_| async move {
                            let others = inside[who].fetch_add(1, Ordering::SeqCst);
                            assert_eq!(others, 0, "two inside");
                            tokio::task::yield_now().await;
                            inside[who].fetch_sub(1, Ordering::SeqCst);
                            ran.fetch_add(1, Ordering::SeqCst);
                        });
                        if n % 5 == 0 {
                            // Its client goes, queued or not even begun.
                            drop(section);
                            ended[2] += 1;
                            continue;
                        }
                        match section.wait() {
                            Ok(()) => ended[0] += 1,
                            Err(BarrierError::Timeout { .. } | BarrierError::QueueFull { .. }) => {
                                ended[1] += 1;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    ended
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |at: usize| ended.iter().map(|ended| ended[at]).sum::<usize>();
    let (done, refused, gone) = (sum(0), sum(1), sum(2));
    println!("{done} done, {refused} too late or too many, {gone} gone");
    assert_eq!(done + refused + gone, THREADS * CALLS);
    assert_eq!(ran.load(Ordering::SeqCst), done, "who left before its turn never ran");
    assert!(done > 0);
    assert!(barriers.iter().all(|barrier| barrier.counts().users == 0));
    assert_eq!((server.connections(), server.most_for_a_key()), (0, 1));
}
