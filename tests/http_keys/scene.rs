//! A gateway with the layer between a client and the upstream.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tollkeeper::http::{Asked, Caller, Class, Forwarded, Protocol, Refusal, Toll, UsageReader};
use tollkeeper::{
    Engine, Filter, Idempotency, IdempotencyBuilder, Ledger, LedgerStore, LimitId, MemoryKeys,
    MemoryLedger, Outcome, OwnerId, RateLimit, Timestamp, Usage,
};
use tower::{Layer, ServiceExt};

use crate::upstream::Upstream;

/// What a request is estimated at; [`Upstream`]'s answers use 7.
pub const ESTIMATE: u64 = 100;
pub const PATH: &str = "/v1/chat";

/// Long enough for whatever is to happen.
pub const LONG: Duration = Duration::from_secs(10);

pub fn keys() -> IdempotencyBuilder {
    Idempotency::builder(|task| drop(tokio::spawn(task)))
}

pub fn memory_keys() -> Idempotency {
    keys().start(MemoryKeys::new(1_000)).expect("a thread")
}

pub struct Gateway {
    pub address: SocketAddr,
    pub engine: Engine,
    pub ledger: Ledger,
    pub upstream: Upstream,
}

impl Gateway {
    /// One with keys in memory, for which a request waits long.
    pub async fn start() -> Gateway {
        Gateway::with(Some((memory_keys(), LONG))).await
    }

    pub async fn with(keys: Option<(Idempotency, Duration)>) -> Gateway {
        Gateway::over(Upstream::start().await, MemoryLedger::default(), keys).await
    }

    pub async fn over(
        upstream: Upstream,
        store: impl LedgerStore,
        keys: Option<(Idempotency, Duration)>,
    ) -> Gateway {
        // Gateways that share a ledger count in the same windows.
        let engine = Engine::builder().anchor(Timestamp::from_secs(1_700_000_000)).build();
        for name in ["k1", "k2"] {
            engine.upsert_owner(&owner(name), &[]).expect("a new owner");
        }
        let ledger = Ledger::builder(&engine).start(store).expect("a ledger");
        let callers = |request: &Parts| match request.headers.get("authorization") {
            Some(name) => Ok(Caller::new(&owner(name.to_str().expect("text")))),
            None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "no key")),
        };
        let mut toll = Toll::builder(&ledger, callers, Lines, |task| drop(tokio::spawn(task)));
        if let Some((keys, wait)) = keys {
            toll = toll.keys(keys, wait);
        }
        let layer = toll.build();
        let to = upstream.address;
        let proxy: Client<HttpConnector, Forwarded<Incoming>> =
            Client::builder(TokioExecutor::new()).build_http();
        let proxy = proxy.map_request(move |mut request: Request<Forwarded<Incoming>>| {
            let target = request.uri().path_and_query().expect("a path").to_string();
            assert_ne!(request.headers().get("x-panic").map(|v| v.as_bytes()), Some(&b"yes"[..]));
            *request.uri_mut() = format!("http://{to}{target}").parse().expect("an address");
            request
        });
        let service = layer.layer(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let gateway = Gateway { address, engine, ledger, upstream };
        gateway.limit(1_000_000);
        gateway
    }

    /// So many tokens an hour for each caller.
    pub fn limit(&self, tokens: u64) {
        for name in ["k1", "k2"] {
            let rate = RateLimit::new().tokens(tokens, "1h".parse().expect("a period"));
            self.engine.upsert_limit(&owner(name), &limit(name), rate).expect("a limit");
        }
    }

    /// Sends a request, and reads its answer to the end.
    pub async fn ask(&self, asks: &Ask) -> Answer {
        Answer::read(self.begin(asks).await).await
    }

    /// Sends a request. Dropping its answer closes its connection.
    pub async fn begin(&self, asks: &Ask) -> Response<Incoming> {
        self.try_begin(asks).await.expect("an answer")
    }

    /// The same, where there may be none.
    pub async fn try_begin(&self, asks: &Ask) -> Result<Response<Incoming>, Error> {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let mut request = Request::post(format!("http://{}{}", self.address, asks.target))
            .header("authorization", asks.caller)
            .header("content-type", "text/plain");
        for key in &asks.keys {
            request = request.header("idempotency-key", key);
        }
        if asks.panics {
            request = request.header("x-panic", "yes");
        }
        let request = request.body(Full::from(asks.body)).expect("a request");
        client.request(request).await
    }

    /// The records but unbilled ones: how each ended, and the tokens it says.
    pub fn charges(&self) -> Vec<(Outcome, u64)> {
        let records = self.ledger.records(&Filter::default(), None, 1_000).expect("the records");
        let records = records.iter().map(|stored| &stored.record);
        let mut charges: Vec<_> = records
            .filter(|record| record.outcome != Outcome::Unbilled)
            .map(|record| (record.outcome, record.usage.input_tokens + record.usage.output_tokens))
            .collect();
        charges.sort();
        charges
    }

    /// What of a caller's limit is settled and held.
    pub fn used(&self, caller: &str) -> (u64, u64) {
        let usage = self.engine.usage(&limit(caller)).expect("the limit");
        (usage.counters[0].settled, usage.counters[0].held)
    }

    /// Waits until so much is settled for the first caller, and nothing held.
    pub async fn settles(&self, tokens: u64) {
        until(|| self.used("k1") == (tokens, 0)).await;
    }
}

