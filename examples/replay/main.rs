//! Replays an hour of LLM traffic through budgets and rate limits, on a virtual clock, and audits
//! what they did.
//!
//! ```text
//! cargo run --release --example replay -- --help
//! ```

mod audit;
mod books;
mod cli;
mod clients;
mod closings;
mod document;
mod draw;
mod estimate;
mod failure;
mod findings;
mod gate;
mod generate;
mod install;
mod json;
mod laws;
mod log;
mod malformed;
mod progress;
mod rule;
mod run;
mod schedule;
mod tally;
mod trace;
mod traffic;

use clap::Parser;
use cli::Cli;
use failure::Failure;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    replay(std::env::args_os(), &mut std::io::stdout(), &mut std::io::stderr()).into()
}

fn replay(args: impl Iterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = Cli::parse_from(args);
    let mut rejects = malformed::Rejects::new(cli.strict);
    let clients = match &cli.clients { None => clients::Clients::law(), Some(p) => clients::Clients::parse(&p.display().to_string(), &failure::read(p).unwrap(), &mut rejects).unwrap() };
    let rows = match &cli.trace { None => generate::hour(cli.seed), Some(p) => trace::parse(&p.display().to_string(), &failure::read(p).unwrap(), &mut rejects).unwrap() };
    let document = document::parse("built-in limits", document::DEFAULT).unwrap();
    let requests = traffic::assemble(&rows, &clients, &document, cli.seed).unwrap();
    let estimates: Vec<_> = requests.iter().map(|r| estimate::estimate(cli.estimate, r, &document).unwrap()).collect();
    let start = requests[0].arrival;
    let clock = tollkeeper::ManualClock::new(start);
    let gate = gate::Gate::open("built-in limits", &document, cli.admission, clock.clone()).unwrap();
    let began = std::time::Instant::now();
    let log = run::replay(&gate, &clock, start, &requests, &estimates);
    writeln!(out, "{:?}", began.elapsed()).unwrap();
    let findings = audit::audit(&log, &requests, &document, start);
    let tallies = tally::tally(&log, &requests, &document);
    for law in findings.laws.iter() { writeln!(out, "{} {} {} {:?}", law.name, law.checks, law.breaches, law.told).unwrap(); }
    for (o,t) in document.owners.iter().zip(&tallies.owners) { writeln!(out, "{} {} {} {} {} {:.2} {:?}", o.id, t.requests, t.admitted, t.denied, t.tokens, t.money as f64/1e9, t.denied_by).unwrap(); }
    let t=&tallies.all; writeln!(out, "{} {} {} {} {:.2} {:?}", t.requests, t.admitted, t.denied, t.tokens, t.money as f64/1e9, t.denied_by).unwrap();
    writeln!(out, "{:?}", findings.overshoot);
    u8::from(!findings.laws.hold())
}
