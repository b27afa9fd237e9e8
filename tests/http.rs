//! The tower layer, over real sockets: a hyper server with the layer, a hyper client in front of
//! it, and behind it an upstream that does what the test wants, byte for byte. Each way in which a
//! request can end is shown with what it is recorded as and charged, to the last nano-unit; and
//! after each nothing is held.
#![cfg(feature = "http")]

#[path = "http/bodies.rs"]
mod bodies;
#[path = "http/clients.rs"]
mod clients;
#[path = "http/handlers.rs"]
mod handlers;
#[path = "http/held.rs"]
mod held;
#[path = "http/kit.rs"]
mod kit;
#[path = "http/protocol.rs"]
mod protocol;
#[path = "http/race.rs"]
mod race;
#[path = "http/requests.rs"]
mod requests;
#[path = "http/server.rs"]
mod server;
#[path = "http/turns.rs"]
mod turns;
#[path = "http/upstream.rs"]
mod upstream;
#[path = "http/upstreams.rs"]
mod upstreams;
