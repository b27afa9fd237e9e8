//! Starting all of it, and ending it in order: no new connections, then the requests under way,
//! then what they have left to do, then the ledger.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tollkeeper::http::Toll;
use tollkeeper::openai::OpenAi;
use tollkeeper::{Engine, RecordId, Telemetry, Timestamp};
use tower::Layer;

use super::books::{Books, OpenError};
use super::callers::ByKey;
use super::cli::Serve;
use super::config::{Fixed, UpstreamPart};
use super::front::Front;
use super::house::{House, Source};
use super::intake::Room;
use super::proxy::{Proxy, UpstreamError};
use super::server::{Bounds, serve};
use super::tasks::Tasks;
use super::{admin, upstream, welcome};

/// Where rolling windows begin, in every instance and after every restart the same: Monday, 1
/// January 2024, so days begin at midnight UTC, and weeks on Mondays.
const ANCHOR: Timestamp = Timestamp::from_secs(1_704_067_200);

/// So long does a request wait for another one with its idempotency key.
const KEY_WAIT: Duration = Duration::from_secs(30);

/// So long does the ledger have to write what is queued when the gateway ends.
const CLOSING: Duration = Duration::from_secs(10);

/// So many connections may operators have.
const ADMIN_CONNECTIONS: usize = 256;

