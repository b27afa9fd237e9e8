//! Loads a configuration document of many owners, and tells how long it took and what it takes.
//!
//! ```text
//! cargo run --release --example load -- --help
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tollkeeper::{Config, Engine};

const AFTER: &str = "\
Examples:
  cargo run --release --example load
  cargo run --release --example load -- --owners 100000 --format toml
  cargo run --release --example load -- limits.toml

Exit status: 0 if it was loaded, 2 if it cannot be.";

/// Loads a configuration document of many owners, and tells how long it took and what it takes.
#[derive(Debug, Parser)]
#[command(name = "load", max_term_width = 100, after_help = AFTER)]
struct Cli {
    /// Load this document: TOML if its name ends in .toml, JSON if it ends in .json
    /// [default: one of --owners owners that is made up]
    file: Option<PathBuf>,

    /// Make up a document of so many owners, each with a budget and a rate limit of tokens and of
    /// requests, of four tariffs
    #[arg(long, value_name = "N", default_value_t = 1_000_000, conflicts_with = "file")]
    owners: usize,

    /// What a made-up document is written in
    #[arg(long, value_enum, default_value_t = Format::Json, conflicts_with = "file")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
    Toml,
}

fn main() -> ExitCode {
    load(std::env::args_os(), &mut io::stdout(), &mut io::stderr()).into()
}

/// One whole run: 0 if the document was loaded, 2 if not.
pub fn load(
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
    match run(&cli, out) {
        Ok(()) => 0,
        Err(why) => {
            let _ = writeln!(err, "load: {why}");
            2
        }
    }
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let (format, text) = match &cli.file {
        Some(path) => read_file(path)?,
        None => (cli.format, make_up(cli.owners, cli.format)),
    };
    let named = format.to_possible_value().expect("no format is hidden").get_name().to_uppercase();
    writeln!(out, "document  {} of {named}", HumanBytes(text.len() as u64))?;

    let bar = spinner("reading");
    let read = Measured::of(|| read(&text, format));
    bar.finish_and_clear();
    let config = read.result?;
    let owners = config.owners().count();
    let limits = config.limits().count();
    let counts = (HumanCount(owners as u64), HumanCount(limits as u64));
    writeln!(out, "          {} owners, {} limits", counts.0, counts.1)?;

    let bar = bar_of(owners);
    let engine = Engine::new();
    let applied = Measured::of(|| {
        // What it says about each limit is not part of what the engine takes.
        let told = |done, _| bar.set_position(done as u64);
        engine.apply_with_progress(&config, told).map(|applied| applied.created.len())
    });
    bar.finish_and_clear();
    let created = applied.result?;

    let each = |bytes: i64| bytes as f64 / owners.max(1) as f64;
    writeln!(out, "read      {:.2} s", read.took.as_secs_f64())?;
    writeln!(out, "applied   {:.2} s", applied.took.as_secs_f64())?;
    writeln!(out, "together  {:.2} s", (read.took + applied.took).as_secs_f64())?;
    writeln!(out, "created   {} limits", HumanCount(created as u64))?;
    writeln!(
        out,
        "memory    {:.0} bytes for each owner, and {:.0} while the document is kept",
        each(applied.bytes),
        each(read.bytes),
    )?;
    Ok(())
}

/// What something came to, how long it took, and how many bytes it has asked for and kept.
struct Measured<T> {
    result: T,
    took: Duration,
    bytes: i64,
}

impl<T> Measured<T> {
    fn of(run: impl FnOnce() -> T) -> Self {
        let mut ran = None;
        let began = Instant::now();
        let kept = allocation_counter::measure(|| ran = Some(run()));
        let took = began.elapsed();
        Self { result: ran.expect("it was run"), took, bytes: kept.bytes_current }
    }
}

fn read_file(path: &Path) -> Result<(Format, String), Box<dyn Error>> {
    let format = match path.extension().and_then(|end| end.to_str()) {
        Some("toml") => Format::Toml,
        Some("json") => Format::Json,
        _ => return Err(format!("{}: accepted: names in .toml or .json", path.display()).into()),
    };
    let text = std::fs::read_to_string(path);
    Ok((format, text.map_err(|why| format!("cannot read {}: {why}", path.display()))?))
}

fn read(text: &str, format: Format) -> Result<Config, Box<dyn Error>> {
    Ok(match format {
        Format::Toml => Config::from_toml(text)?,
        Format::Json => {
            let mut reader = serde_json::Deserializer::from_str(text);
            let config = Config::deserialize(&mut reader)?;
            reader.end()?;
            config
        }
    })
}

/// Keys of four tariffs.
fn make_up(owners: usize, format: Format) -> String {
    const TARIFFS: [(&str, &str, u64); 4] = [
        ("$5", "60/m", 100_000),
        ("$50", "600/m", 1_000_000),
        ("$500", "6000/m", 10_000_000),
        ("$5000", "60000/m", 100_000_000),
    ];
    let mut text = String::new();
    let bar = spinner("making up owners");
    for i in 0..owners {
        let (money, requests, tokens) = TARIFFS[i % TARIFFS.len()];
        let written = match format {
            Format::Json => write!(
                text,
                "{}{{\"id\": \"key:{i:08}\", \"budgets\": [{{\"id\": \"bud-{i:08}\", \
                 \"limit\": \"{money}\", \"period\": \"1M\"}}], \"rate_limits\": [{{\"id\": \
                 \"rat-{i:08}\", \"requests\": \"{requests}\", \"tokens\": {{\"limit\": {tokens}, \
                 \"period\": \"1m\"}}}}]}}",
                if i == 0 { "{\"owners\": [\n" } else { ",\n" },
            ),
            Format::Toml => write!(
                text,
                "[[owners]]\nid = \"key:{i:08}\"\n\
                 budgets = [{{ id = \"bud-{i:08}\", limit = \"{money}\", period = \"1M\" }}]\n\
                 rate_limits = [{{ id = \"rat-{i:08}\", requests = \"{requests}\", \
                 tokens = {{ limit = {tokens}, period = \"1m\" }} }}]\n\n",
            ),
        };
        written.expect("a string takes everything");
    }
    if let Format::Json = format {
        text.push_str(if owners == 0 { "{}" } else { "\n]}" });
    }
    bar.finish_and_clear();
    text
}

/// Says what is under way and for how long, on stderr if that is a terminal.
fn spinner(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The same of something that is known to have an end.
fn bar_of(owners: usize) -> ProgressBar {
    let bar = ProgressBar::new(owners as u64);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} owners, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
