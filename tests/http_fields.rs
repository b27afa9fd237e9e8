//! The fields of answers, as a client reads them: a hyper client, a real socket, a hyper server
//! with the layer in it. The clock stands still unless it is moved, so every number is exact.
#![cfg(feature = "http")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollkeeper::http::{Asked, Caller, Class, Forwarded, Protocol, Refusal, Toll, UsageReader};
use tollkeeper::{
    Budget, Concurrency, Enforcement, Engine, Ledger, LimitId, ManualClock, MemoryLedger, OwnerId,
    Price, PriceTable, RateLimit, Timestamp, Usage,
};
use tower::{Layer, service_fn};

/// A body is the number of tokens that are asked for; each request uses 40.
struct Numbers;

struct Forty;

impl Protocol for Numbers {
    fn class(&self, _: &Parts) -> Class {
        Class::Metered
    }

    fn read(&self, _: &Parts, body: Bytes) -> Result<Asked, Refusal> {
        let text = std::str::from_utf8(&body).unwrap();
        let tokens = Usage { input_tokens: text.parse().unwrap(), ..Usage::default() };
        let mut asked = Asked::new("numbers", body);
        (asked.model, asked.tokens) = (Some("m1".to_owned()), Some(tokens));
        Ok(asked)
    }

    fn usage_of(&self, _: &Asked, _: &response::Parts) -> Box<dyn UsageReader> {
        Box::new(Forty)
    }
}

impl UsageReader for Forty {
    fn read(&mut self, _: &[u8]) {}

    fn tokens(&self) -> Option<Usage> {
        Some(Usage { input_tokens: 40, ..Usage::default() })
    }

    fn is_whole(&self) -> bool {
        true
    }
}