/// A gateway that serves.
pub struct Running {
    pub house: Arc<House>,
    pub address: SocketAddr,
    pub admin_address: SocketAddr,
    source: Source,
    stop: watch::Sender<bool>,
    servers: [JoinHandle<()>; 2],
    beside: Vec<JoinHandle<()>>,
    tasks: Tasks,
    drain: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error(
        "the configuration has a key or the token of the sample, which everybody knows, and \
         listens on more than loopback; accepted: keys and a token of your own"
    )]
    SampleInPublic,
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("the ledger: {0}")]
    Books(#[from] OpenError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the upstream's key: the environment variable {0} is not set")]
    NoKey(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Running {
    pub async fn start(options: &Serve) -> Result<Running, StartError> {
        let source = options.config.clone().map_or(Source::Sample, Source::File);
        let (_, file) = source.read().map_err(StartError::Config)?;
        let fixed = file.fixed.clone();
        if welcome::is_published(&file) && !is_private(&fixed) {
            return Err(StartError::SampleInPublic);
        }
        let listener = listen(fixed.gateway.listen).await?;
        let admin_listener = listen(fixed.admin.listen).await?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
        let proxy = way_out(options, &fixed.upstream).await?;

        let engine = Engine::builder().anchor(ANCHOR).build();
        engine.apply(&file.config).map_err(|error| StartError::Config(error.to_string()))?;
        let tasks = Tasks::default();
        let (place, spawning, begun) = (options.ledger.clone(), tasks.clone(), engine.clone());
        let opened = tokio::task::spawn_blocking(move || Books::open(&place, &begun, &spawning));
        let books = opened.await.map_err(io::Error::other)??;
        let metrics = recorder();
        Telemetry::new(&books.ledger).start()?;

        let house = Arc::new(House::new(books.ledger.clone(), source.clone(), file));
        let toll = toll(&house, &books, &tasks, &fixed).layer(proxy);
        let body = Duration::from_secs(fixed.gateway.body_seconds);
        let room = Room::new(fixed.gateway.max_bodies_bytes);
        let front = Front { house: Arc::clone(&house), toll, room, body };
        let router = admin::router(Arc::clone(&house), metrics.clone());
        let (stop, stopped) = watch::channel(false);
        let bounds = bounds(&fixed);
        let admin_bounds =
            Bounds { connections: ADMIN_CONNECTIONS, drain: Duration::ZERO, ..bounds };
        let router = tower::ServiceBuilder::new().map_request(with_body).service(router);
        let servers = [
            tokio::spawn(serve(listener, front, bounds, stopped.clone())),
            tokio::spawn(serve(admin_listener, router, admin_bounds, stopped)),
        ];
        let beside = vec![
            tokio::spawn(admin::watch(Arc::clone(&house))),
            tokio::spawn(compare(Arc::clone(&house), books.compare_every)),
            tokio::spawn(sweep(Arc::clone(&house), metrics)),
        ];
        let drain = bounds.drain;
        Ok(Running { house, address, admin_address, source, stop, servers, beside, tasks, drain })
    }

    /// What a person may want to do next.
    pub fn welcome(&self) -> String {
        let sample = matches!(self.source, Source::Sample);
        welcome::text(self.address, self.admin_address, sample)
    }

    /// Reads the configuration again. What is wrong is told in the log.
    pub async fn reload(&self) {
        let house = Arc::clone(&self.house);
        let done = tokio::task::spawn_blocking(move || house.reload()).await;
        if let Ok(Err(why)) = done {
            tracing::error!("nothing was changed: {why}");
        }
    }

    /// Ends it. Whether all usage is recorded.
    pub async fn end(self) -> bool {
        tracing::info!("the gateway ends");
        let _ = self.stop.send(true);
        for server in self.servers {
            let _ = server.await;
        }
        // What goes on without its client has had the same time.
        self.tasks.end(Duration::from_secs(1).min(self.drain)).await;
        for task in self.beside {
            task.abort();
            let _ = task.await;
        }
        let ledger = self.house.ledger.clone();
        let closed = tokio::task::spawn_blocking(move || ledger.close(CLOSING)).await;
        match closed {
            Ok(closed) if closed.is_clean() => true,
            Ok(closed) => {
                let (unwritten, rejected) = (closed.unwritten.len(), closed.rejected.len());
                let open = closed.open_charges;
                tracing::error!(unwritten, rejected, open, "not all usage is recorded");
                false
            }
            Err(_) => false,
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))
}

fn is_private(fixed: &Fixed) -> bool {
    fixed.gateway.listen.ip().is_loopback() && fixed.admin.listen.ip().is_loopback()
}

fn bounds(fixed: &Fixed) -> Bounds {
    let part = &fixed.gateway;
    Bounds {
        connections: part.max_connections,
        head: Duration::from_secs(part.header_seconds),
        write: Duration::from_secs(part.write_seconds),
        drain: Duration::from_secs(part.drain_seconds),
    }
}

/// The way to the upstream, which is started if it is the built-in one.
async fn way_out(options: &Serve, part: &UpstreamPart) -> Result<Proxy, StartError> {
    let Some(url) = options.upstream.as_ref().or(part.url.as_ref()) else {
        let key = format!("built-in-{:032x}", RecordId::generate().as_u128());
        let address = upstream::start(&key, options.knobs()).await?;
        return Ok(Proxy::new(&format!("http://{address}"), Some(&key), part)?);
    };
    let name = part.key_env.as_ref();
    let key = name.map(|name| std::env::var(name).map_err(|_| StartError::NoKey(name.clone())));
    Ok(Proxy::new(url, key.transpose()?.as_deref(), part)?)
}

fn toll(house: &Arc<House>, books: &Books, tasks: &Tasks, fixed: &Fixed) -> Toll {
    let mut api = OpenAi::new();
    if let Some(tokens) = fixed.gateway.default_output_tokens {
        api = api.default_output(tokens);
    }
    let tasks = tasks.clone();
    Toll::builder(&house.ledger, ByKey(Arc::clone(house)), api, move |task| tasks.spawn(task))
        .barrier(books.barrier.clone())
        .keys(books.keys.clone(), KEY_WAIT)
        .body_limit(fixed.gateway.max_body_bytes)
        .build()
}

fn with_body(request: http::Request<hyper::body::Incoming>) -> http::Request<axum::body::Body> {
    request.map(axum::body::Body::new)
}

/// Compares memory with the ledger, which other instances may write, too. Never ends.
async fn compare(house: Arc<House>, every: Duration) {
    let mut turn = ticks(every);
    loop {
        turn.tick().await;
        let ledger = house.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.reconcile()).await {
            Ok(Ok(found)) => {
                for apart in &found.apart {
                    tracing::error!(?apart, "other instances count in other windows");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the ledger could not be compared"),
            Err(_) => {}
        }
    }
}

/// Closes windows that are over though nobody asks, and keeps the recorder small. Never ends.
async fn sweep(house: Arc<House>, metrics: PrometheusHandle) {
    let mut turn = ticks(Duration::from_secs(5));
    loop {
        turn.tick().await;
        metrics.run_upkeep();
        house.engine.reset_expired();
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// The recorder of the process: there can be one.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        // Gauges of limits that are not among the fullest any more go.
        let recorder = PrometheusBuilder::new()
            .idle_timeout(MetricKindMask::GAUGE, Some(Duration::from_secs(30)))
            .build_recorder();
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        handle
    };
    RECORDER.get_or_init(install).clone()
}
