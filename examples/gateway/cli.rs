//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::books::Place;
use super::upstream::Knobs;

const AFTER: &str = "\
Examples:
  cargo run --release --all-features --example gateway
  cargo run --release --all-features --example gateway -- --config gateway.toml \\
      --upstream https://api.openai.com --ledger postgres://gateway@db.internal/gateway
  openssl rand -hex 32 | tee key | cargo run -q --all-features --example gateway -- hash-key

Signals: SIGHUP reads the configuration again; SIGTERM and Ctrl-C end it, when the requests under
way have ended or their time is over.

Exit status: 0 if it ended and all usage is recorded, 1 if some is not, 2 if it cannot start.";

/// An OpenAI-compatible gateway with budgets and rate limits.
#[derive(Debug, Parser)]
#[command(name = "gateway", max_term_width = 100, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the hash of the key on the standard input, for the configuration
    HashKey,
    /// Print the sample configuration
    Sample,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration [default: the sample, see `gateway sample`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The upstream, without /v1 [default: that of the configuration, or a built-in one]
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,

    /// Where usage is recorded: memory, sqlite:FILE, or postgres://… for several instances
    #[arg(long, value_name = "PLACE", default_value = "sqlite:gateway.sqlite")]
    pub ledger: Place,

    /// The built-in upstream waits so long before it answers
    #[arg(long, value_name = "MS")]
    pub latency_ms: Option<u64>,

    /// The built-in upstream waits so long before each piece of a stream
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub piece_ms: u64,

    /// The built-in upstream fails so: a status, billed, reset, cut, hang or no-usage
    #[arg(long, value_name = "FAULT")]
    pub fault: Option<String>,
}

impl Serve {
    pub fn knobs(&self) -> Knobs {
        Knobs {
            latency_ms: self.latency_ms,
            piece_ms: Some(self.piece_ms),
            fault: self.fault.clone(),
        }
    }
}
