//! Answers on their way: whole, or as server-sent events.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;
use tollkeeper::{Clock, RecordId, SystemClock};

use super::knobs::Manner;

/// One event: its name, where it has one, and its data.
pub struct Event {
    pub name: Option<&'static str>,
    pub data: Value,
}

impl Event {
    fn text(&self) -> String {
        let name = self.name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        format!("{name}data: {}\n\n", self.data)
    }
}

/// An answer of one piece.
pub fn whole(answer: Value, manner: Manner) -> Response {
    if manner.cut {
        let text = answer.to_string();
        let half = text[..text.floor_char_boundary(text.len() / 2)].to_owned();
        let (mut sender, body) = Channel::new(1);
        tokio::spawn(async move {
            let _ = sender.send_data(Bytes::from(half)).await;
            sender.abort(broken());
        });
        let fields = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (CONTENT_LENGTH, text.len().to_string()),
        ];
        return (fields, Body::new(body)).into_response();
    }
    axum::Json(answer).into_response()
}

/// An answer of many pieces, and the line that ends it, where there is one.
pub fn events(events: Vec<Event>, end: Option<&'static str>, manner: Manner) -> Response {
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(sender, events, end, manner));
    let fields = [("content-type", "text/event-stream"), ("cache-control", "no-cache")];
    (fields, Body::new(body)).into_response()
}

async fn send(
    mut sender: Sender<Bytes, io::Error>,
    events: Vec<Event>,
    end: Option<&'static str>,
    manner: Manner,
) {
    let half = events.len() / 2;
    for (at, event) in events.into_iter().enumerate() {
        if manner.cut && at == half {
            return sender.abort(broken());
        }
        if !manner.piece.is_zero() {
            tokio::time::sleep(manner.piece).await;
        }
        // Nobody listens any more.
        if sender.send_data(Bytes::from(event.text())).await.is_err() {
            return;
        }
    }
    if let Some(end) = end {
        let _ = sender.send_data(Bytes::from_static(end.as_bytes())).await;
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// A name that nothing else has.
pub fn new_id(kind: &str) -> String {
    format!("{kind}-{:032x}", RecordId::generate().as_u128())
}

/// The seconds since 1970.
pub fn created() -> u64 {
    SystemClock.now().as_nanos() / 1_000_000_000
}

/// An object with what another has, too.
pub fn with(this: &Value, more: Value) -> Value {
    let mut both = this.clone();
    if let (Value::Object(both), Value::Object(more)) = (&mut both, more) {
        both.extend(more);
    }
    both
}
