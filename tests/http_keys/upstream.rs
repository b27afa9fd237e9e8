//! An upstream: a real server that says what it is told to, and counts its calls.
//!
//! Its answers are lines of text. `used 7` tells what was used, `end` that it is the whole answer.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What the upstream does with one request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub fields: Vec<(&'static str, &'static str)>,
    pub steps: Vec<Step>,
    /// Closes the connection instead of answering.
    pub hangs_up: bool,
    /// Answers when the gate is opened once.
    pub is_late: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Say(Bytes),
    /// Goes on when the gate is opened once.
    Wait,
    /// Breaks the connection off.
    Cut,
}

pub fn say(text: impl Into<Bytes>) -> Step {
    Step::Say(text.into())
}

impl Reply {
    pub fn ok(steps: impl Into<Vec<Step>>) -> Reply {
        let fields = vec![("content-type", "text/plain"), ("x-request-id", "up-1")];
        Reply {
            status: StatusCode::OK,
            fields,
            steps: steps.into(),
            hangs_up: false,
            is_late: false,
        }
    }

    pub fn status(mut self, status: u16) -> Reply {
        self.status = StatusCode::from_u16(status).expect("a status");
        self
    }

    pub fn field(mut self, name: &'static str, value: &'static str) -> Reply {
        self.fields.push((name, value));
        self
    }

    pub fn late(self) -> Reply {
        Reply { is_late: true, ..self }
    }

    pub fn hang_up() -> Reply {
        Reply { hangs_up: true, ..Reply::ok([]) }
    }
}

#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    calls: AtomicUsize,
    said: AtomicUsize,
    keys: Mutex<Vec<Option<String>>>,
    replies: Mutex<VecDeque<Reply>>,
    gate: Arc<Semaphore>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            calls: AtomicUsize::new(0),
            said: AtomicUsize::new(0),
            keys: Mutex::default(),
            replies: Mutex::default(),
            gate: Arc::new(Semaphore::new(0)),
        });
        let upstream = Upstream { address, state };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = serving.clone();
                let service = service_fn(move |request| upstream.clone().answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        upstream
    }

    /// What it does with the next request for which nothing is said yet. A whole answer that tells
    /// its number and used 7, if nothing is said.
    pub fn next(&self, reply: Reply) {
        self.state.replies.lock().expect("no panic").push_back(reply);
    }

    /// So often it was called.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// The keys that it got, call by call.
    pub fn keys(&self) -> Vec<Option<String>> {
        self.state.keys.lock().expect("no panic").clone()
    }

    /// So many pieces of bodies were taken from it.
    pub fn said(&self) -> usize {
        self.state.said.load(Ordering::SeqCst)
    }

    /// Lets one go on that waits, or will.
    pub fn open(&self) {
        self.state.gate.add_permits(1);
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Script>, io::Error> {
        let call = self.state.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let key = request.headers().get("idempotency-key");
        let key = key.map(|key| key.to_str().expect("text").to_owned());
        self.state.keys.lock().expect("no panic").push(key);
        let _ = request.into_body().collect().await;
        let reply = self.state.replies.lock().expect("no panic").pop_front();
        let reply =
            reply.unwrap_or_else(|| Reply::ok([say(format!("answer {call}\nused 7\nend\n"))]));
        if reply.hangs_up {
            return Err(io::Error::other("hangs up"));
        }
        if reply.is_late {
            self.state.gate.clone().acquire_owned().await.expect("it is never closed").forget();
        }
        let steps = reply.steps.into();
        let state = self.state.clone();
        let mut response = Response::new(Script { steps, state, cutting: false, waits: None });
        *response.status_mut() = reply.status;
        for (name, value) in reply.fields {
            response.headers_mut().append(name, value.parse().expect("a value"));
        }
        Ok(response)
    }
}

/// A body that does its steps.
pub struct Script {
    steps: VecDeque<Step>,
    state: Arc<State>,
    cutting: bool,
    waits: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(waits) = &mut self.waits {
                ready!(waits.as_mut().poll(context));
                self.waits = None;
            }
            match self.steps.front().cloned() {
                None => return Poll::Ready(None),
                Some(Step::Say(text)) => {
                    self.steps.pop_front();
                    self.state.said.fetch_add(1, Ordering::SeqCst);
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
                Some(Step::Wait) => {
                    self.steps.pop_front();
                    let gate = self.state.gate.clone();
                    self.waits = Some(Box::pin(async move {
                        gate.acquire_owned().await.expect("it is never closed").forget();
                    }));
                }
                Some(Step::Cut) if self.cutting => {
                    return Poll::Ready(Some(Err(io::Error::other("cut"))));
                }
                Some(Step::Cut) => {
                    // What was said before is to arrive.
                    self.cutting = true;
                    self.waits = Some(Box::pin(tokio::time::sleep(Duration::from_millis(50))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let lengths = self.steps.iter().map(|step| match step {
            Step::Say(text) => Some(text.len() as u64),
            Step::Wait | Step::Cut => None,
        });
        lengths.sum::<Option<u64>>().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
