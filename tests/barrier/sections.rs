//! Critical sections: they run to their end, and whatever that is, the next one has its turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tollkeeper::{
    Barrier, BarrierError, BarrierMode, LockKey, LockRequest, Loss, Permit, RemoteGuard,
    RemoteLock, Section, Usage,
};

use crate::hand::{Gate, Hand, Scene, Story, WITHIN, hand, replica, scene, scene_with, user};
use crate::simulated::Server;

/// A section that tells its beginning and its end, and passes a gate in between.
fn told(scene: &Scene, story: &Story, name: &str, gate: &Gate) -> Hand<Section<String>> {
    let (story, name, gate) = (story.clone(), name.to_owned(), gate.clone());
    hand(scene.barrier.run(&user("u1"), None, move |_| async move {
        story.tell(format!("{name}-start"));
        gate.pass().await;
        story.tell(format!("{name}-end"));
        name
    }))
}

#[test]
fn the_result_comes_back() {
    let scene = scene();
    let mut section = hand(scene.barrier.run(&user("u1"), None, |_| async { 42 }));
    assert!(section.waits());
    assert_eq!(scene.counts(), (1, 0, 1));
    scene.tasks.turn();
    assert_eq!(section.woken(), 1);
    assert_eq!(section.ready().unwrap(), 42);
    assert_eq!(scene.counts(), (0, 0, 0));
}

/// The end to end test of the original: while one upstream call is open, the other is not made.
#[test]
fn the_second_call_begins_when_the_first_has_settled() {
    let (scene, story) = (scene(), Story::default());
    let (first_gate, second_gate) = (Gate::default(), Gate::default());
    let mut first = told(&scene, &story, "1", &first_gate);
    let mut second = told(&scene, &story, "2", &second_gate);
    for _ in 0..5 {
        assert!(first.waits() && second.waits());
        scene.tasks.turn();
    }
    assert_eq!(story.so_far(), "1-start");
    first_gate.open();
    scene.tasks.turn();
    assert_eq!(first.ready().unwrap(), "1");
    assert!(second.waits());
    scene.tasks.turn();
    second_gate.open();
    scene.tasks.turn();
    assert_eq!(second.ready().unwrap(), "2");
    assert_eq!(story.so_far(), "1-start 1-end 2-start 2-end");
}

#[test]
fn a_client_that_goes_while_it_is_queued_is_not_billed() {
    let (scene, story, gate) = (scene(), Story::default(), Gate::default());
    let mut first = told(&scene, &story, "1", &gate);
    let mut gone = told(&scene, &story, "gone", &gate);
    let mut third = told(&scene, &story, "3", &gate);
    assert!(first.waits() && gone.waits() && third.waits());
    // Its turn has come, but it has not noticed: it must not run either.
    let mut gone_later = told(&scene, &story, "gone later", &gate);
    assert!(gone_later.waits());
    drop(gone);
    gate.open();
    scene.tasks.turn();
    assert_eq!(first.ready().unwrap(), "1");
    assert!(third.waits());
    scene.tasks.turn();
    assert_eq!(gone_later.woken(), 1);
    drop(gone_later);
    assert_eq!(third.ready().unwrap(), "3");
    scene.tasks.turn();
    assert_eq!(story.so_far(), "1-start 1-end 3-start 3-end");
    assert_eq!(scene.counts(), (0, 0, 0));
}

#[test]
fn a_client_that_goes_while_its_section_runs_changes_nothing_for_it() {
    let (scene, story, gate) = (scene(), Story::default(), Gate::default());
    let mut gone = told(&scene, &story, "1", &gate);
    let mut second = told(&scene, &story, "2", &gate);
    assert!(gone.waits() && second.waits());
    // It has its permit, and its task has not even been polled.
    drop(gone);
    scene.tasks.turn();
    assert_eq!(story.so_far(), "1-start");
    assert!(second.waits());
    assert_eq!(scene.counts(), (1, 1, 1));
    gate.open();
    scene.tasks.turn();
    assert_eq!((second.woken(), scene.tasks.len()), (1, 0));
    assert!(second.waits());
    scene.tasks.turn();
    assert_eq!(second.ready().unwrap(), "2");
    assert_eq!(story.so_far(), "1-start 1-end 2-start 2-end");
}

