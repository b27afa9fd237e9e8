//! `Idempotency-Key` in the layer, over real sockets: a client, a gateway with the layer, and an
//! upstream that counts how often it is called.
//!
//! What is shown of each case is what came to the client, how often the upstream was called, and
//! what the ledger charged.
#![cfg(feature = "http")]

#[path = "http_keys/broken.rs"]
mod broken;
#[path = "http_keys/gone.rs"]
mod gone;
#[path = "http_keys/once.rs"]
mod once;
#[path = "http_keys/refused.rs"]
mod refused;
#[path = "http_keys/scene.rs"]
mod scene;
#[cfg(feature = "sqlite")]
#[path = "http_keys/shared.rs"]
mod shared;
#[path = "http_keys/upstream.rs"]
mod upstream;