/// Waits for what will be soon.
pub async fn until(mut is: impl FnMut() -> bool) {
    let soon = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, soon).await.expect("it comes to be");
}

pub fn owner(name: &str) -> OwnerId {
    format!("key:{name}").parse().expect("an owner")
}

pub fn limit(name: &str) -> LimitId {
    LimitId::new(name).expect("a limit")
}

/// What a client sends.
#[derive(Clone)]
pub struct Ask {
    pub caller: &'static str,
    pub keys: Vec<String>,
    pub target: &'static str,
    pub body: &'static str,
    pub panics: bool,
}

/// The first caller's request with a key.
pub fn ask(key: &str) -> Ask {
    let keys = vec![key.to_owned()];
    Ask { caller: "k1", keys, target: PATH, body: "say something", panics: false }
}

/// The next piece of a body.
pub async fn next(response: &mut Response<Incoming>) -> Bytes {
    let frame = tokio::time::timeout(LONG, response.body_mut().frame()).await;
    let frame = frame.expect("it comes soon").expect("it is not the end").expect("it is whole");
    frame.into_data().expect("data")
}

/// What came to the client.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// Whether the body broke off.
    pub broke: bool,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Answer {
        let (head, mut rest) = response.into_parts();
        let (mut body, mut broke) = (Vec::new(), false);
        let reading = async {
            while let Some(frame) = rest.frame().await {
                match frame {
                    Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
                    Err(_) => {
                        broke = true;
                        break;
                    }
                }
            }
        };
        tokio::time::timeout(LONG, reading).await.expect("the answer ends");
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status, headers: head.headers, body, broke }
    }

    pub fn is_replayed(&self) -> bool {
        self.field("idempotency-replayed") == Some("true")
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The code and the message of an error.
    pub fn error(&self) -> (String, String) {
        let error: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        let text = |name: &str| error["error"][name].as_str().expect("a text").to_owned();
        (text("code"), text("message"))
    }
}

/// Reads the upstream's lines.
struct Lines;

impl Protocol for Lines {
    fn class(&self, _: &Parts) -> Class {
        Class::Metered
    }

    fn read(&self, _: &Parts, body: Bytes) -> Result<Asked, Refusal> {
        let mut asked = Asked::new("lines", body);
        asked.tokens = Some(Usage { input_tokens: ESTIMATE, ..Usage::default() });
        Ok(asked)
    }

    fn usage_of(&self, _: &Asked, _: &response::Parts) -> Box<dyn UsageReader> {
        Box::<Read>::default()
    }
}

#[derive(Default)]
struct Read {
    line: Vec<u8>,
    used: Option<u64>,
    whole: bool,
}

impl UsageReader for Read {
    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < 100 {
                    self.line.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.used = line.strip_prefix("used ").map(|n| n.parse().expect("n")).or(self.used);
            self.whole |= line == "end";
            self.line.clear();
        }
    }

    fn tokens(&self) -> Option<Usage> {
        self.used.map(|tokens| Usage { output_tokens: tokens, ..Usage::default() })
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}