/// An upstream that tells of its own limits; at `/busy` it is over them.
async fn upstream<B>(request: Request<Forwarded<B>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("forty"));
    if request.uri().path() == "/busy" {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    for (name, value) in [
        ("ratelimit", "\"theirs\";r=1"),
        ("ratelimit-policy", "\"theirs\";q=1"),
        ("x-ratelimit-limit-tokens", "7777"),
        ("x-ratelimit-remaining-project-tokens", "7777"),
        ("anthropic-ratelimit-tokens-limit", "7777"),
        ("retry-after", "7"),
        ("x-request-id", "r1"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}

fn caller(request: &Parts) -> Result<Caller, Refusal> {
    let key = request.headers["x-key"].to_str().unwrap();
    let key: OwnerId = key.parse().unwrap();
    Ok(Caller::new(&key).upstream(&"upstream:eu".parse().unwrap()))
}

/// Keys on one upstream, whose provider has a limit as well.
fn engine(clock: &ManualClock) -> Engine {
    let engine = Engine::builder().clock(clock.clone()).build();
    let owner = |text: &str| -> OwnerId { text.parse().unwrap() };
    for key in ["provider:openai", "key:paced", "key:poor"] {
        engine.upsert_owner(&owner(key), &[]).unwrap();
    }
    engine.upsert_owner(&owner("upstream:eu"), &[owner("provider:openai")]).unwrap();
    let minute = || "1m".parse().unwrap();
    let id = |text: &str| LimitId::new(text).unwrap();
    let usd = |text: &str| text.parse().unwrap();
    let pace = RateLimit::new().tokens(1_000, minute()).requests(2, minute());
    engine.upsert_limit(&owner("key:paced"), &id("päce"), pace).unwrap();
    engine.upsert_limit(&owner("key:paced"), &id("width"), Concurrency::new(8)).unwrap();
    let trial = RateLimit::new().requests(1, minute()).enforcement(Enforcement::Shadow);
    engine.upsert_limit(&owner("key:paced"), &id("trial"), trial).unwrap();
    engine.upsert_limit(&owner("key:poor"), &id("credit"), Budget::prepaid(usd("0.001"))).unwrap();
    for (at, name) in [("upstream:eu", "theirs-1"), ("provider:openai", "theirs-2")] {
        let theirs = RateLimit::new().tokens(7_777, minute());
        engine.upsert_limit(&owner(at), &id(name), theirs).unwrap();
    }
    engine.set_prices(PriceTable::from_iter([("m1", Price::per_million(usd("1"), usd("1")))]));
    engine
}

/// A gateway on a socket of its own, and a client.
struct Gateway {
    engine: Engine,
    clock: ManualClock,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Gateway {
    async fn start() -> Gateway {
        let clock = ManualClock::new(Timestamp::from_secs(600));
        let engine = engine(&clock);
        let ledger = Ledger::builder(&engine).start(MemoryLedger::default()).unwrap();
        let layer = Toll::builder(&ledger, caller, Numbers, |task| {
            tokio::spawn(task);
        });
        let service = layer.build().layer(service_fn(upstream));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Gateway { engine, clock, address, client }
    }

    async fn ask(&self, key: &str, path: &str, tokens: u64) -> Answer {
        let request = Request::post(format!("{}{path}", self.address)).header("x-key", key);
        let request = request.body(Full::from(tokens.to_string())).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}

impl Answer {
    /// Every field that tells of a limit, in the order of names.
    fn told(&self) -> Vec<(&str, &str)> {
        let about = ["ratelimit", "retry"];
        let told = self.headers.iter().map(|(name, v)| (name.as_str(), v.to_str().unwrap()));
        let mut told: Vec<_> =
            told.filter(|(name, _)| about.iter().any(|part| name.contains(part))).collect();
        told.sort_unstable();
        told
    }

    fn error(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        serde_json::from_slice::<Value>(&self.body).unwrap()["error"].take()
    }
}

const POLICY: &str = "\"p%c3%a4ce/tokens\";q=1000;qu=\"tokens\";w=60, \
                      \"p%c3%a4ce/requests\";q=2;qu=\"requests\";w=60, \
                      \"width/in_flight\";q=8;qu=\"concurrent-requests\"";

#[tokio::test]
async fn successes_and_denials_tell_the_callers_own_limits() {
    let gateway = Gateway::start().await;
    let first = gateway.ask("key:paced", "/", 100).await;
    assert_eq!((first.status, &*first.body), (200, &b"forty"[..]));
    assert_eq!(first.headers["x-request-id"], "r1");
    // The estimate is held while the answer is under way.
    let left = "\"p%c3%a4ce/tokens\";r=900;t=60, \"p%c3%a4ce/requests\";r=1;t=60, \
                \"width/in_flight\";r=7";
    let expected = [
        ("ratelimit", left),
        ("ratelimit-policy", POLICY),
        ("x-ratelimit-limit-requests", "2"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-requests", "1"),
        ("x-ratelimit-remaining-tokens", "900"),
        ("x-ratelimit-reset-requests", "1m0s"),
        ("x-ratelimit-reset-tokens", "1m0s"),
    ];
    assert_eq!(first.told(), expected);

    // The upstream is over its limits: when to come back is its word, what is left is ours.
    gateway.clock.advance(Duration::from_millis(59_980));
    let second = gateway.ask("key:paced", "/busy", 100).await;
    assert_eq!((second.status, &*second.body), (429, &b"forty"[..]));
    assert_eq!(second.headers["retry-after"], "7");
    assert_eq!(second.headers["x-ratelimit-remaining-tokens"], "860");
    assert_eq!(second.headers["x-ratelimit-reset-tokens"], "20ms");
    assert!(!second.told().iter().any(|(_, value)| value.contains("7777")));

    // What failed is charged its tokens, and is none of the two requests of this minute.
    gateway.clock.set(Timestamp::from_millis(620_500));
    assert_eq!(gateway.ask("key:paced", "/", 100).await.status, 200);
    let third = gateway.ask("key:paced", "/", 100).await;
    let left = "\"p%c3%a4ce/tokens\";r=880;t=40, \"p%c3%a4ce/requests\";r=0;t=40, \
                \"width/in_flight\";r=8";
    let expected = [
        ("ratelimit", left),
        ("ratelimit-policy", POLICY),
        ("retry-after", "40"),
        ("x-ratelimit-limit-requests", "2"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-remaining-tokens", "880"),
        ("x-ratelimit-reset-requests", "40s"),
        ("x-ratelimit-reset-tokens", "40s"),
    ];
    assert_eq!((third.status, third.told()), (429, expected.to_vec()));
    let message =
        "The rate limit \"päce\" has no room for another request. Please try again in 40s.";
    let (kind, code) = ("requests", "rate_limit_exceeded");
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    assert_eq!(third.error(), error);

    gateway.clock.advance(Duration::from_secs(40));
    assert_eq!(gateway.ask("key:paced", "/", 100).await.status, 200);
}

/// Money is no field, and who is out of it is told to pay and not to come back.
#[tokio::test]
async fn money_is_told_by_the_status_alone() {
    let gateway = Gateway::start().await;
    let first = gateway.ask("key:poor", "/", 900).await;
    assert_eq!((first.status, first.told()), (200, vec![]));
    let second = gateway.ask("key:poor", "/", 980).await;
    assert_eq!((second.status, second.told()), (402, vec![("x-should-retry", "false")]));
    let error = second.error();
    assert_eq!(error["code"], "insufficient_quota");
    assert_eq!(
        error["message"],
        "The budget \"credit\" has no room for what this request may cost. It needs a top-up."
    );
}

/// What is left at the upstream is nobody's business, not even who it is.
#[tokio::test]
async fn a_denial_by_the_upstreams_limit_does_not_name_it() {
    let gateway = Gateway::start().await;
    // The provider's window is full with what others used.
    let others = gateway.engine.route(&["provider:openai".parse().unwrap()]);
    let used = Usage { input_tokens: 7_777, ..Usage::default() };
    let _ = gateway.engine.bump(&others, &used);
    let answer = gateway.ask("key:poor", "/", 40).await;
    assert_eq!((answer.status, answer.told()), (429, vec![("retry-after", "60")]));
    assert_eq!(
        answer.error()["message"],
        "A rate limit on the way has no room for the 40 tokens of this request. \
         Please try again in 60s."
    );
}
