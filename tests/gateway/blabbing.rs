//! An upstream that answers everything, and tells all that it is told.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;

/// An upstream that tells all that it is told: in an error's fields and body.
pub struct Blabbing {
    pub address: std::net::SocketAddr,
    pub heard: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Blabbing {
    pub async fn start() -> Blabbing {
        use axum::extract::{Path, State};
        use axum::response::IntoResponse;

        type Heard = Arc<Mutex<Vec<HeaderMap>>>;
        async fn tell(
            State(heard): State<Heard>,
            Path(_): Path<String>,
            uri: http::Uri,
            headers: HeaderMap,
        ) -> axum::response::Response {
            let field = headers.get("authorization").cloned();
            let text = format!("{headers:?} {field:?}");
            heard.lock().expect("nobody panics").push(headers);
            let code = uri.query().and_then(|query| query.parse::<u16>().ok()).unwrap_or(200);
            let status = StatusCode::from_u16(code).expect("it is a status");
            let mut response = (status, text).into_response();
            if let Some(field) = field {
                response.headers_mut().insert("x-you-said", field);
            }
            let fields = response.headers_mut();
            fields.insert("set-cookie", "a=b".parse().expect("it is a value"));
            fields.insert("connection", "x-hop".parse().expect("it is a value"));
            fields.insert("x-hop", "1".parse().expect("it is a value"));
            response
        }
        let heard = Heard::default();
        let router = axum::Router::new().route("/{*path}", axum::routing::any(tell));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it has one");
        let router = router.with_state(Arc::clone(&heard));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Blabbing { address, heard }
    }
}
