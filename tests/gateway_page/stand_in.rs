//! What the page talks to, where a test needs faults that the gateway does not have: a server of
//! the page and of what it reads, from a real engine, which can be without events, or away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::channel::Channel;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollkeeper::{
    CounterUsage, Decision, Dimension, Engine, LimitId, LimitKind, LimitUsage, Money, OwnerId,
    Reservation, Timestamp, Usage,
};

pub const PAGE: &str = include_str!("../../examples/gateway/status.html");
pub const TOKEN: &str = "a-token-of-the-tests";

/// A gateway as the page sees it.
pub struct StandIn {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    /// Its tasks and connections end with it.
    runtime: Option<Runtime>,
}

struct Shared {
    engine: Arc<Engine>,
    /// Of limits that are not hard.
    enforcement: BTreeMap<LimitId, &'static str>,
    denials: Mutex<Vec<Value>>,
    events: AtomicBool,
    /// When it was asked for usage.
    asked: Mutex<Vec<Instant>>,
}

impl StandIn {
    /// One over this engine, in which these limits are not hard.
    pub fn start(engine: Engine, enforcement: &[(&str, &'static str)]) -> StandIn {
        let engine = Arc::new(engine);
        let named = |&(id, how): &(&str, _)| (LimitId::new(id).expect("an id"), how);
        let shared = Arc::new(Shared {
            engine: Arc::clone(&engine),
            enforcement: enforcement.iter().map(named).collect(),
            denials: Mutex::new(Vec::new()),
            events: AtomicBool::new(true),
            asked: Mutex::default(),
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = StandIn { engine, address, shared, runtime: None };
        server.come_back();
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/status", self.address)
    }

    /// From now on there are events, or none: those who ask are told that there is no such path.
    pub fn events(&self, there: bool) {
        self.shared.events.store(there, Ordering::SeqCst);
    }

    /// The longest time between two questions for usage since `begun`.
    pub fn longest_silence(&self, begun: Instant) -> Duration {
        let asked = self.shared.asked.lock().expect("no panic while it is held").clone();
        let mut times: Vec<Instant> = asked.into_iter().filter(|&at| at >= begun).collect();
        times.insert(0, begun);
        times.push(Instant::now());
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Ends it in the middle of whatever it does.
    pub fn go_away(&mut self) {
        self.runtime.take().expect("it was there").shutdown_background();
    }

    /// Starts it at the address it had.
    pub fn come_back(&mut self) {
        let runtime = Runtime::new().expect("a runtime");
        let guard = runtime.enter();
        let listener = std::net::TcpListener::bind(self.address).expect("a free port");
        listener.set_nonblocking(true).expect("it can be awaited");
        self.address = listener.local_addr().expect("it has an address");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it can be awaited");
        let app = Router::new()
            .route("/status", get(page))
            .route("/admin/usage", get(usage))
            .route("/admin/denials", get(denials))
            .route("/admin/events", get(events))
            .with_state(Arc::clone(&self.shared));
        runtime.spawn(async move { axum::serve(listener, app).await });
        drop(guard);
        self.runtime = Some(runtime);
    }

    /// A request of this key: a reservation, or a denial that is told.
    pub fn request(&self, key: &str, model: &str, estimate: &Usage) -> Option<Reservation> {
        let owner: OwnerId = key.parse().expect("an owner");
        let route = self.engine.route(&[owner]);
        match self.engine.reserve(&route, estimate) {
            Decision::Admitted(reservation) => Some(reservation),
            Decision::Denied(denied) => {
                let by = denied.first().expect("a limit denies");
                let status = if by.dimension == Dimension::Money { 402 } else { 429 };
                let mut denials = self.shared.denials.lock().expect("no panic while it is held");
                denials.insert(
                    0,
                    json!({
                        "at": denied.at().to_string(), "key": key, "model": model,
                        "status": status, "limit": by.limit.as_str(),
                        "dimension": dimension_name(by.dimension), "message": denied.to_string(),
                    }),
                );
                denials.truncate(100);
                None
            }
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Not waiting for it: tests drop it where nothing may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

async fn usage(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !is_admin(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.asked.lock().expect("no panic while it is held").push(Instant::now());
    Json(shared.usage()).into_response()
}

async fn denials(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !is_admin(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let denials = shared.denials.lock().expect("no panic while it is held").clone();
    Json(json!({ "denials": denials })).into_response()
}

async fn events(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !is_admin(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if !shared.events.load(Ordering::SeqCst) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (mut sender, channel) = Channel::<Bytes>::new(4);
    tokio::spawn(async move {
        let (mut limits, mut denied) = (Value::Null, 0);
        while shared.events.load(Ordering::SeqCst) {
            let usage = shared.usage();
            if limits != usage["limits"] {
                limits = usage["limits"].clone();
                if sender
                    .send_data(format!("event: usage\ndata: {usage}\n\n").into())
                    .await
                    .is_err()
                {
                    return;
                }
            }
            let newest = shared.denials.lock().expect("no panic while it is held").clone();
            if denied != newest.len() {
                denied = newest.len();
                let data = format!("event: denial\ndata: {}\n\n", newest[0]);
                if sender.send_data(data.into()).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(channel)).into_response()
}

fn is_admin(headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|value| *value == format!("Bearer {TOKEN}"))
}

impl Shared {
    fn usage(&self) -> Value {
        let limits: Vec<Value> = self.engine.usage_all().map(|usage| self.limit(&usage)).collect();
        json!({ "now": self.engine.now().to_string(), "limits": limits })
    }

    fn limit(&self, usage: &LimitUsage) -> Value {
        let kind = match usage.kind {
            LimitKind::Budget => "budget",
            LimitKind::RateLimit => "rate_limit",
            LimitKind::Concurrency => "concurrency",
        };
        json!({
            "limit": usage.limit.as_str(), "owner": usage.owner.to_string(), "kind": kind,
            "enforcement": self.enforcement.get(&usage.limit).copied().unwrap_or("hard"),
            "counters": usage.counters.iter().map(counter).collect::<Vec<Value>>(),
        })
    }
}

fn counter(counter: &CounterUsage) -> Value {
    let end = Some(counter.window.end).filter(|&end| end != Timestamp::MAX);
    let mut told = json!({
        "dimension": dimension_name(counter.dimension),
        "settled": counter.settled, "held": counter.held,
        "limit": counter.limit, "remaining": counter.remaining(), "percent": counter.percent(),
        "window": {
            "start": counter.window.start.to_string(), "end": end.map(|end| end.to_string()),
        },
        "generation": counter.generation,
    });
    if counter.dimension == Dimension::Money {
        told["text"] = json!({
            "settled": dollars(counter.settled), "held": dollars(counter.held),
            "limit": counter.limit.map(dollars), "remaining": counter.remaining().map(dollars),
        });
    }
    told
}

/// The name of a dimension for the page.
pub fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Money => "cost",
        other => other.name(),
    }
}

pub fn dollars(nanos: u64) -> String {
    format!("${}", Money::from_nanos(nanos).expect("an amount of money"))
}
