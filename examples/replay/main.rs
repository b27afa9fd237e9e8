//! Replays an hour of LLM traffic through budgets and rate limits, on a virtual clock, and audits
//! what they did.
//!
//! ```text
//! cargo run --release --example replay -- --help
//! ```
//!
//! The way of a run: rows of a trace ([`trace`], [`generate`]) become requests ([`traffic`]), which
//! pass or do not pass the [`gate`] in virtual time ([`run`], [`threads`]); the [`log`] of that is
//! audited ([`audit`], [`census`]) and told ([`report`], [`json`], [`plot`]).

mod amount;
mod audit;
mod books;
mod census;
mod clerk;
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
mod json;
mod laws;
mod log;
mod malformed;
mod outcome;
mod past;
mod place;
mod plot;
mod progress;
mod proof;
mod report;
mod rule;
mod run;
mod schedule;
mod tally;
mod threads;
mod trace;
mod traffic;

use clap::Parser;
use cli::Cli;
use clients::Clients;
use document::Document;
use failure::Failure;
use gate::{Gate, Writing};
use malformed::Rejects;
use outcome::{Outcome, Source, Written};
use past::Past;
use proof::Kept;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollkeeper::{Config, LedgerStore, LimitUsage, ManualClock, Timestamp, Usage};
use traffic::Request;

/// So many malformed rows are told one by one.
const TOLD: usize = 20;
/// Tables are this wide where there is no terminal to ask, unless COLUMNS says otherwise.
const WIDTH: u16 = 100;

fn main() -> ExitCode {
    replay(std::env::args_os(), &mut std::io::stdout(), &mut std::io::stderr()).into()
}

/// One whole run: 0 if every law held, 1 if not, 2 if there was nothing to replay.
pub fn replay(
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
    match run(&cli, out, err) {
        Ok(true) => 0,
        Ok(false) => 1,
        // A reader that has seen enough is no failure of the replay.
        Err(Failure::Unread) => 0,
        Err(why) => {
            let _ = writeln!(err, "replay: {why}");
            2
        }
    }
}

