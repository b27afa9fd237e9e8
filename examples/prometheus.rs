//! A service with limits, and what is shown of them to Prometheus.
//!
//! It counts the words of texts, for a price, and each api key has a budget for the day and a rate:
//!
//! ```text
//! cargo run --release --features metrics,sqlite,tracing --example prometheus -- --key alice
//! curl -H 'authorization: Bearer alice' -d 'so many words' http://127.0.0.1:9185/words
//! curl http://127.0.0.1:9185/metrics
//! ```
//!
//! `prometheus-rules.yml` beside this file has alerts for what it shows.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::TcpListener;
use tollkeeper::{
    Budget, Dimension, Draft, Engine, Ledger, LimitId, MemoryLedger, Money, OwnerId, Price,
    PriceTable, RateLimit, Sqlite, Telemetry, Timestamp, Unreserved, Usage,
};
use tracing::level_filters::LevelFilter;

/// The largest text, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// Gauges that are not set for so long are shown no more: those of limits that are not among the
/// fullest any longer. The others are set every five seconds.
const GAUGES_KEPT: Duration = Duration::from_secs(30);

/// How long the ledger may take to write what is queued, at the end.
const CLOSING: Duration = Duration::from_secs(10);

/// Counts the words of texts, for a price, within limits that Prometheus can see.
#[derive(Debug, Parser)]
#[command(name = "prometheus")]
pub struct Options {
    /// Where it listens: POST /words, GET /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9185")]
    listen: SocketAddr,
    /// Where usage is recorded; in memory, if not given
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// An api key; may be given more than once
    #[arg(long = "key", value_name = "NAME", default_values = ["alice", "bob"])]
    keys: Vec<String>,
    /// What a key may spend in a day, in dollars
    #[arg(long, value_name = "MONEY", default_value = "$1")]
    budget: Money,
    /// How many requests a key may make in a minute
    #[arg(long, value_name = "N", default_value_t = 60)]
    requests: u64,
    /// The price of a million words, in dollars
    #[arg(long, value_name = "MONEY", default_value = "$20")]
    price: Money,
    /// For how many limits there are gauges: the fullest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limits_labelled: usize,
    /// What is logged: error, warn, info, debug, off
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

type Failure = Box<dyn Error + Send + Sync>;

struct Service {
    ledger: Ledger,
    metrics: PrometheusHandle,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    tracing_subscriber::fmt().with_max_level(options.log).init();
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    serve(&options, listener, interrupted).await
}

/// Serves until it is told to end, then answers what has begun and closes the ledger.
pub async fn serve(
    options: &Options,
    listener: TcpListener,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let recorder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(GAUGES_KEPT))
        .install_recorder()?;
    let ledger = open(options)?;
    Telemetry::new(&ledger).limits_labelled(options.limits_labelled).start()?;

    let service = Arc::new(Service { ledger: ledger.clone(), metrics: recorder });
    let app = Router::new()
        .route("/words", post(words))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(TEXT_MAX))
        .with_state(service);
    axum::serve(listener, app).with_graceful_shutdown(end).await?;

    let closed = tokio::task::spawn_blocking(move || ledger.close(CLOSING)).await?;
    if closed.is_clean() { Ok(()) } else { Err(format!("not all was written: {closed:?}").into()) }
}

/// The limits of each key, and the ledger of what it uses.
fn open(options: &Options) -> Result<Ledger, Failure> {
    // Minutes begin where they did before a restart.
    let engine = Engine::builder().anchor(Timestamp::UNIX_EPOCH).build();
    let mut prices = PriceTable::new();
    prices.insert("words", Price::per_million(options.price, Money::ZERO));
    engine.set_prices(prices);
    for name in &options.keys {
        let key = OwnerId::new("key", name)?;
        engine.upsert_owner(&key, &[])?;
        let day = Budget::new(options.budget, "1d@UTC".parse()?).thresholds(&[80]);
        engine.upsert_limit(&key, &LimitId::new(&format!("{name}-day"))?, day)?;
        let rate = RateLimit::new().requests(options.requests, "1m".parse()?);
        engine.upsert_limit(&key, &LimitId::new(&format!("{name}-rate"))?, rate)?;
    }
    let ledger = Ledger::builder(&engine);
    Ok(match &options.ledger {
        Some(file) => ledger.start(Sqlite::open(file)?)?,
        None => ledger.start(MemoryLedger::default())?,
    })
}

/// Counts the words. What it takes is known before it is done, so the estimate is exact.
async fn words(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    text: String,
) -> Result<String, Response> {
    let words = text.split_whitespace().count();
    let key = key(&headers).ok_or_else(|| StatusCode::UNAUTHORIZED.into_response())?;
    let ledger = &service.ledger;
    let mut usage = Usage { input_tokens: words as u64, requests: 1, ..Usage::default() };
    usage.cost = ledger.engine().cost("words", &usage).map_err(failed)?;

    let route = ledger.engine().route(std::slice::from_ref(&key));
    let draft = Draft::new().api_key(&key).model("words");
    let charge = ledger.reserve(&route, &usage, draft).map_err(refused)?;
    // Here it would be marked as dispatched, and an upstream called.
    charge.settle(&usage).await.map_err(failed)?;
    Ok(format!("{words}\n"))
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    // Where the exporter has no listener of its own, nobody else does this.
    service.metrics.run_upkeep();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    ([(header::CONTENT_TYPE, kind)], service.metrics.render())
}

fn key(headers: &HeaderMap) -> Option<OwnerId> {
    let name = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    OwnerId::new("key", name).ok()
}

fn failed(error: impl Error) -> Response {
    tracing::error!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn refused(unreserved: Unreserved) -> Response {
    let Unreserved::Denied(denied) = unreserved else {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{unreserved}\n")).into_response();
    };
    let status = match denied.first() {
        None => StatusCode::UNAUTHORIZED,
        Some(binding) if binding.dimension == Dimension::Money => StatusCode::PAYMENT_REQUIRED,
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = (status, format!("{denied}\n")).into_response();
    if let Some(after) = denied.retry_after() {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