/// With a successor that is queued while it fails, not one that comes when all is over.
#[test]
fn a_section_that_fails_or_panics_lets_the_next_one_in() {
    let server = Server::default();
    let (scene, user) = (replica(server.process(0)), user("u1"));
    let gate = Gate::default();
    let waits = gate.clone();
    let mut failing = hand(scene.barrier.run(&user, None, |_| async move {
        waits.pass().await;
        Err::<(), &str>("deliberate failure")
    }));
    let waits = gate.clone();
    let mut panicking = hand(scene.barrier.run(&user, None, |_| async move {
        waits.pass().await;
        panic!("deliberate panic");
    }));
    let mut panicking: Hand<Section<()>> = {
        assert!(failing.waits() && panicking.waits());
        panicking
    };
    let mut next = hand(scene.barrier.run(&user, None, |_| async { "ok" }));
    assert!(next.waits());
    scene.tasks.turn();

    gate.open();
    scene.tasks.turn();
    assert_eq!(failing.ready().unwrap(), Err("deliberate failure"));
    assert!(panicking.waits() && next.waits());
    scene.tasks.turn();
    assert!(matches!(panicking.ready(), Err(BarrierError::Unfinished)));
    assert!(next.waits());
    scene.tasks.turn();
    assert_eq!(next.ready().unwrap(), "ok");
    assert_eq!((scene.counts(), server.connections()), ((0, 0, 0), 0));
}

#[test]
fn a_runtime_that_ends_releases_what_its_sections_held() {
    let (scene, story, gate) = (scene(), Story::default(), Gate::default());
    let mut first = told(&scene, &story, "1", &gate);
    let mut second = told(&scene, &story, "2", &gate);
    assert!(first.waits() && second.waits());
    scene.tasks.turn();
    scene.tasks.end();
    assert!(matches!(first.ready(), Err(BarrierError::Unfinished)));
    assert_eq!(second.woken(), 1);
}

/// A spawn closure that panics, as `tokio::spawn` does outside of its runtime.
#[test]
fn a_section_that_cannot_be_spawned_holds_nothing() {
    let builder = Barrier::builder(|_| panic!("there is no reactor running"));
    let (barrier, _timer) = builder.by_hand().unwrap();
    let mut section = hand(barrier.run(&user("u1"), None, |_| async { 42 }));
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| section.poll()));
    assert!(polled.is_err());
    assert_eq!(barrier.counts().users, 0);
    assert!(matches!(section.ready(), Err(BarrierError::Unfinished)));
}

/// A lock whose release panics.
#[derive(Clone, Default)]
struct Sticky(Arc<AtomicBool>);

struct StickyGuard(Loss, Arc<AtomicBool>);

impl RemoteLock for Sticky {
    fn request(&self, _: LockKey, _: Duration) -> LockRequest {
        let guard: Box<dyn RemoteGuard> = Box::new(StickyGuard(Loss::new(), Arc::clone(&self.0)));
        Box::pin(async { Ok(guard) })
    }
}

impl RemoteGuard for StickyGuard {
    fn loss(&self) -> &Loss {
        &self.0
    }
}

impl Drop for StickyGuard {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        panic!("the release failed");
    }
}

#[test]
fn a_release_that_fails_does_not_take_the_place_of_the_result() {
    let lock = Sticky::default();
    let (scene, user) = (scene_with(|builder| builder.remote_lock(lock.clone())), user("u1"));
    let mut section = hand(scene.barrier.run(&user, None, |_| async { "paid" }));
    let mut next = scene.acquire(&user);
    assert!(section.waits() && next.waits());
    scene.tasks.turn();
    assert!(lock.0.load(Ordering::SeqCst), "the release was tried");
    assert_eq!(section.ready().unwrap(), "paid");
    assert_eq!(next.woken(), 1, "and the place is free");
}

