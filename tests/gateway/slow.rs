//! Clients that are slow, or send too much.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kit::{ALICE, Gateway, PATIENCE, Place, chat, until};
use crate::process::Process;

/// So many clients at once, and so much more memory at most that they may take: 32 KiB each, which
/// is what the fields of one request may take.
const MANY: usize = 1_000;
const KILOBYTES_MAX: u64 = 32 * 1_000;

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("it can be set");
    stream
}

/// What comes back until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("it is closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {ALICE}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_long_with_the_fields_is_let_go() {
    let gateway = Gateway::start(&[("header_seconds = 10", "header_seconds = 1")]).await;
    // One byte now and then does not help, nor does saying nothing.
    let mut slow = connect(gateway.client.gateway).await;
    let mut silent = connect(gateway.client.gateway).await;
    let begun = Instant::now();
    for byte in head(1).bytes() {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    let answer = rest(&mut slow).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    rest(&mut silent).await;
    gateway.client.chat(ALICE).await.ok();
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_long_with_the_body_is_told_so() {
    let gateway = Gateway::start(&[("body_seconds = 30", "body_seconds = 1")]).await;
    let mut stream = connect(gateway.client.gateway).await;
    stream.write_all(head(10_000).as_bytes()).await.expect("it is read");
    let (mut reading, mut writing) = stream.into_split();
    // It goes on sending: a byte now and then is not enough.
    let sending = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut bytes = Vec::new();
    let begun = Instant::now();
    let _ = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut bytes)).await.expect("it ends");
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    sending.abort();
    gateway.nothing_is_held().await;
    assert_eq!(gateway.usage("alice-rate").counters[1].settled, 0, "nothing was admitted");
    assert!(gateway.end().await);
}

/// It asks for a long answer and reads nothing of it: the answer does not fit into the system's
/// buffers, and the connection is closed, so what is held for it ends.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_the_answer_in_is_let_go() {
    let gateway = Gateway::start(&[("write_seconds = 30", "write_seconds = 1")]).await;
    let inputs = vec!["x"; 2_000];
    let body = serde_json::json!({ "model": "m-small", "input": inputs, "dimensions": 1_024 });
    let body = body.to_string();
    let fields = head(body.len()).replace("chat/completions", "embeddings");
    let mut stream = connect(gateway.client.gateway).await;
    stream.write_all(fields.as_bytes()).await.expect("it is read");
    stream.write_all(body.as_bytes()).await.expect("it is read");
    let engine = gateway.running.house.engine.clone();
    let held = || engine.usage_all().flat_map(|u| u.counters).map(|c| c.held).sum::<u64>();
    until("it is admitted", || held() > 0).await;
    let begun = Instant::now();
    gateway.nothing_is_held().await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    let got = rest(&mut stream).await;
    assert!(got.starts_with("HTTP/1.1 200 "), "it was on its way");
    assert!(got.len() < 10_000_000, "it is not whole: {}", got.len());
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let gateway =
        Gateway::start(&[("max_body_bytes = 4_194_304", "max_body_bytes = 100_000")]).await;
    let mut large = chat(4, false);
    large["messages"][0]["content"] = "x".repeat(100_000).into();
    let answer = gateway.client.ask(ALICE, "/v1/chat/completions", &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let mut stream = connect(gateway.client.gateway).await;
    let field = format!("x-large: {}\r\n", "x".repeat(100_000));
    let fields = head(2).replace("\r\n\r\n", &format!("\r\n{field}\r\n"));
    let _ = stream.write_all(fields.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");

    let mut stream = connect(gateway.client.gateway).await;
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let fields = head(2).replace("\r\n\r\n", &format!("\r\n{many}\r\n"));
    let _ = stream.write_all(fields.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    gateway.client.chat(ALICE).await.ok();
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_take_little_memory_and_nobody_waits_for_them() {
    let place = Place::new(&[]);
    let mut process = Process::start(&place, &[], &[]);
    let address = process.caller.gateway;
    for _ in 0..20 {
        process.caller.ask(ALICE, "/v1/chat/completions", &chat(4, false)).await.ok();
    }
    let before = process.resident();
    // Some are within the fields, some within the body, a long one, and some have a field that
    // would never end.
    let mut clients = JoinSet::new();
    for number in 0..MANY {
        clients.spawn(async move {
            let mut stream = connect(address).await;
            let head = head(4_000_000);
            let (cut, more) = match number % 3 {
                0 => (head.len() / 2, 0),
                1 => (head.len(), 0),
                _ => (head.len() - 2, 1_000_000),
            };
            let _ = stream.write_all(&head.as_bytes()[..cut]).await;
            let endless = format!("x-large: {}", "x".repeat(more));
            if more > 0 {
                let send = stream.write_all(endless.as_bytes());
                let _ = tokio::time::timeout(Duration::from_secs(2), send).await;
            }
            stream
        });
    }
    let mut streams = clients.join_all().await;
    let mut most = 0;
    for _ in 0..20 {
        for stream in &mut streams {
            let _ = stream.write_all(b"x").await;
        }
        most = most.max(process.resident());
        let begun = Instant::now();
        process.caller.ask(ALICE, "/v1/chat/completions", &chat(4, false)).await.ok();
        assert!(begun.elapsed() < Duration::from_secs(5), "others are served meanwhile");
    }
    let url = format!("http://{address}/health");
    let answer = process.caller.send(Method::GET, &url, &[], "").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let more = most.saturating_sub(before);
    eprintln!("{MANY} slow clients: {more} KiB more than {before}");
    assert!(more < KILOBYTES_MAX, "{more} KiB");
    drop(streams);
    process.signal("TERM");
    assert!(process.end().success());
}

/// What all requests together have sent is bounded, too: some that send slowly do not take what
/// there is of memory.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_take_no_more_room_together_than_there_is() {
    let changes = [("max_bodies_bytes = 268_435_456", "max_bodies_bytes = 150_000")];
    let gateway = Gateway::start(&changes).await;
    let send = async || {
        let mut stream = connect(gateway.client.gateway).await;
        stream.write_all(head(100_000).as_bytes()).await.expect("it is read");
        let _ = stream.write_all(&[b' '; 90_000]).await;
        stream
    };
    let first = send().await;
    // Until what it has sent is there.
    let mut answer = String::new();
    let begun = Instant::now();
    while !answer.starts_with("HTTP/1.1 503 ") {
        assert!(begun.elapsed() < PATIENCE, "there is still room: {answer}");
        let mut other = send().await;
        let mut bytes = vec![0; 4_096];
        let read = tokio::time::timeout(Duration::from_millis(500), other.read(&mut bytes)).await;
        let read = read.map_or(0, |read| read.unwrap_or(0));
        answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
    }
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    gateway.client.chat(ALICE).await.ok();
    // When one has gone there is room again.
    drop(first);
    let mut large = chat(4, false);
    large["messages"][0]["content"] = "x".repeat(120_000).into();
    let begun = Instant::now();
    while gateway.client.ask(ALICE, "/v1/chat/completions", &large).await.status != StatusCode::OK {
        assert!(begun.elapsed() < PATIENCE, "there is no room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gateway.end().await);
}
