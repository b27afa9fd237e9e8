//! How a request ends by what its upstream does.

use http::{Method, Request};
use http_body_util::Full;
use tollkeeper::Outcome;

use crate::kit::{Books, REQUEST, TOKEN, send, until, work};
use crate::upstream::{Act, chunk, end, head, say, whole};

/// Asks for ten tokens, reads the answer to its end, and says how that went.
async fn ask(books: &Books, acts: Vec<Act>) -> Result<(u16, String), String> {
    let (gateway, _upstream) = books.before(acts).await;
    let reply = send(gateway.address, work(10)).await.map_err(|e| e.to_string())?;
    let status = reply.status.as_u16();
    reply.text().await.map(|text| (status, text)).map_err(|e| e.to_string())
}

#[tokio::test]
async fn a_whole_answer_with_usage_is_settled_by_it() {
    for acts in [
        vec![whole("200 OK", "x\nused 7\ndone\n")],
        vec![head("200 OK"), chunk("x\nus"), chunk("ed 7\n"), chunk("done\n"), end()],
        // Its end is the end of the connection.
        vec![say("HTTP/1.1 200 OK\r\n\r\nx\nused 7\ndone\n")],
        // More than was held: the bill is a fact.
        vec![head("201 Created"), chunk("x\nused 70\nused 7\ndone\n"), end()],
    ] {
        let books = Books::new();
        let (_, text) = ask(&books, acts).await.unwrap();
        assert!(text.starts_with("x\nused 7"));
        books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn more_than_was_held_is_charged_too() {
    let books = Books::new();
    ask(&books, vec![whole("200 OK", "used 5000\ndone\n")]).await.unwrap();
    books.ends(Outcome::Completed, 5_000, 5_000 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn an_explicit_zero_is_a_usage() {
    let books = Books::new();
    ask(&books, vec![whole("200 OK", "used 0\ndone\n")]).await.unwrap();
    books.ends(Outcome::Completed, 0, REQUEST, 1).await;
}

#[tokio::test]
async fn a_whole_answer_without_usage_is_uncertain() {
    for acts in [
        vec![whole("200 OK", "x\ndone\n")],
        vec![head("200 OK"), chunk("x\n"), end()],
        vec![whole("200 OK", "")],
        vec![say("HTTP/1.1 204 No Content\r\n\r\n")],
    ] {
        let books = Books::new();
        ask(&books, acts).await.unwrap();
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn usage_that_costs_more_than_can_be_counted_is_uncertain() {
    let books = Books::new();
    ask(&books, vec![whole("200 OK", &format!("used {}\ndone\n", u64::MAX))]).await.unwrap();
    books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_uncertain() {
    for status in ["200 OK", "500 Internal Server Error"] {
        let books = Books::new();
        let text = "used 7\ndone\n";
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        ask(&books, vec![say(answer)]).await.unwrap();
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn an_error_without_usage_is_not_billed() {
    for status in ["400 Bad Request", "429 Too Many Requests", "500 Internal Server Error"] {
        for body in ["it failed\n", ""] {
            let books = Books::new();
            let (code, text) = ask(&books, vec![whole(status, body)]).await.unwrap();
            assert_eq!(text, body);
            books.ends(Outcome::Unbilled, 0, 0, 0).await;
            let reason = books.records().remove(0).reason.unwrap();
            assert_eq!(reason, format!("the upstream answered {code}"));
        }
    }
}

#[tokio::test]
async fn an_error_with_usage_is_billed_for_its_tokens() {
    for status in ["400 Bad Request", "500 Internal Server Error", "504 Gateway Timeout"] {
        let books = Books::new();
        ask(&books, vec![whole(status, "used 7\n")]).await.unwrap();
        books.ends(Outcome::Failed, 7, 7 * TOKEN, 0).await;
    }
    let books = Books::new();
    ask(&books, vec![whole("500 Internal Server Error", "used 0\n")]).await.unwrap();
    books.ends(Outcome::Unbilled, 0, 0, 0).await;
}

#[tokio::test]
async fn an_upstream_that_timed_out_may_have_worked() {
    for status in ["408 Request Timeout", "504 Gateway Timeout"] {
        let books = Books::new();
        ask(&books, vec![whole(status, "too late\n")]).await.unwrap();
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

/// A reset, a close, or a length that is not kept.
fn breaks(before: &[Act]) -> [Vec<Act>; 2] {
    [Act::Reset, Act::Say(String::new())].map(|last| {
        let mut acts = before.to_vec();
        acts.push(last);
        acts
    })
}

#[tokio::test]
async fn one_that_breaks_before_its_answer_is_uncertain() {
    for acts in breaks(&[]).into_iter().chain(breaks(&[say("HTTP/1.1 200 O")])) {
        let books = Books::new();
        ask(&books, acts).await.unwrap_err();
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn one_that_breaks_in_its_answer_is_charged_by_what_was_seen() {
    let short = say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nused 7\n");
    for acts in
        breaks(&[head("200 OK"), chunk("used 7\n"), Act::Wait]).into_iter().chain([vec![short]])
    {
        let books = Books::new();
        let (gateway, upstream) = books.before(acts).await;
        let mut reply = send(gateway.address, work(10)).await.unwrap();
        reply.expect("used 7").await;
        upstream.go_on(1);
        reply.text().await.unwrap_err();
        books.ends(Outcome::Partial, 7, 7 * TOKEN + REQUEST, 0).await;
    }
}

#[tokio::test]
async fn one_that_breaks_without_having_told_is_uncertain() {
    for status in ["200 OK", "500 Internal Server Error"] {
        for acts in breaks(&[head(status), chunk("x\n")]) {
            let books = Books::new();
            ask(&books, acts).await.unwrap_err();
            books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
        }
    }
}

/// The head of an answer with a length waits for the first piece. If none comes, it is another one.
#[tokio::test]
async fn one_that_breaks_between_its_head_and_its_body_is_a_bad_gateway() {
    for status in ["200 OK", "500 Internal Server Error"] {
        let head = format!("HTTP/1.1 {status}\r\nx-theirs: 1\r\ncontent-length: 100\r\n\r\n");
        let books = Books::new();
        let (gateway, _upstream) = books.before(vec![say(head)]).await;
        let reply = send(gateway.address, work(10)).await.unwrap();
        assert_eq!(reply.status, 502);
        assert_eq!(reply.headers["content-type"], "application/json");
        assert!(!reply.headers.contains_key("x-theirs"));
        assert!(reply.headers.contains_key("x-ratelimit-remaining-requests"));
        let error: serde_json::Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "upstream_broke_off", "{error}");
        books.charged(10, 10 * TOKEN + REQUEST, 1);
        books.ends(Outcome::Uncertain, 10, 10 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn one_that_breaks_behind_a_whole_answer_is_settled() {
    for acts in breaks(&[head("200 OK"), chunk("used 7\n"), chunk("done\n"), Act::Wait]) {
        let books = Books::new();
        let (gateway, upstream) = books.before(acts).await;
        let mut reply = send(gateway.address, work(10)).await.unwrap();
        reply.expect("done").await;
        upstream.go_on(1);
        reply.text().await.unwrap_err();
        books.ends(Outcome::Completed, 7, 7 * TOKEN + REQUEST, 1).await;
    }
}

#[tokio::test]
async fn an_error_that_breaks_off_is_charged_by_what_was_seen() {
    for acts in breaks(&[head("500 Internal Server Error"), chunk("used 7\n"), Act::Wait]) {
        let books = Books::new();
        let (gateway, upstream) = books.before(acts).await;
        let mut reply = send(gateway.address, work(10)).await.unwrap();
        reply.expect("used 7").await;
        upstream.go_on(1);
        reply.text().await.unwrap_err();
        books.ends(Outcome::Failed, 7, 7 * TOKEN, 0).await;
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_to_wait_for() {
    let books = Books::new();
    let length = say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
    let (gateway, _upstream) = books.before(vec![length]).await;
    let request = Request::builder().method(Method::HEAD).uri("/work").header("host", "gateway");
    let request = request.header("authorization", "Bearer k1").body(Full::default()).unwrap();
    let reply = send(gateway.address, request).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().await.unwrap().as_str()), (200, ""));
    books.ends(Outcome::Uncertain, 0, REQUEST, 1).await;
}

#[tokio::test]
async fn what_is_forwarded_is_whole_and_its_answer_is_not_compressed() {
    let books = Books::new();
    let (gateway, upstream) = books.before(vec![whole("200 OK", "used 7\ndone\n")]).await;
    send(gateway.address, work(10)).await.unwrap().text().await.unwrap();
    until("it was forwarded", || upstream.requests().len() == 1).await;
    let seen = upstream.requests().remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, r#"{"model":"m1","tokens":10}"#);
    assert!(head.contains("content-length: 26") && !head.contains("transfer-encoding"), "{head}");
    assert!(head.contains("authorization: bearer k1"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[tokio::test]
async fn the_upstreams_own_quota_is_not_the_callers() {
    let books = Books::new();
    let answer =
        say("HTTP/1.1 200 OK\r\ncontent-length: 12\r\nX-RateLimit-Remaining-Tokens: 4\r\n\
                      RateLimit: \"theirs\";r=1\r\nRateLimit-Policy: \"theirs\";q=2\r\n\
                      Retry-After: 9\r\nX-Other: kept\r\n\r\nused 7\ndone\n");
    let (gateway, _upstream) = books.before(vec![answer]).await;
    let reply = send(gateway.address, work(10)).await.unwrap();
    let fields = format!("{:?}", reply.headers);
    assert!(fields.contains("kept"), "{fields}");
    assert!(!fields.contains("theirs") && !fields.contains("retry-after"), "{fields}");
    assert_ne!(
        reply.headers.get("x-ratelimit-remaining-tokens").map(|v| v.as_bytes()),
        Some(&b"4"[..])
    );
}
