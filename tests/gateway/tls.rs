//! Upstreams by TLS: one that is trusted, and those that are not or that do not speak it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::IntoResponse;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::gateway::cli::Serve;
use crate::kit::{ALICE, Answer, Gateway, PATIENCE, Place, chat, read};
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";

/// What it says of its usage, and what that costs by the sample's prices.
const USED: (u64, u64) = (11, 5);
const NANOS: u64 = 11 * 150 + 5 * 600;

/// A server that speaks HTTP in TLS and nothing else.
struct Secure {
    address: SocketAddr,
    /// Its own certificate, which is its own authority.
    certificate: String,
    requests: Arc<AtomicUsize>,
    /// A stream goes on after its first piece when there is one.
    go_on: Arc<Semaphore>,
}

impl Secure {
    /// One that can prove that it is this host.
    async fn start(host: &str) -> Secure {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("it can be made");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let secure = Secure {
            address: listener.local_addr().expect("it has one"),
            certificate: made.cert.pem(),
            requests: Arc::default(),
            go_on: Arc::new(Semaphore::new(0)),
        };
        let (requests, go_on) = (Arc::clone(&secure.requests), Arc::clone(&secure.go_on));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, requests) = (acceptor.clone(), Arc::clone(&requests));
                let go_on = Arc::clone(&go_on);
                tokio::spawn(async move {
                    // A client that does not trust it breaks off here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| {
                        requests.fetch_add(1, Ordering::SeqCst); // Seen after the answer.
                        answer(request, Arc::clone(&go_on))
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        secure
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst) // It is after what is looked for.
    }

    /// A file with its certificate.
    fn file(&self, place: &Place) -> PathBuf {
        let path = place.folder.path().join("upstream-ca.pem");
        std::fs::write(&path, &self.certificate).expect("the file can be written");
        path
    }
}

fn usage() -> Value {
    let (input, output) = USED;
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
    })
}

async fn answer(
    request: Request<Incoming>,
    go_on: Arc<Semaphore>,
) -> Result<axum::response::Response, hyper::Error> {
    let asked = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&asked).expect("it is JSON");
    if asked["stream"] != true {
        let message = json!({ "role": "assistant", "content": "Money." });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let whole = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-small",
            "choices": [choice], "usage": usage(),
        });
        return Ok(axum::Json(whole).into_response());
    }
    let event = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "m-small", "choices": choices, "usage": usage,
        });
        Frame::data(Bytes::from(format!("data: {chunk}\n\n")))
    };
    let delta = json!([{ "index": 0, "delta": { "content": "Money." }, "finish_reason": null }]);
    let stop = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    let first = event(delta, Value::Null);
    let rest = [
        event(stop, Value::Null),
        event(json!([]), usage()),
        Frame::data(Bytes::from_static(b"data: [DONE]\n\n")),
    ];
    let (mut sender, body) = Channel::<Bytes>::new(4);
    tokio::spawn(async move {
        let _ = sender.send(first).await;
        go_on.acquire().await.expect("it is not closed").forget();
        for frame in rest {
            let _ = sender.send(frame).await;
        }
    });
    let body = axum::body::Body::new(body);
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// A gateway in front of this address that trusts this file, if any, and none else.
async fn gateway(
    place: Place,
    url: &str,
    ca: Option<PathBuf>,
    changes: &[(&str, &str)],
) -> Gateway {
    let line = ca.map(|path| format!("ca_file = \"{}\"", path.display()));
    let ca = line.as_ref().map(|line| ("# ca_file = \"upstream-ca.pem\"", line.as_str()));
    let changes: Vec<_> = ca.into_iter().chain(changes.iter().copied()).collect();
    place.write(&changes);
    Gateway::start_with(place, |options: &mut Serve| options.upstream = Some(url.to_owned())).await
}

async fn records(gateway: &Gateway) -> Vec<Value> {
    let path = "/admin/records?max=1000";
    let records = gateway.client.admin(Method::GET, path, None).await.ok().json();
    records["records"].as_array().expect("it is a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_by_tls_is_charged_exactly() {
    let upstream = Secure::start("127.0.0.1").await;
    let place = Place::new(&[]);
    let file = upstream.file(&place);
    let gateway = gateway(place, &upstream.url(), Some(file), &[]).await;
    let charged = |limit: &str| gateway.usage(limit).counters[0].settled;

    let whole = gateway.client.ask(ALICE, CHAT, &chat(16, false)).await.ok().json();
    assert_eq!(whole["choices"][0]["message"]["content"], "Money.");
    assert_eq!(whole["usage"], usage());
    gateway.nothing_is_held().await;
    assert_eq!((charged("alice-rate"), charged("search-daily")), (USED.0 + USED.1, NANOS));

    let mut stream = gateway.client.begin(ALICE, CHAT, &chat(16, true)).await;
    assert_eq!(stream.status(), StatusCode::OK);
    // It comes while the upstream still waits.
    let first = tokio::time::timeout(PATIENCE, stream.frame()).await.expect("it comes in time");
    let first = first.expect("it has not ended").expect("it comes").into_data();
    let first = first.expect("it is data");
    assert!(String::from_utf8_lossy(&first).contains("Money."), "{first:?}");
    upstream.go_on.add_permits(1);
    let rest = read(stream).await.text;
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    gateway.nothing_is_held().await;
    assert_eq!(
        (charged("alice-rate"), charged("search-daily")),
        (2 * (USED.0 + USED.1), 2 * NANOS)
    );

    let records = records(&gateway).await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record["outcome"] == "completed"), "{records:?}");
    assert_eq!(upstream.requests(), 2);
    assert!(gateway.end().await);
}

