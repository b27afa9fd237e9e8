//! A gateway in front of a server of the OpenAI API, with budgets and rate limits.
//!
//! ```text
//! cargo run --release --all-features --example gateway
//! ```
//!
//! ```text
//!  client ─► server (bounded) ─► front (api key) ─► Toll ─► proxy ─► upstream, or the built-in one
//!                                                    │
//!  operator ─► server ─► admin ─► house ─► engine ◄──┴──► ledger: SQLite, PostgreSQL or memory
//! ```
//!
//! `main.rs` puts it together and takes it apart again; each part is a file.

mod admin;
mod books;
mod callers;
pub(crate) mod cli;
pub(crate) mod config;
mod front;
pub(crate) mod house;
mod intake;
pub(crate) mod keys;
mod news;
mod place;
mod proxy;
pub(crate) mod run;
mod server;
mod slow;
mod switches;
mod tasks;
mod tls;
pub(crate) mod upstream;
pub(crate) mod welcome;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use cli::{Cli, Command};
use run::Running;

fn main() -> ExitCode {
    gateway(std::env::args_os(), &mut io::stdout(), &mut io::stderr()).into()
}

/// One whole run. Returns its exit status.
pub fn gateway(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help is an answer and belongs on stdout.
        Err(told) if !told.use_stderr() => return write!(out, "{told}").map_or(2, |()| 0),
        Err(told) => return write!(err, "{told}").map_or(2, |()| 2),
    };
    let ended = match cli.command {
        Some(Command::HashKey) => hash_key(out),
        Some(Command::Sample) => write!(out, "{}", config::SAMPLE).map(|()| 0).map_err(Into::into),
        None => serve(&cli.serve, out),
    };
    ended.unwrap_or_else(|why| {
        let _ = writeln!(err, "gateway: {why}");
        2
    })
}

fn hash_key(out: &mut dyn Write) -> Result<u8, Box<dyn std::error::Error>> {
    let mut key = String::new();
    io::stdin().take(4096).read_to_string(&mut key)?;
    let hash = keys::Hash::of_key(key.trim_end_matches(['\r', '\n']))?;
    writeln!(out, "{}", hash.to_hex())?;
    Ok(0)
}

/// What happens is told on stderr.
fn log() {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // What migrations a database gets is no news.
    let levels = Targets::new().with_default(Level::INFO).with_target("refinery_core", Level::WARN);
    // A second one, in a test, is none.
    let _ = tracing_subscriber::registry().with(layer).with(levels).try_init();
}

fn serve(options: &cli::Serve, out: &mut dyn Write) -> Result<u8, Box<dyn std::error::Error>> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut hang_up) =
            (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let running = Running::start(options).await?;
        writeln!(out, "{}", running.welcome())?;
        out.flush()?;
        loop {
            tokio::select! {
                _ = hang_up.recv() => running.reload().await,
                _ = terminate.recv() => break,
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        Ok(u8::from(!running.end().await))
    })
}
