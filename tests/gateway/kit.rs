//! A gateway of a test's own, and a client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tollkeeper::{LimitId, LimitUsage};

use crate::gateway::cli::Serve;
use crate::gateway::config::SAMPLE;
use crate::gateway::run::Running;
pub use crate::gateway::welcome::{ADMIN, ALICE, TRIAL};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration: the sample, on ports of its own, and changed.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new(changes: &[(&str, &str)]) -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder can be made") };
        place.write(changes);
        place
    }

    /// Writes the sample anew with these changes, each of which is to something that is there.
    pub fn write(&self, changes: &[(&str, &str)]) {
        let own = [
            ("127.0.0.1:8080", "127.0.0.1:0"),
            ("127.0.0.1:8081", "127.0.0.1:0"),
            // No window ends in the middle of a test.
            ("/m\"", "/10000d\""),
            ("period = \"1m\"", "period = \"10000d\""),
            ("period = \"1d\"", "period = \"10000d\""),
        ];
        let mut text = SAMPLE.to_owned();
        for (from, to) in own.iter().chain(changes) {
            assert!(text.contains(from), "the sample has no {from}");
            text = text.replace(from, to);
        }
        self.write_text(&text);
    }

    pub fn write_text(&self, text: &str) {
        std::fs::write(self.config(), text).expect("the file can be written");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    /// The command line of a gateway here.
    pub fn options(&self) -> Serve {
        Serve {
            config: Some(self.config()),
            upstream: None,
            ledger: format!("sqlite:{}", self.ledger().display()).parse().expect("it is a place"),
            latency_ms: None,
            piece_ms: 0,
            fault: None,
        }
    }
}

/// A gateway in this process.
pub struct Gateway {
    pub running: Running,
    pub client: Caller,
    pub place: Place,
}

impl Gateway {
    pub async fn start(changes: &[(&str, &str)]) -> Gateway {
        Gateway::start_with(Place::new(changes), |_| ()).await
    }

    pub async fn start_with(place: Place, set: impl FnOnce(&mut Serve)) -> Gateway {
        let mut options = place.options();
        set(&mut options);
        let running = Running::start(&options).await.expect("it starts");
        let client = Caller::new(running.address, running.admin_address);
        Gateway { running, client, place }
    }

    pub fn usage(&self, limit: &str) -> LimitUsage {
        let id = LimitId::new(limit).expect("it is an id");
        self.running.house.engine.usage(&id).expect("the limit is there")
    }

    /// Waits until no limit holds anything.
    pub async fn nothing_is_held(&self) {
        let engine = &self.running.house.engine;
        let held = || engine.usage_all().flat_map(|u| u.counters).map(|c| c.held).sum::<u64>();
        until("nothing is held", || held() == 0).await;
    }

    /// Ends it, and says whether all usage is recorded.
    pub async fn end(self) -> bool {
        self.running.end().await
    }
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to be that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client of a gateway and of its admin API.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
}

/// An answer that has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("it is text"))
    }

    pub fn ok(self) -> Answer {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self
    }
}

/// A chat of so many tokens at most.
pub fn chat(max_tokens: u32, stream: bool) -> Value {
    serde_json::json!({
        "model": "m-small",
        "max_tokens": max_tokens,
        "stream": stream,
        "messages": [{ "role": "user", "content": "What is a toll?" }],
    })
}

impl Caller {
    pub fn new(gateway: SocketAddr, admin: SocketAddr) -> Caller {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Caller { client, gateway, admin }
    }

    /// Sends something; the answer is not read yet.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        self.try_send(method, url, fields, body).await.expect("it answers")
    }

    /// An error where the connection breaks before there is an answer.
    async fn try_send(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("it is a request");
        let answered = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        answered.expect("it answers in time")
    }

    /// Asks the gateway with a key; the answer is not read yet.
    pub async fn begin(&self, key: &str, path: &str, body: &Value) -> http::Response<Incoming> {
        self.try_begin(key, path, body).await.expect("it answers")
    }

    /// The same, where the connection may break before there is an answer.
    pub async fn try_begin(
        &self,
        key: &str,
        path: &str,
        body: &Value,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let bearer = format!("Bearer {key}");
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let url = format!("http://{}{path}", self.gateway);
        self.try_send(Method::POST, &url, &fields, body.to_string()).await
    }

    pub async fn ask(&self, key: &str, path: &str, body: &Value) -> Answer {
        read(self.begin(key, path, body).await).await
    }

    pub async fn chat(&self, key: &str) -> Answer {
        self.ask(key, "/v1/chat/completions", &chat(16, false)).await
    }

    /// Asks the admin API, with the token.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        let mut fields = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let url = format!("http://{}{path}", self.admin);
        read(self.send(method, &url, &fields, body).await).await
    }
}

pub async fn read(response: http::Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("it ends in time");
    let text = body.expect("it ends").to_bytes();
    let text = String::from_utf8(text.to_vec()).expect("it is text");
    Answer { status: parts.status, headers: parts.headers, text }
}