#[test]
fn a_section_that_asks_again_for_its_user_is_told_instead_of_waiting_for_itself() {
    let scene = scene();
    let barrier = Arc::new(scene.barrier);
    let (one, other) = (user("u1"), user("u2"));
    let inner = Arc::clone(&barrier);
    let gate = Gate::default();
    let waits = gate.clone();
    let mut section = hand(barrier.run(&one.clone(), None, move |_| async move {
        let at_first = inner.acquire(&one, None).await;
        waits.pass().await;
        let after_a_wait = inner.run(&one, None, |_| async {}).await;
        let another_users = inner.acquire(&other, None).await;
        (at_first, after_a_wait, another_users)
    }));
    assert!(section.waits());
    scene.tasks.turn();
    gate.open();
    // Between its polls this thread is not inside.
    let mut outside = hand(barrier.acquire(&user("u1"), None));
    assert!(outside.waits());
    scene.tasks.turn();
    let (at_first, after_a_wait, another_users) = section.ready().unwrap();
    assert!(matches!(at_first, Err(BarrierError::Reentrant { .. })));
    assert!(matches!(after_a_wait, Err(BarrierError::Reentrant { .. })));
    assert!(another_users.is_ok());
    assert!(outside.ready().is_ok());
}

/// What cannot be seen, a task that asks on behalf of the section, ends by its deadline.
#[test]
fn a_section_that_waits_for_itself_through_another_task_ends_at_the_deadline() {
    let mut scene = scene();
    let user = user("u1");
    let permit = scene.permit(&user);
    let mut in_another_task = scene.acquire(&user);
    assert!(in_another_task.waits());
    scene.pass(WITHIN);
    assert!(matches!(in_another_task.ready(), Err(BarrierError::Timeout { .. })));
    drop(permit);
}

/// A section that answers with a stream: the user's next call waits for the stream's end.
#[test]
fn a_clone_of_the_permit_keeps_the_next_one_out() {
    let (scene, user) = (scene(), user("u1"));
    let mut section = hand(scene.barrier.run(&user, None, |permit| async move { permit }));
    assert!(section.waits());
    scene.tasks.turn();
    let stream: Arc<Permit> = section.ready().unwrap();
    let mut next = scene.acquire(&user);
    assert!(next.waits());
    drop(stream);
    assert!(next.ready().is_ok());
}

#[test]
fn a_section_races_its_upstream_call_against_the_loss_of_the_lock() {
    let server = Server::default();
    let (scene, user) = (replica(server.process(0)), user("u1"));
    let upstream = Gate::default();
    let mut section = hand(scene.barrier.run(&user, None, |permit| async move {
        let (mut lost, mut answer) = (hand(permit.lost()), Box::pin(upstream.pass()));
        std::future::poll_fn(move |context| {
            if lost.poll().is_ready() {
                return Poll::Ready("stopped");
            }
            answer.as_mut().poll(context).map(|()| "answered")
        })
        .await
    }));
    assert!(section.waits());
    scene.tasks.turn();
    assert!(section.waits());
    server.lose(LockKey::of(&user));
    scene.tasks.turn();
    assert_eq!(section.ready().unwrap(), "stopped");
    assert_eq!(scene.barrier.counts().lost, 1);
}

/// A call with an estimate is spawned as the others are, and waits for nobody.
#[test]
fn a_section_that_need_not_be_serialised_runs_at_once_and_outlives_its_client() {
    let scene = scene_with(|builder| builder.mode(BarrierMode::WhenNoEstimate));
    let (user, estimate) = (user("u1"), Usage { requests: 1, ..Usage::default() });
    let holder = scene.permit(&user);
    let done = Arc::new(Mutex::new(0));
    for _ in 0..2 {
        let done = Arc::clone(&done);
        let mut section = hand(scene.barrier.run(&user, Some(&estimate), |permit| async move {
            *done.lock().unwrap() += usize::from(!permit.is_lost());
        }));
        assert!(section.waits());
    }
    scene.tasks.turn();
    assert_eq!(*done.lock().unwrap(), 2);
    drop(holder);
}
