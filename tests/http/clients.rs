//! How a request ends when its client goes away.

use tollkeeper::Outcome;

use crate::kit::{Books, REQUEST, TOKEN, send, until, work};
use crate::upstream::{Act, chunk, head};

#[tokio::test]
async fn gone_before_the_first_byte_is_uncertain() {
    let books = Books::new();
    let (gateway, upstream) = books.before(vec![Act::Hang]).await;
    let client = tokio::spawn(send(gateway.address, work(10)));
    until("the upstream was called", || upstream.requests().len() == 1).await;
    assert!(books.held() > 0);
    assert_eq!(books.records(), []);
    // Dropping the request closes its connection.
    client.abort();
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

/// A client that leaves when it has read so much of an answer.
async fn leaves(books: &Books, answer: &[&str], seen: &str) {
    let mut acts = vec![head("200 OK")];
    acts.extend(answer.iter().map(|text| chunk(text)));
    acts.push(Act::Hang);
    let (gateway, _upstream) = books.before(acts).await;
    let mut reply = send(gateway.address, work(10)).await.unwrap();
    reply.expect(seen).await;
    assert!(books.held() > 0);
    assert_eq!(books.records(), []);
    reply.hang_up();
}

#[tokio::test]
async fn gone_in_the_middle_without_usage_is_uncertain() {
    let books = Books::new();
    leaves(&books, &["x\n"], "x").await;
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn gone_in_the_middle_with_usage_is_partial() {
    let books = Books::new();
    leaves(&books, &["x\n", "used 7\n", "y\n"], "y").await;
    books.ends(Outcome::Partial, 7, 7 * TOKEN + REQUEST, 0).await;
}

#[tokio::test]
async fn gone_behind_the_last_of_a_whole_answer_is_settled() {
    let books = Books::new();
    leaves(&books, &["x\n", "used 7\n", "done\n"], "done").await;
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn gone_after_the_end_changes_nothing() {
    let books = Books::new();
    let acts = vec![head("200 OK"), chunk("used 7\ndone\n"), crate::upstream::end()];
    let (gateway, _upstream) = books.before(acts).await;
    let mut reply = send(gateway.address, work(10)).await.unwrap();
    while reply.next().await.is_some() {}
    // The end was held back until it was recorded.
    assert_eq!(books.records().len(), 1);
    reply.hang_up();
    books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn gone_before_the_request_was_whole_is_nothing() {
    use tokio::io::AsyncWriteExt;
    let books = Books::new();
    let (gateway, upstream) = books.before(vec![Act::Hang]).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let begun = "POST /work HTTP/1.1\r\nhost: g\r\nauthorization: k\r\ncontent-length: 26\r\n\r\n{";
    stream.write_all(begun.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    // The next one is answered, by a gateway that has nothing open.
    let client = tokio::spawn(send(gateway.address, work(10)));
    until("the upstream was called", || upstream.requests().len() == 1).await;
    client.abort();
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    assert_eq!(upstream.requests().len(), 1);
}
