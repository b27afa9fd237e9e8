//! The program `examples/prometheus`, run as a whole over a socket.
#![cfg(all(feature = "metrics", feature = "sqlite", feature = "tracing"))]

#[path = "../examples/prometheus.rs"]
#[allow(dead_code)] // Its `main` is for the command line.
mod prometheus;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus::{Options, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

async fn ask(at: SocketAddr, path: &str, text: Option<(&str, &str)>) -> (u16, HeaderMap, String) {
    let request = Request::builder().uri(format!("http://{at}{path}"));
    let request = match text {
        Some((key, text)) => request
            .method("POST")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::from(text.to_owned())),
        None => request.body(Full::<Bytes>::default()),
    };
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request.unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8(body.into()).unwrap())
}

/// Asks for metrics until they say so.
async fn scrape(at: SocketAddr, line: &str) -> String {
    let mut text = String::new();
    for _ in 0..100 {
        let (status, headers, body) = ask(at, "/metrics", None).await;
        assert_eq!(
            (status, &headers["content-type"]),
            (200, &"text/plain; version=0.0.4".parse().unwrap())
        );
        if body.lines().any(|one| one == line) {
            return body;
        }
        text = body;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{line} is not in\n{text}");
}

#[tokio::test]
async fn it_charges_denies_and_shows_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.sqlite");
    let file = file.to_str().unwrap();
    let options = Options::parse_from([
        "prometheus",
        "--key",
        "k1",
        "--key",
        "k2",
        "--requests",
        "3",
        "--budget",
        "$0.0001",
        "--price",
        "$20",
        "--ledger",
        file,
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let serving = async move { serve(&options, listener, async { drop(ended.await) }).await };
    let serving = tokio::spawn(async move { serving.await.expect("it serves") });

    // Two of five words.
    assert_eq!(ask(at, "/words", Some(("k1", "a b"))).await.2, "2\n");
    let (status, headers, text) = ask(at, "/words", Some(("k1", "a b c d"))).await;
    assert_eq!(status, 402, "{text}");
    assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 86_400);
    assert_eq!(ask(at, "/words", Some(("k3", "a"))).await.0, 401);
    assert_eq!(ask(at, "/words", Some(("k1", "a b c"))).await.2, "3\n");

    let used = "tollkeeper_limit_used_ratio{limit=\"k1-day\",owner=\"key:k1\",\
                enforcement=\"hard\",dimension=\"money\"} 1";
    let text = scrape(at, used).await;
    let lines = [
        "tollkeeper_ledger_written_total 2",
        "tollkeeper_ledger_open_charges 0",
        "tollkeeper_events_total{event=\"exhausted\",dimension=\"money\"} 1",
        "tollkeeper_events_total{event=\"threshold\",dimension=\"money\"} 1",
        "tollkeeper_limits{dimension=\"money\"} 2",
        "# TYPE tollkeeper_limit_used_ratio gauge",
    ];
    for line in lines {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    let (status, ..) = ask(at, "/words", Some(("k2", &"word ".repeat(300_000)))).await;
    assert_eq!(status, 413);

    end.send(()).unwrap();
    serving.await.unwrap();
}

#[test]
fn its_arguments_are_in_order_and_its_help_says_all() {
    Options::command().debug_assert();
    let help = Options::command().render_long_help().to_string();
    for named in ["--listen", "--ledger", "--key", "--budget", "--limits-labelled", "--log"] {
        assert!(help.contains(named), "{named}");
    }
    assert!(Options::try_parse_from(["prometheus", "--budget", "much"]).is_err());
}

#[test]
fn alerts_name_metrics_that_there_are() {
    let names = include_str!("../src/telemetry/names.rs");
    let named = names.split('"').filter(|text| text.starts_with("tollkeeper_"));
    let named: BTreeSet<&str> = named.collect();
    let rules = include_str!("../examples/prometheus-rules.yml");
    let exprs = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let used: BTreeSet<&str> = exprs.filter(|word| word.starts_with("tollkeeper_")).collect();
    assert_eq!(used.difference(&named).next(), None);
    assert!(used.len() > 5);
}
