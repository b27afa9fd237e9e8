//! Two hundred clients, and one budget.

use std::time::Duration;

use tollkeeper::{Dimension, Outcome};

use crate::kit::{Books, REQUEST, TOKEN, engine, send, until, work};
use crate::upstream::{Act, chunk, end, head};

const CLIENTS: usize = 200;
/// So many fit: each holds ten tokens.
const FIT: usize = 37;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_streams_never_pass_one_budget() {
    let each = 10 * TOKEN + REQUEST;
    let budget = each * FIT as u64 + each - 1;
    let books = Books::with(engine(budget));
    let acts =
        vec![head("200 OK"), chunk("x\n"), Act::Wait, chunk("used 10\n"), chunk("done\n"), end()];
    let (gateway, upstream) = books.before(acts).await;
    let address = gateway.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                let mut reply = send(address, work(10)).await.unwrap();
                if reply.status == 200 {
                    reply.expect("x").await;
                    reply.text().await.unwrap();
                    return true;
                }
                assert!([402, 429].contains(&reply.status.as_u16()), "{}", reply.status);
                false
            })
        })
        .collect();
    // Until all who will be are inside, the budget is as full as it can be and no fuller.
    let full = || upstream.requests().len() == FIT;
    let mut most = 0;
    until("the budget is full", || {
        let counter = books.engine.usage_all().flat_map(|limit| limit.counters);
        let cost = counter.filter(|counter| counter.dimension == Dimension::Money);
        most = most.max(cost.map(|counter| counter.committed()).sum());
        assert!(most <= budget, "{most} of {budget}");
        full()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(upstream.requests().len(), FIT);
    // When they end nobody else is let in: what they held is what they used.
    upstream.go_on(FIT);
    let mut admitted = 0;
    for client in clients {
        admitted += usize::from(client.await.unwrap());
    }
    assert_eq!(admitted, FIT);
    books.quiet(FIT).await;
    assert!(books.records().iter().all(|record| record.outcome == Outcome::Completed));
    books.charged(10 * FIT as u64, each * FIT as u64, FIT as u64);
}