/// Says whether every law held.
fn run(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> Result<bool, Failure> {
    let mut rejects = Rejects::new(cli.strict);
    let mut limits = limits(cli)?;
    let (clients, client_source) = clients(cli, &mut rejects)?;
    let (mut rows, trace) = rows(cli, &mut rejects)?;
    tell(&rejects, err);
    let book = cli.ledger.as_ref().map(Book::open).transpose()?;
    let moved = book.as_ref().map_or(Duration::ZERO, |book| book.move_behind(&mut rows));

    let hour = Hour::new(cli, &rows, &clients, &limits)?;
    if let Some(book) = &book {
        book.past.open(&mut limits.document.rules, hour.start);
    }
    let (log, elapsed, kept) = drive(cli, &limits, &hour, book)?;
    let (document, start) = (&limits.document, hour.start);
    let mut findings = match cli.threads {
        None => audit::audit(&log, &hour.requests, document, start),
        Some(_) => census::census(&log, &hour.requests, document, start),
    };
    if let Some(kept) = &kept {
        proof::prove(kept, &log, (&hour.requests, document, start), &mut findings.laws)
            .map_err(|why| Failure::Input(format!("cannot read the ledger: {why}")))?;
    }
    let outcome = Outcome {
        cli,
        document,
        source: Source { trace, clients: client_source, limits: limits.name.clone() },
        start,
        end: log.readings.last().map_or(start, |reading| reading.at),
        findings,
        tallies: tally::tally(&log, &hour.requests, document),
        malformed: rejects.rows(),
        elapsed,
        ledger: kept.as_ref().map(|kept| Written {
            records: kept.closed.health.written,
            groups: kept.closed.health.groups,
            before: kept.past.records.len() as u64,
            restored: kept.closed.restored.counters,
            moved,
        }),
    };
    if let Some(path) = &cli.plot {
        plot::draw(&outcome, path)?;
    }
    let text = match cli.json {
        true => format!("{}\n", json::object(&outcome)),
        false => report::text(&outcome, width()),
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    Ok(outcome.findings.laws.hold())
}

/// A limits document: as the engine takes it, and as the audit reads it.
struct Limits {
    name: String,
    config: Config,
    document: Document,
}

/// What is replayed.
struct Hour {
    start: Timestamp,
    requests: Vec<Request>,
    estimates: Vec<Usage>,
}

impl Hour {
    fn new(
        cli: &Cli,
        rows: &[trace::Row],
        clients: &Clients,
        limits: &Limits,
    ) -> Result<Hour, Failure> {
        let (document, prices) = (&limits.document, limits.config.prices());
        let requests = traffic::assemble(rows, clients, document, prices, cli.seed)?;
        let estimate = |it: &Request| estimate::estimate(cli.estimate, it, document, prices);
        let estimates = requests.iter().map(estimate).collect::<Result<_, _>>()?;
        let first = requests.first().map_or(Timestamp::UNIX_EPOCH, |first| first.arrival);
        Ok(Hour { start: minute_of(first), requests, estimates })
    }
}

/// Replays the hour, and says how long that took by the wall, and what is in the ledger.
fn drive(
    cli: &Cli,
    limits: &Limits,
    hour: &Hour,
    book: Option<Book>,
) -> Result<(log::Log, Duration, Option<Kept>), Failure> {
    let Hour { start, requests, estimates } = hour;
    let opened = |gate: Gate, writing| opened(gate, &limits.document, book.as_ref(), writing);
    let (opened, gate, log, elapsed) = match cli.threads {
        None => {
            let clock = ManualClock::new(*start);
            let gate = Gate::open(limits, cli.admission, clock.clone())?;
            let (opened, gate) = opened(gate, Writing::ByHand)?;
            let began = Instant::now();
            let log = run::replay(&gate, &clock, *start, requests, estimates);
            (opened, gate, log, began.elapsed())
        }
        Some(threads) => {
            let clock = threads::ForwardClock::new(*start);
            let gate = Gate::open(limits, cli.admission, clock.clone())?;
            let (opened, gate) = opened(gate, Writing::Thread)?;
            let began = Instant::now();
            let log = threads::replay(&gate, &clock, threads.into(), requests, estimates);
            (opened, gate, log, began.elapsed())
        }
    };
    let closed = gate.into_clerk().map(clerk::Clerk::close);
    let kept =
        book.zip(closed).map(|(Book { store, past }, closed)| Kept { store, past, opened, closed });
    Ok((log, elapsed, kept))
}

/// The gate with its ledger, if there is one, and what every limit has used by then.
fn opened(
    mut gate: Gate,
    document: &Document,
    book: Option<&Book>,
    writing: Writing,
) -> Result<(Vec<LimitUsage>, Gate), Failure> {
    if let Some(book) = book {
        gate.keep(document, Arc::clone(&book.store), writing)?;
    }
    Ok((gate.read(), gate))
}

/// A ledger before the replay.
struct Book {
    store: Arc<dyn LedgerStore>,
    past: Past,
}

impl Book {
    fn open(place: &place::Place) -> Result<Book, Failure> {
        let store = place.open()?;
        let past = Past::read(&*store)
            .map_err(|why| Failure::Input(format!("--ledger {place}: {why}")))?;
        Ok(Book { store, past })
    }

    /// Moves a trace behind all that there is, by whole minutes, and says how far.
    fn move_behind(&self, rows: &mut [trace::Row]) -> Duration {
        let Some(first) = rows.first() else { return Duration::ZERO };
        let moved = self.past.moves(minute_of(first.at));
        rows.iter_mut().for_each(|row| row.at = row.at.saturating_add(moved));
        moved
    }
}

fn limits(cli: &Cli) -> Result<Limits, Failure> {
    let (name, text) = match &cli.limits {
        Some(path) => (path.display().to_string(), text(path)?),
        None => ("built in".to_owned(), document::DEFAULT.to_owned()),
    };
    let config =
        Config::from_toml(&text).map_err(|why| Failure::Input(format!("{name}: {why}")))?;
    let document = document::parse(&name, &text)?;
    Ok(Limits { name, config, document })
}

fn clients(cli: &Cli, rejects: &mut Rejects) -> Result<(Clients, String), Failure> {
    let (clients, source) = match &cli.clients {
        None => (Clients::law(), "built in".to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            (Clients::parse(&name, &failure::read(path)?, rejects)?, name)
        }
    };
    let [first, ten] = [1, 10].map(|count| clients.percent_of_first(count));
    let count = clients.names.len();
    let source = format!("{source}: {count}, the first with {first} %, ten with {ten} %");
    Ok((clients, source))
}

fn rows(cli: &Cli, rejects: &mut Rejects) -> Result<(Vec<trace::Row>, String), Failure> {
    match &cli.trace {
        None => Ok((generate::hour(cli.seed), "generated".to_owned())),
        Some(path) => {
            let name = path.display().to_string();
            Ok((trace::parse(&name, &failure::read(path)?, rejects)?, name))
        }
    }
}

fn text(path: &std::path::Path) -> Result<String, Failure> {
    let bytes = failure::read(path)?;
    String::from_utf8(bytes).map_err(|why| Failure::Input(format!("{}: {why}", path.display())))
}

/// Rolling windows begin on the minute, so that their times read well.
fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() / 60_000_000_000 * 60_000_000_000)
}

/// Tells the malformed rows. A reader of stderr that is gone is not a reason to stop.
fn tell(rejects: &Rejects, err: &mut dyn Write) {
    for row in rejects.rows().iter().take(TOLD) {
        let _ = writeln!(err, "left out: {row}");
    }
    let more = rejects.rows().len().saturating_sub(TOLD);
    if more > 0 {
        let _ = writeln!(err, "left out: {more} more malformed rows; --json tells all of them");
    }
}

/// The terminal's width, or what COLUMNS says, or [`WIDTH`].
fn width() -> u16 {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    comfy_table::Table::new().width().or_else(columns).unwrap_or(WIDTH).max(80)
}
