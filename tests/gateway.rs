//! The program `examples/gateway`, over real sockets: run in this process, and, where it is killed
//! or gets signals or where its memory is measured, in a child that is this same binary.
#![cfg(all(
    feature = "http",
    feature = "metrics",
    feature = "postgres",
    feature = "serde",
    feature = "sqlite",
    feature = "tracing"
))]

#[path = "../examples/gateway/main.rs"]
#[allow(dead_code)] // Its `main` is for the command line.
mod gateway;

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/blabbing.rs"]
mod blabbing;
#[path = "gateway/clients.rs"]
mod clients;
#[path = "gateway/commands.rs"]
mod commands;
#[path = "gateway/kit.rs"]
mod kit;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/race.rs"]
mod race;
#[path = "gateway/reload.rs"]
mod reload;
#[path = "gateway/replicas.rs"]
mod replicas;
#[path = "gateway/restart.rs"]
mod restart;
#[path = "gateway/secrets.rs"]
mod secrets;
#[path = "support/postgres.rs"]
#[allow(dead_code)] // Other tests do more with it.
mod server;
#[path = "gateway/shutdown.rs"]
mod shutdown;
#[path = "gateway/slow.rs"]
mod slow;
#[path = "gateway/tls.rs"]
mod tls;
#[path = "gateway/upstreams.rs"]
mod upstreams;
