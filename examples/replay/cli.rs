//! The command line.

use super::place::Place;
use super::{generate, traffic};
use clap::{Parser, ValueEnum};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const AFTER: &str = "\
Examples:
  cargo run --release --example replay
  cargo run --release --example replay -- --admission check-then-charge
  cargo run --release --example replay -- --estimate x2 --plot replay.svg
  cargo run --release --example replay -- --trace AzureLLMInferenceTrace_code.csv --seed 7
  cargo run --release --example replay -- --threads 8 --json
  cargo run --release --features sqlite --example replay -- --ledger sqlite:ledger.sqlite

Exit status: 0 if every law held, 1 if one did not (it is named), 2 if the input cannot be used.";

/// Replays an hour of LLM traffic through budgets and rate limits, and audits what they did.
#[derive(Debug, Parser)]
#[command(
    name = "replay",
    about = "Replays an hour of LLM traffic through budgets and rate limits, on a virtual clock, \
             and audits what they did.",
    long_about = long_about(),
    max_term_width = 100,
    after_help = AFTER
)]
pub struct Cli {
    /// Replay this trace: TIMESTAMP,ContextTokens,GeneratedTokens, as in the Azure LLM inference
    /// traces. Rows have to be in the order of time; those that are not are malformed and left out
    /// [default: an hour generated from the seed]
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Draw each request's client by these shares: client,share; they need not add up to one
    /// [default: 100 clients, the first with 16 % of the requests, the first ten with 63 %]
    #[arg(long, value_name = "FILE")]
    pub clients: Option<PathBuf>,

    /// Whatever is drawn is drawn from this: same seed, same run
    #[arg(long, value_name = "N", default_value_t = 2_023)]
    pub seed: u64,

    /// Owners, limits and prices, in TOML. Requests come by its owners of kind key, to which the
    /// clients are given round robin, the largest first, and ask for the models it has prices of
    /// [default: the document beside this program]
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,

    /// What a request is held for before it is known what it uses: exact (what it will use), x2
    /// (twice that), fixed:N (its input and N output tokens) or none (nothing but one request)
    #[arg(long, value_name = "POLICY", default_value_t = Estimate::Exact)]
    pub estimate: Estimate,

    /// How requests are admitted
    #[arg(long, value_enum, default_value_t = Admission::Reserve)]
    pub admission: Admission,

    /// Replay with this many threads as fast as they can, one virtual clock pushed forward by all
    /// of them [default: one thread that keeps exact virtual time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub threads: Option<u16>,

    /// Reserve and settle through a ledger that is kept here: sqlite:FILE or
    /// postgres://USER@HOST/DATABASE (built with --features sqlite or postgres). A request is over
    /// when its record is durable. What the ledger has from before is restored, and the trace is
    /// moved by whole minutes to begin behind it: a second run is the traffic that follows. At the
    /// end all of the ledger is compared with the log; nobody else may write to it meanwhile
    #[arg(long, value_name = "PLACE")]
    pub ledger: Option<Place>,

    /// Draw the tightest limits, minute by minute. Not with --threads, whose log has no minutes
    #[arg(long, value_name = "FILE.svg", conflicts_with = "threads")]
    pub plot: Option<PathBuf>,

    /// Print one JSON object and nothing else; money is in nano-units of the currency
    #[arg(long)]
    pub json: bool,

    /// Stop at the first malformed row of an input file, instead of leaving such rows out
    #[arg(long)]
    pub strict: bool,
}

fn long_about() -> String {
    format!(
        "Replays an hour of LLM traffic through budgets and rate limits, on a virtual clock, and \
         audits what they did.\n\n\
         Each request is admitted at its timestamp and ends after 200 ms, 0.1 ms for each context \
         token and 15 ms for each generated one, give or take 20 %: so ends come out of order and \
         across the ends of windows. {} At the end everything is computed a second time from the \
         log of events, and has to agree to the last unit.\n\n\
         Without --trace the hour is generated: {}",
        traffic::LAW,
        generate::LAW
    )
}

/// What a request is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    Exact,
    Twice,
    Fixed(u64),
    None,
}

impl FromStr for Estimate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exact" => Ok(Estimate::Exact),
            "x2" => Ok(Estimate::Twice),
            "none" => Ok(Estimate::None),
            _ => text
                .strip_prefix("fixed:")
                .and_then(|count| count.parse().ok())
                .filter(|&count| count <= 10_000_000)
                .map(Estimate::Fixed)
                .ok_or_else(|| {
                    "accepted is exact, x2, none, or fixed:N with N up to 10000000 output tokens"
                        .to_owned()
                }),
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Estimate::Exact => write!(out, "exact"),
            Estimate::Twice => write!(out, "x2"),
            Estimate::Fixed(count) => write!(out, "fixed:{count}"),
            Estimate::None => write!(out, "none"),
        }
    }
}

/// How requests are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admission {
    /// Hold the estimate, then replace it by what was used.
    Reserve,
    /// Look whether it fits, and charge when the answer is there: what most gateways do.
    CheckThenCharge,
}

impl fmt::Display for Admission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Admission::Reserve => "reserve",
            Admission::CheckThenCharge => "check-then-charge",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn estimates_read_back() {
        for text in ["exact", "x2", "none", "fixed:0", "fixed:4096"] {
            assert_eq!(text.parse::<Estimate>().unwrap().to_string(), text);
        }
        for text in ["", "x3", "fixed", "fixed:", "fixed:-1", "fixed:1e3", "fixed:10000001"] {
            assert!(text.parse::<Estimate>().unwrap_err().starts_with("accepted is"), "{text}");
        }
    }

    #[test]
    fn what_is_not_accepted_is_refused() {
        for line in [&["--threads", "0"][..], &["--estimate", "some"], &["--admission", "hope"]] {
            let line = std::iter::once("replay").chain(line.iter().copied());
            assert!(Cli::try_parse_from(line).is_err());
        }
    }
}
