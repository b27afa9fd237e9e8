//! A proxy over real sockets: alone, with the layer in front of it, and with nothing but the
//! statements by which a record becomes durable; the upstream that all call, and clients that keep
//! their connections.

use crate::ours;
use crate::peers::plain::Plain;
use crate::peers::plain_sqlite::PlainSqlite;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::iter;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tollkeeper::http::{Caller, Refusal, Toll};
use tollkeeper::openai::OpenAi;
use tollkeeper::{Engine, Ledger, LedgerStore, Limit, LimitId, Price, PriceTable, Sqlite};
use tower::{Layer, Service, service_fn};

const PATH: &str = "/v1/chat/completions";
const MODEL: &str = "large";
macro_rules! asked {
    ($more:literal) => {
        concat!(
            r#"{"model":"large","max_tokens":400,"messages":[{"role":"user","content":"In which "#,
            r#"order do the planets stand, and which of them have rings? In one sentence each, "#,
            r#"please."}]"#,
            $more,
            "}",
        )
    };
}
const ASKED: &str = asked!("");
const ASKED_TO_STREAM: &str = asked!(r#","stream":true"#);
const ANSWERED: &str = concat!(
    r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"large","choices":[{"#,
    r#""index":0,"message":{"role":"assistant","content":"Mercury, Venus, Earth, Mars, Jupiter, "#,
    r#"Saturn, Uranus, Neptune. The last four have rings."},"finish_reason":"stop"}],"usage":{"#,
    r#""prompt_tokens":31,"completion_tokens":24,"total_tokens":55}}"#,
);
const PIECE: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"large","#,
    r#""choices":[{"index":0,"delta":{"content":" Saturn"},"finish_reason":null}],"usage":null}"#,
    "\n\n",
);
const LAST: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"large","#,
    r#""choices":[],"usage":{"prompt_tokens":31,"completion_tokens":100,"total_tokens":131}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// What the upstream answers.
#[derive(Clone, Copy)]
pub enum Answers {
    /// Some hundred bytes of JSON, so long after it is asked.
    Whole(Duration),
    /// A stream of so many pieces, each sent by itself.
    Stream(usize),
}

impl Answers {
    /// What is asked for them.
    fn asked(self) -> &'static str {
        match self {
            Answers::Whole(_) => ASKED,
            Answers::Stream(_) => ASKED_TO_STREAM,
        }
    }

    /// How many bytes that is.
    fn bytes(self) -> usize {
        match self {
            Answers::Whole(_) => ANSWERED.len(),
            Answers::Stream(pieces) => pieces * PIECE.len() + LAST.len(),
        }
    }
}

/// One side: the connections to its proxy, and what they are answered.
pub struct Side {
    connections: Vec<SendRequest<Full<Bytes>>>,
    answers: Answers,
}

/// What serves all sides.
pub struct Proxies {
    pub bare: Side,
    pub layered: Side,
    /// Only where answers are whole.
    pub recorded: Option<Side>,
    pub ledger: Ledger,
    served: u64,
}

impl Proxies {
    /// All, with so many connections each. The files are in this folder.
    pub async fn start(folder: &Path, connections: usize, answers: Answers) -> Proxies {
        let opened = Sqlite::open(folder.join("proxy.sqlite"));
        let store = Arc::new(opened.expect("a file can be made"));
        let upstream = serve(service_fn(move |request| answer(request, answers))).await;
        let bare = serve(forward(upstream)).await;
        let ledger = ledger(store);
        let callers = |_: &http::request::Parts| -> Result<Caller, Refusal> {
            Ok(Caller::new(&"key:one".parse().expect("an id")))
        };
        let spawn = |task| drop(tokio::spawn(task));
        let toll = Toll::builder(&ledger, callers, OpenAi::new(), spawn).build();
        let layered = serve(toll.layer(forward(upstream))).await;
        let recorded = match answers {
            Answers::Stream(_) => None,
            Answers::Whole(_) => {
                let plain = PlainSqlite::open(&folder.join("plain.sqlite"));
                let recorded = serve(record(upstream, recorder(plain))).await;
                Some(Side::connect(recorded, connections, answers).await)
            }
        };
        Proxies {
            bare: Side::connect(bare, connections, answers).await,
            layered: Side::connect(layered, connections, answers).await,
            recorded,
            ledger,
            served: 0,
        }
    }

    /// All that the layered side has answered is written, and nothing is held.
    pub fn check(&mut self, served: u64) {
        self.served += served;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ledger.health().written < self.served {
            assert!(Instant::now() < deadline, "all that was answered is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.ledger.health().written, self.served);
        let usage = self.ledger.engine().usage_all();
        let held: u64 = usage.flat_map(|limit| limit.counters).map(|counter| counter.held).sum();
        assert_eq!(held, 0, "nothing is held when all is answered");
    }
}

impl Side {
    async fn connect(to: SocketAddr, connections: usize, answers: Answers) -> Side {
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(to).await.expect("the proxy listens");
            stream.set_nodelay(true).expect("a socket");
            let io = TokioIo::new(stream);
            let (sender, connection) =
                hyper::client::conn::http1::handshake(io).await.expect("it speaks HTTP");
            tokio::spawn(connection);
            all.push(sender);
        }
        Side { connections: all, answers }
    }

    /// Every connection asks so often, as fast as it is answered. How long that took.
    pub async fn saturate(&mut self, each: usize) -> Duration {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        let answers = self.answers;
        for mut connection in self.connections.drain(..) {
            tasks.spawn(async move {
                for _ in 0..each {
                    ask(&mut connection, answers).await;
                }
                connection
            });
        }
        self.connections = tasks.join_all().await;
        began.elapsed()
    }

    /// Asks so often in a second, `requests` times, by the connections in turn. How long each
    /// answer took, from when it was to be asked for: a connection that is still busy then does
    /// not hide it. What the timer is late by is not counted.
    pub async fn at_rate(&mut self, per_second: u32, requests: usize) -> Vec<f64> {
        let (crew, answers) = (self.connections.len(), self.answers);
        let began = tokio::time::Instant::now() + Duration::from_millis(5);
        let mut tasks = JoinSet::new();
        for (place, mut connection) in self.connections.drain(..).enumerate() {
            tasks.spawn(async move {
                let mut took = Vec::new();
                for number in (place..requests).step_by(crew) {
                    let due = began + Duration::from_secs(1) * number as u32 / per_second;
                    let mut from = due;
                    if tokio::time::Instant::now() < due {
                        sleep_until(due).await;
                        from = tokio::time::Instant::now();
                    }
                    ask(&mut connection, answers).await;
                    took.push(from.elapsed().as_nanos() as f64);
                }
                (connection, took)
            });
        }
        let (connections, took): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
        self.connections = connections;
        took.concat()
    }
}

async fn ask(connection: &mut SendRequest<Full<Bytes>>, answers: Answers) {
    let request = Request::post(PATH)
        .header(header::HOST, "proxy")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_static(answers.asked().as_bytes())))
        .expect("a request");
    connection.ready().await.expect("it is kept");
    let answer = connection.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    assert_eq!(body.len(), answers.bytes());
}

