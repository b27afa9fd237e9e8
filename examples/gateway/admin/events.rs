//! What happens, to whoever looks: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::house::House;
use super::super::news::Item;
use super::Shared;
use super::usage::limits;

/// How often limits are looked at while somebody looks.
const EVERY: Duration = Duration::from_millis(500);

/// Something is sent at least so often, or nobody would notice that the other end is gone.
const QUIET: Duration = Duration::from_secs(15);

/// Tells what has changed, as long as somebody listens. Never ends.
pub async fn watch(house: Arc<House>) {
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        turn.tick().await;
        if !house.news.is_heard() {
            told.clear();
            continue;
        }
        let limits = limits(&house);
        if limits != told {
            house.news.tell("usage", usage(&house, &limits));
            told = limits;
        }
    }
}

fn usage(house: &House, limits: &[Value]) -> String {
    json!({ "now": house.engine.now().to_string(), "limits": limits }).to_string()
}

pub async fn events(State(house): Shared) -> Response {
    // From before the first look on: nothing is missed in between.
    let items = house.news.listen();
    let first = Item { name: "usage", data: usage(&house, &limits(&house)) };
    let (sender, body) = Channel::new(4);
    tokio::spawn(send(sender, first, items));
    let fields = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    (fields, Body::new(body)).into_response()
}

async fn send(mut sender: Sender<Bytes, Infallible>, first: Item, mut items: Receiver<Item>) {
    let mut text = event(&first);
    // An error: nobody reads any more.
    while sender.send_data(Bytes::from(text)).await.is_ok() {
        text = match timeout(QUIET, items.recv()).await {
            Ok(Ok(item)) => event(&item),
            // What was missed is asked for again by the page when it hears a comment.
            Ok(Err(RecvError::Lagged(_))) | Err(_) => ":\n\n".to_owned(),
            Ok(Err(RecvError::Closed)) => return,
        };
    }
}

fn event(Item { name, data }: &Item) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
