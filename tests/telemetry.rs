//! What is told of limits and the ledger: every count is exact, the number of labels is bounded,
//! and decisions know nothing of it.
#![cfg(all(feature = "metrics", feature = "tracing"))]

#[path = "telemetry/alone.rs"]
mod alone;
#[path = "telemetry/counted.rs"]
mod counted;
#[path = "barrier/hand.rs"]
#[allow(dead_code)] // One way to poll.
mod hand;
#[path = "support/kit.rs"]
mod kit;
#[path = "telemetry/labelled.rs"]
mod labelled;
#[cfg(feature = "http")]
#[path = "telemetry/layer.rs"]
mod layer;
#[path = "telemetry/listener.rs"]
mod listener;
#[path = "ledger/scene.rs"]
#[allow(dead_code)] // A ledger whose store fails.
mod scene;
#[path = "telemetry/threaded.rs"]
mod threaded;
#[path = "telemetry/told.rs"]
mod told;
