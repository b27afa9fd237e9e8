//! A gateway: a hyper server, the layer, and a hyper client to the upstream.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::client::legacy::{Client, Error as ClientError, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tollkeeper::http::{Forwarded, Upstream};
use tower::Service;

pub type BoxError = Box<dyn Error + Send + Sync>;
pub type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// The service behind the layer: hands requests on to one upstream.
#[derive(Clone)]
pub struct Proxy {
    client: Client<HttpConnector, Forwarded<Incoming>>,
    to: SocketAddr,
    within: Duration,
}

impl Proxy {
    pub fn to(to: SocketAddr) -> Proxy {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Proxy { client, to, within: Duration::from_secs(60) }
    }

    pub fn within(self, within: Duration) -> Proxy {
        Proxy { within, ..self }
    }
}

impl Service<Request<Forwarded<Incoming>>> for Proxy {
    type Response = Answer;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Forwarded<Incoming>>) -> Self::Future {
        let uri = format!("http://{}{}", self.to, request.uri().path());
        *request.uri_mut() = uri.parse().unwrap();
        let answer = tokio::time::timeout(self.within, self.client.request(request));
        Box::pin(async move {
            match answer.await {
                Ok(Ok(answer)) => Ok(answer.map(Either::Left)),
                Ok(Err(error)) if error.is_connect() => {
                    Ok(own(StatusCode::BAD_GATEWAY, Upstream::Unreached))
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(own(StatusCode::GATEWAY_TIMEOUT, Upstream::Unknown)),
            }
        })
    }
}

/// An answer that the proxy makes itself.
fn own(status: StatusCode, upstream: Upstream) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from("the proxy's own words\n")));
    *answer.status_mut() = status;
    answer.extensions_mut().insert(upstream);
    answer
}

/// A server that can be told to stop.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<Notify>,
    graceful: Arc<Mutex<Option<GracefulShutdown>>>,
}

impl Server {
    pub async fn start<S, B>(service: S) -> Server
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let graceful = Arc::new(Mutex::new(Some(GracefulShutdown::new())));
        let server = Server { address, stop, graceful };
        let running = server.clone();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = running.stop.notified() => return,
                };
                let service = TowerToHyperService::new(service.clone());
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let graceful = running.graceful.lock().await;
                let connection = graceful.as_ref().unwrap().watch(connection);
                // A panic in it ends its task, and nothing else.
                tokio::spawn(connection);
            }
        });
        server
    }

    /// Accepts no more, and returns when all that was begun has ended.
    pub async fn shut_down(&self) {
        self.stop.notify_one();
        let graceful = self.graceful.lock().await.take().unwrap();
        graceful.shutdown().await;
    }
}