/// Asks through a gateway that does not get through, and finds that nothing has come of it.
async fn in_vain(gateway: Gateway, upstream: SocketAddr) -> Answer {
    for stream in [false, true] {
        let answer = gateway.client.ask(ALICE, CHAT, &chat(16, stream)).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        gateway.nothing_is_held().await;
        assert!(records(&gateway).await.is_empty());
        for limit in ["alice-rate", "search-daily", "acme-monthly"] {
            let counters = gateway.usage(limit).counters;
            assert!(counters.iter().all(|counter| counter.settled == 0), "{limit}: {counters:?}");
        }
    }
    let answer = gateway.client.ask(ALICE, CHAT, &chat(16, false)).await;
    let told = format!("{answer:?}").to_lowercase();
    let (host, port) = (upstream.ip().to_string(), format!(":{}", upstream.port()));
    for inside in [host.as_str(), &port, "pem", "rustls", "issuer", "localhost"] {
        assert!(!told.contains(inside), "{inside} is in {told}");
    }
    assert!(gateway.end().await);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_trusted_gets_nothing_and_nothing_is_charged() {
    // Its authority is another one; or it can prove that it is somebody, but not this one.
    let (stranger, other) = (Secure::start("127.0.0.1").await, Secure::start("127.0.0.1").await);
    let misnamed = Secure::start("localhost").await;
    for (upstream, trusted) in [(&stranger, &other), (&misnamed, &misnamed)] {
        let place = Place::new(&[]);
        let file = trusted.file(&place);
        let gateway = gateway(place, &upstream.url(), Some(file), &[]).await;
        let answer = in_vain(gateway, upstream.address).await.json();
        assert_eq!(answer["error"]["code"], "upstream_untrusted");
        let message = "the upstream does not prove who it is; nothing was sent or charged";
        assert_eq!(answer["error"]["message"], message);
        assert_eq!(upstream.requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_no_tls_costs_nothing() {
    let trusted = Secure::start("127.0.0.1").await;
    // One answers in the clear; the other takes the connection and says nothing.
    let clear = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let dumb = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let addresses = [clear.local_addr(), dumb.local_addr()].map(|at| at.expect("it has one"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = clear.accept().await {
            let service = service_fn(|_| async {
                Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    for address in addresses {
        let place = Place::new(&[]);
        let file = trusted.file(&place);
        let soon = [("connect_seconds = 5", "connect_seconds = 1")];
        let gateway = gateway(place, &format!("https://{address}"), Some(file), &soon).await;
        let answer = in_vain(gateway, address).await.json();
        assert_eq!(answer["error"]["code"], "upstream_unreachable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_those_are_trusted_whom_the_system_trusts() {
    let upstream = Secure::start("127.0.0.1").await;
    let place = Place::new(&[]);
    let file = upstream.file(&place);
    let args = ["--upstream".to_owned(), upstream.url()];
    let args = args.each_ref().map(String::as_str);
    let path = file.to_str().expect("it is text");
    // What the system trusts, for this process; its folders are none.
    let environment = [("SSL_CERT_FILE", path), ("SSL_CERT_DIR", "")];
    let mut process = Process::start(&place, &args, &environment);
    process.caller.chat(ALICE).await.ok();
    process.signal("TERM");
    assert!(process.end().success());
    assert_eq!(upstream.requests(), 1);

    // Where there is a file, it alone.
    let other = Place::new(&[]);
    let own = Secure::start("127.0.0.1").await.file(&other);
    let line = format!("ca_file = \"{}\"", own.display());
    other.write(&[("# ca_file = \"upstream-ca.pem\"", &line)]);
    let mut process = Process::start(&other, &args, &environment);
    let answer = process.caller.chat(ALICE).await;
    assert_eq!(answer.json()["error"]["code"], "upstream_untrusted", "{answer:?}");
    process.signal("TERM");
    assert!(process.end().success());
    let log = process.said.join("\n");
    assert!(log.contains("the upstream's certificate is not accepted: "), "{log}");

    std::fs::write(&file, "").expect("the file can be written");
    let said = Process::refused(&place, &args, &environment);
    assert!(said.contains("this system trusts no certificate authority; accepted: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_meant_is_refused_at_the_start() {
    let upstream = Secure::start("127.0.0.1").await;
    let place = Place::new(&[]);
    let file = upstream.file(&place);
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (url, text, problem) in [
        (upstream.url(), None, "upstream-ca.pem: "),
        (upstream.url(), Some("no certificate"), "upstream-ca.pem has no certificate; accepted: "),
        (upstream.url(), Some(garbled), "a certificate in it is malformed"),
        ("http://127.0.0.1:1".to_owned(), Some(upstream.certificate.as_str()), "begins with https"),
    ] {
        match text {
            Some(text) => std::fs::write(&file, text).expect("the file can be written"),
            None => std::fs::remove_file(&file).expect("it was there"),
        }
        let line = format!("ca_file = \"{}\"", file.display());
        place.write(&[("# ca_file = \"upstream-ca.pem\"", &line)]);
        let said = Process::refused(&place, &["--upstream", &url], &[]);
        assert!(said.contains(problem), "{problem:?} is not in {said:?}");
    }
}
