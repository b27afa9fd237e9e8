//! Two gateways, each with keys and a ledger of its own, over the same SQLite file.

use std::path::Path;

use tollkeeper::{Outcome, Sqlite};

use crate::scene::*;
use crate::upstream::{Reply, Step, Upstream, say};

async fn gateway(file: &Path, upstream: &Upstream) -> Gateway {
    let keys = keys().start(Sqlite::open(file).expect("the file")).expect("a thread");
    let store = Sqlite::open(file).expect("the file");
    Gateway::over(upstream.clone(), store, Some((keys, LONG))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_executes_the_other_replays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tollkeeper.sqlite");
    let upstream = Upstream::start().await;
    let (one, other) = (gateway(&file, &upstream).await, gateway(&file, &upstream).await);

    // At the same time.
    upstream.next(Reply::ok([say("first\n"), Step::Wait, say("used 7\nend\n")]));
    let asks = ask("k");
    let both = async {
        tokio::join!(one.ask(&asks), other.ask(&asks), async {
            until(|| upstream.calls() == 1).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            upstream.open();
        })
    };
    let (a, b, ()) = both.await;
    assert_eq!((&*a.body, &*b.body), ("first\nused 7\nend\n", "first\nused 7\nend\n"));
    assert_eq!(u8::from(a.is_replayed()) + u8::from(b.is_replayed()), 1);

    // After it has ended, and after another try failed elsewhere.
    upstream.next(Reply::ok([say("sorry\n")]).status(500));
    assert_eq!(one.ask(&ask("l")).await.status, 500);
    let answer = other.ask(&ask("l")).await;
    assert_eq!((answer.status.as_u16(), answer.is_replayed()), (200, false));
    let again = one.ask(&ask("l")).await;
    assert!(again.is_replayed());
    assert_eq!(again.body, answer.body);

    // A crash's leavings at one are put right by the other.
    upstream.next(Reply::ok([say("one\n"), Step::Cut]));
    assert!(one.ask(&ask("m")).await.broke);
    until(|| one.used("k1").1 == 0).await;
    assert_eq!(other.ask(&ask("m")).await.status, 200);

    assert_eq!(upstream.calls(), 5);
    let charges = [
        (Outcome::Completed, 7),
        (Outcome::Completed, 7),
        (Outcome::Uncertain, ESTIMATE),
        (Outcome::Correction, 7),
    ];
    assert_eq!(one.charges(), charges);
    let total = |gateway: &Gateway| -> i64 {
        let totals = gateway.ledger.totals(&limit("k1")).expect("the totals");
        totals.iter().map(|total| total.settled).sum()
    };
    assert_eq!((total(&one), total(&other)), (21, 21));
}
