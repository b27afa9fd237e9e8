//! What the tests share: an engine with one limit of each kind, its ledger, a client, and what is
//! to be seen when all is over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tollkeeper::http::{Caller, Refusal, Toll, TollBuilder};
use tollkeeper::{
    Budget, Concurrency, Dimension, Engine, Filter, Ledger, LimitId, MemoryLedger, Money, Outcome,
    OwnerId, Price, PriceTable, RateLimit, UsageRecord,
};
use tower::Layer;

use crate::protocol::Lines;
use crate::server::{Proxy, Server};
use crate::upstream::{Act, Upstream};

/// Nano-units for a token, and for a request on top of its tokens.
pub const TOKEN: u64 = 1_000;
pub const REQUEST: u64 = 500;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine with one limit of each kind, and its ledger.
pub struct Books {
    pub engine: Engine,
    pub ledger: Ledger,
}

pub fn owner() -> OwnerId {
    "key:k1".parse().unwrap()
}

fn id(text: &str) -> LimitId {
    LimitId::new(text).unwrap()
}

/// Limits, prices, and a budget of so many nano-units.
pub fn engine(budget: u64) -> Engine {
    let engine = Engine::new();
    engine.upsert_owner(&owner(), &[]).unwrap();
    let year = || "365d".parse().unwrap();
    let budget = Budget::new(Money::from_nanos(budget).unwrap(), year());
    engine.upsert_limit(&owner(), &id("budget"), budget).unwrap();
    let rate = RateLimit::new().tokens(1_000_000, year()).requests(1_000_000, year());
    engine.upsert_limit(&owner(), &id("rate"), rate).unwrap();
    engine.upsert_limit(&owner(), &id("in-flight"), Concurrency::new(1_000)).unwrap();
    let price = Price::per_million(Money::from_units(1), Money::from_units(1))
        .per_request(Money::from_nanos(REQUEST).unwrap());
    engine.set_prices(PriceTable::from_iter([("m1", price)]));
    engine
}

impl Books {
    pub fn new() -> Books {
        Books::with(engine(1_000_000_000))
    }

    pub fn with(engine: Engine) -> Books {
        let ledger = Ledger::builder(&engine).start(MemoryLedger::default()).unwrap();
        Books { engine, ledger }
    }

    pub fn toll(&self) -> TollBuilder {
        Toll::builder(&self.ledger, caller, Lines, |task| {
            tokio::spawn(task);
        })
    }

    /// A gateway to this upstream.
    pub async fn gateway(&self, upstream: &Upstream) -> Server {
        Server::start(self.toll().build().layer(Proxy::to(upstream.address))).await
    }

    /// A gateway to an upstream that does this.
    pub async fn before(&self, acts: Vec<Act>) -> (Server, Upstream) {
        let upstream = Upstream::start(acts).await;
        (self.gateway(&upstream).await, upstream)
    }

    pub fn records(&self) -> Vec<UsageRecord> {
        let stored = self.ledger.records(&Filter::default(), None, 1_000).unwrap();
        stored.into_iter().map(|stored| stored.record).collect()
    }

    /// What is held, on all counters together.
    pub fn held(&self) -> u64 {
        let counters = self.engine.usage_all().flat_map(|limit| limit.counters);
        counters.map(|counter| counter.held).sum()
    }

    pub fn settled(&self, limit: &str, dimension: Dimension) -> u64 {
        let usage = self.engine.usage(&id(limit)).unwrap();
        usage.counter(dimension).unwrap().settled
    }

    /// Waits for so many records, and until nothing is held.
    pub async fn quiet(&self, records: usize) {
        until("it is quiet", || self.records().len() == records && self.held() == 0).await;
    }

    /// Waits until one request has ended, as this, charged so many tokens, this much money, and so
    /// many requests: by the record, by the counters, and by the sums in the store.
    pub async fn ends(&self, outcome: Outcome, tokens: u64, nanos: u64, requests: u64) {
        self.quiet(1).await;
        let record = self.records().remove(0);
        assert_eq!(record.outcome, outcome, "{record:?}");
        let used = &record.usage;
        assert_eq!(
            (used.output_tokens, used.cost.as_nanos(), used.requests),
            (tokens, nanos, requests)
        );
        assert_eq!((record.api_key, record.model.as_deref()), (Some(owner()), Some("m1")));
        self.charged(tokens, nanos, requests);
    }

    /// What is charged to the limits, and in the store.
    pub fn charged(&self, tokens: u64, nanos: u64, requests: u64) {
        let expected = [
            ("budget", Dimension::Money, nanos),
            ("rate", Dimension::Tokens, tokens),
            ("rate", Dimension::Requests, requests),
        ];
        for (limit, dimension, amount) in expected {
            assert_eq!(self.settled(limit, dimension), amount, "{limit} {dimension}");
            let totals = self.ledger.totals(&id(limit)).unwrap();
            let total = totals.iter().filter(|total| total.dimension == dimension);
            let sum: i64 = total.map(|total| total.settled).sum();
            assert_eq!(sum, i64::try_from(amount).unwrap(), "{limit} {dimension} in the store");
        }
        assert_eq!(self.held(), 0);
    }

    /// Waits until nothing is held, and sees that nothing was recorded or charged.
    pub async fn nothing_happened(&self) {
        until("nothing is held", || self.held() == 0).await;
        assert_eq!(self.ledger.health().queued, 0);
        assert_eq!(self.records(), []);
        self.charged(0, 0, 0);
    }
}

fn caller(request: &Parts) -> Result<Caller, Refusal> {
    if request.headers.contains_key("panic-in-callers") {
        panic!("it was asked to");
    }
    match request.headers.get("authorization") {
        Some(_) => Ok(Caller::new(&owner())),
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "no key")),
    }
}

/// Waits for something that happens.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A response on its way.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    connection: Connection,
}

/// It ends when the client lets go of the reply.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request, as this API has them.
pub fn work(tokens: u64) -> Request<Full<Bytes>> {
    posted(&format!(r#"{{"model":"m1","tokens":{tokens}}}"#))
}

pub fn posted(body: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::POST).uri("/work").header("host", "gateway");
    let request = request.header("authorization", "Bearer k1").header("accept-encoding", "gzip");
    request.body(Full::from(body.to_owned())).unwrap()
}

/// A client on a connection of its own.
pub async fn send(to: SocketAddr, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = Connection(tokio::spawn(async move { drop(connection.await) }));
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    Ok(Reply { status: head.status, headers: head.headers, body, connection })
}

impl Reply {
    /// The rest of it, if it ends as it should.
    pub async fn text(self) -> hyper::Result<String> {
        let body = self.body.collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    /// Its next piece.
    pub async fn next(&mut self) -> Option<String> {
        let frame = self.body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    /// Reads until this has come.
    pub async fn expect(&mut self, text: &str) {
        let mut read = String::new();
        while !read.contains(text) {
            read.push_str(&self.next().await.unwrap_or_else(|| panic!("{read:?} is all")));
        }
    }

    /// The client goes away.
    pub fn hang_up(self) {
        drop(self.connection);
    }
}