/// The upstream.
async fn answer(
    request: Request<Incoming>,
    answers: Answers,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    request.into_body().collect().await.expect("a whole request");
    let (kind, body) = match answers {
        Answers::Whole(latency) => {
            if !latency.is_zero() {
                sleep(latency).await;
            }
            let body = Full::new(Bytes::from_static(ANSWERED.as_bytes()));
            ("application/json", body.boxed_unsync())
        }
        Answers::Stream(pieces) => {
            ("text/event-stream", Pieces { left: pieces + 1, sent: false }.boxed_unsync())
        }
    };
    let answer = Response::builder().header(header::CONTENT_TYPE, kind);
    Ok(answer.body(body).expect("an answer"))
}

/// A stream that lets others run after each piece, so that each is sent by itself.
struct Pieces {
    left: usize,
    sent: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.sent) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = match self.left {
            0 => return Poll::Ready(None),
            1 => LAST,
            _ => PIECE,
        };
        (self.left, self.sent) = (self.left - 1, true);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

/// The proxy: sends what it gets to the upstream, on connections that it keeps.
fn forward<B>(
    upstream: SocketAddr,
) -> impl Service<
    Request<B>,
    Response = Response<Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, B> = Client::builder(TokioExecutor::new()).build(connector);
    service_fn(move |mut request: Request<B>| {
        let uri = format!("http://{upstream}{}", request.uri().path());
        *request.uri_mut() = uri.parse().expect("a URI");
        client.request(request)
    })
}

/// Whom to tell when a record is written.
type Written = oneshot::Sender<()>;

/// Writes a record for each that is sent, in groups of as many as there are, by plain statements.
fn recorder(mut plain: PlainSqlite) -> mpsc::Sender<Written> {
    let (sender, receiver) = mpsc::channel::<Written>();
    std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            let group: Vec<Written> = iter::once(first).chain(receiver.try_iter()).collect();
            plain.write(1, group.len());
            for written in group {
                // Whoever has gone does not want to know.
                let _ = written.send(());
            }
        }
        plain.check();
    });
    sender
}

/// The proxy, which answers when a record is written: nothing is counted, and nothing is read.
fn record(
    upstream: SocketAddr,
    recorder: mpsc::Sender<Written>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let forward = forward(upstream);
    service_fn(move |request: Request<Incoming>| {
        let (mut forward, recorder) = (forward.clone(), recorder.clone());
        async move {
            let (head, body) = forward.call(request).await?.into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            let (written, is_written) = oneshot::channel();
            recorder.send(written).expect("the recorder runs");
            is_written.await.expect("it is written");
            Ok(Response::from_parts(head, Full::new(body)))
        }
    })
}

/// Serves by this, on a port of its own, as long as the runtime runs.
async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let service = TowerToHyperService::new(service.clone());
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// One key with a team over it, three counters each.
fn ledger(store: Arc<dyn LedgerStore>) -> Ledger {
    let engine = Engine::new();
    let limits: [Limit; 2] = [ours::budget(), ours::rate_limit()];
    let team = ours::add(&engine, "team:all", &[], &limits);
    ours::add(&engine, "key:one", std::slice::from_ref(&team), &limits);
    let money = |text: &str| text.parse().expect("money");
    let mut prices = PriceTable::new();
    prices.insert(MODEL, Price::per_million(money("$2.50"), money("$10")));
    engine.set_prices(prices);
    assert!(engine.usage(&LimitId::new("team:all/0").expect("an id")).is_some());
    Ledger::builder(&engine).start(store).expect("the store is there")
}
