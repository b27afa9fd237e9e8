//! Clients that go away, and clients that read slowly.

use std::time::Duration;

use bytes::Bytes;
use tollkeeper::Outcome;

use crate::scene::*;
use crate::upstream::{Reply, Step, say};

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_in_the_middle_finds_the_whole_answer_when_he_comes_back() {
    let gateway = Gateway::start().await;
    let steps = [say("one\n"), Step::Wait, say("two\n"), Step::Wait, say("used 7\nend\n")];
    gateway.upstream.next(Reply::ok(steps));
    let mut begun = gateway.begin(&ask("k")).await;
    assert_eq!(next(&mut begun).await, "one\n");
    drop(begun);
    gateway.upstream.open();
    // He comes back before it is over, and waits for it.
    let asks = ask("k");
    let again = async {
        tokio::join!(gateway.ask(&asks), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            gateway.upstream.open();
        })
    };
    let (again, ()) = again.await;
    assert!(again.is_replayed());
    assert_eq!((again.status.as_u16(), &*again.body), (200, "one\ntwo\nused 7\nend\n"));
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
    assert_eq!(gateway.used("k1"), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_who_goes_before_the_first_byte() {
    let gateway = Gateway::start().await;
    gateway.upstream.next(Reply::ok([say("one\nused 7\nend\n")]).late());
    {
        let asks = ask("k");
        let begun = gateway.begin(&asks);
        let gone = tokio::time::timeout(Duration::from_millis(150), begun).await;
        assert!(gone.is_err(), "nothing has come");
    }
    until(|| gateway.upstream.calls() == 1).await;
    gateway.upstream.open();
    gateway.settles(7).await;
    let again = gateway.ask(&ask("k")).await;
    assert!(again.is_replayed());
    assert_eq!(again.body, "one\nused 7\nend\n");
    assert_eq!(gateway.upstream.calls(), 1);
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}

/// Pieces of 64 KiB, 128 MiB in all: more than all the buffers on the way.
const PIECES: usize = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_slows_the_upstream_down_and_who_has_gone_does_not() {
    let gateway = Gateway::start().await;
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let mut steps = vec![Step::Say(piece); PIECES];
    steps.push(say("\nused 7\nend\n"));
    gateway.upstream.next(Reply::ok(steps));
    let mut begun = gateway.begin(&ask("k")).await;
    next(&mut begun).await;
    let mut said = 0;
    // Until all buffers are full.
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if gateway.upstream.said() == said {
            break;
        }
        said = gateway.upstream.said();
    }
    assert!(said < PIECES / 2, "{said} pieces were taken for a client that reads none");
    drop(begun);
    until(|| gateway.upstream.said() == PIECES + 1).await;
    gateway.settles(7).await;
    let again = gateway.ask(&ask("k")).await;
    assert_eq!((again.status.as_u16(), &*again.error().0), (409, "idempotency_answer_not_kept"));
    assert_eq!(gateway.charges(), [(Outcome::Completed, 7)]);
}
